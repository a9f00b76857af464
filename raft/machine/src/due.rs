//! What happens by itself when log time passes: the end of graces, the end of overaged rooms, the
//! removal of ended rooms and of suspended tickets, the end of token families and revocations.
//!
//! The set is derived from tickets, rooms and tokens, and rebuilt after a restore. Things due at the same
//! time happen in the order of [`Due`]; none of them makes another one due at once.

use std::collections::BTreeSet;

use crate::clock::LogTime;
use crate::ids::{FamilyId, RoomId, Seat, SessionKey};
use crate::input::LeaveReason;
use crate::limits::ROOM_AGE_MAX_MS;
use crate::machine::{Machine, Turn};

/// One thing that will happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The grace of a lost seat ends.
    Grace(RoomId, Seat),
    /// A live room has become too old.
    RoomAge(RoomId),
    /// An ended room has lingered long enough.
    RoomRemoval(RoomId),
    /// A suspended ticket's session has not come back.
    TicketDrop(SessionKey),
    /// No token of a family can be valid any more.
    FamilyEnd(FamilyId),
    /// No token of a revoked family can be valid any more.
    RevocationEnd(FamilyId),
}

/// All that will happen, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DueSet(BTreeSet<(LogTime, Due)>);

impl DueSet {
    pub(crate) fn first(&self) -> Option<LogTime> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn add(&mut self, at: LogTime, due: Due) {
        self.0.insert((at, due));
    }

    pub(crate) fn cancel(&mut self, at: LogTime, due: Due) {
        self.0.remove(&(at, due));
    }

    fn take(&mut self, now: LogTime) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, due)| due)
    }
}

impl Machine {
    /// Lets everything happen that is due by now.
    pub(crate) fn happen_due(&mut self, turn: &mut Turn<'_>) {
        while let Some(due) = self.due.take(turn.now) {
            match due {
                Due::Grace(room, seat) => {
                    self.leave_battle(turn, room, seat, LeaveReason::GraceExpired);
                }
                Due::RoomAge(room) => self.finish_old(turn, room),
                Due::RoomRemoval(room) => self.remove_room(turn, room),
                Due::TicketDrop(session) => self.drop_ticket(turn, &session),
                Due::FamilyEnd(family) => drop(self.tokens.forget(family)),
                Due::RevocationEnd(family) => self.tokens.end_revocation(family),
            }
        }
        self.pair(turn);
    }

    /// Derives the set from tickets, rooms and tokens, as it would have grown with them.
    pub(crate) fn rebuild_due(&mut self) {
        self.due = DueSet::default();
        for (session, drop_at) in self.queue.suspended() {
            self.due.add(drop_at, Due::TicketDrop(session));
        }
        for (family, at) in self.tokens.family_ends() {
            self.due.add(at, Due::FamilyEnd(family));
        }
        for (family, at) in self.tokens.revocation_ends() {
            self.due.add(at, Due::RevocationEnd(family));
        }
        for (id, room) in self.rooms.iter() {
            if let Some(end) = &room.end {
                self.due.add(end.remove_at, Due::RoomRemoval(id));
                continue;
            }
            self.due.add(room.setup.at.plus_ms(ROOM_AGE_MAX_MS), Due::RoomAge(id));
            for seat in Seat::BOTH {
                if let Some(lost) = room.seat(seat).lost() {
                    self.due.add(lost.deadline, Due::Grace(id, seat));
                }
            }
        }
    }
}
