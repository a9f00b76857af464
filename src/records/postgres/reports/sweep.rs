//! What the existing server does daily and hourly (contract 6.3), in small statements: nobody waits long
//! for a row. Two nodes that sweep at once do no harm, and rows that somebody is busy with are left to the
//! next time.

use super::super::Database;
use crate::records::RecordsError;

/// Rows that one statement changes or deletes.
const ROWS: i64 = 500;

/// Closes rows that have been open for longer than this.
pub(super) async fn abandoned(
    database: &Database,
    open_ms: u64,
    ours: &[String],
) -> Result<u64, RecordsError> {
    let sql = "update battle_records set ended_at = now(), battle_result = 'abandoned', \
               end_reason = 'timeout', \
               duration_seconds = \
                   least(greatest(1, round(extract(epoch from now() - started_at))), 2147483647)::integer \
               where id in (select id from battle_records \
                   where ended_at is null and started_at < now() - $1 * interval '1 millisecond' \
                   and id <> all($2) limit $3 for update skip locked)";
    repeat(database, sql, open_ms, ours).await
}

/// Deletes rows of battles that began before that.
pub(super) async fn old(
    database: &Database,
    reports_ms: u64,
    ours: &[String],
) -> Result<u64, RecordsError> {
    let sql = "delete from battle_records where id in (select id from battle_records \
                   where started_at < now() - $1 * interval '1 millisecond' \
                   and id <> all($2) limit $3 for update skip locked)";
    repeat(database, sql, reports_ms, ours).await
}

async fn repeat(
    database: &Database,
    sql: &'static str,
    age_ms: u64,
    ours: &[String],
) -> Result<u64, RecordsError> {
    let mut all = 0;
    loop {
        let swept = database.ask(async {
            let swept = sqlx::query(sql).bind(age_ms as f64).bind(ours).bind(ROWS);
            Ok(swept.execute(&database.pool).await?.rows_affected())
        });
        let swept = swept.await?;
        all += swept;
        if swept < ROWS.unsigned_abs() {
            return Ok(all);
        }
        tokio::time::sleep(crate::reports::SWEEP_PACE).await;
    }
}
