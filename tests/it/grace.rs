//! What a lost connection costs: at once, after the grace, and who may take the seat (contract 3.8,
//! 3.10; rows 23, 24).

use std::net::Ipv4Addr;

use serde_json::json;

use crate::harness::battle::messages;
use crate::harness::socket::events;
use crate::harness::{Client, Dial, Duel, Fighter, Server, eventually, team};

const GRACE: &str = "DISCONNECT_GRACE_PERIOD_TTL";
/// Another machine, as far as the server can tell.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

async fn assert_wins_by_surrender(fighter: &Fighter, room: &str) {
    let end = fighter.message("BATTLE_END").await;
    assert_eq!(end.data, json!({"winner": fighter.id, "reason": "surrender"}));
    let closed = fighter.client.event("roomClosed").await;
    assert_eq!(*closed.arg(), json!({"roomId": room}));
    assert_eq!(messages(&fighter.client).iter().filter(|m| m.kind == "BATTLE_END").count(), 1);
}

/// Waits until the server has noticed that nobody but `others` is connected.
async fn noticed(client: &Client, others: u64) {
    let online = || async { client.ok("getServerState", &[]).await["onlinePlayers"].as_u64() };
    eventually("notice of the disconnect", online, |online| *online == Some(others)).await;
}

#[tokio::test]
async fn without_grace_a_disconnect_is_a_defeat_at_once() {
    let server = Server::with(GRACE, "0").start().await;
    let Duel { a, b, room } = Duel::started(&server).await;
    a.client.cut();
    assert_wins_by_surrender(&b, &room).await;
    let gone = eventually(
        "removal of the room",
        || b.client.ask("getState", &[]),
        |answer| answer["status"] == "ERROR",
    );
    let gone = gone.await;
    assert_eq!(
        (&gone["code"], &gone["details"]),
        (&json!("GET_STATE_ERROR"), &json!("BATTLE_NOT_FOUND"))
    );
}

#[tokio::test]
async fn without_grace_a_disconnect_before_the_start_ends_the_battle_too() {
    let server = Server::with(GRACE, "0").start().await;
    let Duel { a, b, room } = Duel::paired(&server).await;
    b.client.leave().await;
    assert_wins_by_surrender(&a, &room).await;
    assert_eq!(
        a.message("BATTLE_END").await.state["status"],
        "Ended",
        "its delta is the complete state"
    );
}

#[tokio::test]
async fn within_the_grace_the_same_session_goes_on_where_it_was() {
    let server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    let next = duel.attack_once(-1).await;
    let before = duel.a.state().await;
    let Fighter { id, session, team, client } = duel.a;
    client.cut();
    noticed(&duel.b.client, 1).await;
    duel.b.attack().await;
    assert!(duel.b.client.events("roomClosed").is_empty());

    let client = Dial::player(&server, &id).session(&session).open().await;
    duel.a = Fighter { id, session, team, client };
    assert_eq!(duel.a.client.resume().await, before, "nothing was resolved meanwhile");
    duel.a.attack().await;
    let turn_end = duel.b.message_after(next, "TURN_END").await;
    assert_eq!(duel.a.message_after(next, "TURN_END").await.data, turn_end.data);
    duel.a.assert_in_step().await;
    let (a, b) = tokio::join!(
        duel.a.play(5, turn_end.sequence, false),
        duel.b.play(6, turn_end.sequence, false)
    );
    assert_eq!((a.data, a.sequence), (b.data, b.sequence));
}

#[tokio::test]
async fn a_choice_of_the_opponent_during_the_absence_is_seen_after_the_return() {
    let server = Server::with("TURN_TIME_LIMIT", "2").start().await;
    let mut duel = Duel::started(&server).await;
    let Fighter { id, session, team, client } = duel.a;
    client.cut();
    noticed(&duel.b.client, 1).await;
    // The absent player's clock runs on: the server chooses for him, and the turn goes by.
    let turn_end = duel.b.message("TURN_END").await;
    let client = Dial::player(&server, &id).session(&session).open().await;
    duel.a = Fighter { id, session, team, client };
    let state = duel.a.client.resume().await;
    assert!(state["sequenceId"].as_i64().unwrap() >= turn_end.sequence, "{state}");
    assert!(state["currentTurn"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn after_the_grace_the_battle_is_lost() {
    let server = Server::with(GRACE, "1").start().await;
    let Duel { a, b, room } = Duel::started(&server).await;
    let (id, session) = (a.id.clone(), a.session.clone());
    a.client.cut();
    assert_wins_by_surrender(&b, &room).await;
    let late = Dial::player(&server, &id).session(&session).open().await;
    assert_eq!(late.refused("getAvailableSelection", &[]).await.0, "GET_SELECTION_ERROR");
    late.ok("joinMatchmaking", &[team::schema(0, &id)]).await;
}

#[tokio::test]
async fn a_new_session_from_the_same_address_takes_the_lost_ones_seat() {
    let server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    let Fighter { id, team, client, .. } = duel.a;
    client.cut();
    noticed(&duel.b.client, 1).await;
    let session = "a-new-tab".to_owned();
    let client = Dial::player(&server, &id).session(&session).open().await;
    assert_eq!(client.resume().await["status"], "On");
    duel.a = Fighter { id, session, team, client };
    duel.attack_once(1).await;
}

#[tokio::test]
async fn a_stranger_who_knows_a_guests_id_gets_neither_seat_nor_surrender() {
    let server = Server::start().await;
    let Duel { a, b, .. } = Duel::started(&server).await;
    let (id, session) = (a.id.clone(), a.session.clone());
    a.client.cut();
    noticed(&b.client, 1).await;
    let stranger = Dial::player(&server, &id).session("stranger").from(ELSEWHERE).open().await;
    let anonymous = Dial::player(&server, &id).from(ELSEWHERE).open().await;
    for intruder in [&stranger, &anonymous] {
        assert_eq!(intruder.refused("getState", &[]).await.1, "BATTLE_NOT_FOUND");
        assert_eq!(intruder.refused("getAvailableSelection", &[]).await.1, "NOT_IN_BATTLE");
        intruder.ok("joinMatchmaking", &[team::schema(0, &id)]).await;
    }
    assert!(messages(&b.client).iter().all(|m| m.kind != "BATTLE_END"), "the battle goes on");
    let back = Dial::player(&server, &id).session(&session).open().await;
    assert_eq!(back.resume().await["status"], "On");
}

#[tokio::test]
async fn a_tab_that_was_connected_all_along_never_touches_the_battle() {
    let server = Server::start().await;
    let a = Fighter::new(&server, 0).await;
    let tab = Dial::player(&server, &a.id).session("other-tab").open().await;
    let duel = Duel::pair(a, Fighter::new(&server, 1).await).await;
    duel.ready().await;
    let Duel { a, b, .. } = duel;
    let (id, session) = (a.id.clone(), a.session.clone());
    a.client.cut();
    // The tab keeps the player online; the seat's loss shows in nothing but what the tab may not do.
    assert_eq!(tab.refused("getState", &[]).await.1, "BATTLE_NOT_FOUND");
    tab.ok("joinMatchmaking", &[team::schema(0, &id)]).await;
    b.client.settle().await;
    assert!(messages(&b.client).iter().all(|m| m.kind != "BATTLE_END"));
    let back = Dial::player(&server, &id).session(&session).open().await;
    assert_eq!(back.resume().await["status"], "On");
}

/// What a returning client must hear, in this order, when it queues again instead of going on.
async fn assert_queueing_again_ends_the_old_battle(server: &Server, returning: Dial) {
    let duel = Duel::started(server).await;
    let Duel { a, b, room } = duel;
    let id = a.id.clone();
    a.client.cut();
    noticed(&b.client, 1).await;
    let client = returning.of_player(&id).open().await;
    client.ok("joinMatchmaking", &[team::schema(0, &id)]).await;
    assert_wins_by_surrender(&b, &room).await;
    // The ticket exists: the former opponent may be met again.
    b.join().await;
    let found = client.event("matchSuccess").await;
    assert_ne!(found.arg()["data"]["roomId"], json!(room));
    client.settle().await;
    let records = client.records();
    let names: Vec<&str> = events(&records).map(|event| event.name.as_str()).collect();
    let found = names.iter().position(|name| *name == "matchSuccess").expect("just seen");
    assert!(!names[found..].contains(&"roomClosed"), "a late roomClosed kills the next battle");
}

#[tokio::test]
async fn a_seed_client_that_returns_and_queues_ends_its_old_battle_first() {
    let server = Server::start().await;
    assert_queueing_again_ends_the_old_battle(&server, Dial::query(&server, "")).await;
}

#[tokio::test]
async fn a_session_that_inherited_a_seat_and_queues_ends_that_battle_first() {
    let server = Server::start().await;
    assert_queueing_again_ends_the_old_battle(
        &server,
        Dial::query(&server, "").session("another-tab"),
    )
    .await;
}
