//! Homes of battles: the node that proposes first. It may hang, stop in its tracks or be about to go, and
//! no room waits for it.

use crate::harness::cluster::Trio;
use crate::harness::process::{Options, signal};
use crate::harness::{Duel, Fighter, Http, Server, eventually};
use crate::metrics::scrape;

async fn homes(server: &Server) -> f64 {
    scrape(server).await.sum("serverv2_home_rooms", &[])
}

/// A's node is the first and becomes the home; B's is the second.
async fn pair_on(trio: &Trio) -> Duel {
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    Duel::pair(a, b).await
}

#[tokio::test]
async fn a_home_whose_workers_hang_sticks_no_turn_and_no_end() {
    let trio = Trio::start_with(|at, options: Options| {
        let options = options.env("TURN_TIME_LIMIT", "2");
        if at == 0 { options.env("FAILPOINTS", "battles=sleep(600000)") } else { options }
    })
    .await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    // The node is live, and so it stays the home.
    duel.a.reconnect(&trio.nodes[2]).await;
    duel.ready().await;
    // Nobody chooses: another node says that the time is over.
    let turn = duel.b.message("TURN_END").await;
    assert_eq!(duel.a.message("TURN_END").await.sequence, turn.sequence);
    duel.b.submit(&duel.b.surrender()).await;
    for fighter in [&duel.a, &duel.b] {
        fighter.message("BATTLE_END").await;
        fighter.client.event("roomClosed").await;
    }
    assert!(!trio.nodes[1].says("a node was silent and is counted out"), "it was live");
}

#[tokio::test]
async fn a_home_that_is_stopped_in_its_tracks_sticks_no_turn() {
    let trio = Trio::start_with(|_, options| options.env("TURN_TIME_LIMIT", "2")).await;
    let mut duel = pair_on(&trio).await;
    duel.ready().await;
    trio.nodes[0].pause();
    // Its player is heard of no more: his clock chooses.
    let turn = duel.b.message("TURN_END").await;
    duel.a.reconnect(&trio.nodes[2]).await;
    let state = duel.a.client.event("battleReconnect").await.arg()["fullBattleState"].clone();
    assert!(state["sequenceId"].as_i64() >= Some(turn.sequence), "{state}");
    let next = duel.b.message_after(turn.sequence, "TURN_END").await;
    duel.a.message_after(turn.sequence, "TURN_END").await;
    eventually("a home at B's node", || homes(&trio.nodes[1]), |count| *count > 0.5).await;
    trio.nodes[0].unpause();
    duel.b.message_after(next.sequence, "TURN_END").await;
}

#[tokio::test]
async fn a_node_that_is_about_to_go_gives_its_homes_away_first_and_gets_no_new_ones() {
    let trio = Trio::start_with(|at, options: Options| match at {
        // Longer than all that is looked at below: nobody may have been cut by then.
        0 => options.env("DRAIN_NOTICE", "60"),
        _ => options,
    })
    .await;
    let duel = pair_on(&trio).await;
    duel.ready().await;
    eventually("a home at A's node", || homes(&trio.nodes[0]), |count| *count > 0.5).await;
    let c = Fighter::new(&trio.nodes[0], 2).await;
    let d = Fighter::new(&trio.nodes[1], 3).await;
    let (going, second) = (&trio.nodes[0], &trio.nodes[1]);
    signal("TERM", going.pid());
    let ready =
        || async { Http::to(going.address(), hyper::Method::GET, "/ready").send().await.status };
    eventually("not ready", ready, |status| *status == 503).await;
    eventually("a home at B's node", || homes(second), |count| *count > 0.5).await;
    assert!(!duel.a.client.is_closed(), "before anybody is cut");
    // Its sockets still play, also in new battles.
    let new = Duel::pair(c, d).await;
    new.ready().await;
    eventually("the new home at B's node", || homes(second), |count| *count > 1.5).await;
    assert!(!new.a.client.is_closed());
}
