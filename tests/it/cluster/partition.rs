//! A node that the others can't reach: it says so, keeps its sockets, and goes on once it is reached.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::socket::Client;
use crate::harness::{Duel, Fighter, Http, Server, eventually, guest};

/// A node without a majority answers within 5 s (contract 3.3), and this leaves time for the way.
const ANSWER_MAX: Duration = Duration::from_secs(7);
/// By REST, too. No claim about speed: what waits for a majority would wait for as long as there is none.
const REST_ANSWER_MAX: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_follower_that_is_cut_off_refuses_keeps_its_sockets_and_recovers() {
    cut_off(false).await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_refuses_keeps_its_sockets_and_recovers() {
    cut_off(true).await;
}

async fn cut_off(is_leader: bool) {
    // Nobody is counted out meanwhile; what happens then is another test.
    let patient = |_, options: Options| options.env("NODE_GONE_AFTER_MS", "600000");
    let (trio, links) = Trio::start_apart(patient).await;
    let leader = trio.leader(0).await;
    let alone = if is_leader { leader } else { (leader + 1) % 3 };
    let [second, third] = [(alone + 1) % 3, (alone + 2) % 3];
    let a = Fighter::new(&trio.nodes[alone], 0).await;
    let b = Fighter::new(&trio.nodes[second], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    let queued = Fighter::new(&trio.nodes[alone], 2).await;
    queued.join().await;
    let joining = Fighter::new(&trio.nodes[alone], 3).await;
    joining.client.settle().await;
    let choice = duel.a.available_of("use-skill").await;

    links.isolate(alone);
    let key = |id: &str| json!({"requestId": id});
    let join = [joining.team.clone(), key("join")];
    let submit = [choice, key("choice")];
    let (join_refused, choice_refused, cancel_refused, ()) = tokio::join!(
        refusal(&joining.client, "joinMatchmaking", &join),
        refusal(&duel.a.client, "submitPlayerSelection", &submit),
        refusal(&queued.client, "cancelMatchmaking", &[]),
        rest_is_answered(&trio.nodes[alone], &queued.id),
    );
    let texts = |code: &str, details: &str| (code.to_owned(), details.to_owned());
    assert_eq!(join_refused, texts("VALIDATION_ERROR", "Failed to add to matchmaking queue"));
    assert_eq!(
        choice_refused,
        texts("BATTLE_ACTION_ERROR", "BATTLE_OWNER_TEMP_UNAVAILABLE"),
        "{}",
        duel.a.client.transcript()
    );
    assert_eq!(cancel_refused, texts("CANCEL_FAILED", "CLUSTER_UNAVAILABLE"));

    // The majority goes on, and whoever is connected to the node that is alone stays connected.
    guest(&trio.nodes[second]).await;
    guest(&trio.nodes[third]).await;
    duel.b.attack().await;
    for client in [&joining.client, &duel.a.client, &queued.client] {
        client.settle().await;
    }

    links.heal();
    insist(&joining.client, "joinMatchmaking", &join).await;
    insist(&duel.a.client, "submitPlayerSelection", &submit).await;
    duel.a.message("TURN_END").await;
    duel.b.message("TURN_END").await;
    // Cancelled or not while it was unknown: from here on it is known.
    insist(&queued.client, "cancelMatchmaking", &[]).await;
    let waiting = || async { trio.stats(third).await["matchmaking"]["queueSize"].clone() };
    let matched = joining.client.events("matchSuccess").len();
    let wanted = json!(1 - matched);
    eventually("each ticket once", waiting, |queue| *queue == wanted).await;
}

#[tokio::test]
async fn the_last_node_that_lives_answers_rest_in_time_and_serves_once_another_is_back() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    for alone in [leader, (leader + 1) % 3] {
        let known = guest(&trio.nodes[alone]).await;
        for dying in [(alone + 1) % 3, (alone + 2) % 3] {
            trio.nodes[dying].kill9();
        }
        rest_is_answered(&trio.nodes[alone], &known).await;
        trio.restart_dead().await;
        guest(&trio.nodes[alone]).await;
    }
}

/// Without a majority REST refuses what would change something or is for the leader to say, and tells
/// what this node knows by itself: all of it in time.
async fn rest_is_answered(node: &Server, known: &str) {
    let rename = json!({"playerId": known, "name": "Nobody"});
    let check = |id: &str| Http::get(node, &format!("/api/v1/auth/check-player/{id}"));
    let refused = [
        Http::post(node, "/api/v1/auth/create-guest"),
        Http::put(node, "/api/v1/auth/update-player-name").json(&rename),
        check("nobody-knows-this-one"),
    ];
    let told = [check(known), Http::get(node, "/health"), Http::get(node, "/cluster/status")];
    let answers = join_all(refused.into_iter().chain(told).map(Http::send));
    let answers = timeout(REST_ANSWER_MAX, answers).await.expect("each is answered in time");
    let (refused, told) = answers.split_at(3);
    for answer in refused {
        answer.assert_error(503, "CLUSTER_UNAVAILABLE", None);
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!([200; 3], [0, 1, 2].map(|at| told[at].status.as_u16()), "{told:?}");
}

async fn refusal(client: &Client, name: &str, args: &[Value]) -> (String, String) {
    let id = client.emit_for_ack(name, args).await;
    let answer = client.ack_within(ANSWER_MAX, id, name).await;
    assert_eq!(answer["status"], "ERROR", "{name}: {answer}");
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("details"))
}

/// Asks again, as clients do that were told to.
async fn insist(client: &Client, name: &str, args: &[Value]) {
    let ask = || client.ask(name, args);
    eventually("success", ask, |answer| answer["status"] == "SUCCESS").await;
}
