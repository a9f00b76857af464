//! Answers for the routes of contract 1.9. Rows that another program has written are shown as they are.

use serde_json::value::RawValue;
use serverv2_machine::{PlayerStats, ReportStatistics, WallTime};
use sqlx::{FromRow, PgPool, Row as _};

use crate::records::postgres::trouble::Trouble;
use crate::reports::{End, FoundPlayer, Metadata, Page, PlayerReport, Report, ReportBody, Side};

/// The columns of a [`Row`], times as milliseconds since 1970.
macro_rules! report_columns {
    () => {
        "id, player_a_id, player_a_name, player_b_id, player_b_name, \
         floor(extract(epoch from started_at) * 1000)::bigint, \
         floor(extract(epoch from coalesce(created_at, started_at)) * 1000)::bigint, \
         floor(extract(epoch from ended_at) * 1000)::bigint, coalesce(duration_seconds, 1)::bigint, \
         winner_id, battle_result::text, end_reason::text, coalesce(metadata, '{}')::text"
    };
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<String>,
    String,
    String,
    String,
);

/// How many these are.
const COLUMNS: usize = 13;

fn report_of(row: Row) -> Report {
    let (id, a, a_name, b, b_name, started, created, ended, seconds, winner, result, reason, more) =
        row;
    let sides = [Side { player: a, name: a_name }, Side { player: b, name: b_name }];
    let winner = winner.and_then(|won| sides.iter().position(|side| side.player == won));
    Report {
        winner,
        end: ended
            .map(|at| End { at: wall(at), seconds: count(seconds).try_into().unwrap_or(u32::MAX) }),
        id,
        sides,
        started: wall(started),
        created: wall(created),
        result: result.into(),
        reason: reason.into(),
        metadata: Metadata::Stored(raw(more, "{}")),
    }
}

fn wall(ms: i64) -> WallTime {
    WallTime(count(ms))
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// What the database calls JSON is JSON; something of its form stands for what isn't.
fn raw(text: String, otherwise: &str) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| {
        RawValue::from_string(otherwise.to_owned()).expect("it is written as JSON")
    })
}

/// A text that no row can have: the database takes it in no question.
fn is_no_text(text: &str) -> bool {
    text.contains('\0')
}

fn place(offset: u64, limit: usize) -> (i64, i64) {
    (i64::try_from(offset).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX))
}

pub(super) async fn nothing(pool: &PgPool) -> Result<(), Trouble> {
    sqlx::query("select 1").execute(pool).await?;
    Ok(())
}

pub(super) async fn page(
    pool: &PgPool,
    offset: u64,
    limit: usize,
) -> Result<Page<Report>, Trouble> {
    let (offset, limit) = place(offset, limit);
    let sql = "select count(*) from battle_records";
    let total: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
    let sql = concat!(
        "select ",
        report_columns!(),
        " from battle_records order by started_at desc, id limit $1 offset $2"
    );
    let rows: Vec<Row> = sqlx::query_as(sql).bind(limit).bind(offset).fetch_all(pool).await?;
    Ok(Page { rows: rows.into_iter().map(report_of).collect(), total: count(total) })
}

pub(super) async fn find(pool: &PgPool, id: &str) -> Result<Option<Report>, Trouble> {
    if is_no_text(id) {
        return Ok(None);
    }
    let sql = concat!("select ", report_columns!(), " from battle_records where id = $1");
    let row: Option<Row> = sqlx::query_as(sql).bind(id).fetch_optional(pool).await?;
    Ok(row.map(report_of))
}

/// A report and its battle, of one moment.
pub(super) async fn whole(
    pool: &PgPool,
    id: &str,
) -> Result<Option<(Report, ReportBody)>, Trouble> {
    let sql = concat!(
        "select ",
        report_columns!(),
        ", coalesce(battle_messages, '[]')::text, coalesce(final_state, '{}')::text \
         from battle_records where id = $1"
    );
    let row = sqlx::query(sql).bind(id).fetch_optional(pool).await?;
    let Some(row) = row else { return Ok(None) };
    let report = report_of(Row::from_row(&row)?);
    let messages = raw(row.try_get(COLUMNS)?, "[]");
    let final_state = raw(row.try_get(COLUMNS + 1)?, "{}");
    Ok(Some((report, ReportBody { messages, final_state })))
}

pub(super) async fn page_of(
    pool: &PgPool,
    player: &str,
    offset: u64,
    limit: usize,
) -> Result<Page<PlayerReport>, Trouble> {
    if is_no_text(player) {
        return Ok(Page { rows: Vec::new(), total: 0 });
    }
    let (offset, limit) = place(offset, limit);
    let sql = "select count(*) from battle_records where player_a_id = $1 or player_b_id = $1";
    let total: i64 = sqlx::query_scalar(sql).bind(player).fetch_one(pool).await?;
    let sql = concat!(
        "select ",
        report_columns!(),
        " from battle_records where player_a_id = $1 or player_b_id = $1 \
         order by started_at desc, id limit $2 offset $3"
    );
    let rows = sqlx::query_as(sql).bind(player).bind(limit).bind(offset).fetch_all(pool);
    let rows: Vec<Row> = rows.await?;
    let seen = |row: Row| {
        let report = report_of(row);
        PlayerReport { own: usize::from(report.sides[0].player != player), report }
    };
    Ok(Page { rows: rows.into_iter().map(seen).collect(), total: count(total) })
}

/// Wins, losses, draws, and when they were written last.
type Stats = (i64, i64, i64, i64);

fn stats_of((wins, losses, draws, updated): Stats) -> PlayerStats {
    let [wins, losses, draws] = [wins, losses, draws].map(count);
    PlayerStats { wins, losses, draws, updated: wall(updated) }
}

pub(super) async fn stats(pool: &PgPool, player: &str) -> Result<Option<PlayerStats>, Trouble> {
    if is_no_text(player) {
        return Ok(None);
    }
    let sql = "select coalesce(wins, 0)::bigint, coalesce(losses, 0)::bigint, coalesce(draws, 0)::bigint, \
               coalesce(floor(extract(epoch from updated_at) * 1000), 0)::bigint \
               from player_stats where player_id = $1";
    let row: Option<Stats> = sqlx::query_as(sql).bind(player).fetch_optional(pool).await?;
    Ok(row.map(stats_of))
}

/// "Today" and "this week" by the database's date, as `get_battle_statistics` has it.
pub(super) async fn statistics(pool: &PgPool) -> Result<ReportStatistics, Trouble> {
    let sql = "select count(*), count(distinct player_a_id) + count(distinct player_b_id), \
               count(*) filter (where started_at >= current_date), \
               count(*) filter (where started_at >= date_trunc('week', current_date::timestamptz)), \
               coalesce(sum(duration_seconds), 0)::bigint \
               from battle_records where ended_at is not null";
    let row: (i64, i64, i64, i64, i64) = sqlx::query_as(sql).fetch_one(pool).await?;
    let (battles, players, since_day, since_week, seconds) = row;
    Ok(ReportStatistics {
        battles: count(battles),
        players: count(players),
        since_day: count(since_day),
        since_week: count(since_week),
        seconds: count(seconds),
    })
}

pub(super) async fn search(
    pool: &PgPool,
    term: &str,
    limit: usize,
) -> Result<Vec<FoundPlayer>, Trouble> {
    if is_no_text(term) {
        return Ok(Vec::new());
    }
    let sql = "select p.id, p.name, coalesce(s.wins, 0)::bigint, coalesce(s.losses, 0)::bigint, \
               coalesce(s.draws, 0)::bigint \
               from players p left join player_stats s on s.player_id = p.id \
               where position(lower($1) in lower(p.name)) > 0 \
               order by s.wins desc nulls last, p.name, p.id limit $2";
    let rows = sqlx::query_as(sql).bind(term).bind(place(0, limit).1).fetch_all(pool);
    let rows: Vec<(String, String, i64, i64, i64)> = rows.await?;
    let found = |(id, name, wins, losses, draws)| FoundPlayer {
        id,
        name,
        stats: stats_of((wins, losses, draws, 0)),
    };
    Ok(rows.into_iter().map(found).collect())
}
