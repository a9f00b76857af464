//! Payloads that fit no schema: each is answered with a stable code, never with silence, and the
//! connection lives on.

use serde_json::{Value, json};

use crate::harness::{Client, Duel, Fighter, Server, connected_guest};

/// Values that are no payload of any event.
fn nonsense() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    vec![
        Value::Null,
        json!(true),
        json!(5),
        json!(-1.5e300),
        json!("text"),
        json!("\u{0}\u{fffd}🐠"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"": ""}),
        json!({"player": 5}),
        json!({"type": "use-skill"}),
        json!({"type": ["use-skill"], "player": {}}),
        json!({"name": {}, "id": [], "team": "x"}),
        json!({"name": "x", "team": [null, 5, "x"]}),
        json!({"playerSchema": 5}),
        json!({"source": 5, "expectedDuration": "x", "ownerId": null}),
        json!({"source": "", "expectedDuration": 0, "ownerId": ""}),
        json!({"source": "x".repeat(5_000), "expectedDuration": 1e308, "ownerId": "x"}),
        json!({"__proto__": {"a": 1}, "constructor": 1}),
        deep,
    ]
}

async fn assert_all_refused(client: &Client, event: &str) {
    for payload in nonsense() {
        client.refused(event, &[payload]).await;
    }
    client.refused(event, &[]).await;
    client.settle().await;
}

#[tokio::test]
async fn nonsense_to_join_with_is_refused() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    assert_all_refused(&client, "joinMatchmaking").await;
    assert_eq!(client.ok("getServerState", &[]).await["matchmakingQueue"], 0);
}

#[tokio::test]
async fn a_team_may_come_with_much_that_is_not_asked_for() {
    let server = Server::start().await;
    let fighter = Fighter::new(&server, 0).await;
    let mut payload = fighter.team.clone();
    payload["notes"] = json!("x".repeat(3_000_000));
    payload["team"][0]["history"] = json!([[["deep"]]]);
    assert_eq!(fighter.client.ok("joinMatchmaking", &[payload]).await["status"], "QUEUED");
    let (code, details) = fighter.client.refused("joinMatchmaking", &[]).await;
    assert_eq!((&*code, &*details), ("VALIDATION_ERROR", "Invalid player data: Required"));
}

#[tokio::test]
async fn nonsense_to_choose_is_refused_in_a_battle_and_outside() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    assert_all_refused(&client, "submitPlayerSelection").await;
    let duel = Duel::started(&server).await;
    for payload in nonsense() {
        let (code, details) =
            duel.a.client.refused("submitPlayerSelection", std::slice::from_ref(&payload)).await;
        assert_eq!(
            (code.as_str(), details.as_str()),
            ("BATTLE_ACTION_ERROR", "INVALID_SELECTION_DATA"),
            "{payload}"
        );
    }
    duel.attack_once(-1).await;
}

#[tokio::test]
async fn nonsense_to_animate_is_refused_in_a_battle_and_outside() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    assert_all_refused(&client, "startAnimation").await;
    let duel = Duel::started(&server).await;
    for payload in nonsense() {
        let (code, details) = duel.a.client.refused("startAnimation", &[payload]).await;
        assert_eq!(
            (code.as_str(), details.as_str()),
            ("BATTLE_NOT_FOUND", "Battle instance not found or invalid data")
        );
    }
    for payload in nonsense() {
        duel.a.client.emit("endAnimation", std::slice::from_ref(&payload)).await;
        duel.a.client.emit("reportAnimationEnd", &[payload]).await;
    }
    duel.attack_once(-1).await;
}

#[tokio::test]
async fn nonsense_about_timers_is_always_answered() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    for payload in nonsense() {
        let answer = client.ask("getPlayerTimerState", &[payload]).await;
        assert!(answer["status"] == "SUCCESS" || answer["code"].is_string(), "{answer}");
    }
    let duel = Duel::started(&server).await;
    for payload in nonsense() {
        let answer = duel.a.client.ask("getPlayerTimerState", &[payload]).await;
        assert!(answer["status"] == "SUCCESS" || answer["code"].is_string(), "{answer}");
    }
    duel.attack_once(-1).await;
}

#[tokio::test]
async fn events_without_payload_do_not_mind_one() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    for event in [
        "getServerState",
        "cancelMatchmaking",
        "isTimerEnabled",
        "getAllPlayerTimerStates",
        "getTimerConfig",
    ] {
        for payload in [json!("x"), json!([1]), json!({"a": 1})] {
            client.ok(event, &[payload]).await;
        }
    }
}
