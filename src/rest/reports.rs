//! Battle reports and players for everybody (contract 1.9): no token, no limit of requests, nothing
//! private. Where reports are switched off, none of these routes exists.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use futures::stream::{self, iter};
use serde::Serialize;

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
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/battles", get(battles))
        .route("/api/v1/battles/{id}", get(battle))
        .route("/api/v1/players", get(search))
        .route("/api/v1/players/{playerId}", get(player))
        .route("/api/v1/players/{playerId}/battles", get(battles_of))
        .route("/api/v1/players/{playerId}/stats", get(stats))
        .route("/api/v1/statistics", get(statistics))
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
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'static str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<&'static str>,
        }
        let body = Body { error: self.error, message: &self.message, code: self.code };
        let mut response = json(self.status, &body);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// `GET /battles`: whole records. They are read and sent one by one: a page of them may be large.
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

/// `GET /battles/{id}`.
async fn battle(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let found = reports(&app).find(&id).await.map_err(|error| unknown(&error))?;
    let report = found.ok_or_else(|| {
        let text = format!("Battle record with ID {id} does not exist");
        refused(StatusCode::NOT_FOUND, "Battle record not found", text)
    })?;
    let (report, body) = reports(&app).whole(report).await.map_err(|error| unknown(&error))?;
    Ok(json(StatusCode::OK, &BattleRecord::of(&report, body.as_ref())))
}

/// `GET /players/{playerId}/battles`.
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

/// `GET /players/{playerId}`: what everybody may know.
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

/// `GET /players/{playerId}/stats`.
async fn stats(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let found = reports(&app).stats(&id).await.map_err(|error| unknown(&error))?;
    let stats = found.ok_or_else(|| {
        let text = format!("Stats for player {id} do not exist");
        refused(StatusCode::NOT_FOUND, "Player stats not found", text)
    })?;
    Ok(json(StatusCode::OK, &StatsRow::of(&id, &stats)))
}

/// `GET /players?search=…`.
async fn search(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refused> {
    #[derive(Serialize)]
    struct Data<'a> {
        data: Vec<FoundRow<'a>>,
    }
    let query = Query::of(&uri);
    let term = query.search()?;
    let limit = query.search_limit()?;
    let found = reports(&app).search(term, limit).await.map_err(|error| unknown(&error))?;
    Ok(json(StatusCode::OK, &Data { data: found.iter().map(FoundRow::of).collect() }))
}

/// `GET /statistics`.
async fn statistics(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let today = u32::try_from(random::wall_ms() / MS_PER_DAY).unwrap_or(u32::MAX);
    let statistics = reports(&app).statistics(today).await.map_err(|error| unknown(&error))?;
    Ok(json(StatusCode::OK, &StatisticsRow::of(&statistics)))
}
