//! A player who queues, fights and comes back, on whichever node there is.
//!
//! Each match is a session of its own, so that what happened to it is a short story. A fighter decides by
//! what the server tells: he may be matched while he is away, and is told so when he comes back.

mod battle;

use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::distr::{Alphanumeric, SampleString as _};
use serde_json::{Value, json};

use super::hand::{Done, Guest, Hand};
use super::team;
use crate::client::{Dial, Event, Socket};
use crate::history::{Call, Class, Heard, Line};

const SESSION_CHARS: usize = 12;
/// Sessions of one player.
const SESSIONS: std::ops::Range<usize> = 1..4;
/// How long somebody waits to be matched before he gives up.
const MATCH_PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may be heard before somebody asks how it stands.
const SILENCE: Duration = Duration::from_secs(2);
/// How long somebody who cancelled looks whether he was matched all the same.
const LOOK_BACK: Duration = Duration::from_millis(300);

/// How somebody behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temper {
    /// Chances of doing so, each time there is an occasion.
    pub(crate) joins_twice: f64,
    pub(crate) cancels: f64,
    pub(crate) leaves_and_returns: f64,
    pub(crate) retries: f64,
    /// Chooses once more while the opponent has not chosen, or perhaps just has.
    pub(crate) changes_mind: f64,
    pub(crate) surrenders: f64,
    /// Time to think before a choice, milliseconds.
    pub(crate) thinks_ms: (u64, u64),
}

impl Temper {
    /// Does everything that a client may do.
    pub(crate) fn lively() -> Self {
        Self {
            joins_twice: 0.15,
            cancels: 0.15,
            leaves_and_returns: 0.04,
            retries: 0.2,
            changes_mind: 0.2,
            surrenders: 0.1,
            thinks_ms: (20, 120),
        }
    }

    /// Can't decide, and gives up soon: many choices are on their way when a battle ends.
    pub(crate) fn wavering() -> Self {
        Self { changes_mind: 0.8, surrenders: 0.4, ..Self::lively() }
    }

    /// Plays to the end.
    pub(crate) fn calm() -> Self {
        Self {
            joins_twice: 0.0,
            cancels: 0.0,
            leaves_and_returns: 0.0,
            retries: 0.0,
            changes_mind: 0.0,
            surrenders: 0.15,
            thinks_ms: (1, 10),
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The battle in this room is over, and he was told so.
    Fought { room: String },
    /// He left the queue, or gave up waiting.
    Unmatched,
    /// The run ends.
    Stopped,
}

/// One session of a player.
pub(crate) struct Fighter {
    hand: Hand,
    guest: Guest,
    temper: Temper,
    session: String,
    node: usize,
    socket: Option<Socket>,
    queued: bool,
    room: Option<String>,
    is_ready: bool,
    ended: bool,
    /// A choice that has had no answer, with its request.
    unanswered: Option<(Value, String)>,
}

/// Matches until the run ends.
pub(super) async fn go_on(mut hand: Hand, temper: Temper) {
    while !hand.world.is_stopping() {
        let Some(guest) = hand.guest().await else { continue };
        for _ in 0..hand.rng.random_range(SESSIONS) {
            if hand.world.is_stopping() {
                return;
            }
            let mut fighter = Fighter::new(hand, guest.clone(), temper);
            fighter.fight().await;
            hand = fighter.close().await;
        }
    }
}

impl Fighter {
    pub(crate) fn new(mut hand: Hand, guest: Guest, temper: Temper) -> Self {
        let session = Alphanumeric.sample_string(&mut hand.rng, SESSION_CHARS);
        let node = hand.any_node();
        Self {
            hand,
            guest,
            temper,
            session,
            node,
            socket: None,
            queued: false,
            room: None,
            is_ready: false,
            ended: false,
            unanswered: None,
        }
    }

    /// Begins at a certain node.
    pub(crate) fn at(mut self, node: usize) -> Self {
        self.node = node;
        self
    }

    /// Queues, fights and hears the end.
    pub(crate) async fn fight(&mut self) -> End {
        let began = Instant::now();
        loop {
            let is_leaving = self.hand.world.is_stopping() && self.room.is_none();
            if is_leaving && !self.queued {
                return End::Stopped;
            }
            if self.socket.is_none() && !self.come_back().await {
                return End::Stopped;
            }
            if is_leaving {
                // Whoever went without a word could be matched all the same, and his opponent would wait for him.
                if self.queued && self.room.is_none() {
                    self.cancel().await;
                    if self.look_back().await {
                        return End::Stopped;
                    }
                }
                continue;
            }
            if self.room.is_none() && !self.queued {
                self.queue().await;
                if self.hand.chance(self.temper.cancels) && self.thinks_better_of_it().await {
                    return End::Unmatched;
                }
                continue;
            }
            if self.room.is_some() && !self.is_ready {
                self.get_ready().await;
            }
            let Some(socket) = &mut self.socket else { continue };
            let event = socket.next(SILENCE).await;
            self.handle(event).await;
            if self.ended
                && let Some(room) = self.room.take()
            {
                return End::Fought { room };
            }
            if self.room.is_none() && self.queued && began.elapsed() > MATCH_PATIENCE {
                self.cancel().await;
                if self.look_back().await {
                    return End::Unmatched;
                }
            }
        }
    }

    /// Leaves, and gives the hand back.
    pub(crate) async fn close(mut self) -> Hand {
        if let Some(socket) = self.socket.take()
            && self.hand.chance(0.5)
        {
            socket.leave().await;
        }
        self.hand
    }

    /// Connects to one node after the other until one lets him in; then asks where he stands.
    async fn come_back(&mut self) -> bool {
        while !self.connect().await {
            if self.hand.world.is_stopping() {
                return false;
            }
            self.hand.again().await;
            self.node = self.hand.other_node(self.node);
        }
        if self.queued || self.room.is_some() {
            self.ask_where_he_stands().await;
        }
        true
    }

    async fn connect(&mut self) -> bool {
        let dial = Dial {
            address: self.hand.world.cluster.address(self.node),
            from: self.hand.from,
            player: self.guest.player.clone(),
            session: self.session.clone(),
            token: Some(self.guest.access.clone()),
            npm: self.hand.npm.clone(),
        };
        let call =
            Call::Connect { player: self.guest.player.clone(), session: self.session.clone() };
        let refused =
            |text: &str| Done { class: Class::Info, code: text.to_owned(), out: Value::Null };
        let (_, socket) = self.hand.connect(self.node, call, &dial, refused).await;
        self.socket = socket;
        self.socket.is_some()
    }

    /// After a lost connection: is there a battle, or still a place in the queue?
    async fn ask_where_he_stands(&mut self) {
        let done = self.state().await;
        match done.class {
            Class::Ok if self.room.is_some() => self.choose_if_asked().await,
            // Matched while he was away: he is told in a moment.
            Class::Ok | Class::Info => {}
            // Not in a battle. The place in the queue went with the connection, or it is kept for a while and
            // taken again by the same session.
            Class::Fail if self.room.is_none() => self.queued = false,
            Class::Fail => self.ended = true,
        }
    }

    /// Asks for the battle as he may see it.
    async fn state(&mut self) -> Done {
        let (player, session) = self.whom();
        let call = Call::State { player, session };
        let Some(socket) = &self.socket else { return Done::info("no connection") };
        let read = |data: &Value| {
            let players = data["players"].as_array().into_iter().flatten();
            let players: Vec<&Value> = players.map(|player| &player["id"]).collect();
            json!({ "players": players, "status": data["status"], "sequence": data["sequenceId"] })
        };
        self.hand.ask(socket, self.node, call, ("getState", None), read).await
    }

    async fn queue(&mut self) {
        let request = self.hand.request();
        let done = self.join(&request).await;
        if done.class == Class::Info {
            // The same request through another node, if this one is gone.
            self.hand.again().await;
            if self.socket_is_gone().await || self.room.is_some() {
                return;
            }
            self.join(&request).await;
        } else if done.is_ok() {
            self.queued = true;
            if self.hand.chance(self.temper.joins_twice) {
                self.join_through_another_node(&request).await;
            }
        } else {
            self.hand.again().await;
        }
    }

    async fn join(&mut self, request: &str) -> Done {
        let (player, session) = self.whom();
        let team = team::schema(self.hand.actor as usize, &player);
        let call = Call::Join { player, session, request: request.to_owned() };
        let Some(socket) = &self.socket else { return Done::info("no connection") };
        let done = self
            .hand
            .ask(socket, self.node, call, ("joinMatchmaking", Some(&team)), |data| data.clone())
            .await;
        self.queued |= done.is_ok();
        done
    }

    /// A second connection of the same session, at another node, which says the same again.
    async fn join_through_another_node(&mut self, request: &str) {
        let (node, former) = (self.node, self.socket.take());
        self.node = self.hand.other_node(node);
        if self.connect().await {
            self.join(request).await;
        } else {
            self.node = node;
            self.socket = former;
        }
    }

    /// Cancels; true if he was not matched before.
    async fn thinks_better_of_it(&mut self) -> bool {
        self.hand.think(0..100).await;
        self.cancel().await;
        self.look_back().await
    }

    async fn cancel(&mut self) -> Done {
        let (player, session) = self.whom();
        let call = Call::Cancel { player, session, request: self.hand.request() };
        let Some(socket) = &self.socket else { return Done::info("no connection") };
        let asked =
            self.hand.ask(socket, self.node, call, ("cancelMatchmaking", None), Value::clone);
        asked.await
    }

    /// Whether nothing says that he was matched.
    async fn look_back(&mut self) -> bool {
        let until = Instant::now() + LOOK_BACK;
        while Instant::now() < until && self.room.is_none() {
            let Some(socket) = &mut self.socket else { break };
            match socket.next(LOOK_BACK).await {
                None => break,
                event => self.handle(event).await,
            }
        }
        self.room.is_none()
    }

    /// What somebody heard, or that he heard nothing for a while.
    async fn handle(&mut self, event: Option<Event>) {
        let Some(event) = event else {
            if self.room.is_some() {
                self.choose_if_asked().await;
            } else {
                // Only a sign of life: who is matched is told so, and need not find out by asking.
                self.state().await;
            }
            return;
        };
        let (name, argument) = match event {
            Event::Push(name, argument) => (name, argument),
            Event::Gone { dismissed, why } => {
                self.note(Heard::Gone { dismissed, why });
                self.socket = None;
                return;
            }
        };
        match name.as_str() {
            "matchSuccess" => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let data = &argument["data"];
                let (room, opponent) = (text(&data["roomId"]), text(&data["opponent"]["id"]));
                self.note(Heard::Matched { room: room.clone(), opponent });
                if self.room.as_ref() != Some(&room) {
                    self.is_ready = false;
                }
                self.room = Some(room);
                self.queued = false;
            }
            "battleReconnect" => {
                let room = argument["roomId"].as_str().unwrap_or_default().to_owned();
                self.note(Heard::Resumed { room: room.clone() });
                self.room = Some(room);
                self.queued = false;
            }
            "roomClosed" => {
                let room = argument["roomId"].as_str().unwrap_or_default().to_owned();
                self.ended |= self.room.as_ref() == Some(&room);
                self.note(Heard::RoomClosed { room });
            }
            "battleEvent" => self.battle_message(&argument).await,
            _ => {}
        }
    }

    fn whom(&self) -> (String, String) {
        (self.guest.player.clone(), self.session.clone())
    }

    /// Takes what has been heard meanwhile: that may be the end of the connection, or a match.
    async fn socket_is_gone(&mut self) -> bool {
        while let Some(event) = self.socket.as_mut().and_then(Socket::heard) {
            self.handle(Some(event)).await;
        }
        self.socket.is_none()
    }

    /// Writes down what was heard.
    fn note(&self, heard: Heard) {
        let (player, session) = self.whom();
        let socket = self.socket.as_ref().map(|socket| socket.id().to_owned());
        let (actor, node) = (self.hand.actor, self.node);
        let socket = socket.unwrap_or_default();
        self.hand.world.history.write(|t| Line::Heard {
            t,
            actor,
            node,
            player,
            session,
            socket,
            heard,
        });
    }
}
