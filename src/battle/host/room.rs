//! One battle as a worker keeps it: its replica, and when something is to be proposed for it.

use std::time::{Duration, Instant};

use serverv2_machine::{
    AbortBattle, Command, EndBattle, LogTime, NodeId, RoomId, SocketId, TickBattle,
};

use super::super::replica::Replica;

/// How often the same thing is proposed again while the log does not show it.
pub(super) const PROPOSE_AGAIN: Duration = Duration::from_secs(1);
/// Head start of a room's home; each further node waits this much longer before it proposes the same.
const HEAD_START: Duration = Duration::from_secs(1);
/// How long a replica is kept that nobody watches and whose home is elsewhere. It is built again on demand.
const UNWATCHED_MAX: Duration = Duration::from_secs(10);

pub(super) struct Room {
    pub(super) replica: Replica,
    pub(super) home: NodeId,
    /// After which input something was first seen to be due, and when.
    noticed: Option<(u32, Instant)>,
    /// After which input it was last proposed, and when.
    pub(super) proposed: Option<(u32, Instant)>,
    pub(super) ended: bool,
    /// Who has been told that the room is closed.
    pub(super) told: Vec<SocketId>,
    /// The replica was built again from the inputs since it had failed or differed: once for each battle.
    pub(super) rebuilt: bool,
    /// Up to which input its digest was stated to the others.
    pub(super) stated: u32,
    /// Since when nobody here needs it.
    unwatched: Option<Instant>,
}

impl Room {
    pub(super) fn new(replica: Replica, home: NodeId) -> Self {
        Self {
            replica,
            home,
            noticed: None,
            proposed: None,
            ended: false,
            told: Vec::new(),
            rebuilt: false,
            stated: 0,
            unwatched: None,
        }
    }

    /// How long until something is to be proposed; `None` if nothing will be.
    pub(super) fn wait(&mut self, now: LogTime, rank: u32) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let after = self.replica.last_input();
        let due = self.replica.is_broken() || self.replica.end().is_some();
        let until_due = if due { 0 } else { self.replica.progress().wake_at?.ms_since(now) };
        if until_due > 0 {
            return Some(Duration::from_millis(until_due) + HEAD_START * rank);
        }
        let noticed =
            self.noticed.filter(|(at, _)| *at == after).unwrap_or_else(|| (after, Instant::now()));
        self.noticed = Some(noticed);
        let turn = (HEAD_START * rank).saturating_sub(noticed.1.elapsed());
        let again = self.proposed.filter(|(at, _)| *at == after);
        Some(turn.max(
            again.map_or(Duration::ZERO, |(_, when)| PROPOSE_AGAIN.saturating_sub(when.elapsed())),
        ))
    }

    /// What is to be proposed, as far as the replica knows; `None`: it knows nothing any more.
    pub(super) fn due(&self, room: RoomId) -> Option<Command> {
        let after = self.replica.last_input();
        if self.replica.is_broken() {
            return None;
        }
        Some(match self.replica.end() {
            Some((outcome, digest)) => EndBattle { room, after, outcome, digest }.into(),
            None => TickBattle { room, after }.into(),
        })
    }

    /// Whether it has been of no use for long. `me`: this node.
    pub(super) fn is_idle(&mut self, me: NodeId) -> bool {
        if self.ended || self.home == me || self.replica.is_watched() {
            self.unwatched = None;
            return false;
        }
        self.unwatched.get_or_insert_with(Instant::now).elapsed() >= UNWATCHED_MAX
    }
}

/// A replica that can't go on has the battle ended; nothing may have come in since.
pub(super) fn abort(room: RoomId, after: u32) -> Command {
    AbortBattle { room, after }.into()
}
