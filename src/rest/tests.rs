//! The routes, asked through everything that is served, with a real one-node cluster beneath.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::app::{App, State, testing};
use crate::run::service;

mod tokens;

const CREATE: &str = "/api/v1/auth/create-guest";
const RENAME: &str = "/api/v1/auth/update-player-name";
const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAA";

/// A node and its routes.
pub(super) struct Node {
    node: testing::Node,
    service: Router,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// All values of a header, in lower case, as one list.
    fn list(&self, name: &str) -> String {
        let all: Vec<_> = self.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
        all.join(", ").to_ascii_lowercase()
    }

    #[track_caller]
    pub(super) fn is(&self, status: u16, message: &str, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.json(), json!({"success": false, "message": message, "code": code}));
    }
}

impl Node {
    pub(super) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(super) async fn with(flags: &[(&'static str, &str)]) -> Self {
        let node = testing::Node::start(flags).await;
        Self { service: service(&node.app), node }
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.node.app
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.service.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn rename(&self, body: &Value) -> Answer {
        self.put_json(RENAME, body.to_string()).await
    }

    async fn put_json(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::put(path).header("content-type", "application/json; charset=utf-8");
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn create(&self, key: Option<&str>) -> Answer {
        let mut request = Request::post(CREATE);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(super) async fn guest(&self) -> String {
        self.create(None).await.json()["data"]["playerId"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_guest_is_made_and_found_again() {
    let node = Node::start().await;
    let made = node.create(None).await;
    assert_eq!(made.status, StatusCode::OK);
    assert_eq!(made.header("content-type"), Some("application/json; charset=utf-8"));
    let made = made.json();
    assert_eq!(made["message"], "游客创建成功");
    assert_eq!(made["data"]["isGuest"], true);
    assert_eq!(made["data"]["message"], "游客模式无需认证，可直接使用所有功能");
    let (id, name) = (&made["data"]["playerId"], &made["data"]["playerName"]);
    assert!(name.as_str().unwrap().starts_with("游客-"));

    let found =
        node.get(&format!("/api/v1/auth/check-player/{}", id.as_str().unwrap())).await.json();
    let created = found["data"]["createdAt"].as_str().unwrap();
    assert_eq!((created.len(), &created[10..11], &created[23..]), (29, "T", "+00:00"));
    let expected = json!({"success": true, "data": {
        "playerId": id, "playerName": name, "isRegistered": false, "requiresAuth": false,
        "email": null, "createdAt": created,
    }});
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_unknown_player_is_not_found_whatever_his_id_looks_like() {
    let node = Node::start().await;
    for id in [NOBODY, "x", "%00", "%E6%B8%B8", "..%2F.."] {
        let answer = node.get(&format!("/api/v1/auth/check-player/{id}")).await;
        answer.is(404, "玩家不存在", "PLAYER_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_name_is_changed_and_checked_in_the_contracts_order() {
    let node = Node::start().await;
    let id = node.guest().await;
    for name in ["Ann", "名", &"名".repeat(30)] {
        let answer = node.rename(&json!({"playerId": id, "name": name})).await;
        let expected = json!({"success": true, "message": "玩家名称更新成功",
            "data": {"playerId": id, "playerName": name}});
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    }
    for (body, status, message, code) in [
        (json!({}), 400, "缺少玩家ID", "PLAYER_ID_MISSING"),
        (json!([{"playerId": id}]), 400, "缺少玩家ID", "PLAYER_ID_MISSING"),
        (json!({"playerId": "", "name": ""}), 400, "缺少玩家ID", "PLAYER_ID_MISSING"),
        (json!({"playerId": null, "name": "x"}), 400, "缺少玩家ID", "PLAYER_ID_MISSING"),
        (json!({"playerId": 5, "name": "x"}), 404, "玩家不存在", "PLAYER_NOT_FOUND"),
        (json!({"playerId": NOBODY, "name": ""}), 404, "玩家不存在", "PLAYER_NOT_FOUND"),
        (json!({"playerId": id}), 400, "Required", "VALIDATION_ERROR"),
        (json!({"playerId": id, "name": ""}), 400, "玩家名称不能为空", "VALIDATION_ERROR"),
        (
            json!({"playerId": id, "name": 5}),
            400,
            "Expected string, received number",
            "VALIDATION_ERROR",
        ),
        (
            json!({"playerId": id, "name": null}),
            400,
            "Expected string, received null",
            "VALIDATION_ERROR",
        ),
        (
            json!({"playerId": id, "name": "x".repeat(31)}),
            400,
            "名称长度不能超过30个字符",
            "VALIDATION_ERROR",
        ),
        // Each counts twice, as in the clients' language.
        (
            json!({"playerId": id, "name": "🐠".repeat(16)}),
            400,
            "名称长度不能超过30个字符",
            "VALIDATION_ERROR",
        ),
    ] {
        node.rename(&body).await.is(status, message, code);
    }
    // The query gets past the guard; the body must still be complete.
    let answer = node.put_json(&format!("{RENAME}?playerId={id}"), "").await;
    answer.is(400, "Required", "VALIDATION_ERROR");
    let answer = node.send(Request::put(RENAME).body(Body::empty()).unwrap()).await;
    answer.is(400, "缺少玩家ID", "PLAYER_ID_MISSING");
}

#[tokio::test]
async fn a_retried_creation_with_the_same_key_gives_the_same_guest() {
    let node = Node::start().await;
    let first = node.create(Some("key-1")).await.json();
    assert_eq!(node.create(Some("key-1")).await.json(), first);
    assert_ne!(node.create(Some("key-2")).await.json(), first);
    for bad in ["", "with space", &"x".repeat(65)] {
        let answer = node.create(Some(bad)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json()["code"], "INVALID_IDEMPOTENCY_KEY");
    }
}

#[tokio::test]
async fn a_malformed_body_is_refused_on_every_route() {
    let node = Node::start().await;
    for body in ["{", "nonsense", "{\"playerId\":}", "5", "\u{0}", &"[".repeat(200_000)] {
        let answer = node.put_json(RENAME, body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let request = Request::post(CREATE).header("content-type", "application/json");
        let answer = node.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_announced_or_not() {
    let node = Node::with(&[("BODY_BYTES_MAX", "2048")]).await;
    let id = node.guest().await;
    let body =
        |padding| json!({"playerId": id, "name": "Ann", "x": "y".repeat(padding)}).to_string();
    assert_eq!(node.put_json(RENAME, body(1_900)).await.status, StatusCode::OK);
    assert_eq!(node.put_json(RENAME, body(2_048)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = futures::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>("z".repeat(1_000))));
    let answer = node.put_json(RENAME, Body::from_stream(chunks)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_unknown_route_is_named_in_the_answer() {
    let node = Node::start().await;
    for (method, path) in [
        (Method::GET, "/nothing"),
        (Method::DELETE, CREATE),
        (Method::POST, "/health"),
        (Method::GET, "/api/v1/auth/check-player"),
    ] {
        let request =
            Request::builder().method(method.clone()).uri(path).body(Body::empty()).unwrap();
        let answer = node.send(request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.text, format!("Cannot {method} {path}"));
    }
}

#[tokio::test]
async fn a_preflight_on_any_path_is_answered_for_allowed_origins() {
    let node = Node::with(&[("CORS_ORIGIN", "https://game.example")]).await;
    for path in [RENAME, "/nothing"] {
        for (origin, allowed) in [("https://game.example", true), ("https://evil.example", false)] {
            let request = Request::options(path)
                .header("origin", origin)
                .header("access-control-request-method", "PUT")
                .header("access-control-request-headers", "content-type, x-thing");
            let answer = node.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
            assert_eq!(answer.header("access-control-allow-origin"), allowed.then_some(origin));
            let methods = "GET,HEAD,PUT,PATCH,POST,DELETE";
            assert_eq!(answer.header("access-control-allow-methods"), Some(methods));
            let wanted = answer.header("access-control-allow-headers");
            assert_eq!(wanted, Some("content-type, x-thing"));
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(answer.list("vary"), "origin, access-control-request-headers");
        }
    }
}

#[tokio::test]
async fn a_foreign_page_is_served_without_being_allowed() {
    let node = Node::start().await;
    for (origin, allowed) in [
        (Some("http://localhost:5173"), true),
        (Some("https://evil.example"), false),
        (None, false),
    ] {
        let mut request = Request::get("/health");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = node.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let shown = answer.header("access-control-allow-origin");
        assert_eq!(shown, origin.filter(|_| allowed));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.list("vary"), "origin");
    }
}

#[tokio::test]
async fn health_and_status_count_the_cluster_of_one() {
    let node = Node::with(&[("CLUSTER_INSTANCE_ID", "app-1")]).await;
    let status = node.get("/cluster/status").await.json();
    assert_eq!((&status["enabled"], &status["instanceId"]), (&json!(true), &json!("app-1")));
    let stats = json!({
        "instances": {"total": 1, "healthy": 1, "unhealthy": 0},
        "players": {"total": 0, "connected": 0, "disconnected": 0},
        "rooms": {"total": 0, "waiting": 0, "active": 0, "ended": 0},
        "matchmaking": {"queueSize": 0, "averageWaitTime": 0},
    });
    assert_eq!(status["stats"], stats);
    assert_eq!(status["raft"]["leader"], 1);

    let health = node.get("/health").await.json();
    assert_eq!(health["status"], "ok");
    assert!(health["uptime"].is_number() && health["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(health["cluster"]["status"], "healthy");
    let details = &health["cluster"]["details"];
    assert_eq!(details["cluster"], stats);
    assert_eq!(details["instance"]["id"], "app-1");
    assert_eq!(details.get("redis"), None);
}

#[tokio::test]
async fn with_cluster_mode_off_the_short_forms_are_given() {
    let node = Node::with(&[("CLUSTER_ENABLED", "false")]).await;
    let status = node.get("/cluster/status").await.json();
    assert_eq!(status, json!({"enabled": false, "message": "Cluster mode is disabled"}));
    assert_eq!(node.get("/health").await.json().get("cluster"), None);
}

#[tokio::test]
async fn ready_follows_the_node_from_start_to_drain() {
    let node = Node::start().await;
    let app = node.app();
    tokio::time::timeout(Duration::from_secs(10), app.readiness.reached(State::Ready))
        .await
        .unwrap();
    let ready = node.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["state"]), (StatusCode::OK, &json!("ready")));
    assert_eq!(ready.header("retry-after"), None);

    app.readiness.set_ready(false);
    let starting = node.get("/ready").await;
    assert_eq!(starting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(starting.header("retry-after"), Some("3"));
    assert_eq!(starting.json()["state"], "starting");

    app.readiness.drain();
    app.readiness.set_ready(true);
    let draining = node.get("/ready").await;
    assert_eq!(draining.status, StatusCode::SERVICE_UNAVAILABLE);
    let body = draining.json();
    assert_eq!((&body["status"], &body["state"]), (&json!("not_ready"), &json!("draining")));
    assert!(body["stateChangedAt"].as_str().unwrap().ends_with('Z'));
}
