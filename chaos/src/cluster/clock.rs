//! A node's own clocks, which can be set, or run too fast, while the node runs: `tests/faults/clock.c`, preloaded into the
//! server. A C compiler makes it; where there is none, clocks are left alone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::disk::library;
use crate::broken::{Broken, Doing as _};

const SOURCE: &str = include_str!("../../../tests/faults/clock.c");
const SECOND: i64 = 1_000_000_000;
/// Bytes of a number in the file.
const NUMBER: u64 = 8;
/// Periods that the library knows.
const PERIODS_MAX: u64 = 31;

/// The clocks of one node.
pub(crate) struct Clock {
    folder: TempDir,
    /// How often they have run too fast.
    periods: AtomicU64,
}

impl Clock {
    /// One that goes right.
    pub(crate) fn new() -> Result<Self, Broken> {
        let folder = tempfile::tempdir().doing("make a folder for a clock")?;
        let clock = Self { folder, periods: AtomicU64::new(0) };
        let numbers = usize::try_from(NUMBER * (1 + 2 * PERIODS_MAX)).unwrap_or_default();
        fs::write(clock.file(), vec![0; numbers]).doing("make a clock")?;
        Ok(clock)
    }

    /// What the server must find in its environment.
    pub(crate) fn env(&self) -> [(&'static str, PathBuf); 2] {
        static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| library::compiled("clock", SOURCE));
        [("LD_PRELOAD", library.clone()), ("CLOCK_OFFSET", self.file())]
    }

    /// From now on it is so far ahead of the right time, or behind it.
    pub(crate) fn is_off_by(&self, seconds: i64) -> Result<(), Broken> {
        self.write(0, seconds * SECOND)
    }

    /// From now on all of them run half as fast again, until [`Self::are_right`]; false if that was so too often.
    pub(crate) fn are_fast(&self) -> Result<bool, Broken> {
        let period = self.periods.load(Ordering::Relaxed);
        if period >= PERIODS_MAX {
            return Ok(false);
        }
        // A period without an end is none, so the beginning comes first.
        self.write(1 + 2 * period, monotonic())?;
        self.write(2 + 2 * period, i64::MAX)?;
        self.periods.store(period + 1, Ordering::Relaxed);
        Ok(true)
    }

    /// They go as fast as they should, and keep what they have gained.
    pub(crate) fn are_right(&self) -> Result<(), Broken> {
        self.write(2 * self.periods.load(Ordering::Relaxed), monotonic())
    }

    fn write(&self, number: u64, value: i64) -> Result<(), Broken> {
        // In its place: the node has mapped this very file.
        let file = File::options().write(true).open(self.file()).doing("set a clock")?;
        file.write_all_at(&value.to_ne_bytes(), number * NUMBER).doing("set a clock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

/// What the machine's monotonic clock says, nanoseconds.
fn monotonic() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * SECOND + now.tv_nsec
}
