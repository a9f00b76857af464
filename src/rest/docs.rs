//! The documents of the interface, made once from what serves it: they can't say anything else.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::gateway::asyncapi;

static ASYNC_API: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());

/// `GET /asyncapi.json`: the Socket.IO events.
pub(super) async fn async_api() -> Response {
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], ASYNC_API.as_str()).into_response()
}
