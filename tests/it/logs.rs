//! What the log tells: how a request goes from one player's event to what the other one is told, and
//! nothing that is nobody's business.

use serde_json::{Value, json};

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::team::{schema, secret_name};
use crate::harness::{Duel, Fighter, Server, eventually, jwt};
use crate::tokens::{Holder, by, refresh, wanting_tokens};

fn talkative(options: Options) -> Options {
    options.env("LOG_FORMAT", "json").env("LOG_LEVEL", "debug")
}

/// The first line of a node's log that is as wanted.
fn line(node: &Server, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
    let found = node.log().find(|line| parsed(line).is_some_and(|line| wanted(&line)));
    found.as_deref().and_then(parsed)
}

#[tokio::test]
async fn a_choice_is_followed_by_one_request_id_to_the_socket_on_the_other_node() {
    let trio = Trio::start_with(|_, options| talkative(options)).await;
    let [one, other] = [&trio.nodes[0], &trio.nodes[1]];
    let duel = Duel::pair(Fighter::new(one, 0).await, Fighter::new(other, 1).await).await;
    duel.ready().await;
    // B chooses last, so it is this choice that makes the turn be played.
    duel.attack_once(-1).await;
    let proposed = line(other, |line| {
        line["event"] == "submitPlayerSelection"
            && line["player.id"] == *duel.b.id
            && line["request.id"].is_string()
    });
    let request = proposed.expect("the event's line")["request.id"].clone();
    let told = || async {
        line(one, |line| {
            let span = &line["span"];
            line["event"] == "battleEvent"
                && line["player.id"] == *duel.a.id
                && span["request.id"] == request
        })
    };
    let told = eventually("the line at the other node", told, Option::is_some).await;
    let told = told.expect("it is there");
    assert_eq!((&told["node.id"], &told["span"]["room.id"]), (&json!(1), &json!(duel.room)));
    assert!(told["span"]["raft.index"].is_u64() && told["span"]["raft.term"].is_u64(), "{told}");
    let applied = line(other, |line| line["request.id"] == request && line["raft.index"].is_u64());
    assert_eq!(applied.expect("the proposal's line")["raft.index"], told["span"]["raft.index"]);
}

#[tokio::test]
async fn no_token_and_no_team_is_in_the_log_however_talkative() {
    let server = talkative(wanting_tokens(Options::default())).start().await;
    let ann = Holder::of(&server).await;
    let client = ann.dial(&server).open().await;
    client.ok("joinMatchmaking", &[schema(0, &ann.id)]).await;
    client.refused("joinMatchmaking", &[json!({"name": secret_name(9, &ann.id)})]).await;
    let (status, pair) = refresh(&ann.refresh, &server).await;
    assert_eq!(status, 200);
    let access = pair["accessToken"].as_str().expect("a token");
    let logout = by(access, &server, hyper::Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    client.closed_within(crate::harness::DEADLINE).await;
    assert!(server.says(&ann.id), "its log is talkative");
    let secret = |text: &Value| text.as_str().expect("a token").to_owned();
    let tokens = [secret(&pair["accessToken"]), secret(&pair["refreshToken"])];
    for secret in [&ann.access, &ann.refresh, &tokens[0], &tokens[1], &jwt::SECRET.to_owned()] {
        assert_eq!(server.log().find(|line| line.contains(secret.as_str())), None);
    }
    let team = format!("of {}", ann.id);
    assert_eq!(server.log().find(|line| line.contains(&team)), None);
}
