//! A replica that fails or differs from the others: it is built again once from set-up and inputs, since
//! the fault may be this node's memory and not the battle. If that is no help the battle is aborted: its
//! players are told that the room is closed and are free, and its report says that it was abandoned.
//!
//! Replicas compare the digests of all their events every [`DIGEST_EVERY`](super::super::replica::DIGEST_EVERY)
//! inputs. The home states its own through the log. Whoever has another one builds his replica again; if
//! it differs still, he states that, and the home does the same. Two that were built again and differ
//! can't be reconciled: no third could say who is right for the players of both.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serverv2_machine::{BattleSetup, Digest, NodeId, NumberedInput, RoomId, StateDigest};
use tracing::field::display;
use tracing::{Span, debug, error, warn};

use super::super::replica::Replica;
use super::mailbox::Cause;
use super::worker::Worker;

/// What went wrong with replicas here, counted since the start; none of it should ever happen.
#[derive(Default)]
pub(super) struct Faults {
    /// The engine panicked.
    pub(super) failed: AtomicU64,
    /// Another replica of the battle, or its recorded end, had another digest.
    pub(super) differed: AtomicU64,
    /// A replica was built again.
    pub(super) rebuilt: AtomicU64,
    /// Building it again was no help.
    pub(super) given_up: AtomicU64,
}

impl Faults {
    /// By name.
    pub(super) fn read(&self) -> [(&'static str, u64); 4] {
        [
            ("failed", &self.failed),
            ("differed", &self.differed),
            ("rebuilt", &self.rebuilt),
            ("given_up", &self.given_up),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

pub(super) fn count(fault: &AtomicU64) {
    fault.fetch_add(1, Ordering::Relaxed);
}

/// What another node's replica makes of a battle up to an input.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// Whose replica.
    pub by: NodeId,
    /// Number of the input.
    pub number: u32,
    /// Of all events up to it.
    pub digest: Digest,
    /// Whether it was built again because it differed.
    pub rebuilt: bool,
}

impl Worker {
    /// A replica before its first input, or why there can be none.
    pub(super) fn build(&self, id: RoomId, setup: &Arc<BattleSetup>) -> Result<Replica, String> {
        let Some(engine) = self.engines.get(&setup.pack) else {
            return Err(format!("this node has not loaded {}", setup.pack));
        };
        let build = || Replica::new(id, setup.clone(), engine.as_ref());
        match catch_unwind(AssertUnwindSafe(build)) {
            Ok(built) => built.map_err(|error| error.to_string()),
            Err(_panic) => Err("the engine failed".to_owned()),
        }
    }

    /// Feeds inputs to a replica. A panic of the engine breaks that battle at most, not the worker.
    pub(super) fn consume(
        &mut self,
        id: RoomId,
        inputs: &[NumberedInput],
        causes: &[(u32, Cause)],
    ) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        for input in inputs {
            if room.replica.is_broken() {
                return;
            }
            let cause = causes.iter().find(|(number, _)| *number == input.number);
            let span = cause.map_or_else(Span::none, |(_, cause)| cause.span());
            let _cause = span.record("room.id", display(id)).clone().entered();
            let replica = &mut room.replica;
            match catch_unwind(AssertUnwindSafe(|| play(replica, input))) {
                Ok(true) => {}
                Ok(false) => {
                    debug!(room.id = %id, input = input.number, "inputs are missing: look at the state");
                    self.catch_up(id);
                    return;
                }
                Err(_panic) => {
                    error!(room.id = %id, input = input.number, "the engine failed");
                    count(&self.faults.failed);
                    // Up to the newest input: there is nothing left to do here.
                    self.rebuild(id);
                    return;
                }
            }
        }
    }

    /// Builds a replica again from the inputs, unless that was done before: then it is broken for good.
    fn rebuild(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let again = std::mem::replace(&mut room.rebuilt, true);
        let setup = room.replica.setup().clone();
        let fresh =
            if again { Err("it was built again before".into()) } else { self.build(id, &setup) };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        match fresh {
            Ok(mut fresh) => {
                fresh.stand_in_for(&mut room.replica);
                room.replica = fresh;
                count(&self.faults.rebuilt);
                let inputs = self.missed(id).map(|state| state.inputs).unwrap_or_default();
                warn!(room.id = %id, inputs = inputs.len(), "a replica is built again");
                self.consume(id, &inputs, &[]);
            }
            Err(reason) => {
                error!(room.id = %id, %reason, "a battle can't go on and is aborted");
                count(&self.faults.given_up);
                room.replica.mark_broken();
            }
        }
    }

    /// Compares a replica with what another one says of its own.
    pub(super) fn compare_with(&mut self, id: RoomId, other: Statement) {
        let Statement { by, number, digest, .. } = other;
        let own = |worker: &Self| {
            let room =
                worker.rooms.get(&id).filter(|room| !room.ended && !room.replica.is_broken())?;
            // What is too old, or consumed later than the feed says, can't be compared.
            room.replica.digest_at(number).filter(|own| *own != digest)
        };
        if by == self.cluster.node() {
            return;
        }
        let Some(differing) = own(self) else { return };
        count(&self.faults.differed);
        error!(room.id = %id, input = number, node = %by, stated = %digest, own = %differing, "replicas of a battle differ");
        if self.rooms.get(&id).is_some_and(|room| !room.rebuilt) {
            self.rebuild(id);
        }
        match own(self) {
            None => {}
            Some(_) if other.rebuilt => {
                error!(room.id = %id, "replicas that were built again differ: the battle is aborted");
                count(&self.faults.given_up);
                if let Some(room) = self.rooms.get_mut(&id) {
                    room.replica.mark_broken();
                }
            }
            Some(digest) => {
                self.propose(StateDigest { room: id, number, digest, rebuilt: true }.into());
            }
        }
    }
}

/// False if there is a gap before this input.
fn play(replica: &mut Replica, input: &NumberedInput) -> bool {
    #[cfg(feature = "failpoints")]
    if input.number > replica.last_input() {
        falsify(replica);
    }
    replica.consume(input).is_ok()
}

#[cfg(feature = "failpoints")]
fn falsify(replica: &mut Replica) {
    fail::fail_point!("diverge", |_| replica.falsify());
}
