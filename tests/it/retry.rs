//! Retries with a `requestId` or an `Idempotency-Key`: whoever repeats a request gets the answer of
//! the first time, and it happens once (contract 3.3, *New in our server*).

use serde_json::json;

use crate::harness::battle::messages;
use crate::harness::{Duel, Fighter, Http, Server, connected_guest};

#[tokio::test]
async fn a_retried_join_is_applied_once() {
    let server = Server::start().await;
    let fighter = Fighter::new(&server, 0).await;
    let join = [fighter.team.clone(), json!({"requestId": "join-1"})];
    assert_eq!(fighter.client.ok("joinMatchmaking", &join).await, json!({"status": "QUEUED"}));
    fighter.client.ok("cancelMatchmaking", &[]).await;
    assert_eq!(
        fighter.client.ok("joinMatchmaking", &join).await,
        json!({"status": "QUEUED"}),
        "the same answer"
    );
    assert_eq!(
        fighter.client.ok("getServerState", &[]).await["matchmakingQueue"],
        0,
        "and nothing happened"
    );
    let again = [fighter.team.clone(), json!({"requestId": "join-2"})];
    fighter.client.ok("joinMatchmaking", &again).await;
    assert_eq!(fighter.client.ok("getServerState", &[]).await["matchmakingQueue"], 1);
}

#[tokio::test]
async fn request_ids_of_different_players_do_not_meet() {
    let server = Server::start().await;
    let (a, b) = (Fighter::new(&server, 0).await, Fighter::new(&server, 1).await);
    for fighter in [&a, &b] {
        fighter
            .client
            .ok("joinMatchmaking", &[fighter.team.clone(), json!({"requestId": "the-same"})])
            .await;
    }
    assert_eq!(a.matched().await, b.matched().await);
}

#[tokio::test]
async fn a_retried_choice_is_answered_as_before_and_is_no_choice_of_the_next_turn() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    let choice = duel.a.available_of("use-skill").await;
    let submit = [choice, json!({"requestId": "turn-1"})];
    let accepted = json!({"status": "ACTION_ACCEPTED"});
    assert_eq!(duel.a.client.ok("submitPlayerSelection", &submit).await, accepted);
    assert_eq!(duel.a.client.ok("submitPlayerSelection", &submit).await, accepted);
    duel.b.attack().await;
    let turn_end = duel.a.message("TURN_END").await;
    duel.a.wait_until_asked(turn_end.sequence).await;
    assert_eq!(
        duel.a.client.ok("submitPlayerSelection", &submit).await,
        accepted,
        "also when the turn is over"
    );
    let timer = duel.a.client.ok("getPlayerTimerState", &[json!({"playerId": duel.a.id})]).await;
    assert_eq!(timer["state"], "running", "nothing was chosen for this turn");
    assert!(messages(&duel.a.client).iter().filter(|m| m.kind == "TURN_START").count() == 1);
}

#[tokio::test]
async fn a_retried_request_is_answered_the_same_after_a_crash() {
    let mut server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    let submit = [duel.a.available_of("use-skill").await, json!({"requestId": "before-the-crash"})];
    let accepted = duel.a.client.ok("submitPlayerSelection", &submit).await;
    server.kill9();
    server.restart().await;
    duel.a.reconnect(&server).await;
    duel.b.reconnect(&server).await;
    assert_eq!(duel.a.client.ok("submitPlayerSelection", &submit).await, accepted);
    duel.b.client.resume().await;
    duel.b.attack().await;
    duel.b.message("TURN_END").await;
}

#[tokio::test]
async fn a_request_id_that_is_none_is_refused_and_nothing_happens() {
    let server = Server::start().await;
    let fighter = Fighter::new(&server, 0).await;
    for bad in [json!(""), json!("a b"), json!("x".repeat(65)), json!(5), json!(null), json!("é")]
    {
        let join = [fighter.team.clone(), json!({"requestId": bad})];
        fighter.client.refused("joinMatchmaking", &join).await;
    }
    assert_eq!(fighter.client.ok("getServerState", &[]).await["matchmakingQueue"], 0);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_guest_of_two_requests() {
    let server = Server::start().await;
    let create = |key: &'static str| {
        Http::post(&server, "/api/v1/auth/create-guest").header("idempotency-key", key).send()
    };
    let first = create("once").await.json();
    assert_eq!(create("once").await.json(), first);
    assert_ne!(create("twice").await.json()["data"]["playerId"], first["data"]["playerId"]);
    let bad = create("not a key").await;
    assert_eq!(bad.status, 400, "{bad:?}");
}

#[tokio::test]
async fn a_retried_rename_does_not_undo_a_later_one() {
    let server = Server::start().await;
    let (id, _client) = connected_guest(&server).await;
    let rename = |name: &'static str, key: &'static str| {
        let request =
            Http::put(&server, "/api/v1/auth/update-player-name").header("idempotency-key", key);
        request.json(&json!({"playerId": id, "name": name})).send()
    };
    let first = rename("First", "k1").await;
    rename("Second", "k2").await;
    let retried = rename("First", "k1").await;
    assert_eq!((retried.status, retried.json()), (first.status, first.json()));
    let shown = Http::get(&server, &format!("/api/v1/auth/check-player/{id}")).send().await.json();
    assert_eq!(shown["data"]["playerName"], "Second");
}
