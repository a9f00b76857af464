//! A node with more requests than may wait says so to those that are too many, in time, and goes on.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::time::timeout;

use super::one_more;
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{DEADLINE, Dial, Fighter, Http, eventually, guest};

/// Without a majority each request is answered within 5 s (contract 3.3); this leaves time for the way.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// The smallest queue that may be set.
const WAITING_MAX: usize = 16;
const BURST: usize = 8 * WAITING_MAX;

#[tokio::test]
async fn a_leader_with_a_full_queue_answers_busy_in_time_and_serves_again() {
    burst_without_a_majority(true).await;
}

#[tokio::test]
async fn a_follower_with_a_full_queue_answers_busy_in_time_and_serves_again() {
    burst_without_a_majority(false).await;
}

async fn burst_without_a_majority(at_leader: bool) {
    let small = |_, options: Options| {
        options
            .env("WAITING_PROPOSALS_MAX", &WAITING_MAX.to_string())
            .env("NODE_GONE_AFTER_MS", "600000")
    };
    let trio = Trio::start_with(small).await;
    let leader = trio.leader(0).await;
    let asked = if at_leader { leader } else { (leader + 1) % 3 };
    let node = &trio.nodes[asked];
    let fighter = Fighter::new(node, 0).await;
    fighter.client.settle().await;
    let hanging = [(asked + 1) % 3, (asked + 2) % 3].map(|at| &trio.nodes[at]);

    hanging.iter().for_each(|node| node.pause());
    let create = || Http::post(node, "/api/v1/auth/create-guest").send();
    let join = fighter.client.emit_for_ack("joinMatchmaking", std::slice::from_ref(&fighter.team));
    let join = join.await;
    let burst = timeout(ANSWER_MAX, join_all((0..BURST).map(|_| create())));
    let joined = fighter.client.ack_within(ANSWER_MAX, join, "joinMatchmaking");
    let (answers, joined) = tokio::join!(burst, joined);
    for answer in answers.expect("each request of the burst is answered in time") {
        answer.assert_error(503, "CLUSTER_UNAVAILABLE", None);
        assert_eq!(answer.header("retry-after"), "1");
    }
    let refusal = json!(["VALIDATION_ERROR", "Failed to add to matchmaking queue"]);
    assert_eq!(json!([joined["code"], joined["details"]]), refusal, "{joined}");

    hanging.iter().for_each(|node| node.unpause());
    eventually("an account", create, |answer| answer.status == 200).await;
    one_more(node).await;
    // Nothing is left of the burst. The node has requests of its own, like goodbyes: half may wait.
    let wave = timeout(DEADLINE, join_all((0..WAITING_MAX / 2).map(|_| guest(node))));
    wave.await.expect("the node serves again");
    fighter.client.settle().await;
}

#[tokio::test]
async fn a_node_that_owes_too_many_goodbyes_lets_nobody_in_until_it_has_said_them() {
    const CONNECTIONS_MAX: usize = 16;
    let small = |_, options: Options| {
        let options = options.env("CONNECTIONS_MAX", &CONNECTIONS_MAX.to_string());
        options.env("NODE_GONE_AFTER_MS", "600000")
    };
    let trio = Trio::start_with(small).await;
    let node = &trio.nodes[0];
    let player = guest(node).await;
    trio.nodes[1].pause();
    trio.nodes[2].pause();
    let says = || async { Dial::player(node, &player).try_open().await.err() };
    let refused = Some("AUTHENTICATION_ERROR".to_owned());
    eventually("refusal of one more socket", says, |refusal| *refusal == refused).await;
    assert_eq!(Http::get(node, "/health").send().await.status, 200);

    trio.nodes[1].unpause();
    trio.nodes[2].unpause();
    let says = || async { Dial::player(node, &player).try_open().await.err() };
    eventually("a socket that is let in", says, Option::is_none).await;
    eventually(
        "an account",
        || Http::post(node, "/api/v1/auth/create-guest").send(),
        |answer| answer.status == 200,
    )
    .await;
    one_more(node).await;
}
