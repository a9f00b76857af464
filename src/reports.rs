//! Battle reports outside the log: playing ended battles once more for an observer, deleting what is
//! old, and answering questions.
//!
//! That a battle has a report, and what it says of the end, the log has decided already
//! (`serverv2-machine`, `reports.rs`). Here stands what comes after it: `renderer.rs` attaches the
//! messages, `keeper.rs` sweeps, `queries.rs` reads, `names.rs` finds players by parts of their names.

mod keeper;
mod names;
mod queries;
mod renderer;
mod rendering;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use serverv2_machine::limits::PENDING_REPORTS_MAX;
use serverv2_machine::{AppliedEntry, NodeId, ReportMessages, RoomId, WhyMissing};
use serverv2_raft::Cluster;
use tracing::warn;

use crate::battle::engines::Engines;

pub(crate) use keeper::{Retention, keep, tell_whether_wanted};
pub(crate) use names::{LocalNames, SearchError};
pub(crate) use queries::{EmbeddedReports, FoundPlayer, PlayerReport, Report};
pub(crate) use rendering::ReportBody;

/// What this process does for reports, and has done.
pub(crate) struct LocalReports {
    orders: SyncSender<RoomId>,
    /// Players by their names.
    pub(crate) names: LocalNames,
    /// What became of them.
    pub(crate) counters: Arc<ReportCounters>,
}

/// What became of reports whose home is this node, since its start.
#[derive(Default)]
pub(crate) struct ReportCounters {
    stored: AtomicU64,
    too_many_pending: AtomicU64,
    too_large: AtomicU64,
    replay_failed: AtomicU64,
}

impl ReportCounters {
    /// By outcome.
    pub(crate) fn read(&self) -> [(&'static str, u64); 4] {
        [
            ("stored", self.stored.load(Ordering::Relaxed)),
            ("too_many_pending", self.too_many_pending.load(Ordering::Relaxed)),
            ("too_large", self.too_large.load(Ordering::Relaxed)),
            ("replay_failed", self.replay_failed.load(Ordering::Relaxed)),
        ]
    }

    fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    fn missing(&self, why: WhyMissing) {
        let counter = match why {
            WhyMissing::TooManyPending => &self.too_many_pending,
            WhyMissing::TooLarge => &self.too_large,
            WhyMissing::ReplayFailed => &self.replay_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl LocalReports {
    /// Starts the renderer's thread, which ends when this is dropped.
    pub(crate) fn start(cluster: &Cluster, engines: &Engines) -> std::io::Result<Arc<Self>> {
        // What finds no place is found by looking.
        let (orders, ordered) = sync_channel(PENDING_REPORTS_MAX as usize);
        let counters = Arc::<ReportCounters>::default();
        renderer::start(cluster, engines, ordered, counters.clone())?;
        let names = LocalNames::new(cluster.clone());
        Ok(Arc::new(Self { orders, names, counters }))
    }

    /// A report was closed; told in log order.
    pub(crate) fn closed(&self, me: NodeId, room: RoomId, home: NodeId, messages: ReportMessages) {
        self.names.counted(room);
        if home != me {
            return;
        }
        match messages {
            ReportMessages::Missing(why) => {
                self.counters.missing(why);
                warn!(room.id = %room, %why, "a report will have no messages");
            }
            // Full: it is found by looking.
            ReportMessages::Pending => drop(self.orders.try_send(room)),
            ReportMessages::None | ReportMessages::Stored(_) => {}
        }
    }

    /// An entry was applied; told in log order, before its effects.
    pub(crate) fn applied(&self, entry: &AppliedEntry) {
        self.names.applied(entry);
    }

    /// Effects were skipped.
    pub(crate) fn skipped(&self, index: u64) {
        self.names.skipped(index);
    }
}
