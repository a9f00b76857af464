//! When a node builds a snapshot: after so many entries, or when the records take too much memory.
//!
//! Building one purges the log behind it. A leader therefore waits while another node is getting a
//! snapshot and then the entries after it: purged meanwhile, those would have to be a snapshot again,
//! and a node that is slower than the log grows would never arrive. It does not wait for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::error::StopReason;
use crate::ground;
use crate::types::{LogId, Raft};

/// How long the next snapshot waits for a node that is getting one.
const SENDING_MAX: Duration = Duration::from_secs(600);
/// How long it waits for that node to catch up with the log afterwards.
const CATCHING_UP_MAX: Duration = Duration::from_secs(60);
/// Memory is not at stake before this many times the entries of a snapshot; then nothing is waited for.
const PATIENCE_FACTOR: u64 = 100;

/// The nodes that are getting a snapshot from this one, or got one and are catching up.
#[derive(Default)]
pub(crate) struct Receivers(Mutex<BTreeMap<u64, Instant>>);

impl Receivers {
    /// A node is getting one.
    pub(crate) fn begins(&self, node: u64) {
        self.0.lock().insert(node, ground::now() + SENDING_MAX);
    }

    /// It got it.
    pub(crate) fn got_it(&self, node: u64) {
        self.0.lock().insert(node, ground::now() + CATCHING_UP_MAX);
    }

    /// It did not get it.
    pub(crate) fn lost(&self, node: u64) {
        self.0.lock().remove(&node);
    }

    /// Whether one of them still needs what a purge would take; `progress` is what each is known to
    /// have, `None` where this node does not lead.
    fn need_the_log(
        &self,
        progress: Option<&BTreeMap<u64, Option<LogId>>>,
        last: u64,
        near: u64,
        now: Instant,
    ) -> bool {
        let mut receivers = self.0.lock();
        let Some(progress) = progress else {
            receivers.clear();
            return false;
        };
        receivers.retain(|node, until| {
            let known = progress.get(node).copied().flatten().map_or(0, |known| known.index);
            now < *until && known.saturating_add(near) < last
        });
        !receivers.is_empty()
    }
}

/// What decides when the next snapshot is due.
pub(super) struct Schedule {
    pub(super) raft: Raft,
    /// Entries from one to the next.
    pub(super) entries: u64,
    /// Entries kept behind it.
    pub(super) keep: u64,
    pub(super) receivers: Arc<Receivers>,
    /// Told when the records take too much memory.
    pub(super) asked: Arc<Notify>,
}

impl Schedule {
    /// Has snapshots built until the node stops.
    pub(super) async fn keep(self, mut stop: watch::Receiver<Option<StopReason>>) {
        let mut metrics = self.raft.metrics();
        // The position of the newest one when the last one was asked for.
        let mut asked_at = None;
        loop {
            let due = {
                let metrics = metrics.borrow_watched();
                let newest = metrics.snapshot.map(|at| at.index);
                let applied = metrics.last_applied.map_or(0, |at| at.index);
                let grown = applied.saturating_sub(newest.unwrap_or(0));
                let is_asked = asked_at.is_some_and(|at| at == newest);
                let waits = || {
                    let (last, near) = (metrics.last_log_index.unwrap_or(0), self.keep / 2);
                    let progress = metrics.replication.as_ref();
                    grown < self.entries.saturating_mul(PATIENCE_FACTOR)
                        && self.receivers.need_the_log(progress, last, near, ground::now())
                };
                (grown >= self.entries && !is_asked && !waits()).then_some(newest)
            };
            if let Some(newest) = due {
                asked_at = Some(newest);
                if self.raft.trigger().snapshot().await.is_err() {
                    return;
                }
            }
            let is_asked = tokio::select! {
                changed = metrics.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                () = self.asked.notified() => true,
                _ = stop.wait_for(Option::is_some) => return,
            };
            if is_asked && self.raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::leader_id_adv::LeaderId;

    use super::*;

    fn at(index: u64) -> Option<LogId> {
        Some(LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index })
    }

    #[test]
    fn the_log_is_needed_until_the_receiver_is_near_its_end_and_not_for_ever() {
        let receivers = Receivers::default();
        let now = Instant::now();
        let need = |known, now| {
            let progress = BTreeMap::from([(2, at(known)), (3, at(100))]);
            receivers.need_the_log(Some(&progress), 100, 10, now)
        };
        assert!(!need(50, now), "nobody is getting one");
        receivers.begins(2);
        assert!(need(50, now));
        receivers.got_it(2);
        assert!(need(80, now));
        assert!(!need(95, now), "it is near the end");
        assert!(!need(50, now), "and was forgotten");
        receivers.begins(2);
        assert!(!need(50, now + SENDING_MAX + SENDING_MAX));
        receivers.begins(2);
        receivers.lost(2);
        assert!(!need(50, now));
        receivers.begins(2);
        assert!(!receivers.need_the_log(None, 100, 10, now), "a follower sends none");
    }
}
