//! REST as clients use it: guests, names, CORS, and what comes back for nonsense (contract 1).

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Http, Server, guest};
use crate::kept::{Kept, wherever_players_are_kept};

const CREATE: &str = "/api/v1/auth/create-guest";
const CHECK: &str = "/api/v1/auth/check-player/";
const RENAME: &str = "/api/v1/auth/update-player-name";
const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAA";

fn is_nano_id(text: &str) -> bool {
    text.len() == 21 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

wherever_players_are_kept! {
    a_guest_is_made_without_asking_anything
    a_guest_can_be_looked_up_and_nobody_else
    a_new_name_is_stored_and_shown
    a_bad_rename_says_which_rule_it_breaks
}

async fn a_guest_is_made_without_asking_anything(kept: Kept) {
    let server = kept.start().await;
    let answer = Http::post(&server, CREATE).send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    let body = answer.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["message"], "游客创建成功");
    let data = &body["data"];
    assert!(is_nano_id(data["playerId"].as_str().unwrap()), "{data}");
    let moment = data["playerName"]
        .as_str()
        .unwrap()
        .strip_prefix("游客-")
        .expect("a guest's name begins so");
    assert!(
        !moment.is_empty() && moment.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
        "{data}"
    );
    assert_eq!(data["isGuest"], true);
    assert_eq!(data["message"], "游客模式无需认证，可直接使用所有功能");
    assert_ne!(guest(&server).await, guest(&server).await, "each guest is another one");
}

async fn a_guest_can_be_looked_up_and_nobody_else(kept: Kept) {
    let server = kept.start().await;
    let made = Http::post(&server, CREATE).send().await.json()["data"].clone();
    let id = made["playerId"].as_str().unwrap();
    let answer = Http::get(&server, &format!("{CHECK}{id}")).send().await;
    assert_eq!(answer.status, StatusCode::OK);
    let body = answer.json();
    let data = &body["data"];
    assert_eq!(
        (&body["success"], &data["playerId"], &data["playerName"]),
        (&json!(true), &made["playerId"], &made["playerName"])
    );
    assert_eq!((&data["isRegistered"], &data["requiresAuth"]), (&json!(false), &json!(false)));
    assert_eq!(data.get("email"), Some(&Value::Null), "a guest's e-mail is null, not missing");
    assert!(data["createdAt"].as_str().unwrap().contains('T'), "{data}");

    let answer = Http::get(&server, &format!("{CHECK}{NOBODY}")).send().await;
    answer.assert_error(404, "PLAYER_NOT_FOUND", Some("玩家不存在"));
    for odd in ["x", "%00", "%E6%B8%B8", "..%2F..%2Fetc", &"z".repeat(3000)] {
        Http::get(&server, &format!("{CHECK}{odd}")).send().await.assert_error(
            404,
            "PLAYER_NOT_FOUND",
            None,
        );
    }
}

async fn a_new_name_is_stored_and_shown(kept: Kept) {
    let server = kept.start().await;
    let id = guest(&server).await;
    for name in ["Ann", "名", &"名".repeat(30), " spaced ", "<b>&\"'"] {
        let answer =
            Http::put(&server, RENAME).json(&json!({"playerId": id, "name": name})).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let wanted = json!({"success": true, "message": "玩家名称更新成功", "data": {"playerId": id, "playerName": name}});
        assert_eq!(answer.json(), wanted);
        let shown = Http::get(&server, &format!("{CHECK}{id}")).send().await.json();
        assert_eq!(shown["data"]["playerName"], name);
    }
}

async fn a_bad_rename_says_which_rule_it_breaks(kept: Kept) {
    let server = kept.start().await;
    let id = guest(&server).await;
    let long = "x".repeat(31);
    let rows = [
        (json!({}), 400, "PLAYER_ID_MISSING", Some("缺少玩家ID")),
        (json!({"name": "Ann"}), 400, "PLAYER_ID_MISSING", Some("缺少玩家ID")),
        (json!({"playerId": "", "name": "Ann"}), 400, "PLAYER_ID_MISSING", Some("缺少玩家ID")),
        (json!({"playerId": NOBODY, "name": "Ann"}), 404, "PLAYER_NOT_FOUND", Some("玩家不存在")),
        (json!({"playerId": id, "name": ""}), 400, "VALIDATION_ERROR", Some("玩家名称不能为空")),
        (
            json!({"playerId": id, "name": long}),
            400,
            "VALIDATION_ERROR",
            Some("名称长度不能超过30个字符"),
        ),
        (json!({"playerId": id}), 400, "VALIDATION_ERROR", None),
        (json!({"playerId": id, "name": 5}), 400, "VALIDATION_ERROR", None),
        (json!({"playerId": id, "name": null}), 400, "VALIDATION_ERROR", None),
        (json!({"playerId": id, "name": ["x"]}), 400, "VALIDATION_ERROR", None),
    ];
    for (body, status, code, message) in rows {
        Http::put(&server, RENAME).json(&body).send().await.assert_error(status, code, message);
    }
    // Without a body there is nothing to take the player from; a query gets past the guard.
    Http::put(&server, RENAME).send().await.assert_error(400, "PLAYER_ID_MISSING", None);
    Http::put(&server, &format!("{RENAME}?playerId={id}")).send().await.assert_error(
        400,
        "VALIDATION_ERROR",
        None,
    );
}

#[tokio::test]
async fn a_preflight_is_answered_for_an_allowed_origin() {
    let server =
        Server::with("CORS_ORIGIN", "https://game.example,https://other.example").start().await;
    let answer = Http::new(&server, Method::OPTIONS, RENAME)
        .header("origin", "https://other.example")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "content-type,x-thing")
        .send()
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("access-control-allow-origin"), "https://other.example");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-allow-methods"), "GET,HEAD,PUT,PATCH,POST,DELETE");
    assert_eq!(answer.header("access-control-allow-headers"), "content-type,x-thing");
    let vary: Vec<String> =
        answer.headers.get_all("vary").iter().map(|v| v.to_str().unwrap().to_lowercase()).collect();
    assert!(vary.join(",").contains("origin"), "{vary:?}");
}

#[tokio::test]
async fn a_foreign_origin_is_served_without_being_allowed() {
    let server = Server::start().await;
    for path in [CREATE, "/socket.io/?EIO=4&transport=polling"] {
        let method = if path == CREATE { Method::POST } else { Method::GET };
        let foreign = Http::new(&server, method.clone(), path)
            .header("origin", "https://evil.example")
            .send()
            .await;
        assert_eq!(foreign.status, StatusCode::OK, "{path}");
        assert_eq!(foreign.header("access-control-allow-origin"), "", "{path}");
        let own =
            Http::new(&server, method, path).header("origin", "http://localhost:5173").send().await;
        assert_eq!(own.header("access-control-allow-origin"), "http://localhost:5173", "{path}");
        assert_eq!(own.header("access-control-allow-credentials"), "true", "{path}");
    }
}

#[tokio::test]
async fn nonsense_gets_a_status_that_says_so() {
    let server = Server::start().await;
    for (method, path) in
        [(Method::GET, "/nothing"), (Method::GET, "/api/v1/auth/nothing"), (Method::DELETE, CREATE)]
    {
        let answer = Http::new(&server, method, path).send().await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for body in ["{", "nonsense", "{\"playerId\":}", "\u{0}", "[1,2"] {
        let answer = Http::put(&server, RENAME).text(body.to_owned()).send().await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    // Well-formed JSON that is no object is like an empty one.
    for body in ["5", "null", "[]", "\"x\""] {
        let answer = Http::put(&server, RENAME).text(body.to_owned()).send().await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    guest(&server).await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_one_below_it_is_read() {
    let server = Server::start().await;
    let id = guest(&server).await;
    let body =
        |padding: usize| json!({"playerId": id, "name": "Ann", "padding": "x".repeat(padding)});
    let answer = Http::put(&server, RENAME).json(&body(900_000)).send().await;
    assert_eq!(answer.status, StatusCode::OK);
    // The server need not read it all: an answer or a cut connection, but never a success.
    if let Ok(answer) = Http::put(&server, RENAME).json(&body(11_000_000)).exchange().await {
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    guest(&server).await;
}

#[tokio::test]
async fn operational_routes_tell_that_the_node_serves() {
    let server = Server::with("CLUSTER_ENABLED", "true").start().await;
    let health = Http::get(&server, "/health").send().await;
    assert_eq!(health.status, StatusCode::OK);
    let health = health.json();
    assert_eq!(health["status"], "ok");
    assert!(
        health["timestamp"].as_str().unwrap().ends_with('Z') && health["uptime"].is_number(),
        "{health}"
    );
    let ready = Http::get(&server, "/ready").send().await;
    assert_eq!(ready.status, StatusCode::OK);
    let ready = ready.json();
    assert_eq!((&ready["status"], &ready["state"]), (&json!("ok"), &json!("ready")));
    let status = Http::get(&server, "/cluster/status").send().await;
    assert_eq!(status.status, StatusCode::OK);
    let status = status.json();
    assert_eq!(status["enabled"], true, "{status}");
    assert!(status["instanceId"].is_string(), "{status}");
    for (group, key) in [
        ("instances", "healthy"),
        ("players", "connected"),
        ("rooms", "total"),
        ("matchmaking", "queueSize"),
    ] {
        assert!(status["stats"][group][key].is_u64(), "{group}.{key} in {status}");
    }
    assert_eq!(status["stats"]["instances"]["healthy"], 1);
}

#[tokio::test]
async fn a_node_that_stands_alone_says_so() {
    let server = Server::with("CLUSTER_ENABLED", "false").start().await;
    let status = Http::get(&server, "/cluster/status").send().await;
    assert_eq!(status.status, StatusCode::OK);
    assert_eq!(status.json(), json!({"enabled": false, "message": "Cluster mode is disabled"}));
    let health = Http::get(&server, "/health").send().await.json();
    assert!(health.get("cluster").is_none(), "{health}");
}
