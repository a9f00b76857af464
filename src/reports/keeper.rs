//! Keeps the reports small: the leader deletes old ones and closes those that were left open.
//!
//! The existing server does this daily and hourly (contract 6.3); here both happen at most an hour after
//! they are due, in small commands with pauses between them.

use std::sync::Arc;
use std::time::Duration;

use serverv2_machine::limits::REPORTS_SWEPT_MAX;
use serverv2_machine::{CloseStaleReports, ExpireReports, ReportsView, SetReports, WallTime};
use serverv2_raft::{Cluster, ProposeError};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::random;
use crate::records::{PostgresReports, RecordsError};

/// How often the leader looks whether it is time.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest pause between two sweeps.
const SWEEP_PERIOD_MAX: Duration = Duration::from_secs(3_600);
/// Pause between two commands of one sweep.
pub(crate) const SWEEP_PACE: Duration = Duration::from_millis(50);

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Whether battles get reports.
    pub(crate) enabled: bool,
    /// Of a report, from its battle's beginning, milliseconds.
    pub(crate) reports_ms: u64,
    /// Of an open report whose battle does not run, milliseconds.
    pub(crate) open_ms: u64,
}

impl Retention {
    fn sweep_period(self) -> Duration {
        let shorter = self.reports_ms.min(self.open_ms);
        Duration::from_millis(shorter / 24).clamp(PERIOD, SWEEP_PERIOD_MAX)
    }
}

/// Says in the log whether battles get reports, if it doesn't know yet. Before a new cluster's first
/// battle: each is to have one.
pub(crate) async fn tell_whether_wanted(cluster: &Cluster, enabled: bool) {
    if cluster.read(|machine, _| machine.reports_enabled()).value == enabled {
        return;
    }
    info!(enabled, "battle reports are switched");
    if let Err(error) = cluster.propose(SetReports { enabled }, None).await {
        warn!(%error, enabled, "battle reports could not be switched yet");
    }
}

/// Runs until the node stops. Does something on the leader only.
pub(crate) async fn keep(
    cluster: Cluster,
    database: Option<Arc<PostgresReports>>,
    retention: Retention,
) {
    let mut swept: Option<Instant> = None;
    loop {
        sleep(PERIOD).await;
        if !cluster.status().is_leader {
            swept = None;
            continue;
        }
        tell_whether_wanted(&cluster, retention.enabled).await;
        if swept.is_some_and(|at| at.elapsed() < retention.sweep_period()) {
            continue;
        }
        match sweep(&cluster, retention).await {
            Ok(()) => {}
            Err(ProposeError::Stopped) => return,
            Err(error) => {
                debug!(%error, "reports could not be swept yet");
                continue;
            }
        }
        if let Some(database) = database.as_ref().filter(|_| retention.enabled) {
            match database.sweep(retention).await {
                Ok(Some((closed, deleted))) => tell(closed, deleted),
                Ok(None) => continue,
                // Why is in the log already.
                Err(RecordsError::Failed) => {}
                Err(error) => {
                    debug!(%error, "the database could not be swept yet");
                    continue;
                }
            }
        }
        swept = Some(Instant::now());
    }
}

async fn sweep(cluster: &Cluster, retention: Retention) -> Result<(), ProposeError> {
    let (mut closed, mut deleted) = (0_u64, 0_u64);
    // Nothing is proposed where there is nothing to do.
    let looked = cluster.read(|_, records| {
        let view = ReportsView::of(records);
        (view.open_count(1) > 0, view.oldest().is_some())
    });
    let (some_open, some) = looked.value;
    let mut from = some_open.then_some(0);
    while let Some(start) = from {
        let close = CloseStaleReports { older_than_ms: retention.open_ms, from: start };
        let swept = cluster.propose(close, None).await?.reply;
        (from, closed) = (swept.next, closed + u64::from(swept.reports));
        sleep(SWEEP_PACE).await;
    }
    let mut more = some;
    while more {
        let before = WallTime(random::wall_ms().saturating_sub(retention.reports_ms));
        let older_than_ms = retention.reports_ms;
        let expire = ExpireReports { before, older_than_ms, at_most: REPORTS_SWEPT_MAX };
        let swept = cluster.propose(expire, None).await?.reply;
        deleted += u64::from(swept.reports);
        more = swept.next.is_some();
        sleep(SWEEP_PACE).await;
    }
    tell(closed, deleted);
    Ok(())
}

fn tell(closed: u64, deleted: u64) {
    if closed > 0 {
        warn!(reports = closed, "open reports without a battle were closed as abandoned");
    }
    if deleted > 0 {
        info!(reports = deleted, "old battle reports were deleted");
    }
}
