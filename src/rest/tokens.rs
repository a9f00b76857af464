//! `/api/v1/auth`: exchanging, checking and giving up tokens (contract 1.6).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serverv2_machine::{Issued, KeyScope, RefreshTokens, Rejection, RevokeToken};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody, Success, json};
use super::{answers, body, guard, idempotency};
use crate::app::App;
use crate::auth::{Claims, SignedPair};
use crate::random;
use crate::records::RecordsError;

const REFRESH_FAILED: (&str, &str) = ("令牌刷新失败", "REFRESH_ERROR");
const LOGOUT_FAILED: (&str, &str) = ("登出失败", "LOGOUT_ERROR");

/// Longest wait for other nodes to know of a logout. From then on those that don't know refuse to answer,
/// since it is longer than they may be behind.
const LOGOUT_PATIENCE: Duration = Duration::from_millis(1_500);

/// A pair of tokens and whose it is, as all routes that give one say it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthResult {
    access_token: String,
    refresh_token: String,
    /// Seconds.
    expires_in: u64,
    player: Owner,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TokenOwner)]
struct Owner {
    id: String,
    is_registered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    email: Option<Arc<str>>,
}

impl AuthResult {
    /// Signs what the log has given.
    pub(super) fn of(app: &App, issued: &Issued) -> Self {
        let SignedPair { access, refresh } = app.tokens.sign(issued);
        Self {
            access_token: access,
            refresh_token: refresh,
            expires_in: app.settings.auth.access_lifetime.told_s,
            player: Owner {
                id: issued.player.id.to_string(),
                is_registered: issued.player.is_registered(),
                email: issued.player.email.clone(),
            },
        }
    }
}

/// A refresh token to give for the next pair.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
struct RefreshForm {
    #[schema(min_length = 1)]
    refresh_token: String,
}

/// Exchange a refresh token, which counts once, for the next pair.
// The log decides, so no other check is needed than the signature.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "Tokens",
    params(idempotency::Key),
    request_body(content((RefreshForm = "application/json"), (RefreshForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "The next pair.", body = Success<AuthResult>),
        (
            status = 400, body = ErrorBody<'static>,
            description = "`VALIDATION_ERROR`, `INVALID_IDEMPOTENCY_KEY`, `MALFORMED_BODY`."
        ),
        (status = 401, description = "`REFRESH_TOKEN_INVALID`.", body = ErrorBody<'static>),
        (status = 500, description = "`REFRESH_ERROR`.", body = ErrorBody<'static>),
        answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
)]
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let body = body::fields(&app, request, &["refreshToken"]).await?;
    let text = body.text("refreshToken", "刷新令牌不能为空")?;
    let claims =
        app.tokens.refresh(text, random::wall_ms()).map_err(|_| refresh_token_invalid())?;
    let key = idempotency::key(&headers, KeyScope::Player(claims.player))?;
    let refresh = RefreshTokens {
        player: claims.player,
        token: claims.token,
        remaining_ms: claims.remaining_ms,
        lifetimes: app.settings.auth.lifetimes(),
    };
    let issued = app.records.refresh_tokens(refresh, key).await.map_err(|error| match error {
        RecordsError::Rejected(Rejection::TokenReused) => {
            tracing::warn!(player.id = %claims.player, "a refresh token was used twice");
            refresh_token_invalid()
        }
        RecordsError::Rejected(
            Rejection::PlayerUnknown | Rejection::TokenRevoked | Rejection::RevocationsFull,
        ) => refresh_token_invalid(),
        error => ApiError::proposal(error, REFRESH_FAILED),
    })?;
    Ok(Success::answer(Some("令牌刷新成功"), AuthResult::of(&app, &issued)))
}

fn refresh_token_invalid() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "刷新令牌无效或已过期", "REFRESH_TOKEN_INVALID")
}

#[derive(Serialize, ToSchema)]
struct LoggedOut {
    #[schema(schema_with = answers::always_true)]
    success: bool,
    message: &'static str,
}

/// Give a token up: it and all that belong to it are accepted nowhere once this has answered.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "Tokens",
    params(idempotency::Key),
    responses(
        (status = 200, description = "It counts no more.", body = LoggedOut),
        (status = 400, description = "`INVALID_IDEMPOTENCY_KEY`.", body = ErrorBody<'static>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`.", body = ErrorBody<'static>),
        (status = 500, description = "`LOGOUT_ERROR`.", body = ErrorBody<'static>),
        (status = 507, description = "`REVOCATIONS_FULL`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Limited, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let done = || json(StatusCode::OK, &LoggedOut { success: true, message: "登出成功" });
    let Claims { player, token, remaining_ms, .. } = guard::signed(&app, &headers)?;
    let key = idempotency::key(&headers, KeyScope::Player(player))?;
    let retried = |key| app.cluster.read(|machine, _| machine.answered_key(key).is_some()).value;
    if key.as_ref().is_none_or(|key| !retried(key)) {
        guard::token(&app, &headers).await?;
    }
    let revoke = RevokeToken { token, remaining_ms };
    let committed = app.cluster.propose(revoke, key).await;
    let index = committed.map_err(|error| ApiError::proposal(&error, LOGOUT_FAILED))?.index;
    if let Some(blacklist) = &app.blacklist {
        // Nobody waits for it: it is written again if this fails.
        let blacklist = Arc::clone(blacklist);
        tokio::spawn(async move { blacklist.write(token, remaining_ms).await });
    }
    if !app.cluster.applied_everywhere(index, LOGOUT_PATIENCE).await {
        tracing::debug!(raft.index = index, "some nodes did not say that they know of a logout");
    }
    Ok(done())
}

#[derive(Serialize, ToSchema)]
#[schema(as = VerifiedToken)]
struct Verified {
    #[schema(schema_with = answers::always_true)]
    success: bool,
    #[schema(schema_with = answers::always_true)]
    valid: bool,
    data: TokenData,
}

/// What a token says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenData {
    player_id: String,
    is_registered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    email: Option<String>,
}

/// What the token says, if it counts.
#[utoipa::path(
    get, path = "/api/v1/auth/verify", tag = "Tokens",
    responses(
        (status = 200, description = "It counts.", body = Verified),
        answers::NoToken, answers::Limited, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Claims { player, registered, email, .. } = guard::token(&app, &headers).await?;
    let data = TokenData { player_id: player.to_string(), is_registered: registered, email };
    Ok(json(StatusCode::OK, &Verified { success: true, valid: true, data }))
}
