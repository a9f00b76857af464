//! `/api/v1/cluster/assign`: where a new client should connect. An addition of ours.
//!
//! It needs no token, since a new client has none, and says nothing of how full anybody is. Each client may ask
//! `RATE_LIMIT_ASSIGN` times a minute.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answers;
use super::error::{ApiError, ErrorBody, Success};
use crate::app::App;

/// When a client that no instance takes asks again, seconds: nodes say once a second how they are.
const RETRY_SECONDS: u32 = 1;

/// An instance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Assigned {
    instance_id: String,
    /// Its `CLUSTER_INSTANCE_HOST`.
    host: String,
    port: u16,
}

/// Names the best instance for a new client, by connections and processor load. It is a proposal: every other one
/// serves the client as well.
#[utoipa::path(
    get, path = "/api/v1/cluster/assign", operation_id = "assign_instance", tag = "Operation",
    responses(
        (status = 200, description = "This one.", body = Success<Assigned>),
        (
            status = 503, body = ErrorBody<'static>,
            description = "`NO_INSTANCE_AVAILABLE`: none that is known here takes clients now. \
                `CLUSTER_UNAVAILABLE`: the node's log is still being replayed.",
            headers(("Retry-After" = u32, description = "Seconds."))
        ),
        answers::Limited,
    ),
)]
pub(super) async fn assign(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let named = app.balance.assign().ok_or_else(none_available)?;
    let assigned = Assigned { instance_id: named.id, host: named.host, port: named.port };
    Ok(Success::answer(Some("分配实例成功"), assigned))
}

fn none_available() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "暂无可用实例", "NO_INSTANCE_AVAILABLE")
        .repeatable_after(RETRY_SECONDS)
}
