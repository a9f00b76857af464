//! Players who fight: they pair, get ready, choose what is offered, and check on the way what a
//! client relies on at every choice (checklist rows 15, 16, 18).

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::socket::{Client, Dial, Event};
use super::{Server, guest, team};

/// A battle message as one viewer got it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) data: Value,
    pub(crate) battle: String,
    pub(crate) raw: String,
    /// The viewer's state after it.
    pub(crate) state: Arc<Value>,
}

impl Message {
    fn read(event: &Event) -> Option<Self> {
        let message = event.arg();
        Some(Self {
            sequence: message["sequenceId"].as_i64()?,
            kind: message["type"].as_str()?.to_owned(),
            data: message["data"].clone(),
            battle: message["battleId"].as_str().unwrap_or_default().to_owned(),
            raw: event.raw.clone(),
            state: event.state.clone()?,
        })
    }

    /// Whether it asks this player to choose.
    pub(crate) fn asks(&self, player: &str) -> bool {
        match self.kind.as_str() {
            "TURN_ACTION" | "FORCED_SWITCH" => self.data["player"]
                .as_array()
                .is_some_and(|players| players.contains(&json!(player))),
            "FAINT_SWITCH" => self.data["player"] == player,
            _ => false,
        }
    }
}

/// All numbered battle messages a client has got.
pub(crate) fn messages(client: &Client) -> Vec<Message> {
    client.events("battleEvent").iter().filter_map(Message::read).collect()
}

/// A player with a team and a connection.
pub(crate) struct Fighter {
    pub(crate) id: String,
    pub(crate) session: String,
    pub(crate) team: Value,
    pub(crate) client: Client,
}

impl Fighter {
    /// A new guest, connected with a session id of its own.
    pub(crate) async fn new(server: &Server, team: usize) -> Self {
        let id = guest(server).await;
        let session = format!("session-of-{}", &id[..8]);
        let client = Dial::player(server, &id).session(&session).open().await;
        Self { team: team::schema(team, &id), id, session, client }
    }

    /// Connects again with the same session id; what the former connection had got is dropped with it.
    pub(crate) async fn reconnect(&mut self, server: &Server) {
        self.client = Dial::player(server, &self.id).session(&self.session).open().await;
    }

    /// Queues and wants to hear so.
    pub(crate) async fn join(&self) {
        let data = self.client.ok("joinMatchmaking", std::slice::from_ref(&self.team)).await;
        assert_eq!(data, json!({"status": "QUEUED"}));
    }

    /// Waits for the pairing and gives the room's id.
    pub(crate) async fn matched(&self) -> String {
        let found = self.client.event("matchSuccess").await;
        assert_eq!(found.arg()["status"], "SUCCESS");
        found.arg()["data"]["roomId"].as_str().expect("a match has a room").to_owned()
    }

    /// Waits for the first message of this type after a number.
    pub(crate) async fn message_after(&self, sequence: i64, kind: &str) -> Message {
        self.wait_message(kind, |message| message.sequence > sequence && message.kind == kind).await
    }

    /// Waits for the first message of this type.
    pub(crate) async fn message(&self, kind: &str) -> Message {
        self.message_after(-1, kind).await
    }

    /// Waits until a message after this one asks for a choice, and gives its number.
    pub(crate) async fn wait_until_asked(&self, after: i64) -> i64 {
        let asked = self
            .wait_message("that asks to choose", |m| m.sequence > after && m.asks(&self.id))
            .await;
        asked.sequence
    }

    /// Waits for the first message that is wanted.
    pub(crate) async fn wait_message(
        &self,
        what: &str,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        self.client
            .wait(&format!("message {what}"), |records| {
                let events =
                    super::socket::events(records).filter(|event| event.name == "battleEvent");
                events.filter_map(Message::read).find(|message| wanted(message))
            })
            .await
    }

    /// What may be chosen now.
    pub(crate) async fn available(&self) -> Vec<Value> {
        let data = self.client.ok("getAvailableSelection", &[]).await;
        data.as_array().expect("the choices are a list").clone()
    }

    /// The first available choice of this type.
    pub(crate) async fn available_of(&self, kind: &str) -> Value {
        let available = self.available().await;
        let found = available.iter().find(|choice| choice["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} among {available:?}")).clone()
    }

    /// Chooses and wants to hear that it was accepted.
    pub(crate) async fn submit(&self, choice: &Value) {
        let data = self.client.ok("submitPlayerSelection", std::slice::from_ref(choice)).await;
        assert_eq!(data, json!({"status": "ACTION_ACCEPTED"}));
    }

    /// Uses the first skill that is on offer.
    pub(crate) async fn attack(&self) {
        self.submit(&self.available().await[0]).await;
    }

    /// A surrender as this player sends it.
    pub(crate) fn surrender(&self) -> Value {
        json!({"type": "surrender", "player": self.id})
    }

    /// What the server says the state is.
    pub(crate) async fn state(&self) -> Value {
        self.client.ok("getState", &[]).await
    }

    /// Checks that the patched state after a message is what the server says (row 16).
    pub(crate) async fn assert_in_step(&self) {
        let mut said = self.state().await;
        let sequence =
            said["sequenceId"].as_i64().expect("a started battle's state has its number");
        let mut patched = Value::clone(&*self.client.state_after(sequence).await);
        for state in [&mut said, &mut patched] {
            state.as_object_mut().expect("a state is an object").remove("sequenceId");
        }
        if let Some(where_) = difference(&patched, &said, "state") {
            panic!("patched and asked states differ after message {sequence}: {where_}");
        }
    }

    /// Chooses at random whenever asked, from the messages after `after` on, until the battle ends.
    /// `asked` says that a choice is open already. Returns the `BATTLE_END`.
    pub(crate) async fn play(&self, seed: u64, after: i64, asked: bool) -> Message {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut seen = after;
        if asked {
            self.choose(&mut rng).await;
        }
        loop {
            let next = self
                .wait_message("that asks to choose, or the end", |message| {
                    message.sequence > seen
                        && (message.kind == "BATTLE_END" || message.asks(&self.id))
                })
                .await;
            seen = next.sequence;
            if next.kind == "BATTLE_END" {
                return next;
            }
            self.assert_in_step().await;
            self.choose(&mut rng).await;
        }
    }

    /// Chooses at random, a skill mostly.
    pub(crate) async fn choose(&self, rng: &mut StdRng) {
        let available = self.available().await;
        let of = |kind: &str| -> Vec<&Value> {
            available.iter().filter(|choice| choice["type"] == kind).collect()
        };
        let (skills, switches) = (of("use-skill"), of("switch-pet"));
        let choice = match (skills.as_slice(), switches.as_slice()) {
            ([], []) => of("do-nothing").first().copied(),
            ([], switches) => switches.choose(rng).copied(),
            (_, switches) if !switches.is_empty() && rng.random_ratio(1, 8) => {
                switches.choose(rng).copied()
            }
            (skills, _) => skills.choose(rng).copied(),
        };
        let choice =
            choice.unwrap_or_else(|| panic!("asked to choose, but there is only {available:?}"));
        self.submit(choice).await;
    }
}

/// Two players in one room. A is the one who queued first.
pub(crate) struct Duel {
    pub(crate) a: Fighter,
    pub(crate) b: Fighter,
    pub(crate) room: String,
}

impl Duel {
    /// Two guests with different teams of three, paired.
    pub(crate) async fn paired(server: &Server) -> Self {
        Self::pair(Fighter::new(server, 0).await, Fighter::new(server, 1).await).await
    }

    /// Queues and pairs these two.
    pub(crate) async fn pair(a: Fighter, b: Fighter) -> Self {
        a.join().await;
        b.join().await;
        let room = a.matched().await;
        assert_eq!(room, b.matched().await, "both are told the same room");
        Self { a, b, room }
    }

    /// Two guests whose battle has begun and asks for the first choices.
    pub(crate) async fn started(server: &Server) -> Self {
        let duel = Self::paired(server).await;
        duel.ready().await;
        duel
    }

    /// Both are ready; returns when both are asked for their first choice.
    pub(crate) async fn ready(&self) {
        self.a.client.ok("ready", &[]).await;
        self.b.client.ok("ready", &[]).await;
        self.a.message("TURN_ACTION").await;
        self.b.message("TURN_ACTION").await;
    }

    /// Both attack once; returns the number of the message that asks for the next choices.
    pub(crate) async fn attack_once(&self, after: i64) -> i64 {
        self.a.attack().await;
        self.b.attack().await;
        let (turn, _) = tokio::join!(
            self.a.message_after(after, "TURN_END"),
            self.b.message_after(after, "TURN_END")
        );
        let (next, _) = tokio::join!(
            self.a.message_after(turn.sequence, "TURN_ACTION"),
            self.b.message_after(turn.sequence, "TURN_ACTION")
        );
        next.sequence
    }

    /// Both play to the end from here; returns both ends.
    pub(crate) async fn play(&self, seed: u64, after: i64, asked: bool) -> (Message, Message) {
        tokio::join!(self.a.play(seed, after, asked), self.b.play(seed + 1, after, asked))
    }
}

/// Where two values differ first.
fn difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let path = format!("{path}.{key}");
            match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => difference(a, b, &path),
                (a, b) => Some(format!("{path}: {a:?} or {b:?}")),
            }
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut items = a.iter().zip(b).enumerate();
            items.find_map(|(index, (a, b))| difference(a, b, &format!("{path}[{index}]")))
        }
        _ => (left != right).then(|| format!("{path}: {left} or {right}")),
    }
}
