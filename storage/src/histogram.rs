//! How long something took and how large something was, counted by size: for whoever watches the disk, read
//! at any time.
//!
//! Adding a value is two atomic adds, so that it may stand on a hot path. A reader that comes between
//! the two sees a sum that is one value behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of durations, microseconds.
const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
];

/// Upper bounds of entries, bytes: 256 KiB is the largest, and above 240 KiB it had no room for one more
/// of the largest teams.
const BOUNDS_BYTES: [u64; 9] =
    [256, 1 << 10, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 240 << 10, 256 << 10];

/// What was counted until some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramCounts {
    /// Upper bound of each bucket and how many values lie in it alone, smallest first.
    pub buckets: Vec<(u64, u64)>,
    /// How many are above the last bound.
    pub above: u64,
    /// All of them together.
    pub sum: u64,
}

/// Durations of one kind of work, counted in microseconds.
#[derive(Debug, Default)]
pub struct Durations(Histogram<{ BOUNDS_US.len() }>);

impl Durations {
    /// One more.
    pub fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.add(&BOUNDS_US, us);
    }

    /// All until now, in microseconds.
    pub fn read(&self) -> HistogramCounts {
        self.0.read(&BOUNDS_US)
    }
}

/// Sizes of one kind of entries, counted in bytes.
#[derive(Debug, Default)]
pub struct Sizes(Histogram<{ BOUNDS_BYTES.len() }>);

impl Sizes {
    /// One more.
    pub fn add(&self, bytes: usize) {
        self.0.add(&BOUNDS_BYTES, bytes as u64);
    }

    /// All until now, in bytes.
    pub fn read(&self) -> HistogramCounts {
        self.0.read(&BOUNDS_BYTES)
    }
}

#[derive(Debug)]
struct Histogram<const N: usize> {
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::default());
        Self { counts, above: AtomicU64::default(), sum: AtomicU64::default() }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&self, bounds: &[u64; N], value: u64) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.counts.get(bucket).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn read(&self, bounds: &[u64; N]) -> HistogramCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HistogramCounts {
            buckets: bounds.iter().copied().zip(self.counts.iter().map(get)).collect(),
            above: get(&self.above),
            sum: get(&self.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(counts: &HistogramCounts) -> Vec<(u64, u64)> {
        counts.buckets.iter().copied().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_duration_lies_in_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        for us in [0, 100, 101, 5_000_000, 5_000_001] {
            durations.add(Duration::from_micros(us));
        }
        let read = durations.read();
        assert_eq!(filled(&read), [(100, 2), (250, 1), (5_000_000, 1)]);
        assert_eq!((read.above, read.sum), (1, 10_000_202));
    }

    #[test]
    fn an_entry_of_each_class_lies_in_a_bucket_of_its_own() {
        let sizes = Sizes::default();
        for bytes in [200, 24 * 1024, 256 * 1024, 256 * 1024 + 1] {
            sizes.add(bytes);
        }
        let read = sizes.read();
        assert_eq!(filled(&read), [(256, 1), (32 << 10, 1), (256 << 10, 1)]);
        assert_eq!((read.above, read.sum), (1, 200 + (24 + 256 + 256) * 1024 + 1));
    }
}
