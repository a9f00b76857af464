//! What has changed since the mirror was written: names of things, not what became of them. Whoever writes reads
//! the state as it is then, so a thing that changes often is written once.

use std::collections::BTreeSet;
use std::time::Instant;

use parking_lot::Mutex;
use serverv2_machine::{Effect, FamilyId, PlayerId, RoomId};
use tokio::sync::Notify;

/// Things that may wait to be written; one more, and all are written anew.
const THINGS_MAX: usize = 65_536;

/// Something that has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// A room.
    Room(RoomId),
    /// The connections of those who sit in a room.
    Seats(RoomId),
    /// A player's connection.
    Player(PlayerId),
    /// A player's place in the queue.
    Ticket(PlayerId),
    /// A player's logins.
    Logins(PlayerId),
    /// The same of a player who may have none and had none before.
    LoginsIfAny(PlayerId),
    /// A login that may be over.
    Login(PlayerId, FamilyId),
}

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) things: BTreeSet<Thing>,
    /// Something has changed that is not among them.
    pub(super) missed: bool,
    /// Since when the first of them waits.
    pub(super) since: Option<Instant>,
}

/// See the module's text.
#[derive(Default)]
pub struct Marks {
    /// `None` while nobody writes. A lock, held for a few insertions.
    waiting: Mutex<Option<Waiting>>,
    /// Battles that went on, for the node that is their home; bounded like things.
    battles: Mutex<BTreeSet<RoomId>>,
    marked: Notify,
}

impl Marks {
    /// An effect was delivered.
    pub(crate) fn effect(&self, effect: &Effect) {
        let (first, second) = things(effect);
        if let Effect::InputAppended { room, .. } | Effect::BattleEnded { room, .. } = effect {
            let mut battles = self.battles.lock();
            if battles.len() < THINGS_MAX {
                battles.insert(*room);
            }
        }
        self.mark(first.into_iter().chain(second));
    }

    /// A player was given tokens.
    pub(crate) fn login(&self, player: PlayerId) {
        self.mark(std::iter::once(Thing::Logins(player)));
    }

    fn mark(&self, things: impl Iterator<Item = Thing>) {
        let mut waiting = self.waiting.lock();
        let Some(waiting) = waiting.as_mut() else { return };
        for thing in things {
            if waiting.things.len() >= THINGS_MAX {
                waiting.missed = true;
            } else {
                waiting.things.insert(thing);
            }
            waiting.since.get_or_insert_with(Instant::now);
            self.marked.notify_one();
        }
    }

    /// Effects were left out.
    pub(crate) fn skipped(&self) {
        if let Some(waiting) = self.waiting.lock().as_mut() {
            waiting.missed = true;
            self.marked.notify_one();
        }
    }

    /// From here on things wait.
    pub(super) fn begin(&self) {
        *self.waiting.lock() = Some(Waiting::default());
    }

    /// Nothing waits any more.
    pub(super) fn end(&self) {
        *self.waiting.lock() = None;
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Waiting {
        self.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the battles that went on.
    pub(super) fn take_battles(&self) -> BTreeSet<RoomId> {
        std::mem::take(&mut *self.battles.lock())
    }

    /// How many wait, and since when the first does.
    pub(super) fn since(&self) -> Option<Instant> {
        self.waiting.lock().as_ref().and_then(|waiting| waiting.since)
    }

    /// Returns when something waits.
    pub(super) async fn marked(&self) {
        self.marked.notified().await;
    }
}

/// What an effect changes.
fn things(effect: &Effect) -> (Option<Thing>, Option<Thing>) {
    match effect {
        Effect::SessionOpened { session, .. }
        | Effect::SessionClosed { session, .. }
        | Effect::SessionEnded { session, .. } => {
            (Some(Thing::Player(session.player)), Some(Thing::LoginsIfAny(session.player)))
        }
        Effect::TicketAdded { session } | Effect::TicketRemoved { session } => {
            (Some(Thing::Ticket(session.player)), None)
        }
        Effect::MatchFound { session, room, .. } => {
            (Some(Thing::Ticket(session.player)), Some(Thing::Room(*room)))
        }
        Effect::RoomOpened { room, .. }
        | Effect::InputAppended { room, .. }
        | Effect::HomeMoved { room, .. }
        | Effect::RoomRemoved { room } => (Some(Thing::Room(*room)), None),
        Effect::SeatBound { room, .. }
        | Effect::SeatLost { room, .. }
        | Effect::SeatBack { room, .. }
        | Effect::BattleEnded { room, .. } => (Some(Thing::Room(*room)), Some(Thing::Seats(*room))),
        Effect::TokensRevoked { token, player } => {
            let login = player.map(|player| Thing::Login(player, token.family()));
            (login, player.map(Thing::Logins))
        }
        Effect::ReportClosed { .. }
        | Effect::DigestStated { .. }
        | Effect::NodeCountedOut { .. }
        | Effect::PlayerProved { .. } => (None, None),
    }
}
