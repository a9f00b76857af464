//! Verification codes as rows of `email_verification_codes`, and the addresses they prove.
//!
//! The rules are those of the machine (`raft/machine/src/codes.rs`), in the database's own time. The table
//! is the existing server's; in the place of a code it holds a keyed hash in as many characters. What it
//! has no place for, wrong tries and the counts for the limits, stands beside it. A code that the existing
//! server has put there as it is counts until its time is over. All work on one address's code is one after the other.

use serverv2_machine::limits::{CODE_LIFE_MS, CODE_RESEND_MS, CODE_TRIES_MAX, CODE_WINDOW_MS};
use serverv2_machine::{Email, Player, Purpose, Rejection};
use sqlx::{PgConnection, PgPool};

use super::players::{self, Row, player_columns, player_of};
use super::trouble::{Trouble, is_taken};
use crate::auth::CodeKey;
use crate::records::{Binding, GivenCode, NewCode};

/// Puts a code in its place, if there may be one more; gives who is to be greeted.
pub(super) async fn create(
    pool: &PgPool,
    key: &CodeKey,
    new: &NewCode,
) -> Result<Option<Player>, Trouble> {
    let mut work = pool.begin().await?;
    take_turn(&mut work, &new.email, new.purpose).await?;
    let owner = players::by_email(&mut *work, &new.email).await?;
    let player = match new.purpose {
        Purpose::Bind => {
            let id = new.player.ok_or(Rejection::PlayerUnknown)?;
            let player = players::find(&mut *work, id).await?.ok_or(Rejection::PlayerUnknown)?;
            if owner.is_some_and(|owner| owner.id != player.id) {
                return Err(Rejection::EmailTaken.into());
            }
            player
        }
        Purpose::Recover => owner.ok_or(Rejection::EmailUnbound)?,
    };
    forget_old(&mut work).await?;
    let sql = "select created_at > now() - $3 * interval '1 millisecond' \
               from email_verification_codes where email = $1 and purpose = $2";
    let young = sqlx::query_scalar(sql)
        .bind(new.email.as_str())
        .bind(new.purpose.to_string())
        .bind(ms(CODE_RESEND_MS));
    let young: Option<Option<bool>> = young.fetch_optional(&mut *work).await?;
    if young.flatten() == Some(true) {
        return Err(Rejection::CodeTooSoon.into());
    }
    // Capitals are the same to most who take mail. Addresses come before sources, for everybody: whoever
    // holds one row waits for none before it.
    let address = format!("address {}", new.email.as_str().to_ascii_lowercase());
    count(&mut work, &address, new.limits.per_address).await?;
    count(&mut work, &format!("source {}", new.source), new.limits.per_source).await?;

    let sql = "delete from email_verification_codes where email = $1 and purpose = $2";
    let removed = sqlx::query(sql).bind(new.email.as_str()).bind(new.purpose.to_string());
    removed.execute(&mut *work).await?;
    let sql = "insert into email_verification_codes (email, code, player_id, purpose, created_at, expires_at) \
               values ($1, $2, $3, $4, now(), now() + $5 * interval '1 millisecond')";
    // Of somebody who wants to be recovered nothing is known (contract 9).
    let asking = new.player.filter(|_| new.purpose == Purpose::Bind);
    let inserted = sqlx::query(sql)
        .bind(new.email.as_str())
        .bind(key.short_hash(&new.email, new.purpose, &new.code))
        .bind(asking.map(|player| player.to_string()).unwrap_or_default())
        .bind(new.purpose.to_string())
        .bind(ms(CODE_LIFE_MS));
    inserted.execute(&mut *work).await.map_err(|error| match is_taken(&error) {
        // Somebody else than this program made one in the same instant.
        true => Trouble::Refused(Rejection::CodeTooSoon),
        false => error.into(),
    })?;
    work.commit().await?;
    Ok(Some(player))
}

/// Whether this is the code.
pub(super) async fn check(pool: &PgPool, key: &CodeKey, given: &GivenCode) -> Result<(), Trouble> {
    let mut work = pool.begin().await?;
    let checked = checked(&mut work, key, given).await?;
    work.commit().await?;
    checked.map(|_| ()).map_err(Trouble::Refused)
}

/// Gives the address to the player, and uses the code up.
pub(super) async fn bind(
    pool: &PgPool,
    key: &CodeKey,
    binding: &Binding,
) -> Result<Player, Trouble> {
    let mut work = pool.begin().await?;
    let code = match checked(&mut work, key, &binding.code).await? {
        Ok(code) => code,
        Err(refused) => return finish(work, refused).await,
    };
    let sql = concat!("select ", player_columns!(), " from players where id = $1 for update");
    let row: Option<Row> =
        sqlx::query_as(sql).bind(binding.player.to_string()).fetch_optional(&mut *work).await?;
    let player = player_of(row.ok_or(Rejection::PlayerUnknown)?)?;
    if player.is_registered() && !binding.authenticated {
        return Err(Rejection::TokenRequired.into());
    }
    use_up(&mut work, &code).await?;
    #[cfg(feature = "failpoints")]
    fail::fail_point!("code-used");
    let sql = concat!(
        "update players set email = $2, email_verified = true, email_bound_at = now(), \
         is_registered = true where id = $1 returning ",
        player_columns!()
    );
    let bound = sqlx::query_as(sql).bind(player.id.to_string()).bind(binding.code.email.as_str());
    let row: Row = bound.fetch_one(&mut *work).await.map_err(|error| match is_taken(&error) {
        true => Trouble::Refused(Rejection::EmailTaken),
        false => error.into(),
    })?;
    let player = player_of(row)?;
    work.commit().await?;
    Ok(player)
}

/// Whose the address is; uses the code up.
pub(super) async fn recover(
    pool: &PgPool,
    key: &CodeKey,
    given: &GivenCode,
) -> Result<Player, Trouble> {
    let mut work = pool.begin().await?;
    let code = match checked(&mut work, key, given).await? {
        Ok(code) => code,
        Err(refused) => return finish(work, refused).await,
    };
    let player = players::by_email(&mut *work, &given.email).await?;
    let player = player.ok_or(Rejection::EmailUnbound)?;
    use_up(&mut work, &code).await?;
    work.commit().await?;
    Ok(player)
}

/// A refusal that is counted all the same.
async fn finish<T>(
    work: sqlx::Transaction<'_, sqlx::Postgres>,
    refused: Rejection,
) -> Result<T, Trouble> {
    work.commit().await?;
    Err(refused.into())
}

/// Until the transaction ends nobody else touches this address's code.
async fn take_turn(
    work: &mut PgConnection,
    email: &Email,
    purpose: Purpose,
) -> Result<(), Trouble> {
    let sql =
        "select pg_advisory_xact_lock(hashtextextended('serverv2 code ' || $1 || ' ' || $2, 0))";
    sqlx::query(sql).bind(purpose.to_string()).bind(email.as_str()).execute(work).await?;
    Ok(())
}

/// The code's row, if this is the code; counts a try that is wrong, which the caller must commit.
async fn checked(
    work: &mut PgConnection,
    key: &CodeKey,
    given: &GivenCode,
) -> Result<Result<String, Rejection>, Trouble> {
    take_turn(work, &given.email, given.purpose).await?;
    let sql = "select id::text, code, coalesce((select wrong from serverv2.code_tries where code_id = id), 0) \
               from email_verification_codes \
               where email = $1 and purpose = $2 and used_at is null and expires_at > now() for update";
    let found = sqlx::query_as(sql).bind(given.email.as_str()).bind(given.purpose.to_string());
    let found: Option<(String, String, i32)> = found.fetch_optional(&mut *work).await?;
    let Some((id, code, wrong)) = found else { return Ok(Err(Rejection::CodeInvalid)) };
    if wrong >= i32::from(CODE_TRIES_MAX) {
        return Ok(Err(Rejection::CodeInvalid));
    }
    let hash = |code: &str| key.short_hash(&given.email, given.purpose, code);
    let is_plain = code.bytes().all(|byte| byte.is_ascii_digit());
    // Hashes are compared, so how long it takes tells nothing about the code.
    if (if is_plain { hash(&code) } else { code }) == hash(&given.code) {
        return Ok(Ok(id));
    }
    let sql = "insert into serverv2.code_tries (code_id, wrong) values ($1::uuid, 1) \
               on conflict (code_id) do update set wrong = code_tries.wrong + 1";
    sqlx::query(sql).bind(id).execute(&mut *work).await?;
    Ok(Err(Rejection::CodeInvalid))
}

async fn use_up(work: &mut PgConnection, code: &str) -> Result<(), Trouble> {
    let sql = "update email_verification_codes set used_at = now() where id = $1::uuid";
    sqlx::query(sql).bind(code).execute(work).await?;
    Ok(())
}

/// Counts one code more, if there may be one; `max` 0: any number.
async fn count(work: &mut PgConnection, counted: &str, max: u32) -> Result<(), Trouble> {
    let sql = "insert into serverv2.code_windows as w (counted, opened, codes) values ($1, now(), 1) \
               on conflict (counted) do update set \
                   codes = case when w.opened > now() - $2 * interval '1 millisecond' \
                       then w.codes + 1 else 1 end, \
                   opened = case when w.opened > now() - $2 * interval '1 millisecond' \
                       then w.opened else now() end \
               returning codes";
    let counting = sqlx::query_scalar(sql).bind(counted).bind(ms(CODE_WINDOW_MS));
    let codes: i32 = counting.fetch_one(work).await?;
    if max > 0 && i64::from(codes) > i64::from(max) {
        // With the transaction the count goes back.
        return Err(Rejection::CodesLimited.into());
    }
    Ok(())
}

/// What is over goes with the next code: windows, codes an hour after their time (contract 9), and the
/// tries of codes that are gone. Rows that somebody else is busy with are left to the next time.
async fn forget_old(work: &mut PgConnection) -> Result<(), Trouble> {
    let sql = "delete from serverv2.code_windows where counted in \
               (select counted from serverv2.code_windows \
                where opened < now() - $1 * interval '1 millisecond' for update skip locked)";
    sqlx::query(sql).bind(ms(CODE_WINDOW_MS)).execute(&mut *work).await?;
    let sql = "delete from email_verification_codes where id in \
               (select id from email_verification_codes \
                where expires_at < now() - interval '1 hour' for update skip locked)";
    sqlx::query(sql).execute(&mut *work).await?;
    let sql = "delete from serverv2.code_tries where code_id in \
               (select code_id from serverv2.code_tries t where not exists \
                (select from email_verification_codes c where c.id = t.code_id) for update skip locked)";
    sqlx::query(sql).execute(work).await?;
    Ok(())
}

fn ms(ms: u64) -> f64 {
    // Hours: no precision is lost.
    ms as f64
}
