//! How far the mirror is.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by whoever writes.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Index of the state that the mirror is of, or of a later one.
    pub(super) applied: AtomicU64,
    /// Scripts that have written.
    pub(super) written: AtomicU64,
    /// Keys removed.
    pub(super) removed: AtomicU64,
    /// Scripts that have not, since somebody else has written something newer.
    pub(super) refused: AtomicU64,
    /// Projections of everything.
    pub(super) projections: AtomicU64,
    /// Keys without a thing that were removed.
    pub(super) orphans: AtomicU64,
}

/// All of them at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Index of the state that the mirror is of.
    pub applied: u64,
    /// Entries that this node has applied and the mirror has not; 0 where another node writes it.
    pub lag_entries: u64,
    /// Milliseconds since the oldest change that is not in the mirror.
    pub lag_ms: u64,
    /// Keys written.
    pub written: u64,
    /// Keys removed.
    pub removed: u64,
    /// Writes refused, since a newer one was there.
    pub refused: u64,
    /// Projections of everything.
    pub projections: u64,
    /// Keys of nothing that were removed.
    pub orphans: u64,
}

impl Figures {
    pub(super) fn read(&self) -> Reading {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Reading {
            applied: read(&self.applied),
            written: read(&self.written),
            removed: read(&self.removed),
            refused: read(&self.refused),
            projections: read(&self.projections),
            orphans: read(&self.orphans),
            ..Reading::default()
        }
    }
}
