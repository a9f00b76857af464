//! The guards of contract 1.4: who may act as whom, and the exact words for who may not.
//!
//! A guest is known by his id unless the settings want a token of him too; a registered player is known by
//! a token. Where this node can't be sure that a token still counts, it says so (503).

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serverv2_machine::{Player, PlayerId};

use super::body::{Fields, Given};
use super::error::ApiError;
use crate::app::App;
use crate::auth::{self, Claims, Refused};
use crate::random;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdInQuery {
    player_id: Option<String>,
}

/// Guard *smart*: the player acted upon, if the caller may act as it.
pub(super) async fn smart(
    app: &App,
    headers: &HeaderMap,
    uri: &Uri,
    body: &Fields,
) -> Result<Player, ApiError> {
    let id = named_player(uri, body)?;
    let player = player(app, &id).await?;
    if !player.is_registered() && !app.settings.auth.guests_need_tokens {
        return Ok(player);
    }
    let text = bearer(headers).ok_or_else(token_required)?;
    if accepted(app, text).await?.player == player.id {
        return Ok(player);
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "令牌与请求的玩家ID不匹配",
        "PLAYER_ID_TOKEN_MISMATCH",
    ))
}

/// Guard *registered*, after *smart*: a registered player has shown his token there.
pub(super) fn registered(player: &Player) -> Result<(), ApiError> {
    if player.is_registered() {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "此功能仅限注册用户使用", "REGISTERED_USER_REQUIRED"))
}

/// Guards *token* and *session token*: what the caller's token says, if it counts.
pub(super) async fn token(app: &App, headers: &HeaderMap) -> Result<Claims, ApiError> {
    accepted(app, bearer(headers).ok_or_else(token_missing)?).await
}

/// What the caller's token says, whether it is revoked or not.
pub(super) fn signed(app: &App, headers: &HeaderMap) -> Result<Claims, ApiError> {
    let text = bearer(headers).ok_or_else(token_missing)?;
    app.tokens.access(text, random::wall_ms()).map_err(|_| token_invalid())
}

async fn accepted(app: &App, text: &str) -> Result<Claims, ApiError> {
    let blacklist = app.blacklist.as_deref();
    let accepted = auth::accept_shared(&app.tokens, &app.cluster, blacklist, text).await;
    accepted.map_err(|refused| match refused {
        Refused::Invalid | Refused::Revoked => token_invalid(),
        Refused::Unsure => ApiError::unavailable(),
    })
}

/// Looks again just before an answer goes out to a caller with a token: this process may have been
/// paused since the guard let him in, and the token revoked meanwhile.
pub(super) async fn look_again(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let with_token =
        request.uri().path().starts_with("/api/") && request.headers().contains_key(AUTHORIZATION);
    let response = next.run(request).await;
    if with_token && response.status().is_success() && !auth::is_sure(&app.cluster) {
        return ApiError::unavailable().into_response();
    }
    response
}

/// A registered player must show a token.
pub(super) fn token_required() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "注册用户需要提供访问令牌",
        "TOKEN_REQUIRED_FOR_REGISTERED_USER",
    )
}

fn token_missing() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "访问令牌缺失", "TOKEN_MISSING")
}

fn token_invalid() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "访问令牌无效或已过期", "TOKEN_INVALID")
}

/// The account under this text, if it is an id and there is one.
pub(super) async fn player(app: &App, id: &str) -> Result<Player, ApiError> {
    let id: PlayerId = id.parse().map_err(|_| ApiError::player_unknown())?;
    let found = app.records.player(id).await.map_err(|error| ApiError::looking(&error))?;
    found.ok_or_else(ApiError::player_unknown)
}

/// From the body, else from the query; what JavaScript takes for false counts as not given.
fn named_player(uri: &Uri, body: &Fields) -> Result<String, ApiError> {
    match body.get("playerId") {
        Given::Text(id) if !id.is_empty() => return Ok(id.clone()),
        Given::Other(_, true) => return Err(ApiError::player_unknown()),
        Given::Text(_) | Given::Other(_, false) | Given::Absent => {}
    }
    Query::<IdInQuery>::try_from_uri(uri)
        .ok()
        .and_then(|Query(query)| query.player_id)
        .filter(|id| !id.is_empty())
        .ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "缺少玩家ID", "PLAYER_ID_MISSING"))
}

/// Whatever follows the first space, as the existing server takes it.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.split(' ').nth(1).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_what_follows_the_first_space() {
        for (header, token) in [
            ("Bearer x.y.z", Some("x.y.z")),
            ("whatever x.y.z", Some("x.y.z")),
            ("Bearer x y", Some("x")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer  x", None),
            ("x.y.z", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
            assert_eq!(bearer(&headers), token, "{header}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
