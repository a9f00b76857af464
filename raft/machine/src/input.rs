//! What advances a battle. The machine numbers and keeps inputs; only engines know what they mean.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{LogTime, WallTime};
use crate::ids::{NanoId, PlayerId, Seat, SessionId};

/// One input of a battle. Numbers are dense per battle and start at 1 (0 is the set-up).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedInput {
    /// Place in the battle's order.
    pub number: u32,
    /// Log time of the proposal that appended it.
    pub at: LogTime,
    /// Wall time of that proposal, for display.
    pub wall: WallTime,
    /// What happened.
    pub input: Input,
}

/// What can happen to a battle. Append-only: variants and their fields never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A player is ready to start.
    Ready(Seat),
    /// A player's choice, as the engine's JSON (opaque to the machine).
    Select(Seat, Arc<str>),
    /// A client plays an animation.
    StartAnimation {
        /// Who says so.
        by: Seat,
        /// Pet or skill id it belongs to.
        source: Arc<str>,
        /// Expected length, milliseconds.
        expected_ms: u32,
        /// Whose animation it is.
        owner: Seat,
    },
    /// A client finished an animation.
    EndAnimation {
        /// Who says so.
        by: Seat,
        /// Which.
        id: NanoId,
    },
    /// A player is gone for good.
    Leave(Seat, LeaveReason),
    /// Time passed: the battle's `wake_at` was reached.
    Tick,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(seat) => write!(f, "ready {seat}"),
            Self::Select(seat, selection) => write!(f, "select {seat} {selection}"),
            Self::StartAnimation { by, source, expected_ms, owner } => {
                write!(
                    f,
                    "start-animation {by} source={source} expected={expected_ms}ms owner={owner}"
                )
            }
            Self::EndAnimation { by, id } => write!(f, "end-animation {by} {id}"),
            Self::Leave(seat, reason) => write!(f, "leave {seat} {reason}"),
            Self::Tick => f.write_str("tick"),
        }
    }
}

/// Why a player left a battle for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaveReason {
    /// The connection closed and no grace is given.
    Disconnected,
    /// The grace period passed without a return.
    GraceExpired,
    /// The player queued again from a session that had taken the lost one's place.
    QueuedAgain,
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::GraceExpired => "grace-expired",
            Self::QueuedAgain => "queued-again",
        })
    }
}

/// How a battle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `None` is a draw.
    pub winner: Option<Seat>,
    /// Why it is over.
    pub reason: EndReason,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.winner {
            Some(seat) => write!(f, "{seat} wins: {:?}", self.reason),
            None => write!(f, "draw: {:?}", self.reason),
        }
    }
}

/// Why a battle is over (contract 5.6 `BATTLE_END`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// A side has no living pet.
    AllPetFainted,
    /// A player gave up or is gone.
    Surrender,
    /// A player's total clock ran out.
    TotalTimeTimeout,
}

/// SHA-256 of something all nodes must agree on: a pack, a machine, a battle's events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which rules and which data a battle is played with, fixed when the room is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackRef {
    /// Engine and its rules' version, e.g. `builtin/1`.
    pub engine: Arc<str>,
    /// Digest of the pack's data.
    pub digest: Digest,
}

impl fmt::Display for PackRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.engine, self.digest)
    }
}

/// Everything a replica needs before the first input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BattleSetup {
    /// Rules and data.
    pub pack: PackRef,
    /// Seeds every random stream of the battle.
    pub seed: [u8; 16],
    /// A, then B.
    pub players: [SetupSeat; 2],
    /// Clock limits, in force for the whole battle.
    pub clocks: Clocks,
    /// Creation, log time.
    pub at: LogTime,
    /// Creation, for display.
    pub wall: WallTime,
}

/// One side of a [`BattleSetup`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupSeat {
    /// Whose.
    pub player: PlayerId,
    /// The session that queued.
    pub session: SessionId,
    /// The account's display name at pairing.
    pub name: Arc<str>,
    /// The normalized team as JSON text; ticket and room share this copy.
    pub team: Arc<str>,
}

/// Clock limits of a battle; come with the older ticket's join, from the settings of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Seconds to choose.
    pub turn_s: u32,
    /// Seconds for all choices of a battle.
    pub total_s: u32,
    /// Milliseconds after which an animation counts as over.
    pub animation_max_ms: u32,
}
