//! The guard *smart* of contract 1.4: guests are known by their id, registered players by a token.
//!
//! Nobody can hold a token yet, so each one presented is refused as invalid.

use axum::extract::Query;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serverv2_machine::{Player, PlayerId};

use super::body::{Fields, Given};
use super::error::ApiError;
use crate::accounts;
use crate::app::App;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdInQuery {
    player_id: Option<String>,
}

/// The player acted upon, if the caller may act as it.
pub(super) async fn smart(
    app: &App,
    headers: &HeaderMap,
    uri: &Uri,
    body: &Fields,
) -> Result<Player, ApiError> {
    let id = named_player(uri, body)?;
    let player = player(app, &id).await?;
    admit(player, headers)
}

fn admit(player: Player, headers: &HeaderMap) -> Result<Player, ApiError> {
    if !player.is_registered() {
        return Ok(player);
    }
    Err(match bearer(headers) {
        None => ApiError::new(
            StatusCode::UNAUTHORIZED,
            "注册用户需要提供访问令牌",
            "TOKEN_REQUIRED_FOR_REGISTERED_USER",
        ),
        Some(_) => ApiError::new(StatusCode::UNAUTHORIZED, "访问令牌无效或已过期", "TOKEN_INVALID"),
    })
}

/// The account under this text, if it is an id and there is one.
pub(super) async fn player(app: &App, id: &str) -> Result<Player, ApiError> {
    let id: PlayerId = id.parse().map_err(|_| ApiError::player_unknown())?;
    let found = accounts::find(&app.cluster, id).await.map_err(|_| ApiError::unavailable())?;
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
    use serverv2_machine::{NanoId, WallTime};

    use super::*;

    #[test]
    fn a_registered_player_needs_a_token_and_a_guest_does_not() {
        let guest = Player {
            id: PlayerId(NanoId::from_entropy(&[7; 32])),
            name: "Ann".into(),
            created: WallTime(0),
            last_login: WallTime(0),
            email: None,
            email_bound: None,
        };
        let registered = Player { email: Some("a@b.co".into()), ..guest.clone() };
        let required = "TOKEN_REQUIRED_FOR_REGISTERED_USER";
        for (header, code) in [
            (None, required),
            (Some("Bearer"), required),
            (Some("Bearer "), required),
            (Some("Bearer x.y.z"), "TOKEN_INVALID"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
            }
            assert_eq!(admit(guest.clone(), &headers), Ok(guest.clone()));
            let refusal = admit(registered.clone(), &headers).unwrap_err();
            assert_eq!((refusal.status(), refusal.code()), (StatusCode::UNAUTHORIZED, code));
        }
    }
}
