//! Everything that can be asked of the machine: one struct a command, each with its typed reply.
//!
//! **Append-only.** Variants of [`Command`] and fields of its structs never change, never move and
//! never go: they stand in logs. What has to change becomes a new variant at the end. Golden bytes
//! in `testdata/` prove it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Reply, Unexpected};
use crate::battles::StateDigest;
use crate::clock::{LogTime, WallTime};
use crate::codes::{BindEmail, CheckCode, CreateCode, RecoverPlayer, UnbindEmail};
use crate::ids::{
    ClientKey, Incarnation, NodeId, PlayerId, RequestId, RoomId, SessionId, SessionKey, SocketId,
};
use crate::input::{Clocks, Digest, Input, Outcome, PackRef};
use crate::nodes::{DrainNode, ForgetNode};
use crate::outside::{IssueTokens, OpenSessionOutside, RefreshTokensOutside, SetRecords};
use crate::reports::{CloseStaleReports, ExpireReports, SetReports, StoreReport};
use crate::tokens::{CreateGuestWithTokens, RefreshTokens, RevokeToken};

/// One log entry: proposals in the order in which they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which answers may be forgotten, by node.
    pub floors: Vec<Floor>,
    /// At most [`crate::limits::ENTRY_PROPOSALS_MAX`].
    pub proposals: Vec<Proposal>,
}

/// States that a node will never ask again for a sequence below `lowest_open`: answers below it are
/// forgotten, and a late copy of such a request is refused instead of applied twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Whose window.
    pub node: NodeId,
    /// Of which process start; another incarnation's floor is ignored.
    pub incarnation: Incarnation,
    /// Lowest sequence still unanswered at that node.
    pub lowest_open: u64,
}

/// An intent with everything the machine may not draw by itself, stamped by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Makes a retry harmless.
    pub request: RequestId,
    /// A client's own id for the same purpose, valid through any node.
    pub client_key: Option<ScopedKey>,
    /// Log time. An older one than the machine has seen counts as the newest seen.
    pub at: LogTime,
    /// Wall time, for display and storage only.
    pub wall: WallTime,
    /// The only randomness there is.
    pub seed: [u8; 16],
    /// What is asked.
    pub command: Command,
}

/// A client-chosen request id and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScopedKey {
    /// Ids of different scopes never meet.
    pub scope: KeyScope,
    /// As sent by the client.
    pub key: ClientKey,
}

/// Whose client-chosen request ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyScope {
    /// A player's.
    Player(PlayerId),
    /// A client's that has no player yet (`create-guest`), by its address.
    Address(Arc<str>),
}

/// What is asked. See the module's rule before touching it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is documented at its struct")]
pub enum Command {
    NodeUp(NodeUp),
    NodeGone(NodeGone),
    ActivatePack(ActivatePack),
    RaiseLevel(RaiseLevel),
    CreatePlayer(CreatePlayer),
    RenamePlayer(RenamePlayer),
    OpenSession(OpenSession),
    CloseSession(CloseSession),
    JoinQueue(JoinQueue),
    LeaveQueue(LeaveQueue),
    AbandonBattle(AbandonBattle),
    AppendInput(AppendInput),
    TickBattle(TickBattle),
    EndBattle(EndBattle),
    AbortBattle(AbortBattle),
    Tick(Tick),
    RefreshTokens(RefreshTokens),
    RevokeToken(RevokeToken),
    CreateGuestWithTokens(CreateGuestWithTokens),
    EndSessions(EndSessions),
    CreateCode(CreateCode),
    CheckCode(CheckCode),
    BindEmail(BindEmail),
    RecoverPlayer(RecoverPlayer),
    UnbindEmail(UnbindEmail),
    SetRecords(SetRecords),
    OpenSessionOutside(OpenSessionOutside),
    IssueTokens(IssueTokens),
    RefreshTokensOutside(RefreshTokensOutside),
    SetReports(SetReports),
    StoreReport(StoreReport),
    ExpireReports(ExpireReports),
    CloseStaleReports(CloseStaleReports),
    DrainNode(DrainNode),
    StateDigest(StateDigest),
    ForgetNode(ForgetNode),
}

impl Command {
    /// Tells the commands apart in stored answers. Append-only like the variants.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::NodeUp(_) => 0,
            Self::NodeGone(_) => 1,
            Self::ActivatePack(_) => 2,
            Self::RaiseLevel(_) => 3,
            Self::CreatePlayer(_) => 4,
            Self::RenamePlayer(_) => 5,
            Self::OpenSession(_) => 6,
            Self::CloseSession(_) => 7,
            Self::JoinQueue(_) => 8,
            Self::LeaveQueue(_) => 9,
            Self::AbandonBattle(_) => 10,
            Self::AppendInput(_) => 11,
            Self::TickBattle(_) => 12,
            Self::EndBattle(_) => 13,
            Self::AbortBattle(_) => 14,
            Self::Tick(_) => 15,
            Self::RefreshTokens(_) => 16,
            Self::RevokeToken(_) => 17,
            Self::CreateGuestWithTokens(_) => 18,
            Self::EndSessions(_) => 19,
            Self::CreateCode(_) => 20,
            Self::CheckCode(_) => 21,
            Self::BindEmail(_) => 22,
            Self::RecoverPlayer(_) => 23,
            Self::UnbindEmail(_) => 24,
            Self::SetRecords(_) => 30,
            Self::OpenSessionOutside(_) => 31,
            Self::IssueTokens(_) => 32,
            Self::RefreshTokensOutside(_) => 33,
            Self::SetReports(_) => 25,
            Self::StoreReport(_) => 26,
            Self::ExpireReports(_) => 27,
            Self::CloseStaleReports(_) => 28,
            Self::DrainNode(_) => 35,
            Self::StateDigest(_) => 36,
            Self::ForgetNode(_) => 34,
        }
    }

    /// Whether it may be as large as [`crate::limits::REPORT_BYTES_MAX`] and needs an entry of its own.
    pub fn is_large(&self) -> bool {
        matches!(self, Self::StoreReport(_))
    }
}

/// A command with its own type of reply: what a caller gets is never a match with an unreachable arm.
pub trait Request: Into<Command> + fmt::Display {
    /// What a success says.
    type Reply: TryFrom<Reply, Error = Unexpected>;
}

/// A process of the proposal's node has started: sessions of its earlier incarnations are lost,
/// their tickets suspended, and commands of those incarnations are refused from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUp {
    /// Packs it has loaded, at most [`crate::limits::PACKS_PER_NODE_MAX`].
    pub packs: Vec<PackRef>,
    /// Highest behaviour level it can apply.
    pub level: u32,
    /// Grace for the players it had, milliseconds.
    pub grace_ms: u64,
}

/// The leader has not heard of this process for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeGone {
    /// Which node.
    pub node: NodeId,
    /// Which of its processes; a newer one is not touched.
    pub incarnation: Incarnation,
    /// Grace for the players it had, milliseconds.
    pub grace_ms: u64,
}

/// From here on new battles are played with this pack; running ones keep theirs. Refused while a
/// live node has not announced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivatePack {
    /// Which.
    pub pack: PackRef,
}

/// From here on the machine behaves as of this level. Refused while a live node can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseLevel {
    /// Which.
    pub level: u32,
}

/// A new guest account under an id drawn by the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePlayer {
    /// Its id for ever.
    pub player: PlayerId,
    /// 1 to 50 characters.
    pub name: Arc<str>,
}

/// A new display name for an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamePlayer {
    /// Whose.
    pub player: PlayerId,
    /// 1 to 50 characters.
    pub name: Arc<str>,
}

/// A socket of the proposal's node has been admitted for this session. A socket that the session had
/// before is replaced (not closed); a lost seat is bound again by the rules of `seats.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Who.
    pub session: SessionKey,
    /// Through which connection.
    pub socket: SocketId,
    /// The client's address, without port.
    pub address: Arc<str>,
    /// Whether the client chose its session id (it can then come back with it).
    pub chosen: bool,
    /// Whether a registered player proved to be it by token.
    pub authenticated: bool,
}

/// A connection is gone. Does nothing unless it is still the session's current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSession {
    /// Who.
    pub session: SessionKey,
    /// Which connection.
    pub socket: SocketId,
    /// Time to come back to a battle, milliseconds; 0 loses it at once.
    pub grace_ms: u64,
}

/// Put a session in the queue. Joining again goes to the end, except that a suspended ticket keeps
/// its join time. A ticket waits while its session still has a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinQueue {
    /// Who.
    pub session: SessionKey,
    /// The connection it came by, for whoever reads the log: it may be an older one of the session.
    pub socket: SocketId,
    /// Normalized team as JSON text, at most [`crate::limits::TEAM_BYTES_MAX`].
    pub team: Arc<str>,
    /// Clocks of the battle, if this becomes the older ticket.
    pub clocks: Clocks,
}

/// Take a session out of the queue; it need not be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveQueue {
    /// Who.
    pub session: SessionKey,
}

/// Before a session queues: leave the battle that it has inherited and does not know of (design
/// section 5, *Grace*): one it was bound to in place of a lost session, or, for a client without a
/// session id of its own, one in grace at the same address. Replies which, if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbandonBattle {
    /// Who.
    pub session: SessionKey,
    /// The connection it came by.
    pub socket: SocketId,
}

/// A player's input to the battle of its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendInput {
    /// Who; the seat named in the input must be this session's.
    pub session: SessionKey,
    /// Which room.
    pub room: RoomId,
    /// `Ready`, `Select`, `StartAnimation` or `EndAnimation`.
    pub input: Input,
}

/// The battle's `wake_at` has passed. Applied only if `after` is still the last input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickBattle {
    /// Which room.
    pub room: RoomId,
    /// Number of the input it was computed after.
    pub after: u32,
}

/// A replica has seen the end. Applied only if `after` is still the last input; the first one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndBattle {
    /// Which room.
    pub room: RoomId,
    /// Number of the input it was computed after.
    pub after: u32,
    /// Who won and why.
    pub outcome: Outcome,
    /// Of all events of the battle.
    pub digest: Digest,
}

/// A replica can't go on (the set-up or an input breaks the engine). Applied only if `after` is still the last input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortBattle {
    /// Which room.
    pub room: RoomId,
    /// Number of the input it was computed after.
    pub after: u32,
}

/// Time passed: whatever is due happens. Proposed by the leader at [`crate::Machine::next_deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick;

/// Somebody wants a player's connections gone. For the game it is as if the player had left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndSessions {
    /// Whose.
    pub player: PlayerId,
    /// Which session; `None`: all of them.
    pub session: Option<SessionId>,
    /// Time to come back to a battle, milliseconds; 0 loses it at once.
    pub grace_ms: u64,
}

macro_rules! display {
    ($($name:ident($this:ident, $f:ident) $body:expr;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, $f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $this = self;
                $body
            }
        }
    )*};
}

display! {
    NodeUp(c, f) write!(f, "node-up packs={} level={} grace={}ms", c.packs.len(), c.level, c.grace_ms);
    NodeGone(c, f) write!(f, "node-gone {}.{}", c.node, c.incarnation.0);
    ActivatePack(c, f) write!(f, "activate-pack {}", c.pack);
    RaiseLevel(c, f) write!(f, "raise-level {}", c.level);
    CreatePlayer(c, f) write!(f, "create-player {}", c.player);
    RenamePlayer(c, f) write!(f, "rename-player {}", c.player);
    OpenSession(c, f) write!(f, "open-session {} socket={}", c.session, c.socket);
    CloseSession(c, f) write!(f, "close-session {} socket={} grace={}ms", c.session, c.socket, c.grace_ms);
    JoinQueue(c, f) write!(f, "join-queue {} socket={}", c.session, c.socket);
    LeaveQueue(c, f) write!(f, "leave-queue {}", c.session);
    AbandonBattle(c, f) write!(f, "abandon-battle {} socket={}", c.session, c.socket);
    AppendInput(c, f) write!(f, "append-input {} room={} {}", c.session, c.room, c.input);
    TickBattle(c, f) write!(f, "tick-battle {} after={}", c.room, c.after);
    EndBattle(c, f) write!(f, "end-battle {} after={} {} digest={}", c.room, c.after, c.outcome, c.digest);
    AbortBattle(c, f) write!(f, "abort-battle {} after={}", c.room, c.after);
    Tick(_c, f) f.write_str("tick");
    EndSessions(c, f) match &c.session {
        Some(session) => write!(f, "end-sessions {}:{session} grace={}ms", c.player, c.grace_ms),
        None => write!(f, "end-sessions {} grace={}ms", c.player, c.grace_ms),
    };
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeUp(c) => c.fmt(f),
            Self::NodeGone(c) => c.fmt(f),
            Self::ActivatePack(c) => c.fmt(f),
            Self::RaiseLevel(c) => c.fmt(f),
            Self::CreatePlayer(c) => c.fmt(f),
            Self::RenamePlayer(c) => c.fmt(f),
            Self::OpenSession(c) => c.fmt(f),
            Self::CloseSession(c) => c.fmt(f),
            Self::JoinQueue(c) => c.fmt(f),
            Self::LeaveQueue(c) => c.fmt(f),
            Self::AbandonBattle(c) => c.fmt(f),
            Self::AppendInput(c) => c.fmt(f),
            Self::TickBattle(c) => c.fmt(f),
            Self::EndBattle(c) => c.fmt(f),
            Self::AbortBattle(c) => c.fmt(f),
            Self::Tick(c) => c.fmt(f),
            Self::RefreshTokens(c) => c.fmt(f),
            Self::RevokeToken(c) => c.fmt(f),
            Self::CreateGuestWithTokens(c) => c.fmt(f),
            Self::EndSessions(c) => c.fmt(f),
            Self::CreateCode(c) => c.fmt(f),
            Self::CheckCode(c) => c.fmt(f),
            Self::BindEmail(c) => c.fmt(f),
            Self::RecoverPlayer(c) => c.fmt(f),
            Self::UnbindEmail(c) => c.fmt(f),
            Self::SetRecords(c) => c.fmt(f),
            Self::OpenSessionOutside(c) => c.fmt(f),
            Self::IssueTokens(c) => c.fmt(f),
            Self::RefreshTokensOutside(c) => c.fmt(f),
            Self::SetReports(c) => c.fmt(f),
            Self::StoreReport(c) => c.fmt(f),
            Self::ExpireReports(c) => c.fmt(f),
            Self::CloseStaleReports(c) => c.fmt(f),
            Self::DrainNode(c) => c.fmt(f),
            Self::StateDigest(c) => c.fmt(f),
            Self::ForgetNode(c) => c.fmt(f),
        }
    }
}
