//! The battle rules that come with the server: everything contract 5.2 to 5.9 shows on the wire,
//! without the scripting language of the studio's engine.
//!
//! A battle is advanced by calls that carry their time and the number of their input; it never reads
//! a clock and draws only from the call's own stream, so equal inputs give equal messages everywhere.
//! No choice, team or id a client can send makes it panic: what can't be is a [`Verdict`] or a
//! [`SetupError`]. What the contract leaves open is decided in the file it concerns.
//!
//! Effects and marks of a pack are ignored: abilities and emblems show, and do nothing.

mod clocks;
mod damage;
mod legality;
mod phases;
mod random;
mod skills;
mod state;
mod stats;

use std::collections::BTreeSet;
use std::sync::Arc;

use serverv2_machine::{
    BattleSetup, EndReason, LeaveReason, LogTime, NanoId, Outcome, PackRef, Seat, WallTime,
};

use self::clocks::Clocks;
use self::legality::{Ask, Choice};
use self::phases::Step;
use self::random::Stream;
use self::state::Side;
use super::engine::{
    AnimationRequest, AnimationStart, Battle, BattleEngine, Call, Progress, Selection, SetupError,
    Sink, TimerState, Verdict, Viewer, Visible,
};
use super::pack::Pack;
use super::team::{self, Team};
use super::view::{BattleView, MarkView, Phase, Status};

/// Makes battles of the built-in rules and one pack.
pub struct BuiltinEngine {
    pack: Arc<Pack>,
    reference: PackRef,
}

impl BuiltinEngine {
    /// The rules with this pack.
    pub fn new(pack: Arc<Pack>) -> Self {
        let reference = pack.reference();
        Self { pack, reference }
    }

    /// What battles of this engine are pinned to.
    pub fn reference(&self) -> &PackRef {
        &self.reference
    }

    fn side(
        &self,
        setup: &BattleSetup,
        seat: Seat,
        taken: &mut BTreeSet<NanoId>,
        random: &mut Stream,
    ) -> Result<Side, SetupError> {
        let refuse = |reason: &str| SetupError(format!("team of player {seat}: {reason}"));
        let player = &setup.players[seat.index()];
        let payload = serde_json::from_str(&player.team).map_err(|_| refuse("not JSON"))?;
        let team = team::read(Some(&payload), &mut || random.id());
        let mut team = team.map_err(|error| refuse(&error.to_string()))?;
        if team.id != player.player {
            return Err(refuse("of another player"));
        }
        // Both teams share one map of ids; the younger ticket's pets give way.
        for pet in &mut team.team {
            while !taken.insert(pet.id) {
                pet.id = random.id();
            }
        }
        Side::new(team, &self.pack, random).ok_or_else(|| refuse("not of this pack"))
    }
}

impl BattleEngine for BuiltinEngine {
    fn knows_team(&self, team: &str) -> bool {
        serde_json::from_str::<Team>(team).is_ok_and(|team| self.pack.knows(&team))
    }

    fn init(&self, setup: &BattleSetup) -> Result<Box<dyn Battle>, SetupError> {
        if setup.pack != self.reference {
            return Err(SetupError(format!("{} is not {}", self.reference, setup.pack)));
        }
        let mut random = Stream::new(&setup.seed, 0);
        let battle_id = random.id();
        let mut taken = BTreeSet::new();
        let a = self.side(setup, Seat::A, &mut taken, &mut random)?;
        let b = self.side(setup, Seat::B, &mut taken, &mut random)?;
        Ok(Box::new(BuiltinBattle {
            pack: self.pack.clone(),
            seed: setup.seed,
            battle_id,
            status: Status::Unstarted,
            phase: Phase::Selection,
            turn: 0,
            next_sequence: 0,
            sides: [a, b],
            asked: [None; 2],
            chosen: [None; 2],
            clocks: Clocks::new(setup.clocks, setup.at),
            outcome: None,
            no_marks: Arc::default(),
        }))
    }

    /// Replaying is fast enough: thousands of inputs take milliseconds.
    fn restore(&self, _setup: &BattleSetup, _snapshot: &[u8]) -> Option<Box<dyn Battle>> {
        None
    }
}

/// One battle of the built-in rules.
struct BuiltinBattle {
    pack: Arc<Pack>,
    seed: [u8; 16],
    battle_id: NanoId,
    status: Status,
    phase: Phase,
    turn: u32,
    /// Number of the next message.
    next_sequence: u64,
    sides: [Side; 2],
    asked: [Option<Ask>; 2],
    chosen: [Option<Choice>; 2],
    clocks: Clocks,
    outcome: Option<Outcome>,
    /// Of the battlefield: the built-in rules put none there.
    no_marks: Arc<[MarkView]>,
}

impl BuiltinBattle {
    /// Who is asked and has not chosen.
    fn pending(&self) -> impl Iterator<Item = Seat> {
        let waits =
            |seat: &Seat| self.asked[seat.index()].is_some() && self.chosen[seat.index()].is_none();
        Seat::BOTH.into_iter().filter(waits)
    }

    fn step<'a>(&self, call: Call, sink: &'a mut dyn Sink) -> Step<'a> {
        Step { sink, random: Stream::new(&self.seed, call.input) }
    }

    /// Makes the choice of everyone whose time is over.
    fn time_out(&mut self, step: &mut Step<'_>) {
        if let Some(loser) = self.clocks.loser() {
            let winner = Some(loser.opponent());
            return self.end(Outcome { winner, reason: EndReason::TotalTimeTimeout }, step);
        }
        for seat in Seat::BOTH {
            if self.clocks.is_turn_over(seat)
                && let Some(first) = self.choices(seat).first()
            {
                self.choose(seat, *first, true);
            }
        }
        self.resolve(step);
    }
}

impl Visible for BuiltinBattle {
    fn view(&self, viewer: Viewer) -> BattleView {
        let side = |seat: Seat| {
            let own = viewer == Viewer::Observer || viewer == Viewer::Player(seat);
            self.sides[seat.index()].view(own)
        };
        BattleView {
            status: self.status,
            current_phase: self.phase,
            current_turn: self.turn,
            marks: self.no_marks.clone(),
            players: Seat::BOTH.map(side),
            sequence_id: self.next_sequence.checked_sub(1),
        }
    }
}

impl Battle for BuiltinBattle {
    fn start(&mut self, call: Call, sink: &mut dyn Sink) -> Progress {
        if self.status == Status::Unstarted {
            self.clocks.settle(call.now);
            let mut step = self.step(call, sink);
            self.begin(&mut step);
        }
        self.progress()
    }

    fn submit(
        &mut self,
        seat: Seat,
        selection: &Selection,
        call: Call,
        sink: &mut dyn Sink,
    ) -> (Verdict, Progress) {
        self.clocks.settle(call.now);
        let verdict = match self.find_choice(seat, selection) {
            Ok(choice) => {
                let mut step = self.step(call, sink);
                self.choose(seat, choice, false);
                self.resolve(&mut step);
                Verdict::Accepted
            }
            Err(verdict) => verdict,
        };
        (verdict, self.progress())
    }

    fn tick(&mut self, call: Call, sink: &mut dyn Sink) -> Progress {
        if self.status == Status::On {
            self.clocks.settle(call.now);
            let mut step = self.step(call, sink);
            self.time_out(&mut step);
        }
        self.progress()
    }

    fn start_animation(
        &mut self,
        animation: &AnimationRequest<'_>,
        call: Call,
        sink: &mut dyn Sink,
    ) -> (AnimationStart, Progress) {
        self.clocks.settle(call.now);
        let id = self.step(call, sink).random.id();
        let AnimationRequest { by, expected_ms, .. } = *animation;
        let began = self.status == Status::On && self.clocks.begin_animation(id, by, expected_ms);
        let start = match began {
            true => AnimationStart::Started { id: id.to_string() },
            false => AnimationStart::Disabled,
        };
        (start, self.progress())
    }

    fn end_animation(&mut self, id: &str, call: Call, _sink: &mut dyn Sink) -> Progress {
        self.clocks.settle(call.now);
        if let Ok(id) = id.parse() {
            self.clocks.end_animation(id);
        }
        self.progress()
    }

    fn leave(
        &mut self,
        seat: Seat,
        _reason: LeaveReason,
        call: Call,
        sink: &mut dyn Sink,
    ) -> Progress {
        if self.status != Status::Ended {
            self.clocks.settle(call.now);
            let mut step = self.step(call, sink);
            let winner = Some(seat.opponent());
            self.end(Outcome { winner, reason: EndReason::Surrender }, &mut step);
        }
        self.progress()
    }

    fn progress(&self) -> Progress {
        let wake_at = self.clocks.wake_at().filter(|_| self.status == Status::On);
        Progress { pending: self.pending().collect(), wake_at, result: self.outcome }
    }

    fn available(&self, seat: Seat) -> Vec<Selection> {
        let choices = self.choices(seat).into_iter();
        choices.map(|choice| self.selection(seat, choice)).collect()
    }

    fn check(&self, seat: Seat, selection: &Selection) -> Verdict {
        self.find_choice(seat, selection).map_or_else(|verdict| verdict, |_| Verdict::Accepted)
    }

    fn timers(&self, now: LogTime, wall: WallTime) -> [TimerState; 2] {
        let readings = self.clocks.read(now);
        Seat::BOTH.map(|seat| {
            let reading = readings[seat.index()];
            TimerState {
                player_id: self.sides[seat.index()].player,
                state: reading.phase,
                remaining_turn_time: reading.turn_s,
                remaining_total_time: reading.total_s,
                last_update_time: wall.0,
            }
        })
    }

    fn animations(&self) -> usize {
        self.clocks.animations()
    }

    /// See [`BuiltinEngine::restore`].
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
