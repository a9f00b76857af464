//! How long something took, counted by size: for whoever watches the disk, read at any time.
//!
//! Adding a duration is two atomic adds, so that it may stand on a hot path. A reader that comes between
//! the two sees a sum that is one duration behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, microseconds; one more bucket holds what is longer.
const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
];

/// Durations of one kind of work.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What was counted until some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationCounts {
    /// Upper bound of each bucket and how many durations lie in it alone, shortest first.
    pub buckets: Vec<(Duration, u64)>,
    /// How many are longer than the last bound.
    pub longer: u64,
    /// All of them together.
    pub sum: Duration,
}

impl Durations {
    /// One more.
    pub fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// All until now.
    pub fn read(&self) -> DurationCounts {
        let count = |bucket: usize| self.counts[bucket].load(Ordering::Relaxed);
        let bounds = BOUNDS_US.iter().map(|bound| Duration::from_micros(*bound));
        DurationCounts {
            buckets: bounds.enumerate().map(|(at, bound)| (bound, count(at))).collect(),
            longer: count(BOUNDS_US.len()),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_in_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        for us in [0, 100, 101, 5_000_000, 5_000_001] {
            durations.add(Duration::from_micros(us));
        }
        let read = durations.read();
        let filled: Vec<_> = read.buckets.iter().filter(|(_, count)| *count > 0).collect();
        let us = Duration::from_micros;
        assert_eq!(filled, [&(us(100), 2), &(us(250), 1), &(us(5_000_000), 1)]);
        assert_eq!((read.longer, read.sum), (1, us(10_000_202)));
    }
}
