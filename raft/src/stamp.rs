//! What a leader adds to proposals: log time, wall time for display, and the only randomness there is.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serverv2_machine::{Entry, Proposal, WallTime};

use crate::log_clock::LogClock;
use crate::types::Batch;

/// Stamps all proposals of an entry, as of now.
pub(crate) fn stamp(mut entry: Entry, clock: &LogClock) -> Batch {
    let at = clock.read(Instant::now());
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    for proposal in &mut entry.proposals {
        *proposal = Proposal { at, wall, seed: rand::random(), ..proposal.clone() };
    }
    Batch(Arc::new(entry))
}
