//! The seam between the host and whatever knows the rules of a battle.
//!
//! A battle is a deterministic state machine advanced by ordered inputs. It has no clock and draws
//! no randomness of its own: each call brings its log time and the number of its input, from which
//! the engine derives a random stream. Equal set-ups and equal inputs give equal messages on every
//! node, so any node can rebuild any battle.
//!
//! Every value of these traits can be written as JSON, and both traits are object-safe: engines in
//! other languages come behind the same seam.

use serde::{Deserialize, Serialize};
use serverv2_machine::{
    BattleSetup, Clocks, EndReason, LeaveReason, LogTime, Outcome, PlayerId, Seat, WallTime,
};
use utoipa::ToSchema;

use super::message::Message;
use super::schema::NanoIdText;
use super::view::BattleView;

/// When a call happens and which random stream it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Log time of the input.
    pub now: LogTime,
    /// Wall time of the input, shown to clients, never decided upon.
    pub wall: WallTime,
    /// Number of the input in this battle; `init` is 0. Seeds the call's random stream with the battle's seed.
    pub input: u32,
}

/// `TimerConfig` of contract 5.8, as a client reads it; made from the set-up's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimerConfig {
    /// Whether clocks run at all.
    pub enabled: bool,
    /// Seconds to choose.
    pub turn_time_limit: u32,
    /// Seconds for all choices of a battle.
    pub total_time_limit: u32,
    /// Whether animations stop the clocks.
    pub animation_pause_enabled: bool,
    /// Milliseconds after which an animation is over whatever its client says.
    pub max_animation_duration: u32,
}

impl From<Clocks> for TimerConfig {
    fn from(clocks: Clocks) -> Self {
        Self {
            enabled: true,
            turn_time_limit: clocks.turn_s,
            total_time_limit: clocks.total_s,
            animation_pause_enabled: true,
            max_animation_duration: clocks.animation_max_ms,
        }
    }
}

/// A choice of a player (contract 5.2), without the player: the seat says whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Selection {
    /// Use a skill by its instance id. The skill's own target counts, whatever was asked.
    UseSkill {
        /// Instance id.
        skill: String,
        /// `self` or `opponent`, as sent.
        target: Target,
    },
    /// Bring a pet in.
    SwitchPet {
        /// Pet id.
        pet: String,
    },
    /// Pass.
    DoNothing,
    /// Give up.
    Surrender,
}

/// Whom a skill aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The user's own side.
    #[serde(rename = "self")]
    Own,
    /// The other side.
    Opponent,
}

/// What became of a submitted choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Stored; may be replaced until the phase resolves.
    Accepted,
    /// Nothing is asked of this player, or this is not among what may be chosen.
    NotLegal,
    /// No skill of this battle has that id.
    UnknownSkill,
    /// No pet of this battle has that id.
    UnknownPet,
}

/// What the battle waits for after a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Who is asked to choose.
    pub pending: Vec<Seat>,
    /// Log time at which `tick` must be called, if nothing happens before.
    pub wake_at: Option<LogTime>,
    /// Set once, when the battle is over.
    pub result: Option<Outcome>,
}

/// Who looks at a battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Viewer {
    /// A player: hidden information of the other side is removed (contract 5.5).
    Player(Seat),
    /// The battle report: nothing is hidden.
    Observer,
}

/// Anything whose state can be looked at; what a [`Sink`] gets with each message.
pub trait Visible {
    /// The state as this viewer may see it.
    fn view(&self, viewer: Viewer) -> BattleView;
}

/// Takes each message of a call together with the state at that very moment (contract 5.6).
pub trait Sink {
    /// One message; `state` is what its delta leads to.
    fn message(&mut self, message: Message, state: &dyn Visible);
}

/// State of one player's clocks (contract 5.8), seconds with fraction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimerState {
    /// Whose clocks.
    #[schema(value_type = NanoIdText)]
    pub player_id: PlayerId,
    /// Where they stand.
    pub state: TimerPhase,
    /// Seconds left for this choice.
    pub remaining_turn_time: f64,
    /// Seconds left for the whole battle.
    pub remaining_total_time: f64,
    /// Wall-clock milliseconds of this reading.
    pub last_update_time: u64,
}

/// Whether a player's clocks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimerPhase {
    /// Before the first turn and after the end.
    Stopped,
    /// The player is thinking.
    Running,
    /// The player has chosen, or a turn is waiting for animations.
    Paused,
    /// The turn clock ran out and the server chose.
    Timeout,
}

/// Answer to `startAnimation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnimationStart {
    /// Clocks stand still until this animation ends.
    Started {
        /// The animation's id (a nanoid of the call's stream).
        id: String,
    },
    /// Clocks are off, or the limits on animations are reached.
    Disabled,
}

/// Why a set-up can't become a battle: pack or team don't fit. Deterministic, so every node agrees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the battle can't be set up: {0}")]
pub struct SetupError(pub String);

/// Makes battles of one rule set and one pack.
pub trait BattleEngine: Send + Sync {
    /// Whether every species, skill, ability and emblem a team names exists in the pack.
    fn knows_team(&self, team: &str) -> bool;

    /// A battle in state `Unstarted`. Team texts were normalized before they were proposed.
    fn init(&self, setup: &BattleSetup) -> Result<Box<dyn Battle>, SetupError>;

    /// A battle as [`Battle::snapshot`] left it; `None` means: replay the inputs.
    fn restore(&self, setup: &BattleSetup, snapshot: &[u8]) -> Option<Box<dyn Battle>>;
}

/// An animation that a client says it began to play.
#[derive(Clone, Copy, Debug)]
pub struct AnimationRequest<'a> {
    /// Whose client says so: what is bounded, is bounded for this player.
    pub by: Seat,
    /// Whose it is by the client's word.
    pub owner: Seat,
    /// What causes it, by the client's word.
    pub source: &'a str,
    /// How long it takes by the client's word, milliseconds.
    pub expected_ms: u32,
}

/// One battle. Advancing calls never panic and never fail: what isn't possible now changes nothing.
pub trait Battle: Visible + Send {
    /// Both players are ready.
    fn start(&mut self, call: Call, sink: &mut dyn Sink) -> Progress;

    /// A player's choice.
    fn submit(
        &mut self,
        seat: Seat,
        selection: &Selection,
        call: Call,
        sink: &mut dyn Sink,
    ) -> (Verdict, Progress);

    /// `wake_at` was reached; earlier it changes nothing.
    fn tick(&mut self, call: Call, sink: &mut dyn Sink) -> Progress;

    /// A client began to play an animation: clocks stand still.
    fn start_animation(
        &mut self,
        animation: &AnimationRequest<'_>,
        call: Call,
        sink: &mut dyn Sink,
    ) -> (AnimationStart, Progress);

    /// A client finished an animation; unknown ids are ignored.
    fn end_animation(&mut self, id: &str, call: Call, sink: &mut dyn Sink) -> Progress;

    /// A player is gone for good: the battle ends at once.
    fn leave(
        &mut self,
        seat: Seat,
        reason: LeaveReason,
        call: Call,
        sink: &mut dyn Sink,
    ) -> Progress;

    /// What the battle waits for, without advancing it.
    fn progress(&self) -> Progress;

    /// The choices this player may make now, in the order of contract 5.3.
    fn available(&self, seat: Seat) -> Vec<Selection>;

    /// What [`Battle::submit`] would say, without storing anything.
    fn check(&self, seat: Seat, selection: &Selection) -> Verdict;

    /// Both players' clocks at this moment, A then B.
    fn timers(&self, now: LogTime, wall: WallTime) -> [TimerState; 2];

    /// How many animations are being played.
    fn animations(&self) -> usize;

    /// The state as bytes, if this is a moment at which the engine can give it.
    fn snapshot(&self) -> Option<Vec<u8>>;
}

/// The contract's name of an end (contract 5.6 `BATTLE_END`).
pub fn reason_on_wire(reason: EndReason) -> &'static str {
    match reason {
        EndReason::AllPetFainted => "all_pet_fainted",
        EndReason::Surrender => "surrender",
        EndReason::TotalTimeTimeout => "total_time_timeout",
    }
}
