//! Reports among the replicated records.
//!
//! This node's replica answers at once. What it doesn't know of may have come about through another
//! node a moment ago: nobody is told that it does not exist before the leader was asked.

use std::sync::Arc;

use serverv2_machine::{
    PlayerId, PlayerStats, ReportId, ReportMessages, ReportRow, ReportStatistics, ReportsView,
};
use serverv2_raft::Cluster;
use tokio::time::{Instant, sleep};

use super::queries::{RENDER_PATIENCE, RENDER_POLL};
use super::rendering::{self, ReportBody};
use super::{FoundPlayer, LocalNames, Page, PlayerReport, Report, Reports};
use crate::records::{Answer, RecordsError};

/// See the module's text.
pub(super) struct EmbeddedReports {
    pub(super) cluster: Cluster,
    /// Players by their names.
    pub(super) names: Arc<LocalNames>,
}

impl EmbeddedReports {
    async fn row(&self, id: &str) -> Result<Option<ReportRow>, RecordsError> {
        let Some(id) = ReportId::parse(id) else { return Ok(None) };
        let find = || self.cluster.read(|_, records| ReportsView::of(records).find(id)).value;
        let mut row = match find() {
            Some(row) => Some(row),
            None => {
                let asked =
                    self.cluster.read_linearizable(|_, records| ReportsView::of(records).find(id));
                asked.await?.value
            }
        };
        let began = Instant::now();
        while row.as_ref().is_some_and(|row| row.messages == ReportMessages::Pending)
            && began.elapsed() < RENDER_PATIENCE
        {
            sleep(RENDER_POLL).await;
            row = find();
        }
        Ok(row)
    }

    fn body(&self, id: &str) -> Option<ReportBody> {
        let id = ReportId::parse(id)?;
        let packed = self.cluster.read(|_, records| ReportsView::of(records).messages(id)).value?;
        let body = rendering::unpack(&packed);
        if body.is_none() {
            tracing::error!(report.id = %id, "a stored report can't be read");
        }
        body
    }

    fn rows_of(&self, player: &str, offset: u64, limit: usize) -> Page<PlayerReport> {
        let Ok(player) = player.parse::<PlayerId>() else {
            return Page { rows: Vec::new(), total: 0 };
        };
        let page = self.cluster.read(|_, records| {
            let view = ReportsView::of(records);
            (view.newest_of(player, offset, limit), view.count_of(player))
        });
        let (rows, total) = page.value;
        let seen = |row: ReportRow| {
            let own = usize::from(row.players[1] == player);
            PlayerReport { report: row.into(), own }
        };
        Page { rows: rows.into_iter().map(seen).collect(), total }
    }
}

impl Reports for EmbeddedReports {
    fn page(&self, offset: u64, limit: usize) -> Answer<'_, Page<Report>> {
        Box::pin(async move {
            let page = self.cluster.read(|_, records| {
                let view = ReportsView::of(records);
                (view.newest(offset, limit), view.count())
            });
            let (rows, total) = page.value;
            Ok(Page { rows: rows.into_iter().map(Report::from).collect(), total })
        })
    }

    fn find<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Report>> {
        Box::pin(async move { Ok(self.row(id).await?.map(Report::from)) })
    }

    fn whole(&self, report: Report) -> Answer<'_, (Report, Option<ReportBody>)> {
        Box::pin(async move {
            let body = self.body(&report.id);
            Ok((report, body))
        })
    }

    fn page_of<'a>(
        &'a self,
        player: &'a str,
        offset: u64,
        limit: usize,
    ) -> Answer<'a, Page<PlayerReport>> {
        Box::pin(async move { Ok(self.rows_of(player, offset, limit)) })
    }

    fn stats<'a>(&'a self, player: &'a str) -> Answer<'a, Option<PlayerStats>> {
        Box::pin(async move {
            let Ok(id) = player.parse::<PlayerId>() else { return Ok(None) };
            let here = self.cluster.read(|_, records| ReportsView::of(records).stats(id)).value;
            if here.is_some() {
                return Ok(here);
            }
            let asked =
                self.cluster.read_linearizable(|_, records| ReportsView::of(records).stats(id));
            Ok(asked.await?.value)
        })
    }

    fn statistics(&self, today: u32) -> Answer<'_, ReportStatistics> {
        let read = move || {
            self.cluster.read(|_, records| ReportsView::of(records).statistics(today)).value
        };
        Box::pin(async move { Ok(read()) })
    }

    fn search<'a>(&'a self, term: &'a str, limit: usize) -> Answer<'a, Vec<FoundPlayer>> {
        Box::pin(async move {
            let found = self.names.search(term, limit).await;
            // The names are being read: the same request will do in a moment.
            let found = found.map_err(|_| RecordsError::NoCluster)?;
            let players = self.cluster.read(|_, records| {
                let view = ReportsView::of(records);
                let found = found.iter().filter_map(|id| {
                    let player = records.player(*id)?;
                    let (id, name) = (player.id.as_str().to_owned(), player.name.to_string());
                    Some(FoundPlayer { id, name, stats: view.stats(player.id).unwrap_or_default() })
                });
                found.collect()
            });
            Ok(players.value)
        })
    }
}
