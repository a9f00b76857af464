//! What a node answers whose log is still being replayed: some of the routes, at the same paths.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::{error, health, metrics};
use crate::app::LocalReadiness;
use crate::config::Settings;

/// Everything but the node's own state has to wait.
pub fn starting_router(readiness: Arc<LocalReadiness>, settings: &Settings) -> Router {
    let health = health::starting(readiness.clone(), settings.cluster_enabled);
    let metrics = metrics::starting(readiness.clone(), settings);
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/ready", get(health::ready).with_state(readiness))
        .fallback(async || error::ApiError::unavailable())
}
