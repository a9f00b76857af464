//! The REST API: this file is its table of contents.
//!
//! Every route answers as contract section 1 says, envelope, code and Chinese text included. What
//! changes a game fact is proposed to the log and answered once it is applied here; everything else
//! reads this node's replica. An unknown path, or a known one with another method, is a 404 with
//! `Cannot <METHOD> <path>`.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

use crate::app::{App, LocalReadiness};
use crate::config::Settings;

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
mod time;
mod tokens;

pub use body::BodyBudget;
pub use cluster::{LocalStats, Stats};
pub use rate::RateLimits;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let reports = if app.settings.reports.enabled { reports::routes() } else { Router::new() };
    Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready).with_state(app.readiness.clone()))
        .route("/cluster/status", get(cluster::status))
        .route("/metrics", get(metrics::metrics))
        .route("/asyncapi.json", get(docs::async_api))
        .route("/api/v1/auth/create-guest", post(auth::create_guest))
        .route("/api/v1/auth/check-player/{playerId}", get(auth::check_player))
        .route("/api/v1/auth/update-player-name", put(auth::update_player_name))
        .route("/api/v1/auth/refresh", post(tokens::refresh))
        .route("/api/v1/auth/logout", post(tokens::logout))
        .route("/api/v1/auth/verify", get(tokens::verify))
        .merge(sessions::routes())
        .route("/api/v1/email/send-verification-code", post(email::send_code))
        .route("/api/v1/email/verify-code", post(email::verify_code))
        .route("/api/v1/email/bind", post(email::bind))
        .route("/api/v1/email/recover", post(email::recover))
        .route("/api/v1/email/check-binding", get(email::check_binding))
        .route("/api/v1/email/unbind", post(email::unbind))
        .merge(reports)
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(app.clone(), guard::look_again))
        .layer(from_fn_with_state(app.clone(), rate::limit))
        .with_state(app)
}

/// The routes of a node whose log is still being replayed: everything but its own state has to wait.
pub fn starting_router(readiness: Arc<LocalReadiness>, settings: &Settings) -> Router {
    let health = health::starting(readiness.clone(), settings.cluster_enabled);
    let metrics = metrics::starting(readiness.clone(), settings);
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/ready", get(health::ready).with_state(readiness))
        .fallback(async || error::ApiError::unavailable())
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
