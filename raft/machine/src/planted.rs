//! Bugs that are there on purpose, one at a time: the proof that the fault suite (`chaos`) would notice them.
//!
//! Compiled in by the feature `planted` alone, which no released build asks for. In every other build
//! [`has`] is a constant `false`, so that nothing of a bug is left of it, and nobody can name one. Each bug is one line
//! where it bites; what it needs beside that stands here.
//!
//! Which one it is, is a matter of the process, like its build: the server says it once, at its start, before any
//! entry is applied. The machine reads no environment.

/// What can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Who gives up a token or a place in the queue is answered when that is queued, not when it is committed.
    AckBeforeCommit,
    /// Consensus is told that entries are durable before they are.
    IoFlushedBeforeFsync,
    /// Votes are not stored: a restart forgets them.
    VoteNotSynced,
    /// A read that must see all that was acknowledged reads what is here.
    LocalReadOnLinearizable,
    /// Whoever believes that it leads says so without asking a majority.
    LeaseReadWithoutLease,
    /// Inputs and ends are taken after a battle's end, and from whoever has missed others.
    NoFencingOnInput,
    /// A request that comes again is done again.
    DedupOff,
    /// Snapshots lack the answers that were given.
    DedupNotInSnapshot,
    /// Tickets leave the queue in one entry, and the room is opened in a later one, out of a process's memory.
    MatchInTwoEntries,
    /// A room's id is a number that each process counts for itself.
    RoomIdFromLocalCounter,
    /// The mirror is written by whoever comes last.
    MirrorWithoutIndexGuard,
    /// Redis alone says which tokens are revoked, and none is where it does not answer.
    BlacklistFailOpen,
    /// Who is paired with whom depends on the order of a hash map.
    HashOrderInApply,
    /// A match is told to other nodes through Redis, once, and the log's own news of it is ignored.
    MatchSuccessOnlyByPubSub,
}

/// Whether this process has that bug.
#[cfg(not(feature = "planted"))]
pub const fn has(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use growing::*;

#[cfg(feature = "planted")]
mod growing {
    #![expect(clippy::disallowed_types, reason = "one of the bugs is the order of a hash map")]

    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::Bug;
    use crate::clock::LogTime;
    use crate::ids::{NanoId, RequestId, RoomId, SessionKey};
    use crate::machine::{Machine, Turn};
    use crate::matchmaking::Ticket;

    impl Bug {
        /// All of them, by the names under which they are planted.
        pub const ALL: [(&'static str, Self); 14] = [
            ("ack-before-commit", Self::AckBeforeCommit),
            ("io-flushed-before-fsync", Self::IoFlushedBeforeFsync),
            ("vote-not-synced", Self::VoteNotSynced),
            ("local-read", Self::LocalReadOnLinearizable),
            ("lease-read-without-lease", Self::LeaseReadWithoutLease),
            ("no-fencing-on-input", Self::NoFencingOnInput),
            ("dedup-off", Self::DedupOff),
            ("dedup-not-in-snapshot", Self::DedupNotInSnapshot),
            ("match-in-two-entries", Self::MatchInTwoEntries),
            ("room-id-from-local-counter", Self::RoomIdFromLocalCounter),
            ("mirror-without-index-guard", Self::MirrorWithoutIndexGuard),
            ("blacklist-fail-open", Self::BlacklistFailOpen),
            ("hash-map-order-in-apply", Self::HashOrderInApply),
            ("match-success-only-by-pub-sub", Self::MatchSuccessOnlyByPubSub),
        ];
    }

    static PLANTED: OnceLock<Bug> = OnceLock::new();

    /// Plants a bug for the rest of this process's life; false if there is none of that name.
    pub fn plant(name: &str) -> bool {
        let bug = Bug::ALL.iter().find(|(known, _)| *known == name);
        bug.is_some_and(|(_, bug)| *PLANTED.get_or_init(|| *bug) == *bug)
    }

    /// Whether this process has that bug.
    pub fn has(bug: Bug) -> bool {
        PLANTED.get() == Some(&bug)
    }

    /// This one, or the next that this process has counted.
    pub(crate) fn room_id(derived: RoomId) -> RoomId {
        static COUNTED: AtomicU64 = AtomicU64::new(0);
        if !has(Bug::RoomIdFromLocalCounter) {
            return derived;
        }
        let mut bytes = [0; 32];
        for (at, byte) in
            bytes.iter_mut().zip(COUNTED.fetch_add(1, Ordering::Relaxed).to_be_bytes())
        {
            *at = byte;
        }
        RoomId(NanoId::from_entropy(&bytes))
    }

    /// Sessions in the order in which a hash map has them.
    pub(crate) fn in_hash_order<'a>(
        sessions: impl Iterator<Item = &'a SessionKey>,
    ) -> impl Iterator<Item = &'a SessionKey> {
        let map: HashMap<_, _> = sessions.map(|session| (session, ())).collect();
        map.into_keys()
    }

    /// How long a pair waits in a process's memory, as behind a timer.
    const HELD_MS: u64 = 500;

    type Pair = [(SessionKey, Ticket); 2];

    /// Pairs that have left the queue, when, and through which request.
    static HELD: Mutex<Vec<(LogTime, RequestId, Pair)>> = Mutex::new(Vec::new());

    /// Keeps a pair in mind.
    pub(crate) fn hold(turn: &Turn<'_>, pair: Pair) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).push((turn.now, turn.request, pair));
    }

    impl Machine {
        /// Opens the rooms of the pairs that the asking process has had in mind for long enough.
        pub(crate) fn open_held(&mut self, turn: &mut Turn<'_>) {
            let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |(since, by, _): &(LogTime, RequestId, Pair)| {
                by.node == turn.request.node
                    && by.incarnation == turn.request.incarnation
                    && turn.now.ms_since(*since) >= HELD_MS
            };
            let (due, later) = std::mem::take(&mut *held).into_iter().partition(is_due);
            *held = later;
            drop(held);
            for (_, _, [first, second]) in due {
                if let Some(pack) = self.nodes.active_pack.clone() {
                    self.open_room(turn, pack, first, second);
                }
            }
        }
    }
}
