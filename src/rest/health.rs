//! `/health` and `/ready` (contract 1.3 and 1.11).
//!
//! `/health` says how the process is and is always 200 while it lives: container checks look at
//! nothing else. `/ready` says whether traffic should come: load balancers and newer clients ask it.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::{json, retry_after};
use super::{cluster, time};
use crate::app::{self, App, LocalReadiness};

/// When a client that was told "not ready" asks again, seconds.
const READY_RETRY_SECONDS: u32 = 3;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: String,
    uptime: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Value>,
}

impl Health {
    fn answer(readiness: &LocalReadiness, cluster: Option<Value>) -> Response {
        let timestamp = time::zulu(time::wall(SystemTime::now()));
        let health = Self { status: "ok", timestamp, uptime: uptime(readiness), cluster };
        json(StatusCode::OK, &health)
    }
}

/// `GET /health`.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let cluster = app.settings.cluster_enabled.then(|| cluster_health(&app));
    Health::answer(&app.readiness, cluster)
}

/// `GET /health` of a node whose log is still being replayed.
pub(super) fn starting(
    readiness: Arc<LocalReadiness>,
    cluster_enabled: bool,
) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move || {
        let missing = json!({"status": "unhealthy", "error": "Cluster manager not available"});
        std::future::ready(Health::answer(&readiness, cluster_enabled.then_some(missing)))
    }
}

/// No Redis is configured, so nothing is said of one.
fn cluster_health(app: &App) -> Value {
    let raft = cluster::RaftStatus::of(app);
    let status = if raft.ready { "healthy" } else { "unhealthy" };
    let settings = &app.settings;
    let mut details = json!({
        "cluster": app.stats.now(app),
        "instance": {
            "id": settings.instance_id, "host": settings.instance_host, "port": settings.port,
        },
        "raft": raft,
    });
    if let Some(database) = &app.reports.database {
        details["database"] = json!({"reachable": !database.is_away()});
    }
    json!({"status": status, "details": details})
}

/// `GET /ready`.
pub(super) async fn ready(State(readiness): State<Arc<LocalReadiness>>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Ready {
        status: &'static str,
        state: &'static str,
        timestamp: String,
        uptime: f64,
        state_changed_at: String,
    }
    let (state, since) = readiness.now();
    let (code, status, state) = match state {
        app::State::Ready => (StatusCode::OK, "ok", "ready"),
        app::State::Starting => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", "starting"),
        app::State::Draining => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", "draining"),
    };
    let ready = Ready {
        status,
        state,
        timestamp: time::zulu(time::wall(SystemTime::now())),
        uptime: uptime(&readiness),
        state_changed_at: time::zulu(time::wall(since)),
    };
    let mut response = json(code, &ready);
    if code != StatusCode::OK {
        retry_after(&mut response, READY_RETRY_SECONDS);
    }
    response
}

/// Seconds, to the millisecond.
fn uptime(readiness: &LocalReadiness) -> f64 {
    readiness.uptime().as_millis() as f64 / 1000.0
}
