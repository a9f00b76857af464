//! Connecting: what is refused and how, and what must work in the instant after (rows 6, 7).

use std::net::Ipv4Addr;

use serde_json::json;

use crate::harness::socket::Record;
use crate::harness::{Client, Dial, Raw, Server, connected_guest, eventually, guest};

async fn refusal(dial: Dial) -> String {
    match dial.try_open().await {
        Ok(_) => panic!("the handshake was accepted"),
        Err(text) => text,
    }
}

#[tokio::test]
async fn a_handshake_without_a_player_is_refused() {
    let server = Server::start().await;
    assert_eq!(refusal(Dial::query(&server, "")).await, "PLAYER_ID_REQUIRED");
    assert_eq!(refusal(Dial::query(&server, "playerId=&")).await, "PLAYER_ID_REQUIRED");
}

#[tokio::test]
async fn a_handshake_of_nobody_is_refused() {
    let server = Server::start().await;
    for nobody in ["AAAAAAAAAAAAAAAAAAAAA", "x", "%F0%9F%90%A0", "a%00b", &"y".repeat(2000)] {
        assert_eq!(
            refusal(Dial::query(&server, &format!("playerId={nobody}&"))).await,
            "PLAYER_NOT_FOUND",
            "{nobody}"
        );
    }
}

#[tokio::test]
async fn a_guest_needs_no_token_and_a_wrong_one_does_not_matter() {
    let server = Server::start().await;
    let id = guest(&server).await;
    Dial::player(&server, &id).open().await.settle().await;
    Dial::player(&server, &id).token("not.a.token").open().await.settle().await;
    Dial::query(&server, &format!("playerId={id}&token=nonsense&")).open().await.settle().await;
}

#[tokio::test]
async fn the_transport_opens_with_the_contracts_numbers() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    let open = client.records().into_iter().find_map(|record| match record {
        Record::Opened(open) => Some(open),
        _ => None,
    });
    let open = open.expect("the transport opens first");
    assert_eq!((&open["pingInterval"], &open["pingTimeout"]), (&json!(25_000), &json!(60_000)));
    assert!(open["maxPayload"].as_u64().unwrap() >= 1_000_000, "{open}");
    assert_eq!(open["upgrades"], json!([]));
    assert!(!client.socket_id().is_empty());
}

#[tokio::test]
async fn packets_sent_in_the_instant_after_connecting_are_answered_in_order() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let mut raw = Raw::open(&server, &id).await;
    assert!(raw.send("40").await);
    raw.text_where("CONNECT answer", |text| text.starts_with("40")).await;
    for packet in [r#"423["getServerState"]"#, r#"424["cancelMatchmaking"]"#, r#"425["getState"]"#]
    {
        assert!(raw.send(packet).await);
    }
    let first = raw.text_where("an answer", |text| {
        text.starts_with("433") || text.starts_with("434") || text.starts_with("435")
    });
    assert!(first.await.starts_with("433"), "the first question is answered first");
    raw.text_where("second answer", |text| text.starts_with("434")).await;
    raw.text_where("third answer", |text| text.starts_with("435")).await;
}

#[tokio::test]
async fn the_server_state_counts_who_is_there() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    let state = client.ok("getServerState", &[]).await;
    assert_eq!(
        state,
        json!({"onlinePlayers": 1, "matchmakingQueue": 0, "rooms": 0, "playersInRooms": 0})
    );
    let (_, _other) = connected_guest(&server).await;
    // The other session is committed a moment after its connection is confirmed.
    let asked = || client.ok("getServerState", &[]);
    eventually("second player", asked, |state| state["onlinePlayers"] == 2).await;
}

#[tokio::test]
async fn queries_without_a_battle_give_the_contracts_answers() {
    let server = Server::start().await;
    let (id, client) = connected_guest(&server).await;
    assert_eq!(client.ok("isTimerEnabled", &[]).await, json!(false));
    assert_eq!(client.ok("getPlayerTimerState", &[json!({"playerId": id})]).await, json!(null));
    assert_eq!(client.ok("getAllPlayerTimerStates", &[]).await, json!([]));
    assert_eq!(client.ok("getTimerConfig", &[]).await, json!({}));
    assert_eq!(
        client.refused("getState", &[]).await,
        ("GET_STATE_ERROR".into(), "BATTLE_NOT_FOUND".into())
    );
    assert_eq!(
        client.refused("getAvailableSelection", &[]).await,
        ("GET_SELECTION_ERROR".into(), "NOT_IN_BATTLE".into())
    );
    let surrender = json!({"type": "surrender", "player": id});
    let (code, details) = client.refused("submitPlayerSelection", &[surrender]).await;
    assert_eq!((code.as_str(), details.as_str()), ("BATTLE_ACTION_ERROR", "BATTLE_NOT_FOUND"));
    let animation = json!({"source": "x", "expectedDuration": 500, "ownerId": id});
    let (code, details) = client.refused("startAnimation", &[animation]).await;
    assert_eq!((code.as_str(), details.as_str()), ("NOT_IN_BATTLE", "Player not in battle"));
    assert_eq!(client.refused("ready", &[]).await.0, "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn events_without_a_callback_and_unknown_events_are_answered_with_nothing() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    client.emit("getServerState", &[]).await;
    client.emit("noSuchEvent", &[json!(1)]).await;
    let unanswered = client.emit_for_ack("noSuchEvent", &[json!({"a": 1})]).await;
    client.settle().await;
    let records = client.records();
    let acks: Vec<u64> = records
        .iter()
        .filter_map(|r| if let Record::Ack { id, .. } = r { Some(*id) } else { None })
        .collect();
    assert_eq!(acks.len(), 1, "only the last question is answered: {acks:?}");
    assert!(!acks.contains(&unanswered));
}

#[tokio::test]
async fn something_that_is_no_callback_in_the_callbacks_place_is_ignored() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    for odd in [json!(5), json!("callback"), json!(null), json!([]), json!({"f": 1})] {
        client.emit("cancelMatchmaking", std::slice::from_ref(&odd)).await;
        client.emit("getState", &[odd]).await;
    }
    client.settle().await;
}

#[tokio::test]
async fn clients_of_many_addresses_are_served() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let mut clients: Vec<Client> = Vec::new();
    for last in 1..=5 {
        clients.push(Dial::player(&server, &id).from(Ipv4Addr::new(127, 0, 0, last)).open().await);
    }
    assert_eq!(
        clients[0].ok("getServerState", &[]).await["onlinePlayers"],
        1,
        "one player, however many sockets"
    );
}
