//! How long somebody waited for what, and what did not come at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// From queueing as the second one until both were told of the match.
    Match,
    /// From any event of a client to its ack.
    Ack,
    /// From the last choice of a turn until its player, or his opponent on another node, saw the turn begin.
    Event,
    EventElsewhere,
    /// From the ack of that choice until the opponent saw the turn begin; nothing if that was before.
    EventAfterAck,
    /// A login, a refresh, a list of sessions or a logout.
    Account,
}

impl Wait {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Ack => "ack",
            Self::Event => "battle event",
            Self::EventElsewhere => "event, other node",
            Self::EventAfterAck => "ack to that event",
            Self::Account => "account",
        }
    }
}

/// Times by what they are of.
pub(crate) type Times = BTreeMap<Wait, Vec<Duration>>;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Book {
    times: Mutex<Times>,
    matches: AtomicU64,
    turns: AtomicU64,
    lost: AtomicU64,
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// What was written into a book over some time.
#[derive(Debug, Default)]
pub(crate) struct Chapter {
    pub(crate) times: Times,
    pub(crate) matches: u64,
    pub(crate) turns: u64,
    /// What did not come: answers, matches, messages, connections.
    pub(crate) lost: u64,
    /// Answers that were refusals, by what they said.
    pub(crate) refusals: BTreeMap<String, u64>,
}

impl Book {
    pub(crate) fn waited(&self, of: Wait, time: Duration) {
        self.times.lock().entry(of).or_default().push(time);
    }

    pub(crate) fn matched(&self) {
        self.matches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, why: String) {
        *self.refusals.lock().entry(why).or_default() += 1;
    }

    /// All that was written since this was last asked.
    pub(crate) fn take(&self) -> Chapter {
        let mut times = std::mem::take(&mut *self.times.lock());
        times.values_mut().for_each(|times| times.sort_unstable());
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Chapter {
            times,
            matches: take(&self.matches),
            turns: take(&self.turns),
            lost: take(&self.lost),
            refusals: std::mem::take(&mut *self.refusals.lock()),
        }
    }
}

/// The time that this share waited no longer than, milliseconds; the times are sorted.
pub(crate) fn quantile(times: &[Duration], share: f64) -> f64 {
    let at = (times.len().saturating_sub(1) as f64 * share).ceil() as usize;
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}
