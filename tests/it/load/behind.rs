//! Battle workers that are always behind: whatever happens meanwhile is told, once and in order.

use futures::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;

use crate::harness::battle::messages;
use crate::harness::socket::{Event, events};
use crate::harness::{Duel, Fighter, Server};

const DUELS: usize = 6;

/// A server whose workers rest so long before all that they do.
async fn slow_workers(ms: u32) -> Server {
    Server::with("FAILPOINTS", &format!("battles=sleep({ms})")).start().await
}

/// Queues and waits for a room other than this one.
async fn matched_again(fighter: &Fighter, last: &str) -> String {
    let other = |found: &Event| found.arg()["data"]["roomId"] != last;
    let found = fighter.client.event_where("matchSuccess", other).await;
    found.arg()["data"]["roomId"].as_str().expect("a match has a room").to_owned()
}

/// Waits for the first message of this type behind a number in this room's battle, and gives its number.
async fn message(fighter: &Fighter, room: &str, after: i64, kind: &str) -> i64 {
    let found = fighter.client.wait(kind, |records| {
        let begun = |event: &&Event| event.arg()["data"]["roomId"] != room;
        let mut numbers = events(records)
            .skip_while(begun)
            .filter(|event| event.name == "battleEvent" && event.arg()["type"] == kind)
            .filter_map(|event| event.arg()["sequenceId"].as_i64());
        numbers.find(|number| *number > after)
    });
    found.await
}

/// One turn, then both give up. Returns when both have seen the end.
async fn fight(duel: &Duel) {
    let both = [&duel.a, &duel.b];
    let mut after = -1;
    for fighter in both {
        fighter.client.ok("ready", &[]).await;
    }
    for turn in 0..2 {
        let asked = both.map(|fighter| message(fighter, &duel.room, after, "TURN_ACTION"));
        after = join_all(asked).await[0];
        let choosing = both.map(|fighter| async move {
            match turn {
                0 => fighter.attack().await,
                _ => fighter.submit(&fighter.surrender()).await,
            }
        });
        join_all(choosing).await;
    }
    join_all(both.map(|fighter| message(fighter, &duel.room, after, "BATTLE_END"))).await;
}

/// Two battles of the same two, and what they heard of them.
pub(super) async fn fight_twice(mut duel: Duel, queue: &Mutex<()>) {
    fight(&duel).await;
    let first = duel.room.clone();
    {
        // One pair at a time. The room need not be closed yet: the next match must come behind that.
        let _turn = queue.lock().await;
        tokio::join!(duel.a.join(), duel.b.join());
        duel.room = matched_again(&duel.a, &first).await;
        assert_eq!(duel.room, matched_again(&duel.b, &first).await);
    }
    fight(&duel).await;
    for fighter in [&duel.a, &duel.b] {
        let closed = |event: &Event| *event.arg() == json!({"roomId": duel.room});
        fighter.client.event_where("roomClosed", closed).await;
        fighter.client.settle().await;
        assert_told_once_and_in_order(fighter, &[&first, &duel.room]);
    }
}

/// What a socket heard of its battles, one line each.
fn story(fighter: &Fighter) -> Vec<String> {
    let line = |event: &Event| {
        let it = event.arg();
        match event.name.as_str() {
            "matchSuccess" => Some(format!("match {}", it["data"]["roomId"])),
            "battleEvent" => Some(it["sequenceId"].to_string()),
            "roomClosed" => Some(format!("closed {}", it["roomId"])),
            _ => None,
        }
    };
    events(&fighter.client.records()).filter_map(line).collect()
}

/// For each of these rooms the match, the messages without a gap, and the closing, nothing twice.
fn assert_told_once_and_in_order(fighter: &Fighter, rooms: &[&str]) {
    let all = messages(&fighter.client);
    let battles: Vec<_> = all.chunk_by(|a, b| a.battle == b.battle).collect();
    assert_eq!(battles.len(), rooms.len());
    let mut told = Vec::new();
    for (room, battle) in rooms.iter().zip(battles) {
        told.push(format!("match {}", json!(room)));
        told.extend((0..battle.len()).map(|number| number.to_string()));
        told.push(format!("closed {}", json!(room)));
        let ends = battle.iter().filter(|message| message.kind == "BATTLE_END").count();
        assert_eq!(ends, 1);
    }
    assert_eq!(story(fighter), told);
}

#[tokio::test]
async fn players_whose_worker_is_always_behind_are_told_everything_once_and_in_order() {
    let server = slow_workers(100).await;
    let mut duels = Vec::new();
    for _ in 0..DUELS {
        duels.push(Duel::paired(&server).await);
    }
    let queue = Mutex::new(());
    join_all(duels.into_iter().map(|duel| fight_twice(duel, &queue))).await;
}

#[tokio::test]
async fn who_comes_back_to_a_worker_that_is_behind_goes_on_where_the_state_ends() {
    let server = slow_workers(40).await;
    let mut duel = Duel::started(&server).await;
    let asked = duel.attack_once(-1).await;
    duel.a.reconnect(&server).await;
    duel.b.attack().await;
    duel.a.client.resume().await;
    duel.a.attack().await;
    let turn = duel.a.message_after(asked, "TURN_END").await;
    duel.a.message_after(turn.sequence, "TURN_ACTION").await;
    duel.a.assert_in_step().await;
    for fighter in [&duel.a, &duel.b] {
        fighter.submit(&fighter.surrender()).await;
    }
    for fighter in [&duel.a, &duel.b] {
        fighter.message("BATTLE_END").await;
        fighter.client.event("roomClosed").await;
    }
}

#[tokio::test]
async fn a_battle_whose_worker_hangs_is_busy_and_not_gone() {
    // Longer than a question is waited for.
    let server = slow_workers(8_000).await;
    let duel = Duel::paired(&server).await;
    let refusal = duel.a.client.refused("ready", &[]).await;
    assert_eq!(refusal, ("READY_ERROR".into(), "BATTLE_OWNER_TEMP_UNAVAILABLE".into()));
}
