//! `/api/v1/auth`: guest accounts and their names (contract 1.6).

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::Serialize;
use serverv2_machine::limits::ADDRESS_LEN_MAX;
use serverv2_machine::{CreatePlayer, KeyScope, NanoId, PlayerId, RenamePlayer};
use utoipa::ToSchema;

use super::body::{self, Fields};
use super::error::{ApiError, ErrorBody, Success};
use super::tokens::AuthResult;
use super::{answers, guard, idempotency, time};
use crate::app::App;
use crate::client;

const CREATE_FAILED: (&str, &str) = ("创建游客失败", "CREATE_GUEST_ERROR");
const UPDATE_FAILED: (&str, &str) = ("更新玩家名称失败", "UPDATE_NAME_ERROR");

/// Longest name a player may choose, in UTF-16 units as its clients count.
const CHOSEN_NAME_UNITS_MAX: usize = 30;

/// A new account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Guest<'a> {
    player_id: &'a str,
    player_name: &'a str,
    is_guest: bool,
    message: &'a str,
    /// Where a guest's id alone is not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    auth: Option<AuthResult>,
}

/// Make an account, which needs no token unless the settings say so.
#[utoipa::path(
    post, path = "/api/v1/auth/create-guest", tag = "Players",
    params(idempotency::Key),
    responses(
        (status = 200, description = "It is made.", body = Success<Guest<'static>>),
        (status = 400, description = "`INVALID_IDEMPOTENCY_KEY`, `MALFORMED_BODY`.", body = ErrorBody<'static>),
        (status = 500, description = "`CREATE_GUEST_ERROR`.", body = ErrorBody<'static>),
        (status = 507, description = "`PLAYERS_FULL`.", body = ErrorBody<'static>),
        answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
)]
pub(super) async fn create_guest(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let key = idempotency::key(&parts.headers, KeyScope::Address(address(&app, &parts)))?;
    // No field is wanted, but a malformed body is refused on every route.
    body::fields(&app, Request::from_parts(parts, body), &[]).await?;
    let guest = CreatePlayer { player: new_player_id()?, name: guest_name(SystemTime::now()) };
    // With a key that was used before, this is the account of the first time.
    let (player, auth) = if app.settings.auth.guests_need_tokens {
        let lifetimes = app.settings.auth.lifetimes();
        let made = app.records.create_guest_with_tokens(guest, lifetimes, key).await;
        let issued = made.map_err(|error| ApiError::proposal(error, CREATE_FAILED))?;
        let auth = AuthResult::of(&app, &issued);
        (issued.player, Some(auth))
    } else {
        let made = app.records.create_guest(guest, key).await;
        (made.map_err(|error| ApiError::proposal(error, CREATE_FAILED))?, None)
    };
    let message = match auth {
        None => "游客模式无需认证，可直接使用所有功能",
        Some(_) => "游客需要使用访问令牌",
    };
    let guest = Guest {
        player_id: player.id.as_str(),
        player_name: &player.name,
        is_guest: true,
        message,
        auth,
    };
    Ok(Success::answer(Some("游客创建成功"), guest))
}

/// A player as everybody may see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CheckedPlayer)]
struct Checked<'a> {
    player_id: &'a str,
    player_name: &'a str,
    is_registered: bool,
    requires_auth: bool,
    /// Of registered players.
    #[schema(required = true)]
    email: Option<&'a str>,
    created_at: String,
}

/// Whether there is such a player, and whether it needs a token.
#[utoipa::path(
    get, path = "/api/v1/auth/check-player/{playerId}", tag = "Players",
    params(answers::PlayerInPath),
    responses(
        (status = 200, description = "There is.", body = Success<Checked<'static>>),
        (status = 400, description = "The path is not UTF-8.", body = String),
        (status = 404, description = "`PLAYER_NOT_FOUND`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::Limited, answers::Unsure,
    ),
)]
pub(super) async fn check_player(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let player = guard::player(&app, &id).await?;
    let checked = Checked {
        player_id: player.id.as_str(),
        player_name: &player.name,
        is_registered: player.is_registered(),
        requires_auth: player.is_registered(),
        email: player.email.as_deref(),
        created_at: time::with_offset(player.created),
    };
    Ok(Success::answer(None, checked))
}

/// A player's new name.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
struct RenameForm {
    #[schema(min_length = 1)]
    player_id: String,
    /// As UTF-16 counts.
    #[schema(min_length = 1, max_length = 30)]
    name: String,
}

/// What a player is called now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RenamedPlayer)]
struct Renamed<'a> {
    player_id: &'a str,
    player_name: &'a str,
}

/// Give a player another name. A registered one has to show its token.
#[utoipa::path(
    put, path = "/api/v1/auth/update-player-name", tag = "Players",
    params(idempotency::Key),
    request_body(content((RenameForm = "application/json"), (RenameForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is called so.", body = Success<Renamed<'static>>),
        (
            status = 400, body = ErrorBody<'static>,
            description = "`PLAYER_ID_MISSING`, `VALIDATION_ERROR`, `INVALID_IDEMPOTENCY_KEY`, `MALFORMED_BODY`."
        ),
        (status = 404, description = "`PLAYER_NOT_FOUND`.", body = ErrorBody<'static>),
        (status = 500, description = "`UPDATE_NAME_ERROR`, `CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NotThePlayer, answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn update_player_name(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let body = body::fields(&app, request, &["playerId", "name"]).await?;
    let player = guard::smart(&app, &headers, &uri, &body).await?;
    let name = wanted_name(&body)?;
    let key = idempotency::key(&headers, KeyScope::Player(player.id))?;
    let renamed = app
        .records
        .rename(RenamePlayer { player: player.id, name }, key)
        .await
        .map_err(|error| ApiError::proposal(error, UPDATE_FAILED))?;
    let data = Renamed { player_id: renamed.id.as_str(), player_name: &renamed.name };
    Ok(Success::answer(Some("玩家名称更新成功"), data))
}

/// Checks the body field by field, in the contract's order.
fn wanted_name(body: &Fields) -> Result<Arc<str>, ApiError> {
    body.text("playerId", "玩家ID不能为空")?;
    let name = body.text("name", "玩家名称不能为空")?;
    if name.encode_utf16().count() > CHOSEN_NAME_UNITS_MAX {
        return Err(ApiError::validation("名称长度不能超过30个字符"));
    }
    Ok(name.into())
}

/// Ids are all that protects a guest's account: they come from the system's randomness.
fn new_player_id() -> Result<PlayerId, ApiError> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, CREATE_FAILED.0, CREATE_FAILED.1)
    })?;
    Ok(PlayerId(NanoId::from_entropy(&bytes)))
}

/// `游客-` and the milliseconds since 1970 in base 36.
fn guest_name(now: SystemTime) -> Arc<str> {
    let mut rest = time::wall(now).0;
    let mut digits = Vec::new();
    while rest > 0 || digits.is_empty() {
        let digit = u32::try_from(rest % 36).expect("less than 36");
        digits.push(char::from_digit(digit, 36).expect("a digit of base 36"));
        rest /= 36;
    }
    let base36: String = digits.iter().rev().collect();
    format!("游客-{base36}").into()
}

/// The client's address as the scope of its keys.
fn address(app: &App, parts: &axum::http::request::Parts) -> Arc<str> {
    let address = client::address(parts, &app.settings.auth.trusted_proxies);
    let address = address.map(|address| address.to_string());
    let mut address = address.unwrap_or_else(|| "unknown".into());
    address.truncate(ADDRESS_LEN_MAX);
    address.into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_guest_is_named_after_the_moment_in_base_36() {
        for (ms, name) in
            [(0, "游客-0"), (35, "游客-z"), (36, "游客-10"), (1_750_406_400_000, "游客-mc4iry80")]
        {
            assert_eq!(&*guest_name(UNIX_EPOCH + Duration::from_millis(ms)), name);
        }
    }
}
