//! The REST API: this file is its table of contents.
//!
//! Every route answers as contract section 1 says, envelope, code and Chinese text included. What
//! changes a game fact is proposed to the log and answered once it is applied here; everything else
//! reads this node's replica. An unknown path, or a known one with another method, is a 404 with
//! `Cannot <METHOD> <path>`. Each handler carries its line of the document at `/api-docs.json`.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::app::App;
use crate::config::Settings;

mod announce;
mod answers;
mod assign;
mod auth;
mod body;
mod cluster;
mod cors;
mod docs;
mod email;
mod error;
#[cfg(test)]
mod fuzz;
mod guard;
mod health;
mod idempotency;
mod metrics;
mod player_row;
mod rate;
mod reports;
mod sessions;
mod starting;
pub(crate) mod time;
mod tokens;

pub use body::BodyBudget;
pub use cluster::{LocalStats, Stats};
pub use rate::RateLimits;
pub use starting::starting_router;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let (routes, described) = described_routes(&app).split_for_parts();
    routes
        .merge(docs::routes(&described))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(app.clone(), guard::look_again))
        .layer(from_fn_with_state(app.clone(), rate::limit))
        .with_state(app)
}

/// The routes and the document of them: each handler carries its own description.
fn described_routes(app: &App) -> OpenApiRouter<Arc<App>> {
    let reports =
        if app.settings.reports.enabled { reports::routes() } else { OpenApiRouter::default() };
    OpenApiRouter::with_openapi(docs::about())
        .routes(routes!(health::health))
        .routes(routes!(health::ready).with_state(app.readiness.clone()))
        .routes(routes!(cluster::status))
        .routes(routes!(assign::assign))
        .routes(routes!(metrics::metrics))
        .routes(routes!(auth::create_guest))
        .routes(routes!(auth::check_player))
        .routes(routes!(auth::update_player_name))
        .routes(routes!(tokens::refresh))
        .routes(routes!(tokens::logout))
        .routes(routes!(tokens::verify))
        .merge(sessions::routes())
        .routes(routes!(email::send_code))
        .routes(routes!(email::verify_code))
        .routes(routes!(email::bind))
        .routes(routes!(email::recover))
        .routes(routes!(email::check_binding))
        .routes(routes!(email::unbind))
        .merge(announce::routes())
        .merge(reports)
}

/// Counts all that is answered behind it, Socket.IO included.
pub fn with_metrics(service: Router, app: &Arc<App>) -> Router {
    service.layer(from_fn_with_state(app.clone(), crate::metrics::measure))
}

/// Puts the CORS rules around everything that is served, Socket.IO included.
pub fn with_cors(service: Router, settings: &Settings) -> Router {
    let origins: cors::Origins = settings.cors_origins.clone().into();
    service.layer(from_fn_with_state(origins, cors::cors))
}

async fn unknown(method: Method, uri: Uri) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("Cannot {method} {}", uri.path()))
}

#[cfg(test)]
mod tests;
