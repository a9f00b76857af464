//! Battle reports and players for everybody (contract 1.9): no token, no limit of requests, nothing
//! private. Where reports are switched off, none of these routes exists.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, iter};
use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answers;
use super::error::{JSON_UTF8, json};
use super::player_row::PlayerRow;
use crate::app::App;
use crate::random;
use crate::records::RecordsError;
use crate::reports::Reports;

mod query;
mod rows;
#[cfg(test)]
mod tests;

use query::{Limits, Query};
use rows::{BattleRecord, FoundRow, Paged, PlayerBattle, StatisticsRow, StatsRow};

const MS_PER_DAY: u64 = 86_400_000;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(battles))
        .routes(routes!(battle))
        .routes(routes!(search))
        .routes(routes!(player))
        .routes(routes!(battles_of))
        .routes(routes!(stats))
        .routes(routes!(statistics))
}

/// Which part of a list. What does not begin with a number counts as absent.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand")]
struct PageParams {
    #[param(nullable = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    #[param(nullable = false, default = 0)]
    offset: Option<u64>,
}

/// Whom to look for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand")]
struct SearchParams {
    /// Part of a name, in whatever case.
    #[param(min_length = 1)]
    search: String,
    #[param(nullable = false, minimum = 1, maximum = 50, default = 20)]
    limit: Option<u32>,
}

/// What a refusal looks like here.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportRefusal)]
struct RefusedBody<'a> {
    error: &'static str,
    message: &'a str,
    /// `DATABASE_UNAVAILABLE`, `DATABASE_ERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
}

#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes `unknown`")]
enum CannotSay {
    /// Nobody can say now; a node that starts says `CLUSTER_UNAVAILABLE`.
    #[response(status = 503, headers(("Retry-After" = u32, description = "Seconds.")))]
    Now(#[to_schema] Unavailable),
    /// The database refuses.
    #[response(status = 500)]
    Ever(#[to_schema] RefusedBody<'static>),
}

/// Nobody can say now.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what two places say")]
enum Unavailable {
    Asked(RefusedBody<'static>),
    Starting(super::error::ErrorBody<'static>),
}

fn reports(app: &App) -> &dyn Reports {
    &*app.reports.kept
}

/// An answer that is no success.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    error: &'static str,
    message: String,
    code: Option<&'static str>,
}

fn refused(status: StatusCode, error: &'static str, message: impl Into<String>) -> Refused {
    Refused { status, error, message: message.into(), code: None }
}

/// Why nobody can say. Errors of a database have codes.
fn unknown(error: &RecordsError) -> Refused {
    const DATABASE_ERROR: &str = "Database error";
    match error {
        RecordsError::NoDatabase => {
            let text = "The database can't be reached now, try again";
            let refused = refused(StatusCode::SERVICE_UNAVAILABLE, DATABASE_ERROR, text);
            Refused { code: Some("DATABASE_UNAVAILABLE"), ..refused }
        }
        RecordsError::Failed => {
            let text = "The database refuses, and this server's log says why";
            let refused = refused(StatusCode::INTERNAL_SERVER_ERROR, DATABASE_ERROR, text);
            Refused { code: Some("DATABASE_ERROR"), ..refused }
        }
        RecordsError::NoCluster | RecordsError::TooLarge | RecordsError::Rejected(_) => {
            let text = "The cluster can't say now, try again";
            refused(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", text)
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = RefusedBody { error: self.error, message: &self.message, code: self.code };
        let mut response = json(self.status, &body);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Whole records of battles, the newest first.
#[utoipa::path(
    get, path = "/api/v1/battles", operation_id = "list_battles", tag = "Battle reports",
    params(PageParams),
    responses(
        (status = 200, description = "They are these.", body = Paged<BattleRecord<'static>>),
        (status = 400, description = "`limit` or `offset` is out of range.", body = RefusedBody<'static>),
        CannotSay,
    ),
)]
// They are read and sent one by one: a page of them may be large.
async fn battles(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refused> {
    let Limits { limit, offset } = Query::of(&uri).page()?;
    let page = reports(&app).page(offset, limit).await.map_err(|error| unknown(&error))?;
    let end = Paged::<()>::end(page.total, limit, offset);
    let records = iter(page.rows).enumerate().then(move |(at, report)| {
        let app = app.clone();
        async move {
            // The answer has begun: who can't go on with it cuts it.
            let (report, body) = reports(&app).whole(report).await?;
            let mut text = if at == 0 { Vec::new() } else { vec![b','] };
            // Into memory, and of texts and numbers only: it can't fail.
            let _ = serde_json::to_writer(&mut text, &BattleRecord::of(&report, body.as_ref()));
            Ok::<_, RecordsError>(Bytes::from(text))
        }
    });
    let whole = stream::once(async { Ok(Bytes::from_static(b"{\"data\":[")) })
        .chain(records)
        .chain(stream::once(async { Ok(Bytes::from(end)) }));
    let mut response = Response::new(Body::from_stream(whole));
    response.headers_mut().insert(CONTENT_TYPE, JSON_UTF8);
    Ok(response)
}

/// The record of one battle.
#[utoipa::path(
    get, path = "/api/v1/battles/{id}", operation_id = "battle_record", tag = "Battle reports",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is this.", body = BattleRecord<'static>),
        (status = 400, description = "The path is not UTF-8.", body = String),
        (status = 404, description = "There is none.", body = RefusedBody<'static>),
        CannotSay,
    ),
)]
async fn battle(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let found = reports(&app).find(&id).await.map_err(|error| unknown(&error))?;
    let report = found.ok_or_else(|| {
        let text = format!("Battle record with ID {id} does not exist");
        refused(StatusCode::NOT_FOUND, "Battle record not found", text)
    })?;
    let (report, body) = reports(&app).whole(report).await.map_err(|error| unknown(&error))?;
    Ok(json(StatusCode::OK, &BattleRecord::of(&report, body.as_ref())))
}

/// A player's battles, the newest first.
#[utoipa::path(
    get, path = "/api/v1/players/{playerId}/battles", operation_id = "list_battles_of_player", tag = "Battle reports",
    params(answers::PlayerInPath, PageParams),
    responses(
        (status = 200, description = "They are these.", body = Paged<PlayerBattle<'static>>),
        (
            status = 400, description = "`limit` or `offset` is out of range. As text: the path is not UTF-8.",
            content((RefusedBody<'static> = "application/json"), (String = "text/plain"))
        ),
        CannotSay,
    ),
)]
async fn battles_of(
    State(app): State<Arc<App>>,
    Path(player): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    let Limits { limit, offset } = Query::of(&uri).page()?;
    let page =
        reports(&app).page_of(&player, offset, limit).await.map_err(|error| unknown(&error))?;
    let data = page.rows.iter().map(PlayerBattle::of).collect();
    Ok(json(StatusCode::OK, &Paged::new(data, page.total, limit, offset)))
}

/// What everybody may know of a player.
#[utoipa::path(
    get, path = "/api/v1/players/{playerId}", operation_id = "player_row", tag = "Battle reports",
    params(answers::PlayerInPath),
    responses(
        (status = 200, description = "It is this.", body = PlayerRow<'static>),
        (status = 400, description = "The path is not UTF-8.", body = String),
        (status = 404, description = "There is no such player.", body = RefusedBody<'static>),
        CannotSay,
    ),
)]
async fn player(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let found = match id.parse() {
        Ok(id) => app.records.player(id).await.map_err(|error| unknown(&error))?,
        Err(_) => None,
    };
    let player = found.ok_or_else(|| {
        let text = format!("Player with ID {id} does not exist");
        refused(StatusCode::NOT_FOUND, "Player not found", text)
    })?;
    Ok(json(StatusCode::OK, &PlayerRow::for_everybody(&player)))
}

/// What a player's battles came to.
#[utoipa::path(
    get, path = "/api/v1/players/{playerId}/stats", operation_id = "player_stats", tag = "Battle reports",
    params(answers::PlayerInPath),
    responses(
        (status = 200, description = "They came to this.", body = StatsRow<'static>),
        (status = 400, description = "The path is not UTF-8.", body = String),
        (status = 404, description = "No battle of this player has ended.", body = RefusedBody<'static>),
        CannotSay,
    ),
)]
async fn stats(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let found = reports(&app).stats(&id).await.map_err(|error| unknown(&error))?;
    let stats = found.ok_or_else(|| {
        let text = format!("Stats for player {id} do not exist");
        refused(StatusCode::NOT_FOUND, "Player stats not found", text)
    })?;
    Ok(json(StatusCode::OK, &StatsRow::of(&id, &stats)))
}

/// Players who were found.
#[derive(Serialize, ToSchema)]
struct FoundPlayers<'a> {
    data: Vec<FoundRow<'a>>,
}

/// Players by a part of their names.
#[utoipa::path(
    get, path = "/api/v1/players", operation_id = "search_players", tag = "Battle reports",
    params(SearchParams),
    responses(
        (status = 200, description = "They are these.", body = FoundPlayers<'static>),
        (status = 400, description = "`search` is missing, or `limit` out of range.", body = RefusedBody<'static>),
        CannotSay,
    ),
)]
async fn search(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refused> {
    let query = Query::of(&uri);
    let term = query.search()?;
    let limit = query.search_limit()?;
    let found = reports(&app).search(term, limit).await.map_err(|error| unknown(&error))?;
    Ok(json(StatusCode::OK, &FoundPlayers { data: found.iter().map(FoundRow::of).collect() }))
}

/// Counts of ended battles.
#[utoipa::path(
    get, path = "/api/v1/statistics", operation_id = "battle_statistics", tag = "Battle reports",
    responses(
        (status = 200, description = "The counts.", body = StatisticsRow),
        CannotSay,
    ),
)]
async fn statistics(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let today = u32::try_from(random::wall_ms() / MS_PER_DAY).unwrap_or(u32::MAX);
    let statistics = reports(&app).statistics(today).await.map_err(|error| unknown(&error))?;
    Ok(json(StatusCode::OK, &StatisticsRow::of(&statistics)))
}
