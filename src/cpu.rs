//! Processor time of this process, as shares of the time that passed between two looks.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Processor time used so far, in user and system mode.
pub(crate) fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The look before.
#[derive(Default)]
pub(crate) struct Cpu(Option<(Instant, Duration)>);

impl Cpu {
    /// Percent of one core since the last call, or since the process began to serve.
    pub(crate) fn percent(&mut self, used: Duration, uptime: Duration) -> f64 {
        let (wall, used_before) = match self.0 {
            Some((at, used)) => (at.elapsed(), used),
            None => (uptime, Duration::ZERO),
        };
        self.0 = Some((Instant::now(), used));
        let used = used.saturating_sub(used_before).as_secs_f64();
        // The first look may come in the first instant.
        100.0 * used / wall.as_secs_f64().max(0.001)
    }
}
