//! How a battle goes from phase to phase (contract 5.7), and what is told at each step.
//!
//! A message is emitted after the state is what the message says, and before anything else changes:
//! clients patch their copy with the difference and may ask at once for what they can choose.

use serverv2_machine::{EndReason, Outcome, Seat};

use super::super::engine::{Sink, reason_on_wire};
use super::super::message::{Event, Message, RageReason};
use super::super::view::{Phase, Status};
use super::BuiltinBattle;
use super::legality::{Ask, Choice};
use super::random::Stream;
use super::state::RAGE_MAX;
use super::stats::RAGE_PER_TURN;

/// One advancing call: whom it tells and what it draws from.
pub(super) struct Step<'a> {
    pub(super) sink: &'a mut dyn Sink,
    pub(super) random: Stream,
}

impl BuiltinBattle {
    /// Numbers a message and hands it out together with the state as it is now.
    pub(super) fn tell(&mut self, event: Event, step: &mut Step<'_>) {
        let sequence_id = self.next_sequence;
        self.next_sequence += 1;
        step.sink.message(Message { sequence_id, battle_id: self.battle_id, event }, self);
    }

    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        self.status = Status::On;
        self.tell(Event::BattleStart {}, step);
        self.ask_for_actions(step);
    }

    fn ask_for_actions(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Selection;
        self.asked = [Some(Ask::Action); 2];
        self.chosen = [None; 2];
        self.clocks.new_turn();
        self.clocks.reset([true; 2]);
        let player = self.sides.each_ref().map(|side| side.player);
        self.tell(Event::TurnAction { player }, step);
    }

    /// Stores a choice and plays on if it was the last one waited for.
    pub(super) fn choose(&mut self, seat: Seat, choice: Choice, by_timeout: bool) {
        self.chosen[seat.index()] = Some(choice);
        self.clocks.chosen(seat, by_timeout);
    }

    /// Plays on if nobody is waited for any more.
    pub(super) fn resolve(&mut self, step: &mut Step<'_>) {
        if self.pending().next().is_some() || self.asked == [None; 2] {
            return;
        }
        let asked = std::mem::take(&mut self.asked);
        let chosen = std::mem::take(&mut self.chosen);
        match self.phase {
            Phase::Selection => self.play_turn(chosen, step),
            Phase::Switch => self.make_switches(asked, chosen, step),
            Phase::Execution | Phase::Ended => {}
        }
    }

    fn play_turn(&mut self, chosen: [Option<Choice>; 2], step: &mut Step<'_>) {
        self.turn += 1;
        self.phase = Phase::Execution;
        for side in &mut self.sides {
            side.scored = false;
        }
        self.tell(Event::TurnStart { turn: self.turn }, step);
        if self.end_by_surrender(chosen, step) {
            return;
        }
        for seat in self.order(chosen) {
            match chosen[seat.index()] {
                Some(Choice::Skill(place)) => self.use_skill(seat, place, step),
                Some(Choice::Switch(place)) => self.switch(seat, place, step),
                Some(Choice::Nothing | Choice::Surrender) | None => {}
            }
        }
        for seat in Seat::BOTH {
            let rage = self.sides[seat.index()].rage + RAGE_PER_TURN;
            self.set_rage(seat, rage, RageReason::Turn, step);
        }
        self.tell(Event::TurnEnd { turn: self.turn }, step);
        self.go_on(step);
    }

    /// Switches come before skills, B's before A's; skills by priority, then speed, then A.
    fn order(&self, chosen: [Option<Choice>; 2]) -> [Seat; 2] {
        let b_first = match chosen {
            [_, Some(Choice::Switch(_))] => true,
            [Some(Choice::Skill(a)), Some(Choice::Skill(b))] => {
                let pets = self.sides.each_ref().map(|side| side.active());
                let priority = [(pets[0], a), (pets[1], b)]
                    .map(|(pet, skill)| pet.skills[skill].data.priority);
                let speed = pets.map(|pet| pet.stats.spe);
                priority[1] > priority[0] || (priority[1] == priority[0] && speed[1] > speed[0])
            }
            _ => false,
        };
        if b_first { [Seat::B, Seat::A] } else { Seat::BOTH }
    }

    pub(super) fn switch(&mut self, seat: Seat, place: usize, step: &mut Step<'_>) {
        let side = &mut self.sides[seat.index()];
        let from_pet = side.switch_to(place);
        let came = side.active();
        let (to_pet, current_hp) = (came.id, came.hp);
        let event = Event::PetSwitch { player: side.player, from_pet, to_pet, current_hp };
        self.tell(event, step);
    }

    /// Sets a player's rage within its bounds and tells so, even if it stays what it was.
    pub(super) fn set_rage(
        &mut self,
        seat: Seat,
        rage: u32,
        reason: RageReason,
        step: &mut Step<'_>,
    ) {
        let side = &mut self.sides[seat.index()];
        let before = side.rage;
        side.rage = rage.min(RAGE_MAX);
        let (player, pet, after) = (side.player, side.active().id, side.rage);
        self.tell(Event::RageChange { player, pet, before, after, reason }, step);
    }

    /// After a turn or a switch phase: the end, replacements, or the next turn.
    fn go_on(&mut self, step: &mut Step<'_>) {
        let alive = self.sides.each_ref().map(|side| side.alive() > 0);
        let winner = match alive {
            [true, true] => return self.ask_for_replacements(step),
            [true, false] => Some(Seat::A),
            [false, true] => Some(Seat::B),
            [false, false] => None,
        };
        self.end(Outcome { winner, reason: EndReason::AllPetFainted }, step);
    }

    fn ask_for_replacements(&mut self, step: &mut Step<'_>) {
        let fainted = self.sides.each_ref().map(|side| side.active().hp == 0);
        let follow_up = match fainted {
            [true, false] => Some(Seat::B),
            [false, true] => Some(Seat::A),
            [true, true] => None,
            [false, false] => return self.ask_for_actions(step),
        };
        let follow_up = follow_up.filter(|seat| {
            let side = &self.sides[seat.index()];
            side.scored && side.bench().next().is_some()
        });
        self.phase = Phase::Switch;
        self.asked = fainted.map(|fainted| fainted.then_some(Ask::Replacement));
        if let Some(seat) = follow_up {
            self.asked[seat.index()] = Some(Ask::FollowUp);
        }
        self.clocks.reset(self.asked.map(|ask| ask.is_some()));
        let forced = Seat::BOTH.into_iter().filter(|seat| fainted[seat.index()]);
        let player = forced.map(|seat| self.sides[seat.index()].player).collect();
        self.tell(Event::ForcedSwitch { player }, step);
        if let Some(seat) = follow_up {
            self.tell(Event::FaintSwitch { player: self.sides[seat.index()].player }, step);
        }
    }

    /// All named players have chosen: forced ones in the order A, B, then the bonus.
    fn make_switches(
        &mut self,
        asked: [Option<Ask>; 2],
        chosen: [Option<Choice>; 2],
        step: &mut Step<'_>,
    ) {
        if self.end_by_surrender(chosen, step) {
            return;
        }
        for ask in [Ask::Replacement, Ask::FollowUp] {
            for seat in Seat::BOTH.into_iter().filter(|seat| asked[seat.index()] == Some(ask)) {
                if let Some(Choice::Switch(place)) = chosen[seat.index()] {
                    self.switch(seat, place, step);
                }
            }
        }
        self.go_on(step);
    }

    /// A's surrender is read first, so if both gave up, B wins.
    fn end_by_surrender(&mut self, chosen: [Option<Choice>; 2], step: &mut Step<'_>) -> bool {
        let gave_up = |seat: &Seat| chosen[seat.index()] == Some(Choice::Surrender);
        let Some(loser) = Seat::BOTH.into_iter().find(gave_up) else { return false };
        self.end(Outcome { winner: Some(loser.opponent()), reason: EndReason::Surrender }, step);
        true
    }

    pub(super) fn end(&mut self, outcome: Outcome, step: &mut Step<'_>) {
        self.status = Status::Ended;
        self.phase = Phase::Ended;
        self.asked = [None; 2];
        self.chosen = [None; 2];
        self.clocks.stop();
        self.outcome = Some(outcome);
        let winner = outcome.winner.map(|seat| self.sides[seat.index()].player);
        let reason = reason_on_wire(outcome.reason);
        self.tell(Event::BattleEnd { winner, reason }, step);
    }
}
