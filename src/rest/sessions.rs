//! `/api/v1/sessions`: who is connected, for the player himself and for admins (contract 1.8).
//!
//! A session is one while it is connected: it never expires here, and an expiry is told only because clients
//! want one. Ending a session is decided in the log, so it ends on whichever node holds its socket.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serverv2_machine::limits::SESSIONS_PER_PLAYER_MAX;
use serverv2_machine::{EndSessions, KeyScope, PlayerId, SessionId, SessionKey, SessionView};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{ApiError, ErrorBody, Success};
use super::{answers, guard, idempotency};
use crate::app::App;
use crate::auth::Claims;
use crate::random;

const REMOVE_FAILED: (&str, &str) = ("删除会话失败", "REMOVE_SESSION_ERROR");
const REMOVE_ALL_FAILED: (&str, &str) = ("删除所有会话失败", "REMOVE_ALL_SESSIONS_ERROR");

/// How long a session would last if its client stayed connected without a sign of life: what the
/// existing server says.
const SESSION_MS: u64 = 24 * 3_600_000;

/// The routes, under the existing server's doubled path and the single one.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let all = OpenApiRouter::default()
        .routes(routes!(stats))
        .routes(routes!(cleanup))
        .routes(routes!(list, remove_all))
        .routes(routes!(remove));
    let mut doubled = all.clone();
    for item in doubled.get_openapi_mut().paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            if let Some(id) = &mut operation.operation_id {
                id.push_str("_doubled");
            }
        }
    }
    OpenApiRouter::default()
        .nest("/api/v1/sessions/sessions", doubled)
        .nest("/api/v1/sessions", all)
}

/// A player's sessions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionList)]
struct Listed {
    player_id: String,
    session_count: usize,
    sessions: Vec<Session>,
}

/// A session, which lasts as long as it is connected. Times are ms since 1970.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Session {
    session_id: String,
    created_at: u64,
    last_accessed: u64,
    expiry: u64,
    instance_id: String,
    is_expired: bool,
    metadata: Metadata,
}

/// Nothing is known of a session that a stranger to it should be told.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionMetadata)]
struct Metadata {}

/// A player's sessions, for itself and for admins.
#[utoipa::path(
    get, path = "/{playerId}", operation_id = "list_sessions", tag = "Sessions",
    params(answers::PlayerInPath),
    responses(
        (status = 200, description = "They are these.", body = Success<Listed>),
        (
            status = 400, description = "`VALIDATION_ERROR`. As text: the path is not UTF-8.",
            content((ErrorBody<'static> = "application/json"), (String = "text/plain"))
        ),
        (status = 403, description = "`INSUFFICIENT_PERMISSIONS`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn list(
    State(app): State<Arc<App>>,
    Path(player): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let player = permitted(&app, &headers, &player).await?;
    let now = random::wall_ms();
    let session = |(SessionKey { session, .. }, view): (SessionKey, SessionView<'_>)| Session {
        session_id: session.to_string(),
        created_at: view.opened.0,
        last_accessed: now,
        expiry: now.saturating_add(SESSION_MS),
        instance_id: instance(&app, view),
        is_expired: false,
        metadata: Metadata {},
    };
    // It may have been opened through another node a moment ago.
    let found = app
        .cluster
        .read_linearizable(|machine, _| {
            machine.sessions_of(player).map(session).collect::<Vec<_>>()
        })
        .await;
    let sessions = found.map_err(|_| ApiError::unavailable())?.value;
    let listed = Listed { player_id: player.to_string(), session_count: sessions.len(), sessions };
    Ok(Success::answer(Some("获取会话列表成功"), listed))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RemovedSession)]
struct Removed {
    player_id: String,
    session_id: String,
}

/// End a session, on whichever node it is.
#[utoipa::path(
    delete, path = "/{playerId}/{sessionId}", operation_id = "remove_session", tag = "Sessions",
    params(answers::PlayerInPath, ("sessionId" = String, Path), idempotency::Key),
    responses(
        (status = 200, description = "It is ended.", body = Success<Removed>),
        (
            status = 400, description = "`VALIDATION_ERROR`, `INVALID_IDEMPOTENCY_KEY`. As text: the path is not UTF-8.",
            content((ErrorBody<'static> = "application/json"), (String = "text/plain"))
        ),
        (status = 403, description = "`INSUFFICIENT_PERMISSIONS`.", body = ErrorBody<'static>),
        (status = 404, description = "`SESSION_NOT_FOUND`, `PLAYER_NOT_FOUND`.", body = ErrorBody<'static>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`.", body = ErrorBody<'static>),
        (status = 500, description = "`REMOVE_SESSION_ERROR`, `CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn remove(
    State(app): State<Arc<App>>,
    Path((player, session)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let player = permitted(&app, &headers, &player).await?;
    let session: SessionId =
        session.parse().map_err(|_| ApiError::validation("会话ID格式不正确"))?;
    let ended = end(&app, &headers, player, Some(session.clone()), REMOVE_FAILED).await?;
    if ended == 0 {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "会话不存在", "SESSION_NOT_FOUND"));
    }
    let data = Removed { player_id: player.to_string(), session_id: session.to_string() };
    Ok(Success::answer(Some("会话删除成功"), data))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RemovedSessions)]
struct RemovedAll {
    player_id: String,
    removed_session_count: u32,
}

/// End all of a player's sessions.
#[utoipa::path(
    delete, path = "/{playerId}", operation_id = "remove_all_sessions", tag = "Sessions",
    params(answers::PlayerInPath, idempotency::Key),
    responses(
        (status = 200, description = "They are ended.", body = Success<RemovedAll>),
        (
            status = 400, description = "`VALIDATION_ERROR`, `INVALID_IDEMPOTENCY_KEY`. As text: the path is not UTF-8.",
            content((ErrorBody<'static> = "application/json"), (String = "text/plain"))
        ),
        (status = 403, description = "`INSUFFICIENT_PERMISSIONS`.", body = ErrorBody<'static>),
        (status = 404, description = "`NO_SESSIONS_FOUND`, `PLAYER_NOT_FOUND`.", body = ErrorBody<'static>),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`.", body = ErrorBody<'static>),
        (status = 500, description = "`REMOVE_ALL_SESSIONS_ERROR`, `CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn remove_all(
    State(app): State<Arc<App>>,
    Path(player): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let player = permitted(&app, &headers, &player).await?;
    let ended = end(&app, &headers, player, None, REMOVE_ALL_FAILED).await?;
    if ended == 0 {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "玩家没有活跃会话", "NO_SESSIONS_FOUND"));
    }
    let data = RemovedAll { player_id: player.to_string(), removed_session_count: ended };
    Ok(Success::answer(Some("所有会话删除成功"), data))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionStats)]
struct Stats {
    total_sessions: usize,
    active_sessions: usize,
    expired_sessions: usize,
    player_count: usize,
    max_sessions_per_player: usize,
    /// Milliseconds.
    session_timeout: u64,
}

/// Counts of all sessions, for admins.
#[utoipa::path(
    get, path = "/stats", operation_id = "session_stats", tag = "Sessions",
    responses(
        (status = 200, description = "The counts.", body = Success<Stats>),
        (status = 403, description = "`ADMIN_REQUIRED`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn stats(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    only_admins(&app, &headers).await?;
    let (sessions, players) = app
        .cluster
        .read(|machine, _| (machine.session_count(), machine.counts().online_players))
        .value;
    let stats = Stats {
        total_sessions: sessions,
        active_sessions: sessions,
        expired_sessions: 0,
        player_count: players,
        max_sessions_per_player: SESSIONS_PER_PLAYER_MAX,
        session_timeout: SESSION_MS,
    };
    Ok(Success::answer(Some("获取会话统计成功"), stats))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CleanedSessions)]
struct Cleaned {
    cleaned_session_count: u32,
}

/// There is never anything to clean up: a session that is not connected is none. For admins.
#[utoipa::path(
    post, path = "/cleanup", operation_id = "clean_up_sessions", tag = "Sessions",
    responses(
        (status = 200, description = "Nothing was to do.", body = Success<Cleaned>),
        (status = 403, description = "`ADMIN_REQUIRED`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn cleanup(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    only_admins(&app, &headers).await?;
    Ok(Success::answer(Some("会话清理完成"), Cleaned { cleaned_session_count: 0 }))
}

async fn end(
    app: &App,
    headers: &HeaderMap,
    player: PlayerId,
    session: Option<SessionId>,
    failed: (&'static str, &'static str),
) -> Result<u32, ApiError> {
    let key = idempotency::key(headers, KeyScope::Player(player))?;
    let grace_ms = app.gateway.settings.grace_ms;
    let ended = app.cluster.propose(EndSessions { player, session, grace_ms }, key).await;
    Ok(ended.map_err(|error| ApiError::proposal(&error, failed))?.reply.sessions)
}

/// The player acted upon, if the caller is it or an admin.
async fn permitted(app: &App, headers: &HeaderMap, player: &str) -> Result<PlayerId, ApiError> {
    let claims = guard::token(app, headers).await?;
    if claims.player.as_str() != player && !is_admin(app, &claims).await? {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "权限不足", "INSUFFICIENT_PERMISSIONS"));
    }
    player.parse().map_err(|_| ApiError::validation("玩家ID格式不正确"))
}

pub(super) async fn only_admins(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let claims = guard::token(app, headers).await?;
    if is_admin(app, &claims).await? {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "权限不足，仅管理员可访问", "ADMIN_REQUIRED"))
}

/// By the address that is bound to the account now: what a token says may be long gone.
async fn is_admin(app: &App, claims: &Claims) -> Result<bool, ApiError> {
    let admins = &app.settings.auth.admin_emails;
    if admins.is_empty() {
        return Ok(false);
    }
    let account = app.records.player(claims.player).await;
    let account = account.map_err(|error| ApiError::looking(&error))?;
    let email = account.and_then(|account| account.email);
    Ok(email.is_some_and(|email| admins.iter().any(|admin| admin.eq_ignore_ascii_case(&email))))
}

/// Other nodes' names are known by their ids alone.
fn instance(app: &App, view: SessionView<'_>) -> String {
    if view.node == app.cluster.node() {
        app.settings.instance_id.clone()
    } else {
        format!("node-{}", view.node.0)
    }
}
