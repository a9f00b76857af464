//! Battle reports and statistics as rows of `battle_records` and `player_stats` (contract 6).
//!
//! The log decides that a battle has a report, and keeps it until it is written here (`raft/machine`,
//! `reports.rs`). Any node may write it, and more than one may try:
//!
//! * Its row is made when the room is ([`PostgresReports::open`]): at most once, and nothing waits for it.
//! * Its end is one transaction ([`PostgresReports::close`]): the row, made if it isn't there, is changed
//!   only while it has no end, and only whoever changed it counts the battle in `player_stats`.
//! * Only after that the log forgets it. A report that the log still knows is neither deleted nor closed by
//!   a sweep: so nobody can find its row gone, and count its battle again.
//!
//! The functions of contract 6.3 are for other programs. An adopted database has its own ones, with results
//! of their own: what is needed here is asked of the tables.

use std::sync::Arc;

use serverv2_machine::{
    PlayerStats, ReportId, ReportRow, ReportStatistics, ReportsView, WhyMissing,
};
use serverv2_raft::Cluster;
use tokio::time::{Instant, sleep, timeout};

use super::Database;
use super::trouble::Trouble;
use crate::records::{Answer, RecordsError};
use crate::reports::{
    FoundPlayer, Page, PlayerReport, RENDER_PATIENCE, RENDER_POLL, Report, ReportBody, Reports,
    Retention,
};

mod read;
mod sweep;
mod write;

pub(crate) use write::{CLOSE_PATIENCE, Written};

/// While more reports than these wait to be written, nothing is swept.
const SWEEP_WAITING_MAX: u64 = 10_000;

/// See the module's text.
pub(crate) struct PostgresReports {
    cluster: Cluster,
    database: Arc<Database>,
}

impl PostgresReports {
    pub(super) fn new(cluster: Cluster, database: Arc<Database>) -> Self {
        Self { cluster, database }
    }

    /// Whether the database has not answered the last question.
    pub(crate) fn is_away(&self) -> bool {
        self.database.is_away()
    }

    /// Asks it whether it is there.
    pub(crate) async fn ping(&self) -> Result<(), RecordsError> {
        self.database.ask(read::nothing(&self.database.pool)).await
    }

    /// Makes the row of a battle that has begun, if there is none.
    pub(crate) async fn open(&self, row: &ReportRow) -> Result<(), RecordsError> {
        self.database.ask(write::open(&self.database.pool, row)).await
    }

    /// Writes a battle's end, with all that an observer saw, or why there is nothing of it. Somebody else
    /// may have done so.
    pub(crate) async fn close(
        &self,
        row: &ReportRow,
        body: Result<Option<&ReportBody>, WhyMissing>,
    ) -> Result<Written, RecordsError> {
        let closing = write::close(&self.database.pool, row, body);
        // Longer than somebody waits for an answer: nobody does.
        self.database.ask_for(CLOSE_PATIENCE, Box::pin(closing)).await
    }

    /// Closes rows whose battles have not ended for too long, and deletes old ones; gives how many of each.
    /// What the cluster has yet to write is let be; `None`: that is too much, nothing was swept.
    pub(crate) async fn sweep(
        &self,
        retention: Retention,
    ) -> Result<Option<(u64, u64)>, RecordsError> {
        let ours = self.cluster.read_linearizable(|_, records| {
            let view = ReportsView::of(records);
            (view.pending_count().0 <= SWEEP_WAITING_MAX).then(|| view.unwritten())
        });
        let Some(ours) = ours.await?.value else { return Ok(None) };
        let ours: Vec<String> = ours.iter().map(ReportId::to_string).collect();
        let closed = sweep::abandoned(&self.database, retention.open_ms, &ours).await?;
        let deleted = sweep::old(&self.database, retention.reports_ms, &ours).await?;
        Ok(Some((closed, deleted)))
    }

    /// Asks for a reader of `/api/v1`. There may be many, without a token: they leave connections to others.
    async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, RecordsError> {
        let place = timeout(super::CONNECTION_PATIENCE, self.database.readers.acquire()).await;
        let _place = place.map_err(|_| RecordsError::NoDatabase)?;
        self.database.ask(work).await
    }

    /// The battle has ended, but its end is not written yet.
    fn is_waiting(&self, id: ReportId) -> bool {
        let row = self.cluster.read(|_, records| ReportsView::of(records).find(id)).value;
        row.is_some_and(|row| row.end.is_some())
    }
}

impl Reports for PostgresReports {
    fn page(&self, offset: u64, limit: usize) -> Answer<'_, Page<Report>> {
        Box::pin(self.read(read::page(&self.database.pool, offset, limit)))
    }

    fn find<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Report>> {
        Box::pin(async move {
            if let Some(ours) = ReportId::parse(id) {
                let began = Instant::now();
                while self.is_waiting(ours) && !self.is_away() && began.elapsed() < RENDER_PATIENCE
                {
                    sleep(RENDER_POLL).await;
                }
            }
            self.read(read::find(&self.database.pool, id)).await
        })
    }

    fn whole(&self, report: Report) -> Answer<'_, (Report, Option<ReportBody>)> {
        Box::pin(async move {
            let whole = self.read(read::whole(&self.database.pool, &report.id)).await?;
            Ok(match whole {
                Some((report, body)) => (report, Some(body)),
                // It was deleted meanwhile.
                None => (report, None),
            })
        })
    }

    fn page_of<'a>(
        &'a self,
        player: &'a str,
        offset: u64,
        limit: usize,
    ) -> Answer<'a, Page<PlayerReport>> {
        Box::pin(self.read(read::page_of(&self.database.pool, player, offset, limit)))
    }

    fn stats<'a>(&'a self, player: &'a str) -> Answer<'a, Option<PlayerStats>> {
        Box::pin(self.read(read::stats(&self.database.pool, player)))
    }

    fn statistics(&self, _today: u32) -> Answer<'_, ReportStatistics> {
        Box::pin(self.read(read::statistics(&self.database.pool)))
    }

    fn search<'a>(&'a self, term: &'a str, limit: usize) -> Answer<'a, Vec<FoundPlayer>> {
        Box::pin(self.read(read::search(&self.database.pool, term, limit)))
    }
}
