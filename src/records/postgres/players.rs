//! Accounts as rows of `players`.

use std::sync::Arc;

use serde_json::value::RawValue;
use serverv2_machine::limits::NAME_CHARS_MAX;
use serverv2_machine::{
    CreatePlayer, Email, KeyScope, Player, PlayerId, Rejection, RenamePlayer, ScopedKey, WallTime,
};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::trouble::{Trouble, is_taken};

/// The columns of a [`Row`], times as milliseconds since 1970.
macro_rules! player_columns {
    () => {
        "id, name, floor(extract(epoch from created_at) * 1000)::bigint, \
         floor(extract(epoch from last_login_at) * 1000)::bigint, email, \
         floor(extract(epoch from email_bound_at) * 1000)::bigint"
    };
}
pub(super) use player_columns;

pub(super) type Row = (String, String, Option<i64>, Option<i64>, Option<String>, Option<i64>);

/// The account in a row.
pub(super) fn player_of(row: Row) -> Result<Player, Trouble> {
    let (id, name, created, last_login, email, email_bound) = row;
    let wall = |ms: i64| WallTime(u64::try_from(ms).unwrap_or_default());
    Ok(Player {
        // Only an address can lead to an id that is not of this form; it belongs to nobody who could log in.
        id: id.parse().map_err(|_| Rejection::PlayerUnknown)?,
        name: name.into(),
        created: wall(created.unwrap_or_default()),
        last_login: wall(last_login.unwrap_or_default()),
        email: email.map(Arc::from),
        email_bound: email_bound.map(wall),
    })
}

pub(super) async fn find(
    database: impl PgExecutor<'_>,
    id: PlayerId,
) -> Result<Option<Player>, Trouble> {
    let sql = concat!("select ", player_columns!(), " from players where id = $1");
    let row: Option<Row> =
        sqlx::query_as(sql).bind(id.to_string()).fetch_optional(database).await?;
    row.map(player_of).transpose()
}

pub(super) async fn metadata(
    database: impl PgExecutor<'_>,
    id: PlayerId,
) -> Result<Option<Box<RawValue>>, Trouble> {
    let sql = "select metadata::text from players where id = $1";
    let row: Option<Option<String>> =
        sqlx::query_scalar(sql).bind(id.to_string()).fetch_optional(database).await?;
    Ok(row.flatten().and_then(|text| RawValue::from_string(text).ok()))
}

pub(super) async fn by_email(
    database: impl PgExecutor<'_>,
    email: &Email,
) -> Result<Option<Player>, Trouble> {
    let sql = concat!("select ", player_columns!(), " from players where email = $1");
    let row: Option<Row> =
        sqlx::query_as(sql).bind(email.as_str()).fetch_optional(database).await?;
    row.map(player_of).transpose()
}

pub(super) async fn create(
    pool: &PgPool,
    guest: &CreatePlayer,
    key: Option<&ScopedKey>,
) -> Result<Player, Trouble> {
    check_name(&guest.name)?;
    let mut work = pool.begin().await?;
    if let Some(player) = answered(&mut work, key, "create-guest").await? {
        return Ok(player);
    }
    let sql =
        concat!("insert into players (id, name) values ($1, $2) returning ", player_columns!());
    let made = sqlx::query_as(sql).bind(guest.player.to_string()).bind(&*guest.name);
    let row: Row = made.fetch_one(&mut *work).await.map_err(|error| match is_taken(&error) {
        true => Trouble::Refused(Rejection::PlayerExists),
        false => error.into(),
    })?;
    let player = player_of(row)?;
    remember(&mut work, key, "create-guest", &player).await?;
    work.commit().await?;
    Ok(player)
}

pub(super) async fn rename(
    pool: &PgPool,
    rename: &RenamePlayer,
    key: Option<&ScopedKey>,
) -> Result<Player, Trouble> {
    check_name(&rename.name)?;
    let mut work = pool.begin().await?;
    if let Some(player) = answered(&mut work, key, "rename").await? {
        return Ok(player);
    }
    let sql = concat!("update players set name = $2 where id = $1 returning ", player_columns!());
    let renamed = sqlx::query_as(sql).bind(rename.player.to_string()).bind(&*rename.name);
    let row: Option<Row> = renamed.fetch_optional(&mut *work).await?;
    let player = player_of(row.ok_or(Rejection::PlayerUnknown)?)?;
    remember(&mut work, key, "rename", &player).await?;
    work.commit().await?;
    Ok(player)
}

pub(super) async fn unbind(pool: &PgPool, id: PlayerId) -> Result<(), Trouble> {
    let mut work = pool.begin().await?;
    let sql = "select email from players where id = $1 for update";
    let email: Option<Option<String>> =
        sqlx::query_scalar(sql).bind(id.to_string()).fetch_optional(&mut *work).await?;
    if email.ok_or(Rejection::PlayerUnknown)?.is_none() {
        return Err(Rejection::EmailUnbound.into());
    }
    let sql = "update players set email = null, email_verified = false, email_bound_at = null, \
               is_registered = false where id = $1";
    sqlx::query(sql).bind(id.to_string()).execute(&mut *work).await?;
    work.commit().await?;
    Ok(())
}

fn check_name(name: &str) -> Result<(), Rejection> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if fits { Ok(()) } else { Err(Rejection::NameInvalid) }
}

/// What was answered to this key. Until the transaction ends nobody else asks by it.
async fn answered(
    work: &mut PgConnection,
    key: Option<&ScopedKey>,
    kind: &str,
) -> Result<Option<Player>, Trouble> {
    let Some((scope, key)) = key.map(names) else { return Ok(None) };
    let sql =
        "select pg_advisory_xact_lock(hashtextextended('serverv2 request ' || $1 || ' ' || $2, 0))";
    sqlx::query(sql).bind(&scope).bind(&key).execute(&mut *work).await?;
    let sql = "delete from serverv2.requests where (scope, key) in \
               (select scope, key from serverv2.requests \
                where at < now() - interval '10 minutes' for update skip locked)";
    sqlx::query(sql).execute(&mut *work).await?;
    let sql = "select kind, player from serverv2.requests \
               where scope = $1 and key = $2 and at > now() - interval '10 minutes'";
    let row: Option<(String, Vec<u8>)> =
        sqlx::query_as(sql).bind(&scope).bind(&key).fetch_optional(&mut *work).await?;
    match row {
        None => Ok(None),
        Some((before, _)) if before != kind => Err(Rejection::KeyReused.into()),
        // Nobody but this program writes there; what another version has written is done anew.
        Some((_, player)) => Ok(Player::decode(&player).ok()),
    }
}

async fn remember(
    work: &mut PgConnection,
    key: Option<&ScopedKey>,
    kind: &str,
    player: &Player,
) -> Result<(), Trouble> {
    let Some((scope, key)) = key.map(names) else { return Ok(()) };
    let sql = "insert into serverv2.requests (scope, key, kind, player) values ($1, $2, $3, $4) \
               on conflict (scope, key) do update set kind = $3, player = $4, at = now()";
    let remembered = sqlx::query(sql).bind(scope).bind(key).bind(kind).bind(player.encode());
    remembered.execute(work).await?;
    Ok(())
}

/// A key's scope and the key itself. No two scopes have the same text.
fn names(key: &ScopedKey) -> (String, String) {
    let scope = match &key.scope {
        KeyScope::Player(player) => format!("player {player}"),
        KeyScope::Address(address) => format!("address {address}"),
    };
    (scope, key.key.to_string())
}
