//! Names and shapes on the Socket.IO wire (contract 3.3-3.6): the one place that knows them.
//!
//! Everything else speaks of [`Event`]s, [`Push`]es and typed answers.

use serde::{Deserialize, Serialize};
use serverv2_machine::{PlayerId, RoomId};
use utoipa::ToSchema;

use crate::battle::engine::TimerState;
use crate::battle::schema::NanoIdText;
use crate::battle::view::BattleView;

/// What a client may send (contract 3.5). Events with other names are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Counts of the whole cluster.
    GetServerState,
    /// Queue with a team.
    JoinMatchmaking,
    /// Leave the queue.
    CancelMatchmaking,
    /// Ready to start the battle.
    Ready,
    /// A choice.
    SubmitPlayerSelection,
    /// The battle as this player may see it.
    GetState,
    /// The choices that are legal now.
    GetAvailableSelection,
    /// Whether clocks run.
    IsTimerEnabled,
    /// One player's clocks.
    GetPlayerTimerState,
    /// Both players' clocks.
    GetAllPlayerTimerStates,
    /// Clock limits.
    GetTimerConfig,
    /// An animation begins at a client.
    StartAnimation,
    /// An animation is over at a client.
    EndAnimation,
    /// The same, by its other name.
    ReportAnimationEnd,
}

impl Event {
    /// All of them, for subscribing.
    pub(crate) const ALL: [Self; 14] = [
        Self::GetServerState,
        Self::JoinMatchmaking,
        Self::CancelMatchmaking,
        Self::Ready,
        Self::SubmitPlayerSelection,
        Self::GetState,
        Self::GetAvailableSelection,
        Self::IsTimerEnabled,
        Self::GetPlayerTimerState,
        Self::GetAllPlayerTimerStates,
        Self::GetTimerConfig,
        Self::StartAnimation,
        Self::EndAnimation,
        Self::ReportAnimationEnd,
    ];

    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetServerState => "getServerState",
            Self::JoinMatchmaking => "joinMatchmaking",
            Self::CancelMatchmaking => "cancelMatchmaking",
            Self::Ready => "ready",
            Self::SubmitPlayerSelection => "submitPlayerSelection",
            Self::GetState => "getState",
            Self::GetAvailableSelection => "getAvailableSelection",
            Self::IsTimerEnabled => "isTimerEnabled",
            Self::GetPlayerTimerState => "getPlayerTimerState",
            Self::GetAllPlayerTimerStates => "getAllPlayerTimerStates",
            Self::GetTimerConfig => "getTimerConfig",
            Self::StartAnimation => "startAnimation",
            Self::EndAnimation => "endAnimation",
            Self::ReportAnimationEnd => "reportAnimationEnd",
        }
    }

    /// Whether its first argument is a payload (else it may be the request options).
    pub(crate) fn has_payload(self) -> bool {
        matches!(
            self,
            Self::JoinMatchmaking
                | Self::SubmitPlayerSelection
                | Self::GetPlayerTimerState
                | Self::StartAnimation
                | Self::EndAnimation
                | Self::ReportAnimationEnd
        )
    }

    /// The code under which this event's refusals are known (contract 3.5).
    pub(crate) fn error_code(self) -> &'static str {
        match self {
            Self::JoinMatchmaking => "VALIDATION_ERROR",
            Self::CancelMatchmaking => "CANCEL_FAILED",
            Self::Ready => "READY_ERROR",
            Self::SubmitPlayerSelection => "BATTLE_ACTION_ERROR",
            Self::GetServerState | Self::GetState => "GET_STATE_ERROR",
            Self::GetAvailableSelection => "GET_SELECTION_ERROR",
            Self::IsTimerEnabled => "TIMER_CHECK_ERROR",
            Self::GetPlayerTimerState => "TIMER_STATE_ERROR",
            Self::GetAllPlayerTimerStates => "TIMER_STATES_ERROR",
            Self::GetTimerConfig => "TIMER_CONFIG_ERROR",
            Self::StartAnimation => "ANIMATION_START_ERROR",
            Self::EndAnimation | Self::ReportAnimationEnd => "ANIMATION_END_ERROR",
        }
    }

    /// What it answers when the cluster has no quorum in time (contract 3.3), or the battle's worker is
    /// too busy: it may have happened, and a retry with the same request id is safe.
    pub(crate) fn unavailable(self) -> Refusal {
        match self {
            Self::JoinMatchmaking => {
                Refusal::new("VALIDATION_ERROR", "Failed to add to matchmaking queue")
            }
            Self::CancelMatchmaking => Refusal::new("CANCEL_FAILED", "CLUSTER_UNAVAILABLE"),
            other => Refusal::new(other.error_code(), "BATTLE_OWNER_TEMP_UNAVAILABLE"),
        }
    }
}

/// What the server sends unasked (contract 3.6, 3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// Application heartbeat.
    Ping,
    /// Counts of the whole cluster.
    UpdateState,
    /// A match was made.
    MatchSuccess,
    /// One message of a battle.
    BattleEvent,
    /// A room is over.
    RoomClosed,
    /// To who came back to a battle: the clocks as they are.
    TimerSnapshot,
    /// To who came back to a battle: the battle as it is.
    BattleReconnect,
    /// To who came back to a battle: that was all.
    ReconnectTest,
    /// The opponent is away, and may come back.
    OpponentDisconnected,
    /// The opponent is back.
    OpponentReconnected,
}

impl Push {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Ping,
        Self::UpdateState,
        Self::MatchSuccess,
        Self::BattleEvent,
        Self::RoomClosed,
        Self::TimerSnapshot,
        Self::BattleReconnect,
        Self::ReconnectTest,
        Self::OpponentDisconnected,
        Self::OpponentReconnected,
    ];

    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::UpdateState => "updateState",
            Self::MatchSuccess => "matchSuccess",
            Self::BattleEvent => "battleEvent",
            Self::RoomClosed => "roomClosed",
            Self::TimerSnapshot => "timerSnapshot",
            Self::BattleReconnect => "battleReconnect",
            Self::ReconnectTest => "reconnectTest",
            Self::OpponentDisconnected => "opponentDisconnected",
            Self::OpponentReconnected => "opponentReconnected",
        }
    }
}

/// Names that mean something to clients already, beside those in use here.
const RESERVED: [&str; 9] = [
    // The existing server's, which are not in use here.
    "getBattleHistory",
    "timerEvent",
    // Socket.IO's.
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "error",
    "newListener",
    "removeListener",
];

/// Longest name of an event that is none of the game's, bytes.
const FREE_NAME_BYTES_MAX: usize = 64;

/// Whether an event may have this name without being taken for one of the game or of a library.
pub(crate) fn is_free_name(name: &str) -> bool {
    let of_the_game = Push::ALL.iter().map(|push| push.name());
    let of_clients = Event::ALL.iter().map(|event| event.name());
    let mut taken = of_the_game.chain(of_clients).chain(RESERVED).chain([PONG]);
    (1..=FREE_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
        && taken.all(|taken| taken != name)
}

/// The client's answer to [`Push::Ping`].
pub(crate) const PONG: &str = "pong";

/// An acknowledgement (contract 3.3).
#[derive(Debug, Serialize)]
#[serde(tag = "status")]
pub(crate) enum Envelope<T> {
    /// It worked; `data` is missing when there is no value.
    #[serde(rename = "SUCCESS")]
    Success {
        /// The answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<T>,
    },
    /// It did not.
    #[serde(rename = "ERROR")]
    Error(Refusal),
}

/// Why not: a stable code and details that clients search for known words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// Stable.
    pub(crate) code: &'static str,
    /// Free text.
    pub(crate) details: String,
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(code: &'static str, details: impl Into<String>) -> Self {
        Self { code, details: details.into() }
    }
}

/// `{"status": …}` inside an envelope.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Status {
    status: &'static str,
}

impl Status {
    /// The ticket stands.
    pub(crate) const QUEUED: Self = Self { status: "QUEUED" };
    /// There is no ticket (any more).
    pub(crate) const CANCELED: Self = Self { status: "CANCELED" };
    /// Marked ready.
    pub(crate) const READY: Self = Self { status: "READY" };
    /// The choice is stored.
    pub(crate) const ACTION_ACCEPTED: Self = Self { status: "ACTION_ACCEPTED" };

    /// The word.
    pub(crate) fn text(self) -> &'static str {
        self.status
    }
}

/// The argument of [`Push::MatchSuccess`], inside an envelope.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MatchSuccess<'a> {
    #[schema(value_type = NanoIdText)]
    pub(crate) room_id: RoomId,
    pub(crate) opponent: Opponent<'a>,
}

/// Whom one fights.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Opponent<'a> {
    #[schema(value_type = NanoIdText)]
    pub(crate) id: PlayerId,
    pub(crate) name: &'a str,
}

/// The argument of [`Push::RoomClosed`].
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomClosed {
    #[schema(value_type = NanoIdText)]
    pub(crate) room_id: RoomId,
}

/// The argument of [`Push::TimerSnapshot`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimerSnapshot<'a> {
    /// A's clocks, then B's.
    pub(crate) snapshots: &'a [TimerState; 2],
}

/// The argument of [`Push::BattleReconnect`].
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BattleReconnect<'a> {
    #[schema(value_type = NanoIdText)]
    room_id: RoomId,
    /// Always: the client goes to its battle's page.
    should_redirect: bool,
    /// Always `active`.
    battle_state: &'static str,
    /// What the next delta changes.
    full_battle_state: &'a BattleView,
}

impl<'a> BattleReconnect<'a> {
    /// Back in this room, where this is the state.
    pub(crate) fn new(room_id: RoomId, full_battle_state: &'a BattleView) -> Self {
        Self { room_id, should_redirect: true, battle_state: "active", full_battle_state }
    }
}

/// The argument of [`Push::ReconnectTest`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReconnectTest {
    message: &'static str,
    /// Wall-clock milliseconds.
    timestamp: u64,
}

impl ReconnectTest {
    /// Said at this time.
    pub(crate) fn at(timestamp: u64) -> Self {
        Self { message: "Connection test after reconnect", timestamp }
    }
}

/// The argument of [`Push::OpponentDisconnected`].
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpponentDisconnected {
    #[schema(value_type = NanoIdText)]
    pub(crate) disconnected_player_id: PlayerId,
    /// Milliseconds until the absent player loses.
    pub(crate) grace_time_remaining: u64,
}

/// The argument of [`Push::OpponentReconnected`].
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpponentReconnected {
    #[schema(value_type = NanoIdText)]
    pub(crate) reconnected_player_id: PlayerId,
}

/// Counts of the whole cluster (contract 3.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerState {
    /// Players with at least one live connection.
    pub(crate) online_players: u64,
    /// Queue entries.
    pub(crate) matchmaking_queue: u64,
    /// Rooms of any status.
    pub(crate) rooms: u64,
    /// Twice the running rooms.
    pub(crate) players_in_rooms: u64,
}

/// What a client may say when it connects (contract 3.2).
#[derive(Debug, Default, Deserialize)]
pub(crate) struct HandshakeAuth {
    #[serde(default)]
    token: serde_json::Value,
}

impl HandshakeAuth {
    /// Its token; what is no text is none.
    pub(crate) fn token(&self) -> Option<String> {
        self.token.as_str().filter(|token| !token.is_empty()).map(str::to_owned)
    }
}

/// Handshake refusals, the `message` of `CONNECT_ERROR` (contract 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    /// No `playerId` in the query.
    PlayerIdRequired,
    /// No such player.
    PlayerNotFound,
    /// A registered player without a token.
    TokenRequired,
    /// Not one of ours, or expired.
    InvalidToken,
    /// Revoked.
    TokenBlacklisted,
    /// Somebody else's token.
    TokenMismatch,
    /// This node can't say now.
    AuthenticationError,
}

impl HandshakeError {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::PlayerIdRequired,
        Self::PlayerNotFound,
        Self::TokenRequired,
        Self::InvalidToken,
        Self::TokenBlacklisted,
        Self::TokenMismatch,
        Self::AuthenticationError,
    ];

    /// What the client is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::PlayerIdRequired => "PLAYER_ID_REQUIRED",
            Self::PlayerNotFound => "PLAYER_NOT_FOUND",
            Self::TokenRequired => "TOKEN_REQUIRED_FOR_REGISTERED_USER",
            Self::InvalidToken => "INVALID_TOKEN",
            Self::TokenBlacklisted => "TOKEN_BLACKLISTED",
            Self::TokenMismatch => "PLAYER_ID_TOKEN_MISMATCH",
            Self::AuthenticationError => "AUTHENTICATION_ERROR",
        }
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
