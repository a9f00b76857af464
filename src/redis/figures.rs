//! What was asked of Redis, how long it took, and what failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serverv2_raft::{Durations, HistogramCounts};

use super::RedisError;

/// What a call is for: the label of its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Whether it is there.
    Heartbeat,
    /// Login sessions.
    Session,
    /// Revoked tokens.
    Blacklist,
    /// Instances of the service.
    Registry,
    /// Messages to other servers.
    Publish,
    /// The copy of rooms, queue and connections.
    Mirror,
}

impl Operation {
    const ALL: [Self; 6] = [
        Self::Heartbeat,
        Self::Session,
        Self::Blacklist,
        Self::Registry,
        Self::Publish,
        Self::Mirror,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Session => "session",
            Self::Blacklist => "blacklist",
            Self::Registry => "registry",
            Self::Publish => "publish",
            Self::Mirror => "mirror",
        }
    }
}

/// Why calls had no answer, by name.
const FAILURES: [&str; 4] = ["away", "busy", "lost", "refused"];

/// See the module's text.
#[derive(Debug, Default)]
pub struct Figures {
    answers: [Durations; Operation::ALL.len()],
    failures: [AtomicU64; FAILURES.len()],
    probes: [AtomicU64; 2],
}

impl Figures {
    pub(super) fn count(&self, operation: Operation, took: Duration, failed: Option<&RedisError>) {
        let failure = match failed {
            // An answer, too: the server was there.
            None | Some(RedisError::Refused(_)) => {
                self.answers[operation as usize].add(took);
                if failed.is_none() {
                    return;
                }
                3
            }
            Some(RedisError::Away) => 0,
            Some(RedisError::Busy) => 1,
            Some(RedisError::Lost(_)) => 2,
        };
        self.failures[failure].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn probed(&self, took: Duration, answered: bool) {
        if answered {
            self.answers[Operation::Heartbeat as usize].add(took);
        }
        self.probes[usize::from(answered)].fetch_add(1, Ordering::Relaxed);
    }

    /// Time to the answers, by operation.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, HistogramCounts)> {
        Operation::ALL.into_iter().map(|of| (of.name(), self.answers[of as usize].read()))
    }

    /// Calls without an answer, and refused ones.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FAILURES.into_iter().zip(self.failures.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Tries to connect: those that failed, those that did not.
    pub fn probes(&self) -> [(&'static str, u64); 2] {
        let read = |answered: bool| self.probes[usize::from(answered)].load(Ordering::Relaxed);
        [("failed", read(false)), ("connected", read(true))]
    }
}
