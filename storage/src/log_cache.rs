//! The newest entries of the log in memory: what replication and the applier read almost always.
//!
//! An entry is readable from the moment it was appended, so one that is not durable yet is never
//! forgotten; durable ones leave, oldest first, beyond [`CACHE_ENTRIES_MAX`] or [`CACHE_BYTES_MAX`].

use std::collections::VecDeque;
use std::ops::Range;

/// Durable entries kept; older ones are read from the disk.
pub(crate) const CACHE_ENTRIES_MAX: usize = 100_000;
/// Their encoded bytes in all; older ones are read from the disk.
pub(crate) const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Tells an entry from another one that takes its index after a truncation.
pub(crate) type Stamp = u64;

struct Cached<R> {
    record: R,
    stamp: Stamp,
    /// Encoded size, known when it is durable.
    durable_bytes: Option<usize>,
}

/// A gapless run of entries that ends with the last one.
pub(crate) struct Cache<R> {
    entries: VecDeque<Cached<R>>,
    first: u64,
    bytes: usize,
    stamps: Stamp,
    entries_max: usize,
    bytes_max: usize,
}

impl<R: Clone> Cache<R> {
    /// An empty one of a log whose next index is `next`.
    pub(crate) fn new(next: u64, entries_max: usize, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), first: next, bytes: 0, stamps: 0, entries_max, bytes_max }
    }

    /// The range of indexes that can be read here.
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + self.entries.len() as u64
    }

    /// Adds an entry that is not durable yet; its index follows the last one.
    pub(crate) fn push(&mut self, index: u64, record: R) -> Stamp {
        if self.entries.is_empty() {
            self.first = index;
        }
        debug_assert_eq!(index, self.range().end, "the log has no hole");
        self.stamps += 1;
        self.entries.push_back(Cached { record, stamp: self.stamps, durable_bytes: None });
        self.stamps
    }

    /// Puts a durable entry in front; false when it does not fit any more.
    pub(crate) fn push_older(&mut self, index: u64, record: R, bytes: usize) -> bool {
        if self.entries.len() >= self.entries_max || self.bytes + bytes > self.bytes_max {
            return false;
        }
        self.first = index;
        self.bytes += bytes;
        self.entries.push_front(Cached { record, stamp: 0, durable_bytes: Some(bytes) });
        true
    }

    /// An entry is durable, unless another one has taken its index.
    pub(crate) fn set_durable(&mut self, index: u64, stamp: Stamp, bytes: usize) {
        let Some(at) = index.checked_sub(self.first) else { return };
        let Some(cached) = self.entries.get_mut(at as usize) else { return };
        if cached.stamp == stamp && cached.durable_bytes.is_none() {
            cached.durable_bytes = Some(bytes);
            self.bytes += bytes;
        }
    }

    /// Forgets the oldest durable entries beyond the bounds.
    pub(crate) fn evict(&mut self) {
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            let Some(bytes) = self.entries.front().and_then(|oldest| oldest.durable_bytes) else {
                return;
            };
            self.entries.pop_front();
            self.first += 1;
            self.bytes -= bytes;
        }
    }

    /// Removes entries from this index on.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        while self.range().end > index {
            let Some(removed) = self.entries.pop_back() else { return };
            self.bytes -= removed.durable_bytes.unwrap_or(0);
        }
    }

    /// Removes entries up to and with this index.
    pub(crate) fn purge(&mut self, upto: u64) {
        while self.first <= upto {
            let Some(removed) = self.entries.pop_front() else { return };
            self.first += 1;
            self.bytes -= removed.durable_bytes.unwrap_or(0);
        }
    }

    /// The entries in a range that are here, with their sizes as far as known.
    pub(crate) fn read(&self, range: Range<u64>) -> impl Iterator<Item = (&R, usize)> {
        let here = self.range();
        let start = range.start.clamp(here.start, here.end) - self.first;
        let end = range.end.clamp(here.start, here.end) - self.first;
        self.entries
            .range(start as usize..(end as usize).max(start as usize))
            .map(|cached| (&cached.record, cached.durable_bytes.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(cache: &Cache<u64>) -> Vec<u64> {
        cache.read(0..u64::MAX).map(|(record, _)| *record).collect()
    }

    #[test]
    fn only_durable_entries_are_forgotten() {
        let mut cache = Cache::new(5, 2, 1000);
        let stamps: Vec<_> = (5..10).map(|index| cache.push(index, index)).collect();
        cache.evict();
        assert_eq!(here(&cache), [5, 6, 7, 8, 9]);
        cache.set_durable(5, stamps[0], 10);
        cache.set_durable(7, stamps[2], 10);
        cache.evict();
        assert_eq!(here(&cache), [6, 7, 8, 9], "6 is not durable and keeps the rest");
        cache.set_durable(6, stamps[1], 10);
        cache.evict();
        assert_eq!(here(&cache), [8, 9]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut cache = Cache::new(0, 100, 25);
        for index in 0..4 {
            let stamp = cache.push(index, index);
            cache.set_durable(index, stamp, 10);
            cache.evict();
        }
        assert_eq!(here(&cache), [2, 3]);
    }

    #[test]
    fn a_late_commit_of_a_truncated_entry_does_not_mark_its_successor() {
        let mut cache = Cache::new(3, 0, 0);
        let old = cache.push(3, 30);
        cache.truncate_from(3);
        let new = cache.push(3, 31);
        cache.set_durable(3, old, 10);
        cache.evict();
        assert_eq!(here(&cache), [31]);
        cache.set_durable(3, new, 10);
        cache.evict();
        assert!(here(&cache).is_empty());
    }

    #[test]
    fn ranges_outside_are_empty_not_wrong() {
        let mut cache = Cache::new(5, 10, 1000);
        for index in 5..8 {
            cache.push(index, index);
        }
        cache.purge(5);
        assert_eq!(here(&cache), [6, 7]);
        assert_eq!(cache.read(0..3).count(), 0);
        assert_eq!(cache.read(9..12).count(), 0);
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may ask for it")]
        let reversed = cache.read(7..6).count();
        assert_eq!(reversed, 0);
        assert_eq!(cache.read(0..7).count(), 1);
    }
}
