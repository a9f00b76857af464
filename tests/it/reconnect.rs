//! Coming back to a battle that runs (contract 3.10): what the returning player is told and in which
//! order, what the opponent is told, and that nothing is lost or said twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::socket::events;
use crate::harness::{Client, Dial, Duel, Fighter, Server, eventually};

/// More returns than any battle of these teams has messages.
const RETURNS_MAX: usize = 2_000;

/// What a client was told beside heartbeats and counts, by name.
fn names(client: &Client) -> Vec<String> {
    let records = client.records();
    let told = events(&records).map(|event| event.name.clone());
    told.filter(|name| name != "ping" && name != "updateState").collect()
}

/// Who was away and who came back, as the opponent heard it.
fn absences(opponent: &Fighter) -> Vec<String> {
    names(&opponent.client).into_iter().filter(|name| name.starts_with("opponent")).collect()
}

/// Waits until the opponent has heard so many times that this player is away.
async fn is_missed(absent: &str, opponent: &Fighter, times: usize) {
    let told = || async { opponent.client.events("opponentDisconnected") };
    let told = eventually("news of the loss", told, |told| told.len() == times).await;
    let news = told[times - 1].arg();
    assert_eq!(*news, json!({"disconnectedPlayerId": absent, "graceTimeRemaining": 60_000}));
}

/// Waits until the opponent has heard so many times that this player is back.
async fn is_welcomed(returned: &str, opponent: &Fighter, times: usize) {
    let told = || async { opponent.client.events("opponentReconnected") };
    let told = eventually("news of the return", told, |told| told.len() == times).await;
    assert_eq!(*told[times - 1].arg(), json!({"reconnectedPlayerId": returned}));
}

/// What a returning client hears first; gives the state it goes on from.
async fn is_told_how_things_stand(client: &Client, room: &str) -> Value {
    client.event("reconnectTest").await;
    let head = ["timerSnapshot", "battleReconnect", "reconnectTest"];
    assert_eq!(names(client)[..3], head, "in this order, before anything else");
    let clocks = client.events("timerSnapshot")[0].arg()["snapshots"].clone();
    assert_eq!(clocks.as_array().map(Vec::len), Some(2), "both players' clocks: {clocks}");
    assert!(clocks[0]["remainingTotalTime"].is_number(), "{clocks}");
    let told = client.events("battleReconnect");
    assert_eq!(told.len(), 1, "once");
    let told = told[0].arg();
    let head = (&told["roomId"], &told["shouldRedirect"], &told["battleState"]);
    assert_eq!(head, (&json!(room), &json!(true), &json!("active")));
    told["fullBattleState"].clone()
}

async fn duel_on(trio: &Trio) -> Duel {
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel
}

#[tokio::test]
async fn both_are_told_of_a_return_through_any_node_and_the_battle_goes_on_from_the_state_in_it() {
    let trio = Trio::start().await;
    let mut duel = duel_on(&trio).await;
    let mut asked = duel.attack_once(-1).await;
    for (times, node) in [(1, 2), (2, 0), (3, 1)] {
        let Duel { a: Fighter { id, session, team, client }, b, room } = duel;
        client.cut();
        is_missed(&id, &b, times).await;
        let client = Dial::player(&trio.nodes[node], &id).session(&session).open().await;
        let state = is_told_how_things_stand(&client, &room).await;
        is_welcomed(&id, &b, times).await;
        let a = Fighter { id, session, team, client };
        assert_eq!(state, a.state().await);
        assert_eq!(state["sequenceId"], json!(asked));
        duel = Duel { a, b, room };
        // Each message from here on is checked to fit the state and the one before it.
        asked = duel.attack_once(asked).await;
        duel.a.assert_in_step().await;
    }
    assert_eq!(absences(&duel.b), ["opponentDisconnected", "opponentReconnected"].repeat(3));
    assert!(absences(&duel.a).is_empty(), "his opponent was there all the time");
}

#[tokio::test]
async fn new_sessions_of_a_player_come_back_to_the_battle_one_after_the_other() {
    let trio = Trio::start().await;
    let mut duel = duel_on(&trio).await;
    let mut asked = duel.attack_once(-1).await;
    for (times, node) in [(1, 1), (2, 2)] {
        let Duel { a: Fighter { id, team, client, .. }, b, room } = duel;
        client.cut();
        is_missed(&id, &b, times).await;
        let session = format!("life-{times}");
        let client = Dial::player(&trio.nodes[node], &id).session(&session).open().await;
        let state = is_told_how_things_stand(&client, &room).await;
        assert_eq!(state["sequenceId"], json!(asked));
        is_welcomed(&id, &b, times).await;
        duel = Duel { a: Fighter { id, session, team, client }, b, room };
        asked = duel.attack_once(asked).await;
        duel.a.assert_in_step().await;
    }
}

#[tokio::test]
async fn who_returns_while_his_opponent_is_away_hears_so_behind_the_state() {
    let server = Server::start().await;
    let Duel { a, b, room } = Duel::started(&server).await;
    let (id, session) = (a.id.clone(), a.session.clone());
    b.client.cut();
    let told = a.client.event("opponentDisconnected").await;
    a.client.cut();
    let a = Dial::player(&server, &id).session(&session).open().await;
    is_told_how_things_stand(&a, &room).await;
    let again = a.event("opponentDisconnected").await;
    let remaining = |told: &Value| told["graceTimeRemaining"].as_u64().expect("milliseconds");
    assert!(remaining(again.arg()) <= remaining(told.arg()), "the grace runs on");
    assert_eq!(again.arg()["disconnectedPlayerId"], json!(b.id));
    assert_eq!(names(&a).len(), 4, "no more than that: {:?}", names(&a));
}

#[tokio::test]
async fn a_newer_socket_of_a_session_gets_the_state_and_the_opponent_notices_nothing() {
    let server = Server::start().await;
    let mut duel = Duel::started(&server).await;
    let asked = duel.attack_once(-1).await;
    let newer = Dial::player(&server, &duel.a.id).session(&duel.a.session).open().await;
    is_told_how_things_stand(&newer, &duel.room).await;
    std::mem::replace(&mut duel.a.client, newer).leave().await;
    duel.attack_once(asked).await;
    duel.a.assert_in_step().await;
    assert!(absences(&duel.b).is_empty(), "{:?}", absences(&duel.b));
}

#[tokio::test]
async fn without_grace_nobody_is_told_of_absences() {
    let server = Server::with("DISCONNECT_GRACE_PERIOD_TTL", "0").start().await;
    let Duel { a, b, .. } = Duel::started(&server).await;
    a.client.cut();
    b.client.event("roomClosed").await;
    b.client.settle().await;
    assert!(absences(&b).is_empty(), "{:?}", absences(&b));
}

/// What a player knew of the battle after each message, over all his connections.
#[derive(Default)]
struct Known {
    states: BTreeMap<i64, Arc<Value>>,
}

impl Known {
    /// States of the same message must be the same, whichever connection they came by.
    fn add(&mut self, sequence: i64, state: Arc<Value>) {
        let mut state = state;
        // Only asked states have their number.
        Arc::make_mut(&mut state).as_object_mut().expect("a state").remove("sequenceId");
        if let Some(before) = self.states.get(&sequence) {
            assert_eq!(*before, state, "two connections differ after message {sequence}");
        }
        self.states.insert(sequence, state);
    }
}

/// A player whose connection is cut after each message he gets.
struct Restless {
    id: String,
    session: String,
    returns: usize,
    known: Known,
}

impl Restless {
    /// Plays to the end, through one node after the other.
    async fn play(&mut self, nodes: &[Server]) {
        let mut last = -1;
        while self.returns < RETURNS_MAX {
            let node = &nodes[self.returns % nodes.len()];
            self.returns += 1;
            let client = Dial::player(node, &self.id).session(&self.session).open().await;
            // Asked behind what a return brings.
            let asked = client.ask("getState", &[]).await;
            let Some(told) = client.events("battleReconnect").first().cloned() else {
                assert!(
                    asked["status"] == "ERROR" || asked["data"]["status"] == "Ended",
                    "{asked}"
                );
                return;
            };
            let base = &told.arg()["fullBattleState"];
            let sequence = base["sequenceId"].as_i64().expect("it has begun");
            assert!(sequence >= last, "the state of a return contains all that was told before");
            self.known.add(sequence, Arc::new(base.clone()));
            if base["status"] == "Ended" {
                client.event("roomClosed").await;
                return;
            }
            let choices = client.ok("getAvailableSelection", &[]).await;
            let choice = choices.as_array().and_then(|choices| choices.first());
            if let Some(choice) = choice.filter(|choice| choice["type"] != "surrender") {
                // It may be too late by now.
                client.ask("submitPlayerSelection", std::slice::from_ref(choice)).await;
            }
            // The next one that is news, whether or not others follow it at once.
            last = client
                .wait("next message", |records| {
                    let numbers = events(records).filter(|event| event.name == "battleEvent");
                    let mut numbers =
                        numbers.filter_map(|event| event.arg()["sequenceId"].as_i64());
                    let first = numbers.next();
                    assert!(
                        first.is_none_or(|first| first == sequence + 1),
                        "{first:?} {sequence}"
                    );
                    first
                })
                .await;
            let state = client.state_after(last).await;
            self.known.add(last, state);
            client.cut();
        }
        panic!("no end after {} returns", self.returns);
    }
}

#[tokio::test]
async fn a_player_who_is_cut_after_each_message_misses_nothing_and_hears_nothing_twice() {
    let trio = Trio::start().await;
    let Duel { a, b, .. } = duel_on(&trio).await;
    let mut restless = Restless {
        id: a.id.clone(),
        session: a.session.clone(),
        returns: 0,
        known: Known::default(),
    };
    a.client.cut();
    let (end, ()) = tokio::join!(b.play(7, -1, false), restless.play(&trio.nodes));
    assert!(restless.returns > 10, "{} returns", restless.returns);
    // The opponent, who was never away, knows the same battle where both may see the same.
    let last = restless.known.states.last_key_value().expect("there was a battle");
    let theirs = b.client.state_after(*last.0).await;
    let fields = ["status", "currentPhase", "currentTurn"];
    for field in fields {
        assert_eq!(last.1[field], theirs[field], "{field} after message {}", last.0);
    }
    assert!(*last.0 <= end.sequence);
    // Never away twice, never back twice.
    let told = absences(&b);
    let pairs = told.iter().zip(told.iter().skip(1));
    assert!(pairs.clone().all(|(one, next)| one != next), "{told:?}");
}

/// The request id at which a node dies.
const DOOMED: &str = "doomed";

#[tokio::test]
async fn a_player_whose_node_died_between_pairing_and_telling_is_told_where_he_returns() {
    // The node of the player who waits, whoever leads: it dies of the other one's join.
    let mut trio = Trio::start_with(|at, options: Options| match at {
        1 => options.env("FAILPOINTS", &format!("committed=return({DOOMED})")),
        _ => options,
    })
    .await;
    let mut waiting = Fighter::new(&trio.nodes[1], 0).await;
    waiting.join().await;
    let late = Fighter::new(&trio.nodes[0], 1).await;
    late.client.ok("joinMatchmaking", &[late.team.clone(), json!({"requestId": DOOMED})]).await;
    trio.nodes[1].died().await;
    assert!(waiting.client.events("matchSuccess").is_empty(), "it died before that");
    let room = late.matched().await;
    waiting.reconnect(&trio.nodes[2]).await;
    assert_eq!(waiting.matched().await, room);
    assert_eq!(names(&waiting.client)[0], "matchSuccess", "first of all");
    let told = waiting.client.event("battleReconnect").await;
    assert_eq!(told.arg()["fullBattleState"]["status"], "Unstarted");
    let duel = Duel { a: waiting, b: late, room };
    duel.ready().await;
    let (end, same) = duel.play(3, -1, false).await;
    assert_eq!(end.data, same.data);
}
