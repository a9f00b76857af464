//! What became of notices, counted on this node from its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// This node made it.
    Sent,
    /// It was carried out here.
    Done,
    /// It was known here already.
    Repeated,
    /// A node that counts may not have heard it, once for each such node.
    Lost,
    /// The queue was full here.
    Dropped,
    /// Bytes that mean nothing.
    Malformed,
    /// A Node server's event that is not on the list.
    NotAllowed,
}

const NAMES: [&str; 7] =
    ["sent", "done", "repeated", "lost", "dropped", "malformed", "not_allowed"];

/// See the module's text.
#[derive(Debug, Default)]
pub struct Figures([AtomicU64; NAMES.len()]);

impl Figures {
    pub(super) fn add(&self, what: Count, count: usize) {
        self.0[what as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The counts by name.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
