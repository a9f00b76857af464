//! What this process has counted of consensus, for whoever watches the node.
//!
//! Plain numbers that only grow, from zero at each start; where the node stands is in `status.rs`. Counting
//! is an atomic add, reading takes no lock, and nothing in this crate decides anything by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serverv2_storage::{Durations, HistogramCounts, Sizes};

use crate::cluster::Answer;
use crate::error::ProposeError;

/// The counters, shared by those who count.
#[derive(Default)]
pub(crate) struct Counters {
    elections: AtomicU64,
    entries: AtomicU64,
    commands: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    unknown: AtomicU64,
    answers: Durations,
    syncs: Arc<Durations>,
    sizes: Arc<Sizes>,
}

/// The figures at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Leaders that this node has seen elected: pairs of a node and a term, each counted once.
    pub elections: u64,
    /// Entries applied here.
    pub entries_applied: u64,
    /// Commands in those entries, whichever node proposed them.
    pub commands_applied: u64,
    /// Proposals of this node by what its caller was told.
    pub proposals: Proposals,
    /// Time from a proposal to its answer, which comes when it is applied here.
    pub answers: HistogramCounts,
    /// Time that the log's writer waited for the disk, for each commit.
    pub syncs: HistogramCounts,
    /// How large each entry is that the log's writer has made durable.
    pub sizes: HistogramCounts,
}

/// Proposals by outcome. A caller that went away without waiting is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proposals {
    /// Applied: the state changed as asked.
    pub acknowledged: u64,
    /// Applied, and refused by the machine; or too large to be proposed.
    pub refused: u64,
    /// Never proposed: a full queue, no leader in time, or a node that is stopping.
    pub busy: u64,
    /// No answer in time: it may have happened.
    pub unknown: u64,
}

impl Counters {
    /// With what storage counts of the log's writer: its times, and the entries' sizes.
    pub(crate) fn with(syncs: Arc<Durations>, sizes: Arc<Sizes>) -> Self {
        Self { syncs, sizes, ..Self::default() }
    }

    /// Another leader, or the same one in another term.
    pub(crate) fn elected(&self) {
        add(&self.elections, 1);
    }

    /// An entry with so many commands was applied.
    pub(crate) fn applied(&self, commands: usize) {
        add(&self.entries, 1);
        add(&self.commands, commands as u64);
    }

    /// A proposal has ended, after so long.
    pub(crate) fn proposed(&self, outcome: &Result<Answer, ProposeError>, after: Duration) {
        if outcome.is_ok() {
            self.answers.add(after);
        }
        let counter = match outcome {
            Ok(answer) if answer.outcome.is_ok() => &self.acknowledged,
            Ok(_) | Err(ProposeError::Rejected(_) | ProposeError::TooLarge) => &self.refused,
            Err(ProposeError::Busy | ProposeError::Stopped) => &self.busy,
            Err(ProposeError::Unknown) => &self.unknown,
        };
        add(counter, 1);
    }

    /// All of it.
    pub(crate) fn read(&self) -> Figures {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            elections: get(&self.elections),
            entries_applied: get(&self.entries),
            commands_applied: get(&self.commands),
            proposals: Proposals {
                acknowledged: get(&self.acknowledged),
                refused: get(&self.refused),
                busy: get(&self.busy),
                unknown: get(&self.unknown),
            },
            answers: self.answers.read(),
            syncs: self.syncs.read(),
            sizes: self.sizes.read(),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
