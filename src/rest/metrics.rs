//! `/metrics` (contract 1.3): what [`crate::metrics`] has to say, in cluster mode and out of it.

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::app::{App, LocalReadiness};
use crate::config::Settings;
use crate::metrics::starting_page;

/// As the existing server says it; Prometheus takes it for its text format 0.0.4, which it is.
const TEXT: &str = "text/plain; charset=utf-8";

/// What Prometheus scrapes: its text format 0.0.4.
#[utoipa::path(
    get, path = "/metrics", tag = "Operation",
    responses(
        (status = 200, description = "The metrics.", body = String),
        (status = 500, description = "They can't be written.", body = String),
    ),
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    answer(app.metrics.page(&app))
}

/// `GET /metrics` of a node whose log is still being replayed.
pub(super) fn starting(
    readiness: Arc<LocalReadiness>,
    settings: &Settings,
) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let settings = Arc::new(settings.clone());
    move || std::future::ready(answer(starting_page(&readiness, &settings)))
}

fn answer(page: Result<Bytes, fmt::Error>) -> Response {
    let (status, body) = match page {
        Ok(page) => (StatusCode::OK, page),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Error retrieving metrics".into()),
    };
    (status, [(CONTENT_TYPE, TEXT)], body).into_response()
}
