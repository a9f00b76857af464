//! What can be asked over the control socket; this file is its table of contents.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serverv2_raft::{Change, Changed, MembersView};
use tokio_util::sync::CancellationToken;

use super::lifecycle;
use super::refusal::Refusal;
use crate::app::{self, App};

/// What the routes work on.
#[derive(Clone)]
struct Operated {
    app: Arc<App>,
    /// Makes the process drain and end; further times change nothing.
    drain: CancellationToken,
}

/// The routes of a serving node; `drain` is cancelled when it is asked to stop.
pub(crate) fn router(app: Arc<App>, drain: CancellationToken) -> Router {
    let life = Router::new()
        .route("/v1/backup", get(lifecycle::backup))
        .route("/v1/levels", get(lifecycle::levels))
        .route("/v1/upgrade", post(lifecycle::upgrade))
        .route("/v1/packs/activate", post(lifecycle::activate))
        .with_state(app.clone());
    Router::new()
        .route("/v1/node", get(node))
        .route("/v1/drain", post(drain_node))
        .route("/v1/cluster", get(members))
        .route("/v1/cluster/change", post(change))
        .with_state(Operated { app, drain })
        .merge(life)
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
}

/// How this node is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeState {
    pub(crate) node: u64,
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// As at `/ready`.
    pub(crate) state: String,
    pub(crate) leader: Option<u64>,
    /// Players' connections.
    pub(crate) sockets: usize,
}

async fn node(State(of): State<Operated>) -> Json<NodeState> {
    Json(look(&of.app))
}

fn look(app: &App) -> NodeState {
    NodeState {
        node: app.settings.node_id,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: app.readiness.now().0.name().to_owned(),
        leader: app.cluster.status().leader.map(|node| node.0),
        sockets: app.gateway.socket_count(),
    }
}

/// Begins what SIGTERM begins, once.
async fn drain_node(State(of): State<Operated>) -> Json<NodeState> {
    if !of.drain.is_cancelled() {
        tracing::info!("asked to drain");
        of.drain.cancel();
        // What the answer says has happened, then.
        of.app.readiness.reached(app::State::Draining).await;
    }
    Json(look(&of.app))
}

async fn members(State(of): State<Operated>) -> Json<MembersView> {
    Json(of.app.cluster.members().await)
}

/// A change of the membership, and how long to wait for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeOrder {
    pub(crate) change: Change,
    pub(crate) timeout_ms: u64,
}

async fn change(
    State(of): State<Operated>,
    order: Result<Json<ChangeOrder>, JsonRejection>,
) -> Result<Json<Changed>, Refusal> {
    let Json(order) = order.map_err(|why| Refusal::new("VALIDATION_ERROR", why.body_text()))?;
    let patience = Duration::from_millis(order.timeout_ms);
    Ok(Json(of.app.cluster.change(order.change, patience).await?))
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let text =
        format!("{method} {} is nothing that this version of the server can be asked", uri.path());
    (StatusCode::NOT_FOUND, Json(Refusal::new("UNKNOWN_COMMAND", text))).into_response()
}
