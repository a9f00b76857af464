//! A report's two rows: the one that is made when its battle begins, and the same one at its end.

use std::time::Duration;

use serde_json::json;
use serverv2_machine::{PlayerId, ReportEnd, ReportResult, ReportRow, Seat, WhyMissing};
use sqlx::{PgConnection, PgPool};

use crate::records::postgres::trouble::Trouble;
use crate::reports::{Metadata, Report, ReportBody};

/// Longest time for one end to be written: it may be megabytes.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(20);
/// The same for one statement, in the database's words.
const STATEMENT: &str = "set local statement_timeout = '15s'";

/// What became of a report's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there now, and counted.
    Now,
    /// It was there.
    Before,
}

/// Players exist before their battles do, unless somebody has deleted them meanwhile (contract 6.1).
async fn ensure_players(
    work: &mut PgConnection,
    row: &ReportRow,
    and_then: &'static str,
) -> Result<(), Trouble> {
    let sql = format!(
        "insert into players (id, name) \
         select id, name from unnest($1::text[], $2::text[]) as p (id, name) order by id \
         on conflict (id) do {and_then}"
    );
    let ensured = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(row.players.map(|player| player.to_string()).to_vec())
        .bind(row.names.each_ref().map(|name| name.to_string()).to_vec());
    ensured.execute(work).await?;
    Ok(())
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

pub(super) async fn open(pool: &PgPool, row: &ReportRow) -> Result<(), Trouble> {
    let mut work = pool.begin().await?;
    ensure_players(&mut work, row, "update set last_login_at = now()").await?;
    let mut opened = row.clone();
    opened.end = None;
    let report = Report::from(opened);
    let [a, b] = &report.sides;
    let sql = "insert into battle_records (id, player_a_id, player_a_name, player_b_id, player_b_name, \
               started_at, battle_result, end_reason, metadata) \
               values ($1, $2, $3, $4, $5, to_timestamp($6), $7, $8, $9::jsonb) \
               on conflict (id) do nothing";
    let opened = sqlx::query(sql)
        .bind(&report.id)
        .bind(&a.player)
        .bind(&a.name)
        .bind(&b.player)
        .bind(&b.name)
        .bind(seconds(report.started.0))
        .bind(&*report.result)
        .bind(&*report.reason)
        .bind(metadata(row, None));
    opened.execute(&mut *work).await?;
    work.commit().await?;
    Ok(())
}

pub(super) async fn close(
    pool: &PgPool,
    row: &ReportRow,
    body: Result<Option<&ReportBody>, WhyMissing>,
) -> Result<Written, Trouble> {
    // Who asks has seen to it that there is an end.
    let Some(end) = row.end else { return Ok(Written::Before) };
    let report = Report::from(row.clone());
    let [a, b] = &report.sides;
    let winner = report.winner.map(|side| &*report.sides[side].player);
    let why = body.as_ref().err().copied();
    let (messages, state) = match body {
        Ok(Some(body)) => (storable(body.messages.get()), storable(body.final_state.get())),
        Ok(None) | Err(_) => ("[]".to_owned(), "{}".to_owned()),
    };
    let mut work = pool.begin().await?;
    sqlx::query(STATEMENT).execute(&mut *work).await?;
    ensure_players(&mut work, row, "nothing").await?;
    let sql = "insert into battle_records as r (id, player_a_id, player_a_name, player_b_id, player_b_name, \
               started_at, battle_result, end_reason, metadata, ended_at, duration_seconds, winner_id, \
               battle_messages, final_state) \
               values ($1, $2, $3, $4, $5, to_timestamp($6), $7, $8, $9::jsonb, to_timestamp($10), $11, $12, \
               $13::jsonb, $14::jsonb) \
               on conflict (id) do update set battle_result = excluded.battle_result, \
               end_reason = excluded.end_reason, metadata = excluded.metadata, ended_at = excluded.ended_at, \
               duration_seconds = excluded.duration_seconds, winner_id = excluded.winner_id, \
               battle_messages = excluded.battle_messages, final_state = excluded.final_state \
               where r.ended_at is null";
    let closed = sqlx::query(sql)
        .bind(&report.id)
        .bind(&a.player)
        .bind(&a.name)
        .bind(&b.player)
        .bind(&b.name)
        .bind(seconds(report.started.0))
        .bind(&*report.result)
        .bind(&*report.reason)
        .bind(metadata(row, why))
        .bind(seconds(end.at.0))
        .bind(i32::try_from(end.seconds).unwrap_or(i32::MAX))
        .bind(winner)
        .bind(messages)
        .bind(state);
    let written = match closed.execute(&mut *work).await?.rows_affected() {
        0 => Written::Before,
        _ => Written::Now,
    };
    if written == Written::Now {
        count(&mut work, row.players, end).await?;
    }
    work.commit().await?;
    Ok(written)
}

/// Counts a battle that was played to its end, for both.
async fn count(
    work: &mut PgConnection,
    players: [PlayerId; 2],
    end: ReportEnd,
) -> Result<(), Trouble> {
    let ReportResult::Played(outcome) = end.result else { return Ok(()) };
    let of = |wanted: fn(Option<Seat>, Seat) -> bool| {
        Seat::BOTH.map(|seat| i32::from(wanted(outcome.winner, seat))).to_vec()
    };
    // In one order, whichever side they were on: two battles never wait for each other.
    let sql = "insert into player_stats as s (player_id, total_battles, wins, losses, draws, updated_at) \
               select id, 1, wins, losses, draws, to_timestamp($5) \
               from unnest($1::text[], $2::int[], $3::int[], $4::int[]) as p (id, wins, losses, draws) \
               order by id \
               on conflict (player_id) do update set \
               total_battles = coalesce(s.total_battles, 0) + 1, \
               wins = coalesce(s.wins, 0) + excluded.wins, \
               losses = coalesce(s.losses, 0) + excluded.losses, \
               draws = coalesce(s.draws, 0) + excluded.draws, \
               updated_at = greatest(s.updated_at, excluded.updated_at)";
    let counted = sqlx::query(sql)
        .bind(players.map(|player| player.to_string()).to_vec())
        .bind(of(|winner, seat| winner == Some(seat)))
        .bind(of(|winner, seat| winner == Some(seat.opponent())))
        .bind(of(|winner, _| winner.is_none()))
        .bind(seconds(end.at.0));
    counted.execute(work).await?;
    Ok(())
}

/// As the routes print that of an embedded report.
fn metadata(row: &ReportRow, why: Option<WhyMissing>) -> String {
    let room = match Report::from(row.clone()).metadata {
        Metadata::Ours { room, .. } => room,
        Metadata::Stored(_) => row.room.to_string(),
    };
    match why {
        Some(why) => json!({"battleId": room, "battleMessages": format!("missing: {why}")}),
        None => json!({"battleId": room}),
    }
    .to_string()
}

/// A `jsonb` can hold any text but the character 0, which a team's names may contain: another one that
/// says nothing takes its place. What comes in is JSON of ours.
fn storable(json: &str) -> String {
    const ZERO: &str = "\\u0000";
    if !json.contains(ZERO) {
        return json.to_owned();
    }
    let mut storable = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        storable.push_str(before);
        rest = if let Some(after) = escape.strip_prefix(ZERO) {
            storable.push_str("\\ufffd");
            after
        } else {
            // It is a pair of characters, and may be a backslash's own.
            let mut characters = escape.chars();
            storable.extend(characters.by_ref().take(2));
            characters.as_str()
        };
    }
    storable.push_str(rest);
    storable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_that_no_database_takes_is_replaced() {
        for (json, expected) in [
            (r#"["a"]"#, r#"["a"]"#),
            (r#"["a\u0000b\u0000"]"#, r#"["a\ufffdb\ufffd"]"#),
            (r#"["\\u0000","\\\u0000"]"#, r#"["\\u0000","\\\ufffd"]"#),
            (r#"["é\n\"\u0001\u0000é"]"#, r#"["é\n\"\u0001\ufffdé"]"#),
        ] {
            assert_eq!(storable(json), expected);
        }
    }
}
