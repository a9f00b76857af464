//! Replicas of battles that fail, differ from each other, or are not needed: players notice the first two
//! at most by an end, and never by a room that is stuck.

use serde_json::json;

use crate::harness::battle::messages;
use crate::harness::cluster::Trio;
use crate::harness::knowledge::assert_same_story;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server, eventually};
use crate::metrics::scrape;

/// In the middle of the second turn, when A has been told more of it than B.
const FAILS: &str = "told=40*off->1*panic";
/// What tells of such a panic.
const FAILPOINT: &str = "failpoint ";
const FAULTS: &str = "serverv2_battle_replica_faults_total";

async fn faults(server: &Server, fault: &str) -> f64 {
    scrape(server).await.sum(FAULTS, &[("fault", fault)])
}

/// Waits until a node has counted so many faults of a kind.
async fn counts(server: &Server, fault: &str, times: f64) {
    eventually(fault, || faults(server, fault), |count| *count >= times).await;
}

/// One node fails or falsifies at some of its inputs, by its place.
async fn trio_with(at: usize, armed: &str) -> Trio {
    Trio::start_with(|node, options: Options| match node {
        _ if node == at => options.env("FAILPOINTS", armed).may_panic(&[FAILPOINT]),
        _ => options,
    })
    .await
}

/// A's node is the first and the home of the battle, B's is the second.
async fn duel_on(trio: &Trio) -> Duel {
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel
}

async fn plays_to_a_regular_end(duel: &Duel) {
    let (end, same) = duel.play(5, -1, false).await;
    assert_eq!(end.data, same.data);
    assert_same_story(&messages(&duel.a.client), &messages(&duel.b.client));
    for fighter in [&duel.a, &duel.b] {
        fighter.client.event("roomClosed").await;
    }
}

/// Both are told that the room is closed and not who won, are free, and the report says so.
async fn is_aborted(duel: &Duel, server: &Server) {
    for fighter in [&duel.a, &duel.b] {
        let closed = fighter.client.event("roomClosed").await;
        assert_eq!(*closed.arg(), json!({"roomId": duel.room}));
        assert!(messages(&fighter.client).iter().all(|message| message.kind != "BATTLE_END"));
        fighter.join().await;
        fighter.client.ok("cancelMatchmaking", &[]).await;
    }
    let path = format!("/api/v1/players/{}/battles", duel.a.id);
    let results = || async {
        let reports = Http::get(server, &path).send().await.json();
        let reports = reports["data"].as_array().cloned().unwrap_or_default();
        let ended = reports.into_iter().filter(|report| !report["ended_at"].is_null());
        ended.map(|report| report["battle_result"].clone()).collect::<Vec<_>>()
    };
    let abandoned = json!("abandoned");
    eventually("an abandoned report", results, |all| all.contains(&abandoned)).await;
}

#[tokio::test]
async fn an_engine_that_fails_once_is_started_anew_and_nobody_notices() {
    let server =
        Server::with("FAILPOINTS", &format!("{FAILS}->off")).may_panic(&[FAILPOINT]).start().await;
    let duel = Duel::started(&server).await;
    plays_to_a_regular_end(&duel).await;
    counts(&server, "rebuilt", 1.0).await;
    assert!(faults(&server, "given_up").await < 1.0);
}

#[tokio::test]
async fn a_battle_whose_engine_fails_again_and_again_is_aborted_and_its_players_are_free() {
    let server = Server::with("FAILPOINTS", &format!("{FAILS}->panic"))
        .may_panic(&[FAILPOINT])
        .start()
        .await;
    let duel = Duel::started(&server).await;
    duel.attack_once(-1).await;
    duel.a.attack().await;
    let last = duel.b.available().await.swap_remove(0);
    duel.b.client.ask("submitPlayerSelection", &[last]).await;
    is_aborted(&duel, &server).await;
    counts(&server, "given_up", 1.0).await;
    assert!(server.has_panicked(), "what every test of a server looks for is what it logs");
}

#[tokio::test]
async fn a_replica_that_differs_from_its_home_is_built_again_and_agrees() {
    let trio = trio_with(1, "diverge=5*off->1*return->off").await;
    let duel = duel_on(&trio).await;
    plays_to_a_regular_end(&duel).await;
    counts(&trio.nodes[1], "rebuilt", 1.0).await;
    assert!(faults(&trio.nodes[1], "differed").await < 2.0, "once, and not at the end");
    assert!(faults(&trio.nodes[0], "rebuilt").await < 1.0);
}

#[tokio::test]
async fn a_home_that_differs_from_the_others_is_told_so_built_again_and_agrees() {
    let trio = trio_with(0, "diverge=5*off->1*return->off").await;
    let duel = duel_on(&trio).await;
    plays_to_a_regular_end(&duel).await;
    counts(&trio.nodes[0], "rebuilt", 1.0).await;
    assert!(faults(&trio.nodes[0], "given_up").await < 1.0);
}

#[tokio::test]
async fn a_battle_on_which_no_two_replicas_can_agree_is_aborted() {
    let trio = trio_with(1, "diverge=return").await;
    let duel = duel_on(&trio).await;
    let mut asked = -1;
    while duel.a.client.events("roomClosed").is_empty() {
        // A turn may be the one in which it is aborted.
        for fighter in [&duel.a, &duel.b] {
            let choices = fighter.client.ask("getAvailableSelection", &[]).await;
            let first = choices["data"].as_array().and_then(|choices| choices.first()).cloned();
            if let Some(choice) = first {
                fighter.client.ask("submitPlayerSelection", &[choice]).await;
            }
        }
        asked += 1;
        assert!(asked < 200, "nothing comes of it");
    }
    is_aborted(&duel, &trio.nodes[2]).await;
}

#[tokio::test]
async fn a_node_that_a_battles_players_have_left_stops_playing_it_and_starts_again_on_demand() {
    let trio = Trio::start().await;
    let mut duel = duel_on(&trio).await;
    let asked = duel.attack_once(-1).await;
    let played = |at: usize| {
        let node = &trio.nodes[at];
        move || async move { scrape(node).await.sum("serverv2_battle_replicas", &[]) }
    };
    eventually("a replica at B's node", played(1), |count| *count > 0.5).await;
    duel.b.reconnect(&trio.nodes[2]).await;
    eventually("none at the node that was left", played(1), |count| *count < 0.5).await;
    // The home keeps one without a socket.
    duel.a.reconnect(&trio.nodes[2]).await;
    duel.b.reconnect(&trio.nodes[1]).await;
    duel.a.client.event("reconnectTest").await;
    duel.b.client.event("reconnectTest").await;
    duel.attack_once(asked).await;
    duel.b.assert_in_step().await;
    assert!(played(0)().await > 0.5, "the home");
}
