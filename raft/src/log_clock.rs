//! Log time on this node: the time that stands in proposals.
//!
//! It advances with the monotonic clock of whoever leads, and continues from the newest log time that
//! was applied. A follower estimates it: it knows the newest applied time, and counts on from there for
//! as long as it hears the leader. When it becomes the leader itself it continues from that estimate,
//! which ends at the moment it last heard the old one. So no wall clock can move it, and neither a stop
//! of the whole cluster nor the time without a leader counts against a player.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serverv2_machine::LogTime;

/// The log clock of a node. The caller brings the monotonic time.
#[derive(Default)]
pub(crate) struct LogClock(Mutex<State>);

#[derive(Default)]
struct State {
    at: LogTime,
    /// When `at` was right; `None`: nobody leads, as far as is known here.
    since: Option<Instant>,
    leading: bool,
    /// When a leader was last heard.
    heard: Option<Instant>,
}

impl State {
    fn read(&self, now: Instant) -> LogTime {
        let Some(since) = self.since else { return self.at };
        let until = if self.leading { Some(now) } else { self.heard.map(|heard| heard.min(now)) };
        let passed = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(since));
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

    /// A leader was heard: while this node follows, time has passed until then.
    pub(crate) fn heard(&self, now: Instant) {
        let mut state = self.0.lock();
        if state.since.is_none() {
            state.since = Some(now);
        }
        // Nothing passed between the last word of one leader and the first of the next.
        if state.heard.is_some_and(|before| now.saturating_duration_since(before) > SILENCE_MAX) {
            state.at = state.read(now);
            state.since = Some(now);
        }
        state.heard = Some(now);
    }

    /// This node leads, or it does not.
    pub(crate) fn set_leading(&self, leading: bool, now: Instant) {
        let mut state = self.0.lock();
        if leading != state.leading {
            state.at = state.read(now);
            // Until another leader is heard nothing passes.
            state.since = leading.then_some(now);
            state.leading = leading;
            state.heard = None;
        }
    }
}

/// Silence of the leader after which the time until its next word does not count.
const SILENCE_MAX: Duration = Duration::from_secs(1);

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

    #[test]
    fn a_follower_counts_as_long_as_it_hears_the_leader_and_goes_on_from_there() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let clock = LogClock::default();
        clock.heard(start);
        clock.applied(LogTime(1000), start);
        for ms in [100, 200, 300] {
            clock.heard(after(ms));
        }
        assert_eq!(clock.read(after(300)), LogTime(1300));
        assert_eq!(clock.read(after(5_000)), LogTime(1300), "nothing was heard since");
        clock.set_leading(true, after(5_000));
        assert_eq!(clock.read(after(5_010)), LogTime(1310), "the outage costs no time");
        clock.set_leading(false, after(5_010));
        clock.heard(after(9_000));
        assert_eq!(clock.read(after(9_000)), LogTime(1310), "it goes on from where it stood");
    }
}
