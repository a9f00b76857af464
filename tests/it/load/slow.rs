//! Clients that don't read what they ask for, in the middle of a battle: they are cut, whatever
//! carries them, and their opponents see an ordinary disconnect.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::polling::Polling;
use crate::harness::process::Options;
use crate::harness::{DEADLINE, Fighter, Http, Raw, Server, eventually, guest, team};

/// What slow readers may cost, over what the server needs with a battle.
const GROWTH_KIB_MAX: u64 = 64 * 1024;
/// Packets that may wait for one client.
const QUEUE_PACKETS_MAX: usize = 1_024;
const ASK: &str = r#"421["getState"]"#;
const PONG: &str = r#"42["pong"]"#;

/// A server on which a lost player has a second, and who asks a lot is no flooder.
async fn generous_server() -> Server {
    let options = Options::default().env("DISCONNECT_GRACE_PERIOD_TTL", "1");
    let options = options.env("SOCKET_EVENTS_PER_SECOND", "2000");
    options.env("SOCKET_EVENTS_BURST", "10000").start().await
}

/// The frame with which this player queues.
fn join(id: &str) -> String {
    format!("420{}", json!(["joinMatchmaking", team::schema(1, id)]))
}

/// What every opponent of a player who is cut sees: it plays on, and wins by the ordinary rules.
async fn assert_wins(honest: &Fighter) {
    let end = honest.message("BATTLE_END").await;
    assert_eq!(end.data, json!({"winner": honest.id, "reason": "surrender"}));
    honest.client.event("roomClosed").await;
    honest.client.settle().await;
}

#[tokio::test]
async fn a_websocket_player_who_asks_on_and_never_reads_is_cut_and_the_opponent_wins_as_usual() {
    never_read(usize::MAX).await;
}

#[tokio::test]
async fn a_websocket_player_who_reads_nothing_is_cut_before_the_queue_is_full() {
    let server = never_read(QUEUE_PACKETS_MAX - 100).await;
    assert!(!server.says("reads too slowly"), "its queue was not full");
}

/// A player answers every heartbeat, asks so often but never faster than it is served on a machine that
/// is not very slow, and reads nothing: only that gives it away.
async fn never_read(asks: usize) -> Server {
    let server = generous_server().await;
    let honest = Fighter::new(&server, 0).await;
    let id = guest(&server).await;
    let mut deaf = Raw::connect(&server, &id).await;
    honest.join().await;
    deaf.send(&join(&id)).await;
    honest.matched().await;
    deaf.text_where("the match", |text| text.starts_with(r#"42["matchSuccess""#)).await;
    deaf.send(r#"42["ready"]"#).await;
    honest.client.ok("ready", &[]).await;
    honest.message("TURN_ACTION").await;
    let before = server.resident_kib();

    let living = async {
        let mut asked = 0;
        while deaf.send(PONG).await && deaf.send("3").await {
            for _ in 0..8.min(asks - asked) {
                deaf.send(ASK).await;
                asked += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(2 * DEADLINE, living).await.expect("a client that never reads is cut");
    assert_wins(&honest).await;
    let after = server.resident_kib();
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
    server
}

/// Two players in a running battle, one of them by polling.
async fn polling_duel(server: &Server) -> (Fighter, Polling<'_>) {
    let honest = Fighter::new(server, 0).await;
    let id = guest(server).await;
    let polling = Polling::connect(server, &format!("playerId={id}&")).await;
    honest.join().await;
    polling.post(&[&join(&id)]).await;
    polling.poll_until(r#"42["matchSuccess""#).await;
    polling.post(&[r#"42["ready"]"#]).await;
    honest.client.ok("ready", &[]).await;
    honest.message("TURN_ACTION").await;
    (honest, polling)
}

#[tokio::test]
async fn a_polling_player_who_sends_and_never_polls_is_cut_and_the_opponent_wins_as_usual() {
    let server = generous_server().await;
    let (honest, polling) = polling_duel(&server).await;
    let before = server.resident_kib();
    let mut asks = vec![ASK; 20];
    asks.push(PONG);
    // Far beyond the packets that may wait for a client; each post is handled before the next.
    let ask = || async { polling.post(&asks).await };
    eventually("end of a session that is never polled", ask, |alive| !alive).await;
    assert_eq!(polling.poll().await, None, "the session is unknown from then on");
    assert_wins(&honest).await;
    let after = server.resident_kib();
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
}

#[tokio::test]
async fn a_polling_player_who_falls_silent_is_cut_and_the_opponent_wins_as_usual() {
    let server = generous_server().await;
    let (honest, polling) = polling_duel(&server).await;
    assert_wins(&honest).await;
    assert_eq!(polling.poll().await, None, "its client would connect anew");
}

#[tokio::test]
async fn a_websocket_that_began_as_polling_is_cut_like_any_other() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let query = format!("playerId={id}&");
    let flooding = async {
        let polling = Polling::connect(&server, &query).await;
        let mut upgraded = Raw::upgrade(&server, &polling.session).await;
        let mut sent = 0;
        while sent < 20_000 && upgraded.send(r#"42["getServerState"]"#).await {
            sent += 1;
            if sent % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(upgraded.is_cut_within(DEADLINE).await, "{sent} events and still connected");
    };
    let silent = async {
        let polling = Polling::connect(&server, &query).await;
        let mut upgraded = Raw::upgrade(&server, &polling.session).await;
        assert!(upgraded.is_cut_within(DEADLINE).await, "it never answered the heartbeat");
    };
    tokio::join!(flooding, silent);
    let online = || async {
        let status: Value = Http::get(&server, "/cluster/status").send().await.json();
        status["stats"]["players"]["connected"].clone()
    };
    eventually("their goodbyes", online, |connected| *connected == 0).await;
}
