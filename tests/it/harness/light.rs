//! A player that costs little, for tests with thousands of them: one task, no records.
//!
//! It answers both heartbeats whenever it waits for anything, looks only into the messages that ask
//! it to choose or end its battle, and fights as a [`Manner`] says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::codec::{self, Frame};
use super::raw::{Stream, try_dial};
use super::{Server, team};

/// Longest wait for an answer. Far beyond what the contract gives: what hangs is to be seen.
const PATIENCE: Duration = Duration::from_secs(30);
const ANIMATION: Duration = Duration::from_millis(300);

/// Who hears of no match for so long looks whether he missed it.
const MATCH_PATIENCE: Duration = Duration::from_secs(3);

/// The connection is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// How a player plays.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Shortest and longest time for a choice, milliseconds.
    pub(crate) think_ms: (u64, u64),
    /// One choice in so many is preceded by an animation; 0 means none.
    pub(crate) animates: u32,
    /// One choice in so many is left to the turn's time-out; 0 means none.
    pub(crate) dreams: u32,
}

/// What many players saw together.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Time from an event to its ack, by the event's name.
    pub(crate) acks: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    /// Acks that were no success, by event and text.
    pub(crate) refusals: Mutex<BTreeMap<String, u64>>,
    /// Battles by how they ended for one of the two players.
    pub(crate) ends: Mutex<BTreeMap<String, u64>>,
}

impl Ledger {
    fn ack(&self, name: &'static str, took: Duration, answer: &Value) {
        self.acks.lock().entry(name).or_default().push(took);
        if answer["status"] != "SUCCESS" {
            let text = format!("{name}: {} {}", answer["code"], answer["details"]);
            *self.refusals.lock().entry(text).or_default() += 1;
        }
    }

    fn end(&self, how: &str) {
        *self.ends.lock().entry(how.to_owned()).or_default() += 1;
    }

    /// How many answers there were to this event.
    #[allow(dead_code, reason = "only the bench asks")]
    pub(crate) fn acks_of(&self, name: &str) -> usize {
        self.acks.lock().get(name).map_or(0, Vec::len)
    }

    /// How many battles ended in any other way for one of the two players.
    pub(crate) fn ended_otherwise_than(&self, how: &str) -> u64 {
        self.ends.lock().iter().filter(|(end, _)| *end != how).map(|(_, count)| count).sum()
    }

    /// How many battles ended so for one of the two players.
    pub(crate) fn ended(&self, how: &str) -> u64 {
        self.ends.lock().get(how).copied().unwrap_or_default()
    }
}

/// Whether it is not known what became of it, and the same may be asked again.
fn is_retryable(answer: &Value) -> bool {
    answer["details"] == "BATTLE_OWNER_TEMP_UNAVAILABLE"
        || answer["details"] == "CLUSTER_UNAVAILABLE"
}

/// A connected player.
pub(crate) struct Light {
    stream: Stream,
    player: String,
    next_ack: u64,
    matched: bool,
    asked: bool,
    end: Option<String>,
    room_closed: bool,
}

impl Light {
    /// Connects a player with a session id of its own.
    pub(crate) async fn connect(server: &Server, player: &str, from: Ipv4Addr) -> Self {
        let light = Self::reach(server.address(), player, from).await;
        light.unwrap_or_else(|refused| panic!("{player} can't connect: {refused}"))
    }

    /// The same at a server that may be dead, or let nobody in; the error says which.
    pub(crate) async fn reach(
        server: SocketAddr,
        player: &str,
        from: Ipv4Addr,
    ) -> Result<Self, String> {
        let query = format!("playerId={player}&sessionId=session-of-{}&", &player[..8]);
        let dialing = tokio::time::timeout(PATIENCE, try_dial(server, from, &query)).await;
        let stream =
            dialing.map_err(|late| late.to_string())?.map_err(|error| error.to_string())?;
        let mut light = Self {
            stream,
            player: player.to_owned(),
            next_ack: 0,
            matched: false,
            asked: false,
            end: None,
            room_closed: false,
        };
        let greeted = light.send(codec::connect(None)).await;
        greeted.map_err(|Gone| "the CONNECT packet is not taken".to_owned())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match light.next(deadline).await {
                Ok(Some(Frame::Connected(_))) => return Ok(light),
                Ok(Some(Frame::Refused(text))) => return Err(text),
                Ok(Some(_)) => {}
                other => return Err(format!("{other:?}")),
            }
        }
    }

    /// Does nothing but live, until the connection is gone.
    pub(crate) async fn idle(mut self) -> Gone {
        loop {
            if let Err(gone) = self.next(Instant::now() + PATIENCE).await {
                return gone;
            }
        }
    }

    /// Queues, and fights one battle to its end.
    pub(crate) async fn fight_once(
        &mut self,
        team: usize,
        manner: Manner,
        ledger: &Ledger,
    ) -> Result<(), Gone> {
        let mut rng = StdRng::seed_from_u64(team as u64);
        let team = team::schema(team, &self.player);
        (self.matched, self.asked, self.end, self.room_closed) = (false, false, None, false);
        self.ask("joinMatchmaking", &[team], ledger).await?;
        while !self.matched {
            self.next(Instant::now() + PATIENCE).await?;
        }
        self.ask("ready", &[], ledger).await?;
        self.battle(manner, &mut rng, ledger).await?;
        ledger.end(self.end.as_deref().unwrap_or("closed without an end"));
        Ok(())
    }

    /// Plays without end, from wherever this player's battle stands.
    pub(crate) async fn play_on(
        &mut self,
        team: usize,
        manner: Manner,
        ledger: &Ledger,
    ) -> Result<Infallible, Gone> {
        let mut rng = StdRng::seed_from_u64(team as u64);
        let team = team::schema(team, &self.player);
        loop {
            let state = self.ask("getState", &[], ledger).await?;
            let status = state["data"]["status"].as_str().filter(|status| *status != "Ended");
            (self.matched, self.end, self.room_closed) = (false, None, false);
            match status {
                Some("Unstarted") => drop(self.ask("ready", &[], ledger).await?),
                // Whatever asked him while he was away is not asked again.
                Some(_) => {
                    self.asked = true;
                    self.battle(manner, &mut rng, ledger).await?;
                    ledger.end(self.end.as_deref().unwrap_or("closed without an end"));
                }
                None => {
                    self.asked = false;
                    self.ask("joinMatchmaking", std::slice::from_ref(&team), ledger).await?;
                    let patience = Instant::now() + MATCH_PATIENCE;
                    while !self.matched && self.next(patience).await?.is_some() {}
                }
            }
        }
    }

    async fn battle(
        &mut self,
        manner: Manner,
        rng: &mut StdRng,
        ledger: &Ledger,
    ) -> Result<(), Gone> {
        let one_in = |rng: &mut StdRng, share: u32| share > 0 && rng.random_ratio(1, share);
        while !self.room_closed {
            if !self.asked || self.end.is_some() {
                self.next(Instant::now() + PATIENCE).await?;
                continue;
            }
            self.asked = false;
            if one_in(rng, manner.dreams) {
                continue;
            }
            let (least, most) = manner.think_ms;
            self.pause(Duration::from_millis(rng.random_range(least..=most))).await?;
            if one_in(rng, manner.animates) {
                self.animate(ledger).await?;
            }
            let choices = self.ask("getAvailableSelection", &[], ledger).await?;
            self.asked |= is_retryable(&choices);
            let choices = choices["data"].as_array().cloned().unwrap_or_default();
            let of = |kind: &str| -> Vec<&Value> {
                choices.iter().filter(|choice| choice["type"] == kind).collect()
            };
            let [skills, others] = [of("use-skill"), of("switch-pet")];
            let choice = skills.choose(rng).or_else(|| others.choose(rng)).copied();
            // The turn's clock may have been quicker.
            if let Some(choice) = choice.or_else(|| of("do-nothing").first().copied()) {
                let choice = std::slice::from_ref(choice);
                let answer = self.ask("submitPlayerSelection", choice, ledger).await?;
                self.asked |= is_retryable(&answer);
            }
        }
        Ok(())
    }

    async fn animate(&mut self, ledger: &Ledger) -> Result<(), Gone> {
        let animation = json!({
            "source": "strike", "expectedDuration": ANIMATION.as_millis() as u64, "ownerId": self.player,
        });
        let started = self.ask("startAnimation", &[animation], ledger).await?;
        if started["data"] != "disabled" {
            self.pause(ANIMATION).await?;
            let end = json!({"animationId": started["data"], "actualDuration": 300});
            self.send(codec::event("endAnimation", &[end], None)).await?;
        }
        Ok(())
    }

    /// Emits an event and waits for its ack; panics if there is none in a long time.
    pub(crate) async fn ask(
        &mut self,
        name: &'static str,
        args: &[Value],
        ledger: &Ledger,
    ) -> Result<Value, Gone> {
        let id = self.next_ack;
        self.next_ack += 1;
        let began = Instant::now();
        self.send(codec::event(name, args, Some(id))).await?;
        loop {
            match self.next(began + PATIENCE).await? {
                Some(Frame::Ack(of, mut answer)) if of == id => {
                    let answer = answer.pop().unwrap_or_default();
                    ledger.ack(name, began.elapsed(), &answer);
                    return Ok(answer);
                }
                Some(_) => {}
                None => panic!("no answer to {name} within {PATIENCE:?}"),
            }
        }
    }

    async fn pause(&mut self, pause: Duration) -> Result<(), Gone> {
        let deadline = Instant::now() + pause;
        while self.next(deadline).await?.is_some() {}
        Ok(())
    }

    async fn send(&mut self, text: String) -> Result<(), Gone> {
        self.stream.send(Message::text(text)).await.map_err(|_| Gone)
    }

    /// The next frame that may matter, after heartbeats were answered; `None` at the deadline.
    async fn next(&mut self, deadline: Instant) -> Result<Option<Frame>, Gone> {
        loop {
            let Ok(message) = tokio::time::timeout_at(deadline, self.stream.next()).await else {
                return Ok(None);
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
                Some(Ok(_)) => continue,
            };
            if text.as_str() == "2" {
                self.send(codec::PONG.to_owned()).await?;
            } else if text.starts_with(r#"42["ping""#) {
                self.send(codec::event("pong", &[], None)).await?;
            } else if self.matters(&text) {
                return codec::decode(&text).map(Some).map_err(|_| Gone);
            }
        }
    }

    /// Whether somebody may wait for this frame. Notes what an event says about the battle.
    fn matters(&mut self, text: &str) -> bool {
        if !text.starts_with("42") {
            return true;
        }
        let is = |name: &str| text[2..].starts_with(name);
        let has = |kind: &str| text.contains(kind);
        if is(r#"["matchSuccess""#) {
            self.matched = true;
        } else if is(r#"["roomClosed""#) {
            self.room_closed = true;
        } else if is(r#"["battleEvent""#)
            && ["TURN_ACTION", "FORCED_SWITCH", "FAINT_SWITCH", "BATTLE_END"].into_iter().any(has)
        {
            self.look(text);
        } else {
            return false;
        }
        true
    }

    fn look(&mut self, text: &str) {
        let Ok(Frame::Event(_, args)) = codec::decode(text) else { return };
        let Some(message) = args.first() else { return };
        let (kind, data) = (message["type"].as_str().unwrap_or_default(), &message["data"]);
        let me = json!(self.player);
        self.asked |= match kind {
            "TURN_ACTION" | "FORCED_SWITCH" => {
                data["player"].as_array().is_some_and(|players| players.contains(&me))
            }
            "FAINT_SWITCH" => data["player"] == me,
            _ => false,
        };
        if kind == "BATTLE_END" {
            self.end = Some(data["reason"].as_str().unwrap_or_default().to_owned());
        }
    }
}
