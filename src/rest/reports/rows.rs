//! Reports and players as the contract prints them.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serverv2_machine::{PlayerStats, ReportStatistics};
use utoipa::ToSchema;

use crate::reports::{FoundPlayer, Metadata, PlayerReport, Report, ReportBody};
use crate::rest::time;

/// A part of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub(super) struct Paged<T> {
    data: Vec<T>,
    total: u64,
    limit: usize,
    offset: u64,
    has_more: bool,
}

impl<T> Paged<T> {
    pub(super) fn new(data: Vec<T>, total: u64, limit: usize, offset: u64) -> Self {
        let has_more = offset.saturating_add(limit as u64) < total;
        Self { data, total, limit, offset, has_more }
    }

    /// What stands behind the data, for who sends them one by one.
    pub(super) fn end(total: u64, limit: usize, offset: u64) -> String {
        let has_more = Self::new(Vec::new(), total, limit, offset).has_more;
        format!(r#"],"total":{total},"limit":{limit},"offset":{offset},"has_more":{has_more}}}"#)
    }
}

/// All columns of `battle_records`.
#[derive(Serialize, ToSchema)]
pub(super) struct BattleRecord<'a> {
    id: &'a str,
    player_a_id: &'a str,
    player_a_name: &'a str,
    player_b_id: &'a str,
    player_b_name: &'a str,
    started_at: String,
    #[schema(required = true)]
    ended_at: Option<String>,
    #[schema(required = true)]
    duration_seconds: Option<u32>,
    #[schema(required = true)]
    winner_id: Option<&'a str>,
    battle_result: &'a str,
    end_reason: &'a str,
    /// As an observer would have seen them: `battleEvent` of `/asyncapi.json`.
    #[schema(value_type = Vec<utoipa::openapi::Object>)]
    battle_messages: Raw<'a>,
    /// Empty until the battle has ended.
    #[schema(value_type = utoipa::openapi::Object)]
    final_state: Raw<'a>,
    /// Of a report of ours: `battleId`, and `battleMessages` where there are none, which says why.
    #[schema(value_type = utoipa::openapi::Object)]
    metadata: MetadataRow<'a>,
    created_at: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum MetadataRow<'a> {
    #[serde(rename_all = "camelCase")]
    Ours {
        battle_id: &'a str,
        /// Says why there are none, or not yet; an addition of ours.
        #[serde(skip_serializing_if = "Option::is_none")]
        battle_messages: Option<&'a str>,
    },
    Stored(&'a RawValue),
}

impl<'a> MetadataRow<'a> {
    fn of(metadata: &'a Metadata, has_body: bool) -> Self {
        match metadata {
            Metadata::Ours { room, without_messages } => Self::Ours {
                battle_id: room,
                battle_messages: without_messages.as_deref().filter(|_| !has_body),
            },
            Metadata::Stored(raw) => Self::Stored(raw),
        }
    }
}

/// JSON as it was stored, or nothing.
enum Raw<'a> {
    Stored(&'a RawValue),
    NoMessages,
    NoState,
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Empty {}
        match self {
            Self::Stored(raw) => raw.serialize(serializer),
            Self::NoMessages => [(); 0].serialize(serializer),
            Self::NoState => Empty {}.serialize(serializer),
        }
    }
}

impl<'a> BattleRecord<'a> {
    pub(super) fn of(report: &'a Report, body: Option<&'a ReportBody>) -> Self {
        let [a, b] = &report.sides;
        Self {
            id: &report.id,
            player_a_id: &a.player,
            player_a_name: &a.name,
            player_b_id: &b.player,
            player_b_name: &b.name,
            started_at: time::as_stored(report.started),
            ended_at: report.end.as_ref().map(|end| time::as_stored(end.at)),
            duration_seconds: report.end.as_ref().map(|end| end.seconds),
            winner_id: report.winner.map(|side| &*report.sides[side].player),
            battle_result: &report.result,
            end_reason: &report.reason,
            battle_messages: body.map_or(Raw::NoMessages, |body| Raw::Stored(&body.messages)),
            final_state: body.map_or(Raw::NoState, |body| Raw::Stored(&body.final_state)),
            metadata: MetadataRow::of(&report.metadata, body.is_some()),
            created_at: time::as_stored(report.created),
        }
    }
}

/// A row of `get_player_battle_records`.
#[derive(Serialize, ToSchema)]
pub(super) struct PlayerBattle<'a> {
    id: &'a str,
    opponent_id: &'a str,
    opponent_name: &'a str,
    /// Null where nobody has won.
    #[schema(required = true)]
    is_winner: Option<bool>,
    battle_result: &'a str,
    started_at: String,
    #[schema(required = true)]
    ended_at: Option<String>,
    #[schema(required = true)]
    duration_seconds: Option<u32>,
}

impl<'a> PlayerBattle<'a> {
    pub(super) fn of(PlayerReport { report, own }: &'a PlayerReport) -> Self {
        let opponent = &report.sides[1 - own];
        Self {
            id: &report.id,
            opponent_id: &opponent.player,
            opponent_name: &opponent.name,
            is_winner: report.winner.map(|winner| winner == *own),
            battle_result: &report.result,
            started_at: time::as_stored(report.started),
            ended_at: report.end.as_ref().map(|end| time::as_stored(end.at)),
            duration_seconds: report.end.as_ref().map(|end| end.seconds),
        }
    }
}

/// All columns of `player_stats`.
#[derive(Serialize, ToSchema)]
#[schema(as = PlayerStats)]
pub(super) struct StatsRow<'a> {
    player_id: &'a str,
    total_battles: u64,
    wins: u64,
    losses: u64,
    draws: u64,
    updated_at: String,
}

impl<'a> StatsRow<'a> {
    pub(super) fn of(player_id: &'a str, stats: &PlayerStats) -> Self {
        Self {
            player_id,
            total_battles: stats.battles(),
            wins: stats.wins,
            losses: stats.losses,
            draws: stats.draws,
            updated_at: time::as_stored(stats.updated),
        }
    }
}

/// A row of `search_players`.
#[derive(Serialize, ToSchema)]
#[schema(as = FoundPlayer)]
pub(super) struct FoundRow<'a> {
    id: &'a str,
    name: &'a str,
    total_battles: u64,
    wins: u64,
    win_rate: f64,
}

impl<'a> FoundRow<'a> {
    pub(super) fn of(FoundPlayer { id, name, stats }: &'a FoundPlayer) -> Self {
        let (wins, battles) = (stats.wins, stats.battles());
        let win_rate = 100.0 * wins as f64 / battles.max(1) as f64;
        Self { id, name, total_battles: battles, wins, win_rate: two_digits(win_rate) }
    }
}

/// `get_battle_statistics`.
#[derive(Serialize, ToSchema)]
#[schema(as = BattleStatistics)]
pub(super) struct StatisticsRow {
    total_battles: u64,
    total_players: u64,
    battles_today: u64,
    battles_this_week: u64,
    avg_battle_duration: f64,
}

impl StatisticsRow {
    pub(super) fn of(statistics: &ReportStatistics) -> Self {
        let average = statistics.seconds as f64 / statistics.battles.max(1) as f64;
        Self {
            total_battles: statistics.battles,
            total_players: statistics.players,
            battles_today: statistics.since_day,
            battles_this_week: statistics.since_week,
            avg_battle_duration: two_digits(average),
        }
    }
}

fn two_digits(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
