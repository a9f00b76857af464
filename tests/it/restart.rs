//! A node that loses power and comes back on the same folder goes on where it stopped; one that is
//! told to stop does so in good order.

use std::time::Duration;

use serde_json::json;

use crate::harness::battle::{Message, messages};
use crate::harness::knowledge::{assert_nothing_hidden_was_seen, assert_same_story};
use crate::harness::{Dial, Duel, Fighter, Http, Server, connected_guest, eventually};

#[tokio::test]
async fn players_and_their_names_survive_kill_9() {
    let mut server = Server::start().await;
    let (id, _client) = connected_guest(&server).await;
    let rename = Http::put(&server, "/api/v1/auth/update-player-name")
        .json(&json!({"playerId": id, "name": "Ann"}));
    assert_eq!(rename.send().await.status, 200);
    for _ in 0..2 {
        server.kill9();
        server.restart().await;
        let shown = Http::get(&server, &format!("/api/v1/auth/check-player/{id}")).send().await;
        assert_eq!(
            (shown.status.as_u16(), &shown.json()["data"]["playerName"]),
            (200, &json!("Ann"))
        );
    }
}

#[tokio::test]
async fn a_place_in_the_queue_survives_kill_9_and_waits_for_its_session() {
    let mut server = Server::start().await;
    let mut first = Fighter::new(&server, 0).await;
    first.join().await;
    server.kill9();
    server.restart().await;

    let second = Fighter::new(&server, 1).await;
    second.join().await;
    assert_eq!(
        second.client.ok("getServerState", &[]).await["matchmakingQueue"],
        2,
        "the place is kept"
    );
    assert!(
        second.client.events("matchSuccess").is_empty(),
        "but never paired while its session is away"
    );
    first.reconnect(&server).await;
    first.join().await;
    let room = first.matched().await;
    assert_eq!(second.matched().await, room);
    assert_eq!(
        first.state().await["players"][0]["id"],
        json!(first.id),
        "the older entry is player A"
    );
}

#[tokio::test]
async fn a_room_that_waits_for_ready_survives_kill_9() {
    let mut server = Server::start().await;
    let mut duel = Duel::paired(&server).await;
    duel.a.client.ok("ready", &[]).await;
    let before = duel.b.state().await;
    server.kill9();
    server.restart().await;
    duel.a.reconnect(&server).await;
    duel.b.reconnect(&server).await;
    assert_eq!(duel.b.state().await, before);
    duel.b.client.ok("ready", &[]).await;
    assert_eq!(duel.a.message("BATTLE_START").await.sequence, 0, "A's ready was kept");
    duel.b.message("TURN_ACTION").await;
    duel.attack_once(1).await;
}

#[tokio::test]
async fn a_running_battle_survives_kill_9_again_and_again_and_is_played_to_its_end() {
    let mut server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    let mut last = duel.attack_once(-1).await;
    let mut told: [Vec<Message>; 2] = [messages(&duel.a.client), messages(&duel.b.client)];
    for round in 0..3 {
        // An acknowledged choice is committed: it need not be made again after the crash.
        duel.a.attack().await;
        let before = [duel.a.state().await, duel.b.state().await];
        server.kill9();
        server.restart().await;
        duel.a.reconnect(&server).await;
        duel.b.reconnect(&server).await;
        let after = [duel.a.client.resume().await, duel.b.client.resume().await];
        assert_eq!(before, after, "round {round}");

        duel.b.attack().await;
        let turn_end = duel.a.message_after(last, "TURN_END").await;
        let first = messages(&duel.a.client)[0].sequence;
        assert_eq!(first, last + 1, "numbers go on where they stopped");
        last = duel.a.wait_until_asked(turn_end.sequence).await;
        duel.b.wait_until_asked(turn_end.sequence).await;
        duel.a.assert_in_step().await;
        duel.b.assert_in_step().await;
        if round < 2 {
            told[0].extend(messages(&duel.a.client));
            told[1].extend(messages(&duel.b.client));
        }
    }
    let (end, _) = duel.play(9, last, true).await;
    assert_eq!(end.data["reason"], "all_pet_fainted");
    told[0].extend(messages(&duel.a.client));
    told[1].extend(messages(&duel.b.client));
    assert_same_story(&told[0], &told[1]);
    assert_nothing_hidden_was_seen(&duel.a.id, &duel.b.id, &told[0]);
    assert_nothing_hidden_was_seen(&duel.b.id, &duel.a.id, &told[1]);
    duel.a.client.event("roomClosed").await;
}

#[tokio::test]
async fn the_clock_takes_nothing_for_the_time_the_node_was_down() {
    let mut server = Server::with("TURN_TIME_LIMIT", "10").start().await;
    let mut duel = Duel::started(&server).await;
    let left = async |fighter: &Fighter| {
        let timer =
            fighter.client.ok("getPlayerTimerState", &[json!({"playerId": fighter.id})]).await;
        (
            timer["remainingTurnTime"].as_f64().unwrap(),
            timer["remainingTotalTime"].as_f64().unwrap(),
        )
    };
    let before = left(&duel.a).await;
    server.kill9();
    // Down for longer than may be lost.
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.restart().await;
    duel.a.reconnect(&server).await;
    let after = left(&duel.a).await;
    // The log knows the time of its last entry; what passed between that and the end is given back.
    assert!(after.0 <= 10.0 && after.1 <= 1500.0, "nobody gains a turn: {before:?} {after:?}");
    assert!(before.1 - after.1 < 3.0, "an outage costs no player time: {before:?} {after:?}");
    duel.b.reconnect(&server).await;
}

#[tokio::test]
async fn an_ended_battle_stays_ended_after_kill_9() {
    let mut server = Server::start().await;
    let duel = Duel::started(&server).await;
    duel.a.submit(&duel.a.surrender()).await;
    duel.b.attack().await;
    duel.a.message("BATTLE_END").await;
    duel.a.client.event("roomClosed").await;
    server.kill9();
    server.restart().await;
    let (a, b) = (duel.a, duel.b);
    let client = Dial::player(&server, &a.id).session(&a.session).open().await;
    let rooms = || async { client.ok("getServerState", &[]).await["rooms"].as_u64() };
    eventually("removal of the ended room", rooms, |rooms| *rooms == Some(0)).await;
    assert_eq!(client.refused("getState", &[]).await.1, "BATTLE_NOT_FOUND");
    let b = Fighter { client: Dial::player(&server, &b.id).session(&b.session).open().await, ..b };
    let a = Fighter { client, ..a };
    let next = Duel::pair(a, b).await;
    assert_ne!(next.room, duel.room, "a room's id is never used again");
}

#[tokio::test]
async fn told_to_stop_it_cuts_its_clients_ends_with_0_and_goes_on_at_the_next_start() {
    let mut server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    duel.a.attack().await;
    let before = duel.b.state().await;
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    duel.a.client.closed_within(Duration::from_secs(5)).await;
    server.restart().await;
    duel.a.reconnect(&server).await;
    duel.b.reconnect(&server).await;
    assert_eq!(duel.b.client.resume().await, before);
    duel.b.attack().await;
    duel.b.message("TURN_END").await;
}

#[tokio::test]
async fn neither_a_stop_nor_a_crash_costs_a_player_the_battle_even_where_no_grace_is_given() {
    let mut server = Server::with("DISCONNECT_GRACE_PERIOD_TTL", "0").start().await;
    let mut duel = Duel::started(&server).await;
    for crash in [false, true] {
        if crash {
            server.kill9();
        } else {
            server.terminate().await;
        }
        server.restart().await;
        duel.a.reconnect(&server).await;
        duel.b.reconnect(&server).await;
        assert_eq!(duel.a.client.resume().await["status"], "On", "crash: {crash}");
        duel.b.client.resume().await;
    }
    duel.attack_once(-1).await;
}
