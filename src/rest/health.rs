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
use utoipa::ToSchema;

use super::error::{json, retry_after};
use super::{cluster, time};
use crate::app::{self, App, LocalReadiness};
use crate::redis::Redis;
use crate::redis::mirror::Mirror;

/// When a client that was told "not ready" asks again, seconds.
const READY_RETRY_SECONDS: u32 = 3;

/// How the process is.
#[derive(Serialize, ToSchema)]
struct Health<'a> {
    /// `ok`.
    status: &'static str,
    timestamp: String,
    /// Seconds.
    uptime: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cluster: Option<ClusterHealth<'a>>,
}

/// How its cluster is; missing outside of cluster mode.
#[derive(Serialize, ToSchema)]
struct ClusterHealth<'a> {
    #[schema(pattern = "^(healthy|degraded|unhealthy)$")]
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    details: Option<HealthDetails<'a>>,
}

/// What it knows of itself.
#[derive(Serialize, ToSchema)]
struct HealthDetails<'a> {
    /// Where a Redis is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    redis: Option<RedisHealth>,
    cluster: cluster::Stats,
    instance: InstanceAddress<'a>,
    raft: cluster::RaftStatus,
    /// Where a database keeps the players.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    database: Option<DatabaseHealth>,
}

/// The Redis in which other services see this cluster.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RedisHealth {
    reachable: bool,
    /// False: it answers, and refuses what is to be written (its memory is full, for instance).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    takes_writes: Option<bool>,
    /// Milliseconds; what follows is missing while it is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    response_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connected_clients: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    used_memory: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    uptime: Option<u64>,
    /// At the node that writes the mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    mirror: Option<MirrorHealth>,
}

/// How far the copy of rooms, queue and connections is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MirrorHealth {
    /// Index of the log.
    applied: u64,
    lag_entries: u64,
}

impl RedisHealth {
    fn of(redis: &Redis, mirror: Option<&Mirror>) -> Self {
        let writing = mirror.map(Mirror::reading).filter(|(writes, _)| *writes);
        let mirror = writing.map(|(_, mirror)| MirrorHealth {
            applied: mirror.applied,
            lag_entries: mirror.lag_entries,
        });
        let info = redis.info();
        let told = info.as_ref();
        let reachable = redis.presence().up;
        Self {
            reachable,
            takes_writes: reachable.then(|| redis.takes_writes()),
            response_time: told.map(|info| info.response.as_micros() as f64 / 1_000.0),
            connected_clients: told.map(|info| info.connected_clients),
            used_memory: told.map(|info| info.used_memory.clone()),
            uptime: told.map(|info| info.uptime_s),
            mirror,
        }
    }
}

/// The database that keeps players and reports.
#[derive(Serialize, ToSchema)]
struct DatabaseHealth {
    /// Whether it has answered the last question of this node.
    reachable: bool,
}

/// Where this process is reached.
#[derive(Serialize, ToSchema)]
struct InstanceAddress<'a> {
    id: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> Health<'a> {
    fn answer(readiness: &LocalReadiness, cluster: Option<ClusterHealth<'a>>) -> Response {
        let timestamp = time::zulu(time::wall(SystemTime::now()));
        let health = Self { status: "ok", timestamp, uptime: uptime(readiness), cluster };
        json(StatusCode::OK, &health)
    }
}

/// Whether the process lives: always 200 while it does.
#[utoipa::path(
    get, path = "/health", tag = "Operation",
    responses((status = 200, description = "It lives.", body = Health<'static>)),
)]
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
        let error = Some("Cluster manager not available");
        let missing = ClusterHealth { status: "unhealthy", error, details: None };
        std::future::ready(Health::answer(&readiness, cluster_enabled.then_some(missing)))
    }
}

fn cluster_health(app: &App) -> ClusterHealth<'_> {
    let raft = cluster::RaftStatus::of(app);
    let redis = app.redis.as_ref().map(|redis| RedisHealth::of(redis, app.mirror.as_deref()));
    let status = match &redis {
        _ if !raft.ready => "unhealthy",
        // The game goes on; what others see of it does not.
        Some(
            RedisHealth { reachable: false, .. } | RedisHealth { takes_writes: Some(false), .. },
        ) => "degraded",
        _ => "healthy",
    };
    let settings = &app.settings;
    let instance = InstanceAddress {
        id: &settings.instance_id,
        host: &settings.instance_host,
        port: settings.port,
    };
    let database = app.reports.database.as_ref();
    let database = database.map(|database| DatabaseHealth { reachable: !database.is_away() });
    let details = HealthDetails { redis, cluster: app.stats.now(app), instance, raft, database };
    ClusterHealth { status, error: None, details: Some(details) }
}

/// Whether traffic should come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Ready {
    #[schema(pattern = "^(ok|not_ready)$")]
    status: &'static str,
    #[schema(pattern = "^(ready|starting|draining|removed)$")]
    state: &'static str,
    timestamp: String,
    /// Seconds.
    uptime: f64,
    state_changed_at: String,
}

/// Whether traffic should come.
#[utoipa::path(
    get, path = "/ready", tag = "Operation",
    responses(
        (status = 200, description = "It should.", body = Ready),
        (
            status = 503, description = "Not now: the node starts or goes down, or was removed from its cluster.", body = Ready,
            headers(("Retry-After" = u32, description = "Seconds."))
        ),
    ),
)]
pub(super) async fn ready(State(readiness): State<Arc<LocalReadiness>>) -> Response {
    let (state, since) = readiness.now();
    let (code, status) = match state {
        app::State::Ready => (StatusCode::OK, "ok"),
        app::State::Starting | app::State::Draining | app::State::Removed => {
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
        }
    };
    let ready = Ready {
        status,
        state: state.name(),
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
