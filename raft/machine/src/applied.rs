//! What applying a proposal gives: an answer for the caller, effects for everyone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::battles::StateDigest;
use crate::codes::{BindEmail, CheckCode, CreateCode, RecoverPlayer, UnbindEmail};
use crate::command::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, CloseSession, Command, CreatePlayer,
    EndBattle, EndSessions, JoinQueue, LeaveQueue, NodeGone, NodeUp, OpenSession, RaiseLevel,
    RenamePlayer, Request, Tick, TickBattle,
};
use crate::effect::Effect;
use crate::ids::{RequestId, RoomId, Seat};
use crate::nodes::{DrainNode, ForgetNode};
use crate::outside::{IssueTokens, OpenSessionOutside, RefreshTokensOutside, SetRecords};
use crate::records::Player;
use crate::reports::{CloseStaleReports, ExpireReports, SetReports, StoreReport, Swept};
use crate::tokens::{CreateGuestWithTokens, RefreshTokens, RevokeToken, TokenPair};

/// The result of one proposal, the same on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whose proposal it was.
    pub request: RequestId,
    /// The answer; a repeated request gets the answer of its first time.
    pub outcome: Result<Reply, Rejection>,
    /// What everyone must be told, in order; empty for a repeated request.
    pub effects: Vec<Effect>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(reply) => write!(f, "{} → {reply}", self.request)?,
            Err(refusal) => write!(f, "{} → refused {}", self.request, refusal.code())?,
        }
        self.effects.iter().try_for_each(|effect| write!(f, "\n  {effect}"))
    }
}

/// All successes. Remembered answers stand in snapshots, so this is append-only too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It happened, and there is nothing more to say.
    Done(Done),
    /// The account as it is now.
    Player(Player),
    /// The session is open.
    Opened(Opened),
    /// The ticket stands.
    Queued(Queued),
    /// The battle that is being left, if there was one.
    Abandoned(Abandoned),
    /// The input has its number.
    Numbered(Numbered),
    /// What to sign.
    Issued(Issued),
    /// How many sessions were ended.
    Ended(Ended),
    /// What became of a sweep.
    Swept(Swept),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(Done) => f.write_str("done"),
            Self::Player(player) => write!(f, "player {} {:?}", player.id, player.name),
            Self::Opened(Opened { seat: None }) => f.write_str("opened"),
            Self::Opened(Opened { seat: Some((room, seat)) }) => {
                write!(f, "opened, plays {seat} in {room}")
            }
            Self::Queued(Queued { again: false }) => f.write_str("queued"),
            Self::Queued(Queued { again: true }) => f.write_str("queued again"),
            Self::Abandoned(Abandoned { room: None }) => f.write_str("nothing to abandon"),
            Self::Abandoned(Abandoned { room: Some(room) }) => write!(f, "abandoned {room}"),
            Self::Numbered(Numbered { number, .. }) => write!(f, "input #{number}"),
            Self::Ended(Ended { sessions }) => write!(f, "ended {sessions}"),
            Self::Swept(Swept { reports, next: None }) => write!(f, "swept {reports}"),
            Self::Swept(Swept { reports, next: Some(next) }) => {
                write!(f, "swept {reports}, go on at {next}")
            }
            Self::Issued(Issued { player, pair }) => write!(f, "issued {pair} to {}", player.id),
        }
    }
}

/// It happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done;

/// The session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its running battle, if it has one.
    pub seat: Option<(RoomId, Seat)>,
}

/// The ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Whether the session had a ticket before.
    pub again: bool,
}

/// The battle that is being left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    /// `None`: there was none to leave.
    pub room: Option<RoomId>,
}

/// The input has its number in its battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The room.
    pub room: RoomId,
    /// Counts from 1.
    pub number: u32,
}

/// What the shell signs: a pair of tokens and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Whose.
    pub player: Player,
    /// The tokens.
    pub pair: TokenPair,
}

/// How many sessions were ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// 0: there was none to end.
    pub sessions: u32,
}

/// A refusal: nothing changed, with three exceptions that say so. A value with a stable code, not a
/// failure. Append-only like [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// No account has this id.
    #[error("no such player")]
    PlayerUnknown,
    /// The account exists already.
    #[error("this player exists already")]
    PlayerExists,
    /// The records are full.
    #[error("no more players can be stored")]
    PlayersFull,
    /// Names have 1 to 50 characters.
    #[error("a name has 1 to 50 characters")]
    NameInvalid,
    /// The session isn't connected, or by another socket now.
    #[error("the session is not connected by this socket")]
    SessionGone,
    /// No more sessions can be opened.
    #[error("too many sessions")]
    SessionsFull,
    /// The queue is full.
    #[error("the queue is full")]
    QueueFull,
    /// The team is too large.
    #[error("the team is too large")]
    TeamTooLarge,
    /// No pack is active, so nobody can be paired.
    #[error("no pack is active")]
    NoPack,
    /// A live node lacks the pack or the level.
    #[error("not every live node has it")]
    NotEverywhere,
    /// No such room, or it is gone.
    #[error("no such room")]
    RoomUnknown,
    /// The session has no seat in this room, or not that one.
    #[error("not this session's seat")]
    NotSeated,
    /// The battle is over.
    #[error("the battle is over")]
    BattleOver,
    /// The battle had too many inputs; this one aborted it.
    #[error("the battle has too many inputs")]
    InputsFull,
    /// The input is too large or not one a player may send, or a name in the command is too long.
    #[error("not a valid input")]
    InputInvalid,
    /// Another input came in between; compute again.
    #[error("computed after an input that is not the last one")]
    Overtaken,
    /// The process that asked has a successor or was counted out; it must start a new incarnation.
    #[error("this process of the node does not count any more")]
    StaleIncarnation,
    /// The request was answered and its answer forgotten on its node's own word.
    #[error("this request was answered before")]
    StaleRequest,
    /// The node has too many requests in flight.
    #[error("too many requests in flight")]
    WindowFull,
    /// Too many nodes or packs.
    #[error("too many nodes or packs")]
    NodesFull,
    /// The process that asked has not said `NodeUp`; it may do so and ask again.
    #[error("this process is not registered")]
    NodeUnknown,
    /// The client used this request id for something else.
    #[error("this request id was used for another command")]
    KeyReused,
    /// The token's family was revoked, or it belongs to somebody else.
    #[error("the token is revoked")]
    TokenRevoked,
    /// The refresh token was exchanged before, and not just now: somebody has a copy, so all tokens of
    /// its family are revoked from here on.
    #[error("the refresh token was used before; its family is revoked")]
    TokenReused,
    /// No more revocations can be kept.
    #[error("too many revocations")]
    RevocationsFull,
    /// The address belongs to another player.
    #[error("the address belongs to another player")]
    EmailTaken,
    /// The address belongs to nobody, or the player has none.
    #[error("no address is bound")]
    EmailUnbound,
    /// There is no such code, or not any more. A wrong code counts as a try, and the last try voids the
    /// right one.
    #[error("not the code")]
    CodeInvalid,
    /// The last code for this address and purpose is too young.
    #[error("the last code is too young")]
    CodeTooSoon,
    /// Too many codes were asked for, for this address or by this source.
    #[error("too many codes were asked for")]
    CodesLimited,
    /// The player is registered, and no token was shown.
    #[error("the player is registered and has shown no token")]
    TokenRequired,
    /// No more codes can be kept.
    #[error("too many codes")]
    CodesFull,
    /// This cluster keeps its accounts elsewhere: in its own records, or in one database.
    #[error("the cluster keeps its accounts elsewhere")]
    RecordsElsewhere,
    /// This room has no report, or not any more.
    #[error("no such report")]
    ReportUnknown,
}

impl Rejection {
    /// Whether the same request may succeed later although the caller does nothing else: something
    /// is full or missing for the moment. (A new request id is needed: this one has its answer.)
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::SessionsFull
                | Self::QueueFull
                | Self::NoPack
                | Self::NotEverywhere
                | Self::WindowFull
                | Self::RevocationsFull
                | Self::CodeTooSoon
                | Self::CodesLimited
                | Self::CodesFull
        )
    }

    /// The stable code under which callers and logs know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PlayerUnknown => "PLAYER_NOT_FOUND",
            Self::PlayerExists => "PLAYER_EXISTS",
            Self::PlayersFull => "PLAYERS_FULL",
            Self::NameInvalid => "NAME_INVALID",
            Self::SessionGone => "SESSION_GONE",
            Self::SessionsFull => "SESSIONS_FULL",
            Self::QueueFull => "QUEUE_FULL",
            Self::TeamTooLarge => "TEAM_TOO_LARGE",
            Self::NoPack => "NO_PACK",
            Self::NotEverywhere => "NOT_EVERYWHERE",
            Self::RoomUnknown => "ROOM_NOT_FOUND",
            Self::NotSeated => "NOT_IN_ROOM",
            Self::BattleOver => "BATTLE_ALREADY_ENDED",
            Self::InputsFull => "INPUTS_FULL",
            Self::InputInvalid => "INPUT_INVALID",
            Self::Overtaken => "OVERTAKEN",
            Self::StaleIncarnation => "STALE_INCARNATION",
            Self::StaleRequest => "STALE_REQUEST",
            Self::WindowFull => "WINDOW_FULL",
            Self::NodesFull => "NODES_FULL",
            Self::NodeUnknown => "NODE_UNKNOWN",
            Self::KeyReused => "KEY_REUSED",
            Self::TokenRevoked => "TOKEN_REVOKED",
            Self::TokenReused => "TOKEN_REUSED",
            Self::RevocationsFull => "REVOCATIONS_FULL",
            Self::EmailTaken => "EMAIL_TAKEN",
            Self::EmailUnbound => "EMAIL_NOT_BOUND",
            Self::CodeInvalid => "CODE_INVALID",
            Self::CodeTooSoon => "CODE_TOO_SOON",
            Self::CodesLimited => "CODES_LIMITED",
            Self::TokenRequired => "TOKEN_REQUIRED_FOR_REGISTERED_USER",
            Self::CodesFull => "CODES_FULL",
            Self::RecordsElsewhere => "RECORDS_ELSEWHERE",
            Self::ReportUnknown => "REPORT_NOT_FOUND",
        }
    }
}

/// A reply of another command's type: the log and the caller disagree about a request id. A defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply belongs to another command: {0:?}")]
pub struct Unexpected(pub Box<Reply>);

macro_rules! requests {
    ($($command:ident => $reply:ident),* $(,)?) => {$(
        impl From<$command> for Command {
            fn from(command: $command) -> Self {
                Self::$command(command)
            }
        }

        impl Request for $command {
            type Reply = $reply;
        }
    )*};
}

macro_rules! replies {
    ($($reply:ident => $variant:ident),* $(,)?) => {$(
        impl From<$reply> for Reply {
            fn from(reply: $reply) -> Self {
                Self::$variant(reply)
            }
        }

        impl TryFrom<Reply> for $reply {
            type Error = Unexpected;

            fn try_from(reply: Reply) -> Result<Self, Unexpected> {
                match reply {
                    Reply::$variant(reply) => Ok(reply),
                    other => Err(Unexpected(Box::new(other))),
                }
            }
        }
    )*};
}

requests! {
    NodeUp => Done,
    NodeGone => Done,
    ActivatePack => Done,
    RaiseLevel => Done,
    CreatePlayer => Player,
    RenamePlayer => Player,
    OpenSession => Opened,
    CloseSession => Done,
    JoinQueue => Queued,
    LeaveQueue => Done,
    AbandonBattle => Abandoned,
    AppendInput => Numbered,
    TickBattle => Done,
    EndBattle => Done,
    AbortBattle => Done,
    Tick => Done,
    RefreshTokens => Issued,
    RevokeToken => Done,
    ForgetNode => Done,
    CreateGuestWithTokens => Issued,
    EndSessions => Ended,
    CreateCode => Done,
    CheckCode => Done,
    BindEmail => Issued,
    RecoverPlayer => Issued,
    UnbindEmail => Done,
    SetRecords => Done,
    OpenSessionOutside => Opened,
    IssueTokens => Issued,
    RefreshTokensOutside => Issued,
    SetReports => Done,
    StoreReport => Done,
    ExpireReports => Swept,
    CloseStaleReports => Swept,
    DrainNode => Done,
    StateDigest => Done,
}

replies! {
    Done => Done,
    Player => Player,
    Opened => Opened,
    Queued => Queued,
    Abandoned => Abandoned,
    Numbered => Numbered,
    Issued => Issued,
    Ended => Ended,
    Swept => Swept,
}

/// An entry as applied, handed to everyone who follows the effect feed.
#[derive(Clone, Debug)]
pub struct AppliedEntry {
    /// Position in the log.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// One for each proposal, in order.
    pub applied: Arc<[Applied]>,
}
