//! What a listener of the effects believes, checked against what a reader of the machine sees.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serverv2_machine::{
    Applied, Effect, FamilyId, Issued, Machine, PlayerId, Reply, RoomId, Seat, SessionKey, TokenId,
    TokenPair,
};

/// What somebody knows who only listens to the effects.
#[derive(Default)]
pub(crate) struct Model {
    sessions: BTreeSet<SessionKey>,
    tickets: BTreeSet<SessionKey>,
    inputs: BTreeMap<RoomId, u32>,
    live: BTreeSet<RoomId>,
    lost: BTreeSet<(RoomId, Seat)>,
    revoked: BTreeSet<FamilyId>,
    given: BTreeMap<TokenId, (PlayerId, TokenPair)>,
}

impl Model {
    pub(crate) fn follow(&mut self, effect: &Effect) -> Result<(), TestCaseError> {
        match effect {
            Effect::SessionOpened { session, .. } => {
                self.sessions.insert(session.clone());
            }
            Effect::SessionClosed { session, .. } => {
                prop_assert!(self.sessions.remove(session), "closed twice: {session}");
            }
            Effect::TicketAdded { session } => {
                self.tickets.insert(session.clone());
            }
            Effect::TicketRemoved { session } => {
                prop_assert!(self.tickets.remove(session), "removed twice: {session}");
            }
            Effect::MatchFound { session, .. } => {
                prop_assert!(self.tickets.remove(session), "no ticket to consume: {session}");
                prop_assert!(self.sessions.contains(session), "paired while away: {session}");
            }
            Effect::RoomOpened { room, setup, .. } => {
                prop_assert!(setup.players[0].player != setup.players[1].player);
                prop_assert!(self.live.insert(*room), "opened twice");
                self.inputs.insert(*room, 0);
            }
            Effect::InputAppended { room, input } => {
                prop_assert!(self.live.contains(room), "an input after the end");
                let last = self.inputs.get_mut(room).unwrap();
                *last += 1;
                prop_assert_eq!(input.number, *last);
            }
            Effect::SeatLost { room, seat, .. } => {
                prop_assert!(self.lost.insert((*room, *seat)), "lost twice");
            }
            Effect::SeatBack { room, seat, .. } => {
                prop_assert!(self.lost.remove(&(*room, *seat)), "back without a loss");
            }
            Effect::BattleEnded { room, .. } => {
                prop_assert!(self.live.remove(room), "ended twice");
            }
            Effect::RoomRemoved { room } => {
                prop_assert!(!self.live.contains(room), "removed while live");
                prop_assert!(self.inputs.remove(room).is_some(), "removed twice");
            }
            Effect::SessionEnded { session, .. } => {
                prop_assert!(!self.sessions.contains(session), "ended but not closed: {session}");
            }
            Effect::TokensRevoked { token, .. } => {
                self.revoked.insert(token.family());
            }
            Effect::SeatBound { .. }
            | Effect::HomeMoved { .. }
            | Effect::NodeCountedOut { .. }
            | Effect::PlayerProved { .. }
            | Effect::ReportClosed { .. }
            | Effect::DigestStated { .. } => {}
        }
        Ok(())
    }

    /// No token is given twice to different ends, and nobody gets one of a revoked family.
    pub(crate) fn issued(&mut self, applied: &Applied) -> Result<(), TestCaseError> {
        let Ok(Reply::Issued(Issued { player, pair })) = &applied.outcome else { return Ok(()) };
        prop_assert!(pair.access != pair.refresh);
        prop_assert_eq!(pair.access.family(), pair.refresh.family());
        for token in [pair.access, pair.refresh] {
            let given = (player.id, *pair);
            prop_assert_eq!(self.given.entry(token).or_insert(given), &given);
        }
        Ok(())
    }

    pub(crate) fn compare(&self, machine: &Machine) -> Result<(), TestCaseError> {
        let sessions: BTreeSet<_> = machine.sessions().map(|(key, _)| key).collect();
        prop_assert_eq!(&sessions, &self.sessions);
        let tickets: BTreeSet<_> = machine.queue().map(|ticket| ticket.session.clone()).collect();
        prop_assert_eq!(&tickets, &self.tickets);
        let rooms: BTreeMap<_, _> =
            machine.rooms().map(|room| (room.id, room.last_number())).collect();
        prop_assert_eq!(&rooms, &self.inputs);
        for (token, _) in machine.revocations() {
            prop_assert!(self.revoked.contains(&token.family()), "nobody was told: {token}");
        }
        let counts = machine.counts();
        prop_assert_eq!(counts.players_in_rooms, 2 * self.live.len());
        prop_assert_eq!(counts.rooms, rooms.len());
        prop_assert_eq!(counts.tickets, tickets.len());
        let online: BTreeSet<_> = sessions.iter().map(|key| key.player).collect();
        prop_assert_eq!(counts.online_players, online.len());
        Ok(())
    }
}
