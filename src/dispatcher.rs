//! Delivers what the log decided to the sockets held here, in log order: for each proposal first the
//! answer to who asked (if that was here), then its effects. So QUEUED comes before `matchSuccess`.
//!
//! The dispatcher never waits for a socket, a worker or the disk: sockets have bounded queues of their
//! own and are cut when they are full, and a worker's orders wait for it (`battle/host/mailbox.rs`).
//! What the feed left out is made up for from the state (`dispatcher/reconcile.rs`).

mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serverv2_machine::planted::{self, Bug};
use serverv2_machine::{
    AppliedEntry, BattleSetup, Digest, Effect, NodeId, PlayerId, Rejection, Reply, RequestId,
    RoomId, Seat, SessionKey, SetupSeat, SocketId, TokenId,
};
use serverv2_raft::{Cluster, EffectFeed, FeedItem, Hold};
use tokio::sync::watch;
use tracing::field::display;
use tracing::{Span, debug, info, warn};

use self::reconcile::Place;
use crate::battle::host::{Audience, BattleHost, Cause, Ending, Opening, Statement, Watcher};
use crate::gateway::counters::Cut;
use crate::gateway::socket::LocalSocket;
use crate::gateway::wire::{
    Envelope, MatchSuccess, Opponent, OpponentDisconnected, OpponentReconnected, Push,
};
use crate::records::Records;
use crate::redis::mirror::Marks;
use crate::reports::LocalReports;
use crate::sessions::LocalSessions;

/// Log target of the line-by-line account of what was decided and delivered; `demo` prints it.
pub(crate) const TRANSCRIPT: &str = "transcript";

/// Why a proposal has no reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused by the log: nothing changed.
    Rejected(Rejection),
    /// It may have happened; a retry with the same client-chosen id is safe.
    Unavailable,
}

/// What to do with the answer to a proposal; runs in its place in log order and must not block.
pub(crate) type OnCommitted = Box<dyn FnOnce(Result<Reply, Failure>) + Send>;

/// Answers owed by this node, by the request they belong to. Bounded by what the cluster lets wait.
#[derive(Default)]
pub(crate) struct Acks {
    owed: Mutex<HashMap<RequestId, (OnCommitted, Hold)>>,
}

impl Acks {
    /// The answer to this request is owed; said before the request is submitted. The hold on it lasts until
    /// the debt is paid, so that the state tells the answer where the feed leaves it out.
    pub(crate) fn owe(&self, request: RequestId, hold: Hold, answer: OnCommitted) {
        self.owed.lock().insert(request, (answer, hold));
    }

    /// Takes the debt over, unless it has been paid: exactly one caller gets it.
    pub(crate) fn take(&self, request: RequestId) -> Option<OnCommitted> {
        let (answer, _hold) = self.owed.lock().remove(&request)?;
        Some(answer)
    }

    /// The requests whose answers are owed.
    fn requests(&self) -> Vec<RequestId> {
        self.owed.lock().keys().copied().collect()
    }
}

/// Sockets of this node in the seats of a room.
type Sockets = [Option<Watcher>; 2];

const NOBODY: Sockets = [None, None];

fn alone(seat: Seat, socket: Arc<LocalSocket>, returned: bool) -> Sockets {
    let mut sockets = NOBODY;
    sockets[seat.index()] = Some(Watcher { audience: socket, returned });
    sockets
}

/// See the module's text.
pub(crate) struct Dispatcher {
    pub(crate) cluster: Cluster,
    pub(crate) sessions: Arc<LocalSessions>,
    pub(crate) host: Arc<BattleHost>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) reports: Arc<LocalReports>,
    /// To be told what has changed, for the mirror in Redis.
    pub(crate) marks: Option<Arc<Marks>>,
    /// Index up to which everything has been delivered.
    pub(crate) delivered: watch::Sender<u64>,
}

impl Dispatcher {
    /// Runs until the feed ends, which it does when the node stops.
    pub(crate) async fn run(self, mut feed: EffectFeed) {
        self.open_homes();
        // Up to here the state has told what the feed left out, and also what it has yet to bring.
        let mut known = 0;
        while let Some(item) = feed.recv().await {
            match item {
                FeedItem::Applied(entry) => self.deliver(&entry, entry.index > known),
                FeedItem::Reset { index } => {
                    warn!(raft.index = index, "effects were skipped: reconcile with the state");
                    known = self.reconcile();
                    // After the state was read: what it knows already will not be told again.
                    self.records.forget_all();
                    self.reports.skipped(known);
                    if let Some(marks) = &self.marks {
                        marks.skipped();
                    }
                    self.delivered.send_replace(known);
                }
            }
        }
        info!("the effect feed has ended");
    }

    /// The answers of an entry and, unless they are news no more, its effects.
    fn deliver(&self, entry: &AppliedEntry, news: bool) {
        self.reports.applied(entry);
        for applied in entry.applied.iter() {
            if let (Some(marks), Ok(Reply::Issued(issued))) = (&self.marks, &applied.outcome) {
                marks.login(issued.player.id);
            }
            if let Some(answer) = self.acks.take(applied.request) {
                answer(applied.outcome.clone().map_err(Failure::Rejected));
            }
            let cause = Cause { request: applied.request, index: entry.index, term: entry.term };
            let _cause = cause.span().entered();
            for effect in applied.effects.iter().filter(|_| news) {
                debug!(target: TRANSCRIPT, { raft.index = entry.index }, "{effect}");
                self.effect(effect, cause);
                if let Some(marks) = &self.marks {
                    marks.effect(effect);
                }
            }
        }
        if news {
            self.delivered.send_replace(entry.index);
        }
    }

    fn effect(&self, effect: &Effect, cause: Cause) {
        match effect {
            Effect::SessionOpened { session, socket, node } => {
                // Its seat is watched from where it is now.
                if *node != self.me()
                    && let Some(former) = self.sessions.current(session)
                {
                    self.unseat(session, &former.id);
                }
                if let Some(local) = self.sessions.opened(session, socket) {
                    self.seat(session, &local);
                }
            }
            Effect::SessionClosed { session, socket, .. } => {
                self.unseat(session, socket);
                self.sessions.closed(session, socket);
            }
            Effect::RoomOpened { room, setup, home } => {
                let audience = self.audience(setup);
                if *home == self.me() {
                    self.reports.paired(*room);
                }
                if *home == self.me() || audience.iter().any(Option::is_some) {
                    self.host.open(
                        *room,
                        Opening { setup: setup.clone(), inputs: Vec::new(), home: *home, audience },
                    );
                }
            }
            Effect::MatchFound { session, room, seat, opponent, opponent_name } => {
                #[cfg(feature = "planted")]
                if planted::has(Bug::MatchSuccessOnlyByPubSub) {
                    let by_us = cause.request.node == self.me();
                    return self.publish_match(
                        by_us,
                        session,
                        *room,
                        *seat,
                        (*opponent, opponent_name),
                    );
                }
                self.matched(session, *room, *seat, *opponent, opponent_name);
            }
            Effect::SeatBound { session, .. } => {
                if let Some(local) = self.sessions.current(session) {
                    self.seat(session, &local);
                }
            }
            Effect::InputAppended { room, input } => {
                self.host.input(*room, input.clone(), cause);
            }
            Effect::DigestStated { room, by, number, digest, rebuilt } => {
                let (by, number, digest, rebuilt) = (*by, *number, *digest, *rebuilt);
                self.host.stated(*room, Statement { by, number, digest, rebuilt });
            }
            Effect::BattleEnded { room, digest, sessions, .. } => {
                self.ended(*room, *digest, sessions);
            }
            Effect::RoomRemoved { room } => self.host.removed(*room),
            Effect::ReportClosed { room, home, messages } => {
                self.reports.closed(self.me(), *room, *home, *messages);
            }
            Effect::HomeMoved { room, home } => {
                if *home == self.me() {
                    self.open_room(*room, NOBODY);
                    self.reports.opened(*room);
                }
                self.host.home_moved(*room, *home);
            }
            Effect::PlayerProved { player } => self.records.forget(*player),
            Effect::TicketAdded { .. } | Effect::TicketRemoved { .. } => {}
            Effect::SeatLost { room, player, opponent, grace_ms, .. } => {
                self.tell_presence(opponent, *room, *player, Some(*grace_ms));
            }
            Effect::SeatBack { room, player, opponent, .. } => {
                self.tell_presence(opponent, *room, *player, None);
            }
            Effect::SessionEnded { socket, .. } => {
                if let Some(local) = self.sessions.socket(socket) {
                    local.dismiss(Cut::Ended);
                }
            }
            Effect::TokensRevoked { token, .. } => {
                let of_family = |held: TokenId| held.family() == token.family();
                let held = self.sessions.with_token(of_family);
                held.iter().for_each(|socket| socket.dismiss(Cut::Revoked));
            }
            Effect::NodeCountedOut { node, .. } => {
                // Their sessions are lost with this node's former life: they come back as new ones.
                if *node == self.me() {
                    self.sessions
                        .all_current()
                        .iter()
                        .for_each(|socket| socket.cut(Cut::CountedOut));
                }
            }
        }
    }

    /// `matchSuccess`, after everything that the session's last room still has to say: a late
    /// `roomClosed` would end the new battle in the client's eyes.
    fn matched(
        &self,
        session: &SessionKey,
        room: RoomId,
        seat: Seat,
        opponent: PlayerId,
        name: &Arc<str>,
    ) {
        let Some(local) = self.sessions.current(session) else { return };
        Span::current().record("room.id", display(room));
        let name = name.clone();
        let tell = move |local: &LocalSocket| {
            let data = Some(MatchSuccess {
                room_id: room,
                opponent: Opponent { id: opponent, name: &name },
            });
            local.push(Push::MatchSuccess, &Envelope::Success { data });
        };
        let last = self.sessions.room(session).filter(|(last, _)| *last != room);
        self.sessions.told(&local, room, seat);
        match last {
            Some((last, _)) => self.host.after(last, move || tell(&local)),
            None => tell(&local),
        }
    }

    /// Tells of a match by one message through Redis, out of the process through which it came about.
    #[cfg(feature = "planted")]
    fn publish_match(
        &self,
        by_us: bool,
        session: &SessionKey,
        room: RoomId,
        seat: Seat,
        (id, name): (PlayerId, &Arc<str>),
    ) {
        let local = self.sessions.current(session);
        if let Some(local) = &local {
            self.sessions.told(local, room, seat);
        }
        let data = Some(MatchSuccess { room_id: room, opponent: Opponent { id, name } });
        let envelope = Envelope::Success { data };
        match local {
            Some(local) if by_us => local.push(Push::MatchSuccess, &envelope),
            None if by_us => {
                let data = serde_json::to_value(&envelope).unwrap_or_default();
                let event = Push::MatchSuccess.name();
                let player = session.player;
                tokio::spawn(crate::announce::publish_once(player, event, data));
            }
            Some(_) | None => {}
        }
    }

    /// A socket just became its session's current one: if the session has a battle, it is told how things
    /// stand there and watches from then on. A battle that is over can still be asked about for a while,
    /// here as on the nodes where it was played.
    fn seat(&self, session: &SessionKey, local: &Arc<LocalSocket>) {
        let place = self.cluster.read(|machine, _| reconcile::place(machine, session)).value;
        let Some(Place { room, seat, opponent, name, ended, known, away_ms }) = place else {
            return;
        };
        if let Some(digest) = ended {
            self.open_room(room, NOBODY);
            self.host.ended(room, Ending { digest, audience: Vec::new() });
        } else if self.sessions.seated(local, room, seat) {
            if !known && !planted::has(Bug::MatchSuccessOnlyByPubSub) {
                // Perhaps he never heard of it: his node may have died between pairing and telling.
                self.matched(session, room, seat, opponent, &name);
            }
            self.open_room(room, alone(seat, local.clone(), true));
            self.tell_presence_after(session, room, opponent, away_ms);
        }
    }

    /// Tells a session that its opponent is away, for so long at most, or is back; once each.
    fn tell_presence(
        &self,
        session: &SessionKey,
        room: RoomId,
        opponent: PlayerId,
        away_ms: Option<u64>,
    ) {
        if let Some(local) = self.sessions.left_alone(session, room, away_ms.is_some()) {
            tell_presence(&local, opponent, away_ms);
        }
    }

    /// The same, behind what the room's worker has been told before.
    fn tell_presence_after(
        &self,
        session: &SessionKey,
        room: RoomId,
        opponent: PlayerId,
        away_ms: Option<u64>,
    ) {
        if let Some(local) = self.sessions.left_alone(session, room, away_ms.is_some()) {
            self.host.after(room, move || tell_presence(&local, opponent, away_ms));
        }
    }

    /// A socket is no longer its session's current one, and watches no longer.
    fn unseat(&self, session: &SessionKey, socket: &SocketId) {
        if let Some((room, seat)) = self.sessions.room(session) {
            self.host.detach(room, seat, socket.clone());
        }
    }

    /// `roomClosed` comes from the replica, behind `BATTLE_END`; where there is none, from here.
    fn ended(&self, room: RoomId, digest: Option<Digest>, sessions: &[SessionKey; 2]) {
        let here = |session| Some(self.sessions.current(session)? as Arc<dyn Audience>);
        let audience = sessions.iter().filter_map(here).collect();
        self.host.ended(room, Ending { digest, audience });
    }

    /// The sockets of a new room that are held here.
    fn audience(&self, setup: &BattleSetup) -> Sockets {
        setup.players.each_ref().map(|SetupSeat { player, session, .. }| {
            let key = SessionKey { player: *player, session: session.clone() };
            Some(Watcher { audience: self.sessions.current(&key)?, returned: false })
        })
    }

    /// Builds the replica of a room from the state as it is now. Effects that are still to come are
    /// in it already; the replica knows them by their numbers.
    fn open_room(&self, room: RoomId, audience: Sockets) {
        let state = self.cluster.read(|machine, _| {
            let room = machine.room(room)?;
            Some((room.setup.clone(), room.inputs.to_vec(), room.home))
        });
        if let Some((setup, inputs, home)) = state.value {
            self.host.open(room, Opening { setup, inputs, home, audience });
        }
    }

    /// The battles whose home is here, after a restart.
    fn open_homes(&self) {
        let me = self.me();
        let homes = self.cluster.read(|machine, _| {
            machine
                .rooms()
                .filter(|room| room.is_live() && room.home == me)
                .map(|room| room.id)
                .collect::<Vec<_>>()
        });
        for room in homes.value {
            self.open_room(room, NOBODY);
            self.reports.opened(room);
        }
    }

    fn me(&self) -> NodeId {
        self.cluster.node()
    }
}

fn tell_presence(local: &LocalSocket, opponent: PlayerId, away_ms: Option<u64>) {
    match away_ms {
        Some(grace_time_remaining) => local.push(
            Push::OpponentDisconnected,
            &OpponentDisconnected { disconnected_player_id: opponent, grace_time_remaining },
        ),
        None => local.push(
            Push::OpponentReconnected,
            &OpponentReconnected { reconnected_player_id: opponent },
        ),
    }
}
