//! One connected client of this node, and the way to answer it.
//!
//! The library keeps one bounded queue per connection, written out by one task: whoever emits in
//! order is heard in order. When that queue is full the client reads too slowly, and its transport
//! is cut; it will reconnect and ask for the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use serverv2_machine::{RoomId, SessionKey, SocketId, TokenId};
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::{SendError, SocketError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::counters::Cut;
use super::transport::Cutter;
use super::wire::{
    BattleReconnect, Envelope, Event, Push, ReconnectTest, Refusal, RoomClosed, TimerSnapshot,
};
use crate::battle::engine::TimerState;
use crate::battle::host::Audience;
use crate::battle::message::OnWire;
use crate::battle::view::BattleView;

/// A token by which a player has proved to be himself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldToken {
    /// Which.
    pub(crate) id: TokenId,
    /// When its signature is good no longer, milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

/// Who was let in.
pub(crate) struct Visitor {
    /// Whose connection it is.
    pub(crate) session: SessionKey,
    /// The client's address, without port.
    pub(crate) address: Arc<str>,
    /// Whether the client chose its session id.
    pub(crate) chosen: bool,
    /// The token by which its player proved to be himself.
    pub(crate) token: Option<HeldToken>,
}

/// A socket held by this node.
pub(crate) struct LocalSocket {
    /// Its id, unique in the cluster.
    pub(crate) id: SocketId,
    /// Whose it is.
    pub(crate) session: SessionKey,
    /// The client's address, without port.
    pub(crate) address: Arc<str>,
    /// Whether the client chose its session id.
    pub(crate) chosen: bool,
    /// The token by which its player proved to be himself.
    pub(crate) token: Option<HeldToken>,
    io: SocketRef,
    cutter: Cutter,
    pulse: Arc<Pulse>,
    cut: AtomicBool,
    closed: CancellationToken,
}

/// When a client last showed life. Apart from the socket, so that event handlers, which live as long
/// as the library's socket, do not keep themselves alive.
pub(crate) struct Pulse {
    born: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    /// Counts from now.
    pub(crate) fn new() -> Self {
        Self { born: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// The client has answered.
    pub(crate) fn beat(&self) {
        self.last_ms.store(self.age_ms(), Ordering::Relaxed);
    }

    /// Milliseconds since the last answer, or since the connection was made.
    pub(crate) fn silent_ms(&self) -> u64 {
        self.age_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed))
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl LocalSocket {
    /// Wraps a connected socket.
    pub(crate) fn new(
        io: SocketRef,
        visitor: Visitor,
        pulse: Arc<Pulse>,
        cutter: Cutter,
        closed: CancellationToken,
    ) -> Self {
        let id = io.id.to_string().parse().expect("the library's ids are short and printable");
        let Visitor { session, address, chosen, token } = visitor;
        let cut = AtomicBool::new(false);
        Self { id, session, address, chosen, token, io, cutter, pulse, cut, closed }
    }

    /// Milliseconds since the client last answered a heartbeat.
    pub(crate) fn silent_ms(&self) -> u64 {
        self.pulse.silent_ms()
    }

    /// Sends an event with one argument.
    pub(crate) fn push<T: Serialize>(&self, push: Push, argument: &T) {
        self.sent(self.io.emit(push.name(), argument));
        debug!(player.id = %self.session.player, socket.id = %self.id, event = push.name(), "told");
    }

    /// Sends an event that is none of the game's, with a tuple of arguments.
    pub(crate) fn announce<T: Serialize>(&self, event: &str, arguments: &T) {
        self.sent(self.io.emit(event, arguments));
    }

    /// Sends the heartbeat, which has no argument.
    pub(crate) fn ping(&self) {
        self.sent(self.io.emit(Push::Ping.name(), &[(); 0]));
    }

    /// Cuts the transport, so that the client reconnects by itself.
    pub(crate) fn cut(&self, why: Cut) {
        if self.cut.swap(true, Ordering::Relaxed) {
            return;
        }
        info!(player.id = %self.session.player, socket.id = %self.id, why = why.text(), "cut a socket");
        self.cutter.cut(&self.io, why);
        // Also where the library has nothing left to close: then it would never say so.
        self.closed.cancel();
    }

    /// Ends the connection so that the client does not come back by itself.
    pub(crate) fn dismiss(&self, why: Cut) {
        if self.cut.swap(true, Ordering::Relaxed) {
            return;
        }
        info!(player.id = %self.session.player, socket.id = %self.id, why = why.text(), "dismiss a socket");
        self.cutter.dismiss(&self.io, why);
        self.closed.cancel();
    }

    fn sent(&self, result: Result<(), SendError>) {
        match result {
            Ok(()) => {}
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                self.cut(Cut::SlowReader);
            }
            Err(error) => debug!(socket.id = %self.id, %error, "nothing sent: the socket is going"),
        }
    }
}

impl Audience for LocalSocket {
    fn id(&self) -> &SocketId {
        &self.id
    }

    fn battle_event(&self, message: &OnWire<'_>) {
        self.push(Push::BattleEvent, message);
    }

    fn room_closed(&self, room: RoomId) {
        self.push(Push::RoomClosed, &RoomClosed { room_id: room });
    }

    fn returned(&self, room: RoomId, state: &BattleView, timers: &[TimerState; 2]) {
        self.push(Push::TimerSnapshot, &TimerSnapshot { snapshots: timers });
        self.push(Push::BattleReconnect, &BattleReconnect::new(room, state));
        self.push(Push::ReconnectTest, &ReconnectTest::at(crate::random::wall_ms()));
    }
}

/// Owes a client one answer, and gives it in any case, since a query that is never answered blocks a
/// client's page: dropped unused it says that the battle can't be reached now.
pub(crate) struct Responder {
    socket: Arc<LocalSocket>,
    event: Event,
    ack: Option<AckSender>,
    done: Option<oneshot::Sender<()>>,
}

impl Responder {
    /// For one received event; the receiver is told when the answer has been given.
    pub(crate) fn new(
        socket: Arc<LocalSocket>,
        event: Event,
        ack: AckSender,
    ) -> (Self, oneshot::Receiver<()>) {
        let (done, answered) = oneshot::channel();
        (Self { socket, event, ack: Some(ack), done: Some(done) }, answered)
    }

    /// The event it answers.
    pub(crate) fn event(&self) -> Event {
        self.event
    }

    /// It worked.
    pub(crate) fn success<T: Serialize>(self, data: T) {
        self.answer(&Envelope::Success { data: Some(data) });
    }

    /// It did not.
    pub(crate) fn refuse(self, refusal: Refusal) {
        self.answer(&Envelope::<()>::Error(refusal));
    }

    /// It did not, under the event's own code.
    pub(crate) fn error(self, details: impl Into<String>) {
        let code = self.event.error_code();
        self.refuse(Refusal::new(code, details));
    }

    /// Nothing to say: the event has no acknowledgement.
    pub(crate) fn silent(mut self) {
        self.ack = None;
    }

    fn answer<T: Serialize>(mut self, envelope: &Envelope<T>) {
        self.send(envelope);
    }

    fn send<T: Serialize>(&mut self, envelope: &Envelope<T>) {
        if let Some(ack) = self.ack.take() {
            self.socket.sent(ack.send(envelope));
        }
        if let Some(done) = self.done.take() {
            // The socket's task may have ended; then nobody waits.
            let _ = done.send(());
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.ack.is_some() {
            let refusal = self.event.unavailable();
            self.send(&Envelope::<()>::Error(refusal));
        }
    }
}
