//! Clocks over the loss of nodes: none runs twice, none stops, and outages cost no player time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{timer, turn_left};
use crate::harness::cluster::Trio;
use crate::harness::{Duel, Fighter, Server, eventually};

/// Longer than what is checked to stand still meanwhile.
const OUTAGE: Duration = Duration::from_secs(11);
/// What starting, electing and asking may add to a clock that runs.
const SLACK: f64 = 3.0;

fn total_left(timer: &Value) -> f64 {
    timer["remainingTotalTime"].as_f64().expect("seconds")
}

/// Players at the two nodes that follow the leader.
async fn duel_beside_the_leader(trio: &Trio) -> (Duel, usize) {
    let leader = trio.leader(0).await;
    let a = Fighter::new(&trio.nodes[(leader + 1) % 3], 0).await;
    let b = Fighter::new(&trio.nodes[(leader + 2) % 3], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    (duel, leader)
}

#[tokio::test]
async fn clocks_run_on_once_through_the_death_of_the_leader() {
    let mut trio = Trio::start().await;
    let (duel, leader) = duel_beside_the_leader(&trio).await;
    let (before, since) = (timer(&duel.a).await, Instant::now());
    trio.nodes[leader].kill9();
    // An input that needs the next leader.
    duel.b.attack().await;
    let after = timer(&duel.a).await;
    let passed = since.elapsed().as_secs_f64();
    let lost = turn_left(&before) - turn_left(&after);
    assert!((lost - passed).abs() < 0.5, "{lost} s on the clock in {passed} s");
    let lost_in_all = total_left(&before) - total_left(&after);
    assert!((lost - lost_in_all).abs() < 0.05, "both clocks run together: {lost} {lost_in_all}");
    let theirs = timer(&duel.b).await;
    assert_eq!(theirs["state"], "paused", "B has chosen");
}

#[tokio::test]
async fn an_animation_holds_the_clocks_through_the_death_of_the_leader_and_ends_after_it() {
    let mut trio = Trio::start().await;
    let (duel, leader) = duel_beside_the_leader(&trio).await;
    let animation = json!({"source": "skill_x", "expectedDuration": 15_000, "ownerId": duel.a.id});
    let id = duel.a.client.ok("startAnimation", &[animation]).await;
    let before = timer(&duel.b).await;
    trio.nodes[leader].kill9();
    duel.b.attack().await;
    let after = timer(&duel.a).await;
    assert!((turn_left(&after) - turn_left(&before)).abs() < 0.3, "{before} {after}");
    duel.a.client.emit("endAnimation", &[json!({"animationId": id})]).await;
    let stood = turn_left(&after);
    eventually("a running clock", || timer(&duel.a), |now| turn_left(now) < stood - 0.3).await;
}

#[tokio::test]
async fn a_full_stop_costs_no_player_time_neither_on_clocks_nor_of_an_animation_nor_of_a_grace() {
    // The grace and the animation are shorter than start, outage and return together.
    let grace = |_, options: crate::harness::process::Options| {
        options.env("DISCONNECT_GRACE_PERIOD_TTL", "10")
    };
    let mut trio = Trio::start_with(grace).await;
    let (mut duel, _) = duel_beside_the_leader(&trio).await;
    let running =
        Duel::pair(Fighter::new(&trio.nodes[0], 2).await, Fighter::new(&trio.nodes[1], 3).await);
    let mut running = running.await;
    running.ready().await;
    let animation = json!({"source": "skill_x", "expectedDuration": 5_000, "ownerId": duel.a.id});
    duel.a.client.ok("startAnimation", &[animation]).await;
    let held = timer(&duel.b).await;
    // A of the first battle is away when all stops.
    let node = &trio.nodes[0];
    let elsewhere =
        std::mem::replace(&mut duel.a.client, crate::harness::connected_guest(node).await.1);
    elsewhere.cut();
    duel.b.client.event("opponentDisconnected").await;
    let before = timer(&running.a).await;

    trio.nodes.iter_mut().for_each(Server::kill9);
    // The time itself is what is tested: nothing that happens could be waited for.
    sleep(OUTAGE).await;
    trio.restart_dead().await;
    running.a.reconnect(&trio.nodes[2]).await;
    let after = timer(&running.a).await;
    let lost = turn_left(&before) - turn_left(&after);
    assert!((-0.1..SLACK).contains(&lost), "{lost} s: {before} {after}");
    let lost = total_left(&before) - total_left(&after);
    assert!((-0.1..SLACK).contains(&lost), "{lost} s: {before} {after}");
    eventually(
        "a running clock",
        || timer(&running.a),
        |now| turn_left(now) < turn_left(&after) - 0.3,
    )
    .await;

    duel.b.reconnect(&trio.nodes[1]).await;
    duel.a.reconnect(&trio.nodes[2]).await;
    let state = duel.a.client.event("battleReconnect").await.arg()["fullBattleState"].clone();
    assert_eq!(state["status"], "On", "his grace did not run out meanwhile");
    let now = timer(&duel.b).await;
    let lost = turn_left(&held) - turn_left(&now);
    assert!(
        (-0.1..SLACK).contains(&lost),
        "held by the animation, then at most running: {held} {now}"
    );
    eventually(
        "a clock that runs again",
        || timer(&duel.b),
        |now| turn_left(now) < turn_left(&held) - 0.3,
    )
    .await;
    running.b.reconnect(&trio.nodes[0]).await;
    running.attack_once(-1).await;
}
