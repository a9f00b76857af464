//! Battle reports outside the log: playing ended battles once more for an observer, deleting what is
//! old, and answering questions.
//!
//! That a battle has a report, and what it says of the end, the log has decided already
//! (`serverv2-machine`, `reports.rs`). Here stands what comes after it: `renderer.rs` attaches the
//! messages, `keeper.rs` sweeps, `queries.rs` says what can be asked, `embedded.rs` reads, `names.rs` finds
//! players by parts of their names.
//!
//! Where a database keeps the players, reports are written, swept and read there instead
//! (`records/postgres/reports.rs`); `opener.rs` makes the rows of battles that begin, and the renderer writes
//! what a battle came to.

mod embedded;
mod keeper;
mod names;
mod opener;
mod queries;
mod renderer;
mod rendering;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use serverv2_machine::limits::PENDING_REPORTS_MAX;
use serverv2_machine::{
    AppliedEntry, NodeId, ReportId, ReportMessages, ReportsView, RoomId, WhyMissing,
};
use serverv2_raft::Cluster;
use tracing::warn;

use crate::battle::engines::Engines;
use crate::records::PostgresReports;

pub(crate) use keeper::{Retention, SWEEP_PACE, keep, tell_whether_wanted};
pub(crate) use names::LocalNames;
pub(crate) use queries::{
    End, FoundPlayer, Metadata, Page, PlayerReport, RENDER_PATIENCE, RENDER_POLL, Report, Reports,
    Side,
};
pub(crate) use rendering::ReportBody;

/// What this process does for reports, and has done.
pub(crate) struct LocalReports {
    cluster: Cluster,
    orders: SyncSender<RoomId>,
    /// Battles that have begun here, where a database is to be told.
    openings: Option<tokio::sync::mpsc::Sender<RoomId>>,
    names: Arc<LocalNames>,
    /// Where they are read from.
    pub(crate) kept: Arc<dyn Reports>,
    /// The same, if it is a database.
    pub(crate) database: Option<Arc<PostgresReports>>,
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
    no_report: AtomicU64,
}

impl ReportCounters {
    /// By outcome.
    pub(crate) fn read(&self) -> [(&'static str, u64); 5] {
        [
            ("stored", self.stored.load(Ordering::Relaxed)),
            ("too_many_pending", self.too_many_pending.load(Ordering::Relaxed)),
            ("too_large", self.too_large.load(Ordering::Relaxed)),
            ("replay_failed", self.replay_failed.load(Ordering::Relaxed)),
            ("no_report", self.no_report.load(Ordering::Relaxed)),
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
    pub(crate) fn start(
        cluster: &Cluster,
        engines: &Engines,
        database: Option<Arc<PostgresReports>>,
    ) -> std::io::Result<Arc<Self>> {
        // What finds no place is found by looking.
        let (orders, ordered) = sync_channel(PENDING_REPORTS_MAX as usize);
        let counters = Arc::<ReportCounters>::default();
        renderer::start(cluster, engines, ordered, counters.clone(), database.clone())?;
        let names = Arc::new(LocalNames::new(cluster.clone()));
        let embedded =
            || embedded::EmbeddedReports { cluster: cluster.clone(), names: names.clone() };
        let kept: Arc<dyn Reports> = match &database {
            Some(database) => database.clone(),
            None => Arc::new(embedded()),
        };
        let openings = database.clone().map(|database| opener::start(cluster, database));
        let cluster = cluster.clone();
        Ok(Arc::new(Self { cluster, orders, openings, names, kept, database, counters }))
    }

    /// A battle has begun whose home is this node, or has come here.
    pub(crate) fn opened(&self, room: RoomId) {
        let Some(openings) = &self.openings else { return };
        // Full: the row will be made at the battle's end.
        let _ = openings.try_send(room);
    }

    /// A battle has just been paired whose home is this node: it has a report, or there is no place for one.
    pub(crate) fn paired(&self, room: RoomId) {
        self.opened(room);
        let without = self.cluster.read(|machine, records| {
            // It may have ended meanwhile, and be written already.
            let runs = machine.room(room).is_some_and(|room| room.is_live());
            let report = || ReportsView::of(records).find(ReportId::of(room));
            runs && machine.reports_enabled() && report().is_none()
        });
        if without.value {
            self.counters.no_report.fetch_add(1, Ordering::Relaxed);
            warn!(room.id = %room, "too many reports are kept or wait: a battle gets none");
        }
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
