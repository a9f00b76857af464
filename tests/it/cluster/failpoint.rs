//! The leader dies when an entry is committed and nobody was told: the worst moment for whoever waits.

use serde_json::{Value, json};

use crate::harness::battle::messages;
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, eventually};

/// The request id at which the first node dies.
const DOOMED: &str = "doomed";

/// The first node leads, and will die between the commit and the answer of the request [`DOOMED`].
async fn doomed_leader() -> Trio {
    let trio = Trio::start_with(|at, options: Options| match at {
        0 => options.env("FAILPOINTS", &format!("committed=return({DOOMED})")),
        // They don't stand for election before they notice its death.
        _ => options.env("RAFT_ELECTION_MIN_MS", "40000").env("RAFT_ELECTION_MAX_MS", "60000"),
    });
    let trio = trio.await;
    assert_eq!(trio.leader(1).await, 0);
    trio
}

fn doomed() -> Value {
    json!({"requestId": DOOMED})
}

#[tokio::test]
async fn a_join_that_the_leader_died_of_counts_once_when_it_is_retried_elsewhere() {
    let mut trio = doomed_leader().await;
    let early = Fighter::new(&trio.nodes[1], 0).await;
    early.join().await;
    let mut late = Fighter::new(&trio.nodes[0], 1).await;
    let join = [late.team.clone(), doomed()];
    late.client.emit_for_ack("joinMatchmaking", &join).await;
    trio.nodes[0].died().await;
    assert!(late.client.events("matchSuccess").is_empty(), "nobody was told");

    late.reconnect(&trio.nodes[2]).await;
    let answer = late.client.ok("joinMatchmaking", &join).await;
    assert_eq!(answer, json!({"status": "QUEUED"}), "the answer of the first time");
    let room = early.matched().await;
    let battle = late.state().await;
    assert_eq!(battle["players"].as_array().map(Vec::len), Some(2), "its battle is there");
    let duel = Duel { a: early, b: late, room };
    duel.ready().await;
    assert_eq!(duel.a.client.events("matchSuccess").len(), 1, "paired once");
    for node in [1, 2] {
        let one_room =
            |stats: &Value| stats["rooms"]["total"] == 1 && stats["matchmaking"]["queueSize"] == 0;
        eventually("one room and an empty queue", || trio.stats(node), one_room).await;
    }
}

#[tokio::test]
async fn a_join_through_another_node_is_answered_once_though_the_leader_died_of_it() {
    let mut trio = doomed_leader().await;
    let early = Fighter::new(&trio.nodes[1], 0).await;
    early.join().await;
    let late = Fighter::new(&trio.nodes[2], 1).await;
    let join = [late.team.clone(), doomed()];
    let id = late.client.emit_for_ack("joinMatchmaking", &join).await;
    trio.nodes[0].died().await;
    let answer = late.client.ack(id, "joinMatchmaking").await;
    assert_eq!(answer["data"], json!({"status": "QUEUED"}), "by the next leader: {answer}");
    let room = early.matched().await;
    assert_eq!(late.matched().await, room);
    let duel = Duel { a: early, b: late, room };
    duel.ready().await;
    for fighter in [&duel.a, &duel.b] {
        assert_eq!(fighter.client.events("matchSuccess").len(), 1, "paired once");
    }
}

#[tokio::test]
async fn a_choice_that_the_leader_died_of_is_made_once_and_stands() {
    let mut trio = doomed_leader().await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let choice = duel.a.available_of("use-skill").await;
    let submit = [choice.clone(), doomed()];
    duel.a.client.emit_for_ack("submitPlayerSelection", &submit).await;
    trio.nodes[0].died().await;

    // The turn is over before its retry, which must not be a choice of the next one.
    duel.b.attack().await;
    let end = duel.b.message("TURN_END").await;
    let turn = messages(&duel.b.client);
    let used = turn.iter().filter(|message| message.kind == "SKILL_USE");
    assert_eq!(used.count(), 2, "both choices were played");
    duel.a.reconnect(&trio.nodes[2]).await;
    let answer = duel.a.client.ok("submitPlayerSelection", &submit).await;
    assert_eq!(answer, json!({"status": "ACTION_ACCEPTED"}), "the answer of the first time");
    duel.b.wait_until_asked(end.sequence).await;
    let timer = duel.a.client.ok("getPlayerTimerState", &[json!({"playerId": duel.a.id})]).await;
    assert_eq!(timer["state"], "running", "nothing is chosen for the next turn");
}
