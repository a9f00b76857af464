//! The queue, and who is paired with whom.
//!
//! Strict first come, first served: the oldest ticket that can be paired, with the next oldest of
//! another player. A ticket can be paired while its session is connected and has no seat in a live
//! room, and while it isn't suspended. Those tickets have an index of their own, so that nobody
//! walks past 100,000 waiting ones: pairing runs after every proposal and looks at most at the
//! tickets of one player before it finds the second.
//!
//! A ticket goes with its session, except when a *node* takes the session down: then it is
//! suspended, and keeps its place if the session joins again within the grace.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Queued, Rejection};
use crate::clock::{LogTime, WallTime};
use crate::command::{JoinQueue, ScopedKey};
use crate::due::Due;
use crate::effect::Effect;
use crate::ids::{PlayerId, SessionKey};
use crate::input::Clocks;
use crate::limits::{ROOMS_MAX, TEAM_BYTES_MAX, TICKETS_MAX};
use crate::machine::{Machine, Turn};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};

/// All tickets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    tickets: BTreeMap<SessionKey, Ticket>,
    /// Joins so far: gives each one its place.
    joins: u64,
    #[serde(skip)]
    order: BTreeMap<u64, SessionKey>,
    /// Those of `order` that can be paired.
    #[serde(skip)]
    pairable: BTreeMap<u64, SessionKey>,
}

/// A place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) place: u64,
    pub(crate) at: LogTime,
    pub(crate) wall: WallTime,
    pub(crate) team: Arc<str>,
    pub(crate) clocks: Clocks,
    /// The client's own id of the join, forgotten when a lost connection undoes the join.
    pub(crate) key: Option<ScopedKey>,
    /// Set while its node's loss keeps it aside: when it is dropped.
    pub(crate) suspended: Option<LogTime>,
}

impl Queue {
    pub(crate) fn get(&self, session: &SessionKey) -> Option<&Ticket> {
        self.tickets.get(session)
    }

    pub(crate) fn get_key_value(&self, session: &SessionKey) -> Option<(&SessionKey, &Ticket)> {
        self.tickets.get_key_value(session)
    }

    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// All tickets, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SessionKey, &Ticket)> {
        self.order.values().filter_map(|session| self.tickets.get_key_value(session))
    }

    /// A player's tickets, in the order of their sessions' ids.
    pub(crate) fn of_player(
        &self,
        player: PlayerId,
    ) -> impl Iterator<Item = (&SessionKey, &Ticket)> {
        let from = SessionKey::before_all_of(player);
        self.tickets.range(from..).take_while(move |(key, _)| key.player == player)
    }

    /// Players with a ticket, from behind this one on; one with several comes several times.
    pub(crate) fn players_after(&self, after: Option<PlayerId>) -> impl Iterator<Item = PlayerId> {
        let from = after
            .map_or(Bound::Unbounded, |player| Bound::Included(SessionKey::before_all_of(player)));
        let keys = self.tickets.range((from, Bound::Unbounded)).map(|(key, _)| key.player);
        keys.skip_while(move |player| Some(*player) == after)
    }

    pub(crate) fn suspended(&self) -> impl Iterator<Item = (SessionKey, LogTime)> {
        self.tickets.iter().filter_map(|(key, ticket)| Some((key.clone(), ticket.suspended?)))
    }

    pub(crate) fn take(&mut self, session: &SessionKey) -> Option<Ticket> {
        let ticket = self.tickets.remove(session)?;
        self.order.remove(&ticket.place);
        self.pairable.remove(&ticket.place);
        Some(ticket)
    }

    fn put(&mut self, session: &SessionKey, ticket: Ticket) {
        self.order.insert(ticket.place, session.clone());
        self.tickets.insert(session.clone(), ticket);
    }

    fn next_place(&mut self) -> u64 {
        self.joins = self.joins.saturating_add(1);
        self.joins
    }

    /// The oldest that can be paired, and the next oldest of another player.
    fn next_pair(&self) -> Option<(SessionKey, SessionKey)> {
        #[cfg(feature = "planted")]
        if planted::has(Bug::HashOrderInApply) {
            return first_pair(planted::in_hash_order(self.pairable.values()));
        }
        first_pair(self.pairable.values())
    }

    pub(crate) fn reindex(&mut self) {
        self.order = self.tickets.iter().map(|(key, ticket)| (ticket.place, key.clone())).collect();
        self.pairable = BTreeMap::new();
    }
}

fn first_pair<'a>(
    mut waiting: impl Iterator<Item = &'a SessionKey>,
) -> Option<(SessionKey, SessionKey)> {
    let first = waiting.next()?;
    let second = waiting.find(|other| other.player != first.player)?;
    Some((first.clone(), second.clone()))
}

impl Machine {
    pub(crate) fn join_queue(
        &mut self,
        turn: &mut Turn<'_>,
        c: &JoinQueue,
    ) -> Result<Queued, Rejection> {
        // Through any of its sockets: an older one lives on beside the newest (contract 3.8).
        if self.sessions.get(&c.session).is_none() {
            return Err(Rejection::SessionGone);
        }
        if self.nodes.active_pack.is_none() {
            return Err(Rejection::NoPack);
        }
        if c.team.len() > TEAM_BYTES_MAX {
            return Err(Rejection::TeamTooLarge);
        }
        let before = self.take_ticket(&c.session);
        if before.is_none() && self.queue.len() >= TICKETS_MAX {
            return Err(Rejection::QueueFull);
        }
        let again = before.is_some();
        let (place, at, wall) = match before {
            Some(Ticket { place, at, wall, suspended: Some(_), .. }) => (place, at, wall),
            _ => (self.queue.next_place(), turn.now, turn.wall),
        };
        let team = Arc::clone(&c.team);
        let (clocks, key) = (c.clocks, turn.client_key.cloned());
        let ticket = Ticket { place, at, wall, team, clocks, key, suspended: None };
        self.queue.put(&c.session, ticket);
        self.refresh_ticket(&c.session);
        turn.emit(Effect::TicketAdded { session: c.session.clone() });
        Ok(Queued { again })
    }

    pub(crate) fn leave_queue(&mut self, turn: &mut Turn<'_>, session: &SessionKey) -> Done {
        self.drop_ticket(turn, session);
        Done
    }

    /// Makes rooms until no pair is left or there are too many rooms.
    pub(crate) fn pair(&mut self, turn: &mut Turn<'_>) {
        #[cfg(feature = "planted")]
        self.open_held(turn);
        while self.rooms.len() < ROOMS_MAX
            && let Some((first, second)) = self.queue.next_pair()
            && let Some(pack) = self.nodes.active_pack.clone()
            && let (Some(a), Some(b)) = (self.take_ticket(&first), self.take_ticket(&second))
        {
            #[cfg(feature = "planted")]
            if planted::has(Bug::MatchInTwoEntries) {
                planted::hold(turn, [(first, a), (second, b)]);
                continue;
            }
            self.open_room(turn, pack, (first, a), (second, b));
        }
    }

    /// The session's connection is lost, and its ticket with it. A retry of the join under the
    /// client's own id must then be a new join, or the client would wait for ever.
    pub(crate) fn lose_ticket(&mut self, turn: &mut Turn<'_>, session: &SessionKey) {
        self.forget_join(session);
        self.drop_ticket(turn, session);
    }

    pub(crate) fn drop_ticket(&mut self, turn: &mut Turn<'_>, session: &SessionKey) {
        if self.take_ticket(session).is_some() {
            turn.emit(Effect::TicketRemoved { session: session.clone() });
        }
    }

    /// Keeps a ticket aside until its session joins again, at most until `drop_at`.
    pub(crate) fn suspend_ticket(&mut self, drop_at: LogTime, session: &SessionKey) {
        self.forget_join(session);
        if let Some(ticket) = self.take_ticket(session) {
            let drop_at = ticket.suspended.unwrap_or(drop_at);
            self.due.add(drop_at, Due::TicketDrop(session.clone()));
            self.queue.put(session, Ticket { suspended: Some(drop_at), ..ticket });
        }
    }

    /// To be called whenever something changed that decides whether this ticket can be paired.
    pub(crate) fn refresh_ticket(&mut self, session: &SessionKey) {
        let Some(ticket) = self.queue.get(session) else { return };
        let (place, suspended) = (ticket.place, ticket.suspended.is_some());
        let connected = self.sessions.get(session).is_some();
        if connected && !suspended && self.rooms.live_seat(session).is_none() {
            self.queue.pairable.insert(place, session.clone());
        } else {
            self.queue.pairable.remove(&place);
        }
    }

    pub(crate) fn refresh_all_tickets(&mut self) {
        let sessions: Vec<SessionKey> = self.queue.tickets.keys().cloned().collect();
        for session in sessions {
            self.refresh_ticket(&session);
        }
    }

    fn forget_join(&mut self, session: &SessionKey) {
        if let Some(key) = self.queue.get(session).and_then(|ticket| ticket.key.as_ref()) {
            self.keys.forget(key);
        }
    }

    fn take_ticket(&mut self, session: &SessionKey) -> Option<Ticket> {
        let ticket = self.queue.take(session)?;
        if let Some(drop_at) = ticket.suspended {
            self.due.cancel(drop_at, Due::TicketDrop(session.clone()));
        }
        Some(ticket)
    }
}
