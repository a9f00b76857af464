//! What is asked about reports and players, and the plain answers: whoever keeps the reports elsewhere
//! gives the same ones.
//!
//! This node's replica answers at once. What it doesn't know of may have come about through another
//! node a moment ago: nobody is told that it does not exist before the leader was asked.

use std::time::Duration;

use serverv2_machine::{
    EndReason, Player, PlayerId, PlayerStats, ReportId, ReportMessages, ReportResult, ReportRow,
    ReportStatistics, ReportsView, Seat, WallTime,
};
use serverv2_raft::{Cluster, ProposeError};
use tokio::time::{Instant, sleep};

use super::rendering::{self, ReportBody};
use super::{LocalReports, SearchError};

/// How long whoever asks for one report waits for its messages, if the battle has just ended.
const RENDER_PATIENCE: Duration = Duration::from_secs(1);
const RENDER_POLL: Duration = Duration::from_millis(20);

/// One side of a reported battle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Who.
    pub(crate) player: String,
    /// His name then.
    pub(crate) name: String,
}

/// How a reported battle ended, in the words of contract 6.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: WallTime,
    pub(crate) seconds: u32,
}

/// A report without its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its public id.
    pub(crate) id: String,
    /// The battle's room.
    pub(crate) room: String,
    /// A, then B.
    pub(crate) sides: [Side; 2],
    /// When the room was made.
    pub(crate) started: WallTime,
    /// `None` while it runs.
    pub(crate) end: Option<End>,
    /// `player_a_wins`, `player_b_wins`, `draw` or `abandoned`; the last also while it runs.
    pub(crate) result: &'static str,
    /// `all_pet_fainted`, `surrender`, `timeout` or `disconnect`; the last also while it runs.
    pub(crate) reason: &'static str,
    /// 0 for A, 1 for B.
    pub(crate) winner: Option<usize>,
    /// Why there are no messages, or not yet.
    pub(crate) without_messages: Option<String>,
}

impl From<ReportRow> for Report {
    fn from(row: ReportRow) -> Self {
        let (result, reason, winner) = match row.end.map(|end| end.result) {
            Some(ReportResult::Played(outcome)) => (
                match outcome.winner {
                    Some(Seat::A) => "player_a_wins",
                    Some(Seat::B) => "player_b_wins",
                    None => "draw",
                },
                match outcome.reason {
                    EndReason::AllPetFainted => "all_pet_fainted",
                    EndReason::Surrender => "surrender",
                    EndReason::TotalTimeTimeout => "timeout",
                },
                outcome.winner.map(Seat::index),
            ),
            Some(ReportResult::Abandoned { timeout: true }) => ("abandoned", "timeout", None),
            Some(ReportResult::Abandoned { timeout: false }) | None => {
                ("abandoned", "disconnect", None)
            }
        };
        let [a, b] = row.players;
        let [name_a, name_b] = &row.names;
        let side = |player: PlayerId, name: &str| Side {
            player: player.as_str().to_owned(),
            name: name.to_owned(),
        };
        Self {
            id: row.id().to_string(),
            room: row.room.as_str().to_owned(),
            sides: [side(a, name_a), side(b, name_b)],
            started: row.started,
            end: row.end.map(|end| End { at: end.at, seconds: end.seconds }),
            result,
            reason,
            winner,
            without_messages: match row.messages {
                ReportMessages::Pending | ReportMessages::Missing(_) => {
                    Some(row.messages.to_string())
                }
                ReportMessages::None | ReportMessages::Stored(_) => None,
            },
        }
    }
}

/// A report as one of its players sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlayerReport {
    /// The report.
    pub(crate) report: Report,
    /// Which side he was: 0 for A, 1 for B.
    pub(crate) own: usize,
}

/// Some of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    /// In order.
    pub(crate) rows: Vec<T>,
    /// Of how many.
    pub(crate) total: u64,
}

/// A player who was found, with what his battles came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundPlayer {
    pub(crate) player: Player,
    pub(crate) stats: PlayerStats,
}

/// Reports among the replicated records.
#[derive(Clone, Copy)]
pub(crate) struct EmbeddedReports<'a> {
    /// Where they are.
    pub(crate) cluster: &'a Cluster,
    /// What this process adds.
    pub(crate) local: &'a LocalReports,
}

impl EmbeddedReports<'_> {
    /// Reports, the newest first.
    pub(crate) fn page(self, offset: u64, limit: usize) -> Page<Report> {
        let page = self.cluster.read(|_, records| {
            let view = ReportsView::of(records);
            (view.newest(offset, limit), view.count())
        });
        let (rows, total) = page.value;
        Page { rows: rows.into_iter().map(Report::from).collect(), total }
    }

    /// What a report's battle looked like; `None` where there are no messages.
    pub(crate) fn body(self, id: &str) -> Option<ReportBody> {
        let id = ReportId::parse(id)?;
        let packed = self.cluster.read(|_, records| ReportsView::of(records).messages(id)).value?;
        let body = rendering::unpack(&packed);
        if body.is_none() {
            tracing::error!(report.id = %id, "a stored report can't be read");
        }
        body
    }

    /// One report. Waits a little for the messages of a battle that has just ended.
    pub(crate) async fn find(self, id: &str) -> Result<Option<Report>, ProposeError> {
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
        Ok(row.map(Report::from))
    }

    /// A player's reports, the newest first.
    pub(crate) fn page_of(self, player: &str, offset: u64, limit: usize) -> Page<PlayerReport> {
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

    /// What a player's battles came to, if he has fought any.
    pub(crate) async fn stats(self, id: &str) -> Result<Option<PlayerStats>, ProposeError> {
        let Ok(id) = id.parse::<PlayerId>() else { return Ok(None) };
        let here = self.cluster.read(|_, records| ReportsView::of(records).stats(id)).value;
        if here.is_some() {
            return Ok(here);
        }
        let asked = self.cluster.read_linearizable(|_, records| ReportsView::of(records).stats(id));
        Ok(asked.await?.value)
    }

    /// Numbers of all ended battles; days are counted from 1970-01-01.
    pub(crate) fn statistics(self, today: u32) -> ReportStatistics {
        self.cluster.read(|_, records| ReportsView::of(records).statistics(today)).value
    }

    /// Players whose names contain this.
    pub(crate) async fn search(
        self,
        term: &str,
        limit: usize,
    ) -> Result<Vec<FoundPlayer>, SearchError> {
        let found = self.local.names.search(term, limit).await?;
        let players = self.cluster.read(|_, records| {
            let view = ReportsView::of(records);
            let found = found.iter().filter_map(|id| {
                let player = records.player(*id)?;
                Some(FoundPlayer { player, stats: view.stats(*id).unwrap_or_default() })
            });
            found.collect()
        });
        Ok(players.value)
    }
}
