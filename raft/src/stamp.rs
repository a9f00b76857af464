//! What a leader adds to proposals: log time, wall time for display, and the only randomness there is.

use std::sync::Arc;

use serverv2_machine::{Entry, Proposal};

use crate::ground;
use crate::log_clock::LogClock;
use crate::types::Batch;

/// Stamps all proposals of an entry, as of now.
pub(crate) fn stamp(mut entry: Entry, clock: &LogClock) -> Batch {
    let (at, wall) = (clock.read(ground::now()), ground::wall());
    for proposal in &mut entry.proposals {
        *proposal = Proposal { at, wall, seed: rand::random(), ..proposal.clone() };
    }
    Batch(Arc::new(entry))
}
