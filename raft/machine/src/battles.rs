//! Battles, as far as everyone must agree on them: ordered inputs, numbered densely from 1, and one
//! recorded end.
//!
//! What an input means only the engines know, which run outside. So whoever computes something from
//! a battle says after which input, and is refused (`Overtaken`) if another one came in between. The
//! first recorded end wins, whoever computed it.
//!
//! A `Leave` is always the last input: engines end at it. Refusing what comes later (`BattleOver`)
//! keeps an opponent from overtaking the end again and again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Numbered, Rejection};
use crate::command::{AbortBattle, AppendInput, EndBattle, TickBattle};
use crate::due::Due;
use crate::effect::Effect;
use crate::ids::{RoomId, Seat};
use crate::input::{Digest, Input, LeaveReason, NumberedInput, Outcome};
use crate::limits::{
    ANIMATION_TEXT_MAX, ENDED_ROOM_LINGER_MS, INPUTS_MAX, LEFT_ROOM_LINGER_MS, ROOM_AGE_MAX_MS,
    SELECTION_BYTES_MAX,
};
use crate::machine::{Machine, Turn};
use crate::planted::{self, Bug};
use crate::rooms::{End, Room};
use crate::seats::Presence;

/// What a replica makes of a battle up to one of its inputs, for the other replicas to compare theirs
/// with. Changes nothing: the machine can't tell who is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDigest {
    /// Which room.
    pub room: RoomId,
    /// Number of the input.
    pub number: u32,
    /// Of all events up to it.
    pub digest: Digest,
    /// Whether the replica was rebuilt from the inputs because it differed.
    pub rebuilt: bool,
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, number, digest, rebuilt } = self;
        write!(f, "state-digest {room} #{number} {digest} rebuilt={rebuilt}")
    }
}

impl Room {
    /// Whether somebody left: the battle only waits for its end to be recorded.
    pub(crate) fn is_left(&self) -> bool {
        self.seats.iter().any(|seat| seat.is_gone())
    }
}

impl Machine {
    pub(crate) fn append_input(
        &mut self,
        turn: &mut Turn<'_>,
        c: &AppendInput,
    ) -> Result<Numbered, Rejection> {
        let room = self.open_battle(c.room)?;
        let seat = room.seat_of(&c.session).ok_or(Rejection::NotSeated)?;
        if sender(&c.input)? != seat {
            return Err(Rejection::NotSeated);
        }
        if room.is_left() && !planted::has(Bug::NoFencingOnInput) {
            return Err(Rejection::BattleOver);
        }
        if let Some(room) = self.rooms.edit(c.room) {
            room.seat_mut(seat).bound = false;
        }
        let number = self.append(turn, c.room, c.input.clone())?;
        Ok(Numbered { room: c.room, number })
    }

    pub(crate) fn tick_battle(
        &mut self,
        turn: &mut Turn<'_>,
        c: TickBattle,
    ) -> Result<Done, Rejection> {
        if self.battle_after(c.room, c.after)?.is_left() {
            return Err(Rejection::BattleOver);
        }
        self.append(turn, c.room, Input::Tick)?;
        Ok(Done)
    }

    pub(crate) fn end_battle(
        &mut self,
        turn: &mut Turn<'_>,
        c: EndBattle,
    ) -> Result<Done, Rejection> {
        self.battle_after(c.room, c.after)?;
        self.finish(turn, c.room, Some((c.outcome, c.digest)));
        Ok(Done)
    }

    pub(crate) fn abort_battle(
        &mut self,
        turn: &mut Turn<'_>,
        c: AbortBattle,
    ) -> Result<Done, Rejection> {
        self.battle_after(c.room, c.after)?;
        self.finish(turn, c.room, None);
        Ok(Done)
    }

    pub(crate) fn state_digest(
        &self,
        turn: &mut Turn<'_>,
        c: StateDigest,
    ) -> Result<Done, Rejection> {
        if self.open_battle(c.room)?.last_number() < c.number {
            return Err(Rejection::InputInvalid);
        }
        turn.emit(Effect::DigestStated {
            room: c.room,
            by: turn.request.node,
            number: c.number,
            digest: c.digest,
            rebuilt: c.rebuilt,
        });
        Ok(Done)
    }

    /// A player is gone for good. Only the first to go leaves a trace in the battle.
    pub(crate) fn leave_battle(
        &mut self,
        turn: &mut Turn<'_>,
        id: RoomId,
        seat: Seat,
        reason: LeaveReason,
    ) {
        let Some(room) = self.rooms.edit(id) else { return };
        if !room.is_live() || room.seat(seat).is_gone() {
            return;
        }
        let first = !room.is_left();
        let was = std::mem::replace(&mut room.seat_mut(seat).presence, Presence::Gone(reason));
        if let Presence::Lost(lost) = was {
            self.due.cancel(lost.deadline, Due::Grace(id, seat));
        }
        if first {
            // A battle that is full is aborted instead: it is over either way.
            let _ = self.append(turn, id, Input::Leave(seat, reason));
        }
    }

    /// Records a battle's end and frees its players; `None` aborts it.
    pub(crate) fn finish(
        &mut self,
        turn: &mut Turn<'_>,
        id: RoomId,
        result: Option<(Outcome, Digest)>,
    ) {
        self.conclude(turn, id, result, false);
    }

    /// Aborts a battle that has become too old.
    pub(crate) fn finish_old(&mut self, turn: &mut Turn<'_>, id: RoomId) {
        self.conclude(turn, id, None, true);
    }

    fn conclude(
        &mut self,
        turn: &mut Turn<'_>,
        id: RoomId,
        result: Option<(Outcome, Digest)>,
        too_old: bool,
    ) {
        let Some(room) = self.rooms.get(id).filter(|room| room.is_live()) else { return };
        for seat in Seat::BOTH {
            if let Some(lost) = room.seat(seat).lost() {
                self.due.cancel(lost.deadline, Due::Grace(id, seat));
            }
        }
        self.due.cancel(room.setup.at.plus_ms(ROOM_AGE_MAX_MS), Due::RoomAge(id));
        let short = result.is_none() || room.is_left();
        let linger_ms = if short { LEFT_ROOM_LINGER_MS } else { ENDED_ROOM_LINGER_MS };
        let remove_at = turn.now.plus_ms(linger_ms);
        let sessions = [room.seats[0].session.clone(), room.seats[1].session.clone()];
        self.rooms.end(id, End { result, at: turn.now, remove_at });
        self.due.add(remove_at, Due::RoomRemoval(id));
        for session in &sessions {
            self.refresh_ticket(session);
        }
        turn.emit(Effect::BattleEnded {
            room: id,
            outcome: result.map(|(outcome, _)| outcome),
            digest: result.map(|(_, digest)| digest),
            sessions,
        });
        self.close_report(turn, id, result, too_old);
    }

    /// Gives an input its number; the one too many aborts the battle.
    fn append(&mut self, turn: &mut Turn<'_>, id: RoomId, input: Input) -> Result<u32, Rejection> {
        let room = self.rooms.edit(id).ok_or(Rejection::RoomUnknown)?;
        if room.last_number() >= INPUTS_MAX {
            self.finish(turn, id, None);
            return Err(Rejection::InputsFull);
        }
        let number = room.last_number() + 1;
        let input = NumberedInput { number, at: turn.now, wall: turn.wall, input };
        room.inputs.push(input.clone());
        turn.emit(Effect::InputAppended { room: id, input });
        Ok(number)
    }

    fn open_battle(&self, id: RoomId) -> Result<&Room, Rejection> {
        let room = self.rooms.get(id).ok_or(Rejection::RoomUnknown)?;
        let is_open = room.is_live() || planted::has(Bug::NoFencingOnInput);
        if is_open { Ok(room) } else { Err(Rejection::BattleOver) }
    }

    /// The battle, if nothing came in after this input.
    fn battle_after(&self, id: RoomId, after: u32) -> Result<&Room, Rejection> {
        let room = self.open_battle(id)?;
        let is_next = room.last_number() == after || planted::has(Bug::NoFencingOnInput);
        if is_next { Ok(room) } else { Err(Rejection::Overtaken) }
    }
}

/// Who sends this, if it is something that a player may send.
fn sender(input: &Input) -> Result<Seat, Rejection> {
    match input {
        Input::Ready(by) | Input::EndAnimation { by, .. } => Ok(*by),
        Input::Select(by, selection) if selection.len() <= SELECTION_BYTES_MAX => Ok(*by),
        Input::StartAnimation { by, source, .. } if source.len() <= ANIMATION_TEXT_MAX => Ok(*by),
        _ => Err(Rejection::InputInvalid),
    }
}
