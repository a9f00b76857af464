//! Log time on this node: the time that stands in proposals.
//!
//! It advances only while this node leads, by its monotonic clock, and continues from the newest log
//! time that was applied. So no wall clock can move it, and neither a stop of the whole cluster nor
//! the time without a leader counts against a player. A node that does not lead knows the time of the
//! newest entry it has applied, which is a lower bound of the leader's.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serverv2_machine::LogTime;

/// The log clock of a node. The caller brings the monotonic time.
#[derive(Default)]
pub(crate) struct LogClock(Mutex<State>);

#[derive(Default)]
struct State {
    at: LogTime,
    /// When `at` was right; `None`: the clock stands.
    since: Option<Instant>,
}

impl State {
    fn read(&self, now: Instant) -> LogTime {
        let passed =
            self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.at.plus_ms(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl LogClock {
    /// The log time by what is known here.
    pub(crate) fn read(&self, now: Instant) -> LogTime {
        self.0.lock().read(now)
    }

    /// An entry with this time was applied.
    pub(crate) fn applied(&self, at: LogTime, now: Instant) {
        let mut state = self.0.lock();
        if at > state.read(now) {
            state.at = at;
            state.since = state.since.map(|_| now);
        }
    }

    /// This node leads, or it does not.
    pub(crate) fn set_leading(&self, leading: bool, now: Instant) {
        let mut state = self.0.lock();
        if leading && state.since.is_none() {
            state.since = Some(now);
        } else if !leading && state.since.is_some() {
            state.at = state.read(now);
            state.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_advances_only_while_leading_and_never_goes_back() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let clock = LogClock::default();
        clock.applied(LogTime(1000), start);
        assert_eq!(clock.read(after(500)), LogTime(1000), "nobody leads");
        clock.set_leading(true, after(500));
        clock.set_leading(true, after(600));
        assert_eq!(clock.read(after(700)), LogTime(1200));
        clock.applied(LogTime(1100), after(700));
        assert_eq!(clock.read(after(700)), LogTime(1200), "an applied time is a lower bound");
        clock.set_leading(false, after(800));
        assert_eq!(clock.read(after(9000)), LogTime(1300));
        clock.applied(LogTime(5000), after(9000));
        assert_eq!(clock.read(after(9500)), LogTime(5000));
        clock.set_leading(true, after(9500));
        assert_eq!(clock.read(after(9501)), LogTime(5001));
    }
}
