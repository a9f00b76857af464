//! What is asked about reports and players, and the plain answers: one trait, kept by the cluster's own
//! records (`embedded.rs`) and by the database that keeps the players (`records/postgres/reports.rs`).

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;
use serverv2_machine::{
    EndReason, PlayerId, PlayerStats, ReportMessages, ReportResult, ReportRow, ReportStatistics,
    Seat, WallTime,
};

use super::rendering::ReportBody;
use crate::records::Answer;

/// How long whoever asks for one report waits for its messages, if the battle has just ended.
pub(crate) const RENDER_PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const RENDER_POLL: Duration = Duration::from_millis(20);

/// Where reports are read from.
pub(crate) trait Reports: Send + Sync {
    /// Reports, the newest first.
    fn page(&self, offset: u64, limit: usize) -> Answer<'_, Page<Report>>;

    /// One report. Waits a little for the messages of a battle that has just ended.
    fn find<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Report>>;

    /// A report with what its battle looked like, if there are messages. If it has changed since it was
    /// found, it is the newer one.
    fn whole(&self, report: Report) -> Answer<'_, (Report, Option<ReportBody>)>;

    /// A player's reports, the newest first.
    fn page_of<'a>(
        &'a self,
        player: &'a str,
        offset: u64,
        limit: usize,
    ) -> Answer<'a, Page<PlayerReport>>;

    /// What a player's battles came to, if he has fought any.
    fn stats<'a>(&'a self, player: &'a str) -> Answer<'a, Option<PlayerStats>>;

    /// Numbers of all ended battles. Days are counted from 1970-01-01; a database has its own date.
    fn statistics(&self, today: u32) -> Answer<'_, ReportStatistics>;

    /// Players whose names contain this.
    fn search<'a>(&'a self, term: &'a str, limit: usize) -> Answer<'a, Vec<FoundPlayer>>;
}

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
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Its public id.
    pub(crate) id: String,
    /// A, then B.
    pub(crate) sides: [Side; 2],
    /// When the room was made.
    pub(crate) started: WallTime,
    /// When the report was made.
    pub(crate) created: WallTime,
    /// `None` while it runs.
    pub(crate) end: Option<End>,
    /// `player_a_wins`, `player_b_wins`, `draw` or `abandoned`; the last also while it runs.
    pub(crate) result: Cow<'static, str>,
    /// `all_pet_fainted`, `surrender`, `timeout` or `disconnect`; the last also while it runs.
    pub(crate) reason: Cow<'static, str>,
    /// 0 for A, 1 for B.
    pub(crate) winner: Option<usize>,
    /// What else there is to say of it.
    pub(crate) metadata: Metadata,
}

/// See [`Report`].
#[derive(Clone, Debug)]
pub(crate) enum Metadata {
    /// Of a report of ours.
    Ours {
        /// The battle's room.
        room: String,
        /// Why there are no messages, or not yet.
        without_messages: Option<String>,
    },
    /// A JSON value as it is stored.
    Stored(Box<RawValue>),
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
            sides: [side(a, name_a), side(b, name_b)],
            started: row.started,
            created: row.started,
            end: row.end.map(|end| End { at: end.at, seconds: end.seconds }),
            result: result.into(),
            reason: reason.into(),
            winner,
            metadata: Metadata::Ours {
                room: row.room.as_str().to_owned(),
                without_messages: match row.messages {
                    ReportMessages::Pending | ReportMessages::Missing(_) => {
                        Some(row.messages.to_string())
                    }
                    ReportMessages::None | ReportMessages::Stored(_) => None,
                },
            },
        }
    }
}

/// A report as one of its players sees it.
#[derive(Clone, Debug)]
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
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) stats: PlayerStats,
}
