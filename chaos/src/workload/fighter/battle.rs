//! The battle: ready, choices when asked for, the same choice again through another node, and the end.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use super::Fighter;
use crate::history::{Call, Class, Heard};
use crate::workload::hand::Done;

impl Fighter {
    pub(super) async fn get_ready(&mut self) {
        let (player, session) = self.whom();
        let room = self.room.clone().unwrap_or_default();
        let call = Call::Ready { player, session, room, request: self.hand.request() };
        let Some(socket) = &self.socket else { return };
        let done = self.hand.ask(socket, self.node, call, ("ready", None), Value::clone).await;
        match done.class {
            Class::Ok => self.is_ready = true,
            Class::Info => self.hand.again().await,
            // There is nothing to be ready for: what happened is told, or was.
            Class::Fail => {
                self.is_ready = true;
                self.ended |= is_over(&done);
            }
        }
    }

    pub(super) async fn battle_message(&mut self, message: &Value) {
        let Some(sequence) = message["sequenceId"].as_i64() else { return };
        let kind = message["type"].as_str().unwrap_or_default().to_owned();
        let mut story = DefaultHasher::new();
        let told = (&kind, message["battleId"].as_str(), message["data"].to_string());
        told.hash(&mut story);
        let asks = asks(&kind, &message["data"], &self.guest.player);
        let winner = message["data"]["winner"].as_str().filter(|_| kind == "BATTLE_END");
        self.note(Heard::Battle {
            room: self.room.clone().unwrap_or_default(),
            sequence,
            winner: winner.map(str::to_owned),
            kind,
            story: format!("{:016x}", story.finish()),
        });
        if asks {
            self.hand.think(self.temper.thinks_ms.0..self.temper.thinks_ms.1).await;
            if self.hand.chance(self.temper.leaves_and_returns) {
                self.go_elsewhere();
                return;
            }
            self.choose_if_asked().await;
            if self.hand.chance(0.05) {
                self.state().await;
            }
        }
    }

    /// Cuts his own connection: he comes back through another node.
    fn go_elsewhere(&mut self) {
        self.note(Heard::Gone { dismissed: false, why: "cut by himself".to_owned() });
        self.socket = None;
        self.node = self.hand.other_node(self.node);
    }

    /// Asks what may be chosen now, and chooses if there is something.
    pub(super) async fn choose_if_asked(&mut self) {
        if let Some((choice, request)) = self.unanswered.take() {
            // Nobody said what became of it: the same request again, wherever he is now.
            self.submit(&choice, request).await;
        }
        let (player, session) = self.whom();
        let call = Call::Choices { player, session };
        let Some(socket) = &self.socket else { return };
        let offered = parking_lot::Mutex::new(Vec::new());
        let read = |data: &Value| {
            *offered.lock() = data.as_array().cloned().unwrap_or_default();
            json!(offered.lock().len())
        };
        let done =
            self.hand.ask(socket, self.node, call, ("getAvailableSelection", None), read).await;
        if is_over(&done) {
            self.ended = true;
        }
        let offered = offered.into_inner();
        let Some(choice) = self.pick(&offered) else { return };
        let request = self.hand.request();
        let done = self.submit(&choice, request.clone()).await;
        if done.is_ok() && self.hand.chance(self.temper.retries) {
            self.submit(&choice, request).await;
        }
        let mut accepted = done.is_ok();
        while accepted && self.hand.chance(self.temper.changes_mind) {
            accepted = self.change_his_mind(&offered).await;
        }
    }

    /// Another choice in place of the last one: it may come when the turn, or the battle, is over. False if it was
    /// not taken.
    async fn change_his_mind(&mut self, offered: &[Value]) -> bool {
        let (least, longest) = self.temper.thinks_ms;
        self.hand.think(least..longest).await;
        let Some(choice) = self.pick(offered) else { return false };
        let request = self.hand.request();
        self.submit(&choice, request).await.is_ok()
    }

    fn pick(&mut self, offered: &[Value]) -> Option<Value> {
        let (last, rest) = offered.split_last()?;
        let gives_up = rest.is_empty() || self.hand.rng.random_bool(self.temper.surrenders);
        let choice = if gives_up { last } else { rest.choose(&mut self.hand.rng)? };
        Some(choice.clone())
    }

    async fn submit(&mut self, choice: &Value, request: String) -> Done {
        let (player, session) = self.whom();
        let room = self.room.clone().unwrap_or_default();
        let shown = choice["type"].as_str().unwrap_or_default().to_owned();
        let call = Call::Submit { player, session, room, choice: shown, request: request.clone() };
        let Some(socket) = &self.socket else { return Done::info("no connection") };
        let event = ("submitPlayerSelection", Some(choice));
        let done = self.hand.ask(socket, self.node, call, event, Value::clone).await;
        if done.class == Class::Info {
            self.unanswered = Some((choice.clone(), request));
        }
        done
    }
}

/// Whether a message asks this player to choose.
fn asks(kind: &str, data: &Value, player: &str) -> bool {
    match kind {
        "TURN_ACTION" | "FORCED_SWITCH" => {
            data["player"].as_array().is_some_and(|players| players.contains(&json!(player)))
        }
        "FAINT_SWITCH" => data["player"] == player,
        _ => false,
    }
}

/// Whether an answer says that there is no battle any more.
fn is_over(done: &Done) -> bool {
    let gone = ["BATTLE_NOT_FOUND", "NOT_IN_BATTLE", "ROOM_NOT_FOUND"];
    done.class == Class::Fail && gone.iter().any(|code| done.code.contains(code))
}
