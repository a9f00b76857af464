//! Seats: who sits in a battle, how a seat is lost, and who may take it back.
//!
//! A seat is *here* while its session is connected, *lost* while it may still come back, and *gone*
//! after that. These rules decide who may come back:
//!
//! * The session itself, always.
//! * Another session of the same player, in its place (*bound*), if it opens after the loss and
//!   either proved by token to be that player or comes from the lost session's address. An opponent
//!   learns a guest's id from the match; without this rule he could connect as that guest.
//! * Never one that was connected when the seat was lost, nor one that was lost with it: a second
//!   tab is not a successor. (They are noted with the loss.)
//!
//! A player who queues from a session that has *inherited* a battle doesn't know of it: queueing
//! leaves it first. Once a bound session has sent an input it knows, and nothing but the player's
//! own choice ends the battle.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Abandoned, Rejection};
use crate::clock::LogTime;
use crate::command::AbandonBattle;
use crate::due::Due;
use crate::effect::Effect;
use crate::ids::{RoomId, Seat, SessionId, SessionKey};
use crate::input::LeaveReason;
use crate::machine::{Machine, Turn};
use crate::sessions::Session;

/// One side of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeatState {
    pub(crate) session: SessionKey,
    /// Whether this session took a lost one's place and has sent no input yet.
    pub(crate) bound: bool,
    pub(crate) presence: Presence,
}

/// Whether a player can still play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Presence {
    Here,
    Lost(Lost),
    Gone(LeaveReason),
}

/// A seat in grace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    pub(crate) deadline: LogTime,
    /// From where the lost session was connected.
    address: Arc<str>,
    /// The player's other sessions at that moment: none of them may take the seat.
    siblings: BTreeSet<SessionId>,
}

impl SeatState {
    pub(crate) fn new(session: SessionKey) -> Self {
        Self { session, bound: false, presence: Presence::Here }
    }

    pub(crate) fn lost(&self) -> Option<&Lost> {
        match &self.presence {
            Presence::Lost(lost) => Some(lost),
            Presence::Here | Presence::Gone(_) => None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.presence, Presence::Gone(_))
    }
}

impl Lost {
    fn is_sibling(&self, key: &SessionKey) -> bool {
        self.siblings.contains(&key.session)
    }

    /// An unknown address equals nothing.
    fn is_same_place(&self, session: &Session) -> bool {
        !self.address.is_empty() && self.address == session.address
    }
}

impl Machine {
    /// A session is gone: so is its seat, at once or after the grace.
    pub(crate) fn lose_seat(
        &mut self,
        turn: &mut Turn<'_>,
        key: &SessionKey,
        was: &Session,
        siblings: BTreeSet<SessionId>,
        grace_ms: u64,
    ) {
        let Some((id, seat)) = self.rooms.live_seat(key) else { return };
        if grace_ms == 0 {
            self.leave_battle(turn, id, seat, LeaveReason::Disconnected);
            return;
        }
        let Some(room) = self.rooms.edit(id) else { return };
        if room.seat(seat).presence != Presence::Here {
            return;
        }
        let deadline = turn.now.plus_ms(grace_ms);
        let lost = Lost { deadline, address: Arc::clone(&was.address), siblings };
        room.seat_mut(seat).presence = Presence::Lost(lost);
        let opponent = room.seat(seat.opponent()).session.clone();
        self.due.add(deadline, Due::Grace(id, seat));
        turn.emit(Effect::SeatLost { room: id, seat, player: key.player, opponent, grace_ms });
    }

    /// A session is connected: it gets its lost seat back, or another session's that it may have.
    /// Says which battle it is in, if it can still play there.
    pub(crate) fn take_seat(
        &mut self,
        turn: &mut Turn<'_>,
        key: &SessionKey,
        session: &Session,
    ) -> Option<(RoomId, Seat)> {
        let (id, seat) = match self.rooms.live_seat(key) {
            Some(own) => own,
            None => self.bind_seat(turn, key, session)?,
        };
        let room = self.rooms.edit(id)?;
        if room.seat(seat).is_gone() {
            return None;
        }
        if let Some(deadline) = room.seat(seat).lost().map(|lost| lost.deadline) {
            room.seat_mut(seat).presence = Presence::Here;
            let opponent = room.seat(seat.opponent()).session.clone();
            self.due.cancel(deadline, Due::Grace(id, seat));
            turn.emit(Effect::SeatBack { room: id, seat, player: key.player, opponent });
        }
        Some((id, seat))
    }

    /// Puts a session in the place of a lost one, if it may have it.
    fn bind_seat(
        &mut self,
        turn: &mut Turn<'_>,
        key: &SessionKey,
        session: &Session,
    ) -> Option<(RoomId, Seat)> {
        let may_have = |lost: &Lost| {
            !lost.is_sibling(key) && (session.authenticated || lost.is_same_place(session))
        };
        let (id, seat) = self.newest_lost_seat(key, may_have)?;
        let former = self.rooms.get(id)?.seat(seat).session.clone();
        self.rooms.reseat(id, seat, key);
        self.rooms.edit(id)?.seat_mut(seat).bound = true;
        self.refresh_ticket(&former);
        self.refresh_ticket(key);
        turn.emit(Effect::SeatBound { room: id, seat, session: key.clone() });
        Some((id, seat))
    }

    pub(crate) fn abandon_battle(
        &mut self,
        turn: &mut Turn<'_>,
        c: &AbandonBattle,
    ) -> Result<Abandoned, Rejection> {
        let session =
            self.sessions.by_socket(&c.session, &c.socket).ok_or(Rejection::SessionGone)?;
        let found = match self.rooms.live_seat(&c.session) {
            Some((id, seat)) => {
                let bound = self.rooms.get(id).is_some_and(|room| room.seat(seat).bound);
                bound.then_some((id, seat))
            }
            None if !session.chosen => self.newest_lost_seat(&c.session, |lost| {
                !lost.is_sibling(&c.session) && lost.is_same_place(session)
            }),
            None => None,
        };
        if let Some((id, seat)) = found {
            self.leave_battle(turn, id, seat, LeaveReason::QueuedAgain);
        }
        Ok(Abandoned { room: found.map(|(id, _)| id) })
    }

    /// The newest live room with a lost seat of this player that the rule allows.
    fn newest_lost_seat(
        &self,
        key: &SessionKey,
        allows: impl Fn(&Lost) -> bool,
    ) -> Option<(RoomId, Seat)> {
        let mut newest = None;
        for (id, room) in self.rooms.live_of_player(key.player) {
            for seat in Seat::BOTH {
                let state = room.seat(seat);
                if state.session.player == key.player
                    && state.lost().is_some_and(&allows)
                    && newest.is_none_or(|(order, _, _)| order < room.order)
                {
                    newest = Some((room.order, id, seat));
                }
            }
        }
        newest.map(|(_, id, seat)| (id, seat))
    }
}
