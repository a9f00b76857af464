//! Each row of contract 1.7, asked of a real node. Codes are planted in the log, where only their hashes
//! are; that they reach a mailbox is seen from outside, in `tests/it`.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use serverv2_machine::{CodeLimits, CreateCode, Purpose, Rejection};
use serverv2_raft::ProposeError;

use super::logging_in;
use crate::rest::tests::{Answer, Node};

const SEND: &str = "/api/v1/email/send-verification-code";
const VERIFY: &str = "/api/v1/email/verify-code";
const BIND: &str = "/api/v1/email/bind";
const RECOVER: &str = "/api/v1/email/recover";
const UNBIND: &str = "/api/v1/email/unbind";
const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAA";
const CODE: &str = "123456";
const WRONG: &str = "654321";

const CODE_BAD: &str = "验证码无效或已过期";

async fn post(node: &Node, path: &str, body: &Value) -> Answer {
    post_with(node, path, body, None).await
}

async fn post_with(node: &Node, path: &str, body: &Value, token: Option<&str>) -> Answer {
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    node.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// A refusal with a text and no code.
#[track_caller]
fn is_plain(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.json(), json!({"success": false, "message": message}));
    assert_eq!(answer.status, status);
}

/// The code [`CODE`] becomes the one of an address.
async fn plant(node: &Node, email: &str, purpose: Purpose, player: &str) {
    let email = email.parse().unwrap();
    let create = CreateCode {
        hash: node.app().codes.hash(&email, purpose, CODE),
        email,
        purpose,
        player: player.parse().ok(),
        source: "test".into(),
        limits: CodeLimits { per_address: 0, per_source: 0 },
    };
    node.app().cluster.propose(create, None).await.unwrap();
}

/// Makes a guest and binds this address to it; gives the answer's `player` and `auth`.
async fn registered(node: &Node, email: &str) -> (String, Value) {
    let id = node.guest().await;
    plant(node, email, Purpose::Bind, &id).await;
    let bound =
        post(node, BIND, &json!({"email": email, "code": CODE, "playerId": id})).await.json();
    assert_eq!(bound["message"], "邮箱绑定成功");
    (id, bound)
}

fn access(answer: &Value) -> &str {
    answer["auth"]["accessToken"].as_str().unwrap()
}

#[tokio::test]
async fn a_body_is_checked_field_by_field() {
    let node = Node::start().await;
    let id = node.guest().await;
    let number = "Expected string, received number";
    let good = json!({"email": "a@x.co", "code": CODE, "playerId": id, "purpose": "bind"});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let wrong_purpose = "Invalid enum value. Expected 'bind' | 'recover', received 'q'";
    let empty = "String must contain at least 1 character(s)";
    let rows: &[(&[&str], Value, &str)] = &[
        (&[SEND, VERIFY, BIND, RECOVER], without("email"), "Required"),
        (&[SEND, VERIFY, BIND, RECOVER], with("email", json!(5)), number),
        (&[SEND, VERIFY, BIND, RECOVER], with("email", json!("")), "邮箱格式不正确"),
        (&[SEND, VERIFY, BIND, RECOVER], with("email", json!("a@nodot")), "邮箱格式不正确"),
        (&[SEND], with("playerId", json!("")), empty),
        (&[SEND], with("playerId", json!(null)), "Expected string, received null"),
        (&[SEND, VERIFY], without("purpose"), "Required"),
        (&[SEND, VERIFY], with("purpose", json!("q")), wrong_purpose),
        (
            &[SEND, VERIFY],
            with("purpose", json!(5)),
            "Expected 'bind' | 'recover', received number",
        ),
        (&[SEND], without("playerId"), "绑定操作需要提供玩家ID"),
        (&[VERIFY, BIND, RECOVER], without("code"), "Required"),
        (&[VERIFY, BIND, RECOVER], with("code", json!(123_456)), number),
        (&[VERIFY, BIND, RECOVER], with("code", json!("12345")), "验证码必须是6位数字"),
        (&[VERIFY, BIND, RECOVER], with("code", json!("12345x7")), "验证码必须是6位数字"),
        (&[VERIFY, BIND, RECOVER], with("code", json!("12345x")), "验证码只能包含数字"),
        (&[VERIFY, BIND, RECOVER], with("code", json!("１２３４５６")), "验证码只能包含数字"),
    ];
    for (paths, body, message) in rows {
        for path in *paths {
            is_plain(&post(&node, path, body).await, 400, message);
        }
    }
    // The first field that is wrong counts.
    is_plain(&post(&node, SEND, &json!({"purpose": "q", "playerId": ""})).await, 400, "Required");
    let both = json!({"email": "x", "code": "x", "playerId": id});
    is_plain(&post(&node, BIND, &both).await, 400, "邮箱格式不正确");
    // The query gets past the guard, and the body must still be complete.
    let bind = json!({"email": "a@x.co", "code": CODE});
    let answer = post(&node, &format!("{BIND}?playerId={id}"), &bind).await;
    is_plain(&answer, 400, "Required");
}

#[tokio::test]
async fn the_guard_comes_before_all_else_where_there_is_one() {
    let node = Node::start().await;
    let (registered, _) = registered(&node, "ann@x.co").await;
    for path in [VERIFY, BIND, UNBIND] {
        post(&node, path, &json!({})).await.is(400, "缺少玩家ID", "PLAYER_ID_MISSING");
        let unknown = json!({"playerId": NOBODY});
        post(&node, path, &unknown).await.is(404, "玩家不存在", "PLAYER_NOT_FOUND");
        let code = "TOKEN_REQUIRED_FOR_REGISTERED_USER";
        let body = json!({"playerId": registered});
        post(&node, path, &body).await.is(401, "注册用户需要提供访问令牌", code);
    }
    // Where a code is sent, the body comes first, and there is none to recover.
    let bind = |player: &str| json!({"email": "b@x.co", "playerId": player, "purpose": "bind"});
    post(&node, SEND, &bind(NOBODY)).await.is(404, "玩家不存在", "PLAYER_NOT_FOUND");
    let code = "TOKEN_REQUIRED_FOR_REGISTERED_USER";
    post(&node, SEND, &bind(&registered)).await.is(401, "注册用户需要提供访问令牌", code);
    let answer = post(&node, SEND, &json!({"email": "ann@x.co", "purpose": "recover"})).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_is_sent_once_a_minute_for_an_address_and_purpose() {
    let node = Node::start().await;
    let id = node.guest().await;
    let bind = json!({"email": "a@x.co", "playerId": id, "purpose": "bind"});
    let answer = post(&node, SEND, &bind).await;
    assert_eq!(answer.json(), json!({"success": true, "message": "验证码已发送，请查收邮件"}));
    assert_eq!(answer.status, StatusCode::OK);

    let again = post(&node, SEND, &bind).await;
    let message = "发送过于频繁，请稍后再试";
    let wanted = json!({"success": false, "message": message, "rateLimitSeconds": 60});
    assert_eq!((again.status, again.json()), (StatusCode::TOO_MANY_REQUESTS, wanted));

    let recover = json!({"email": "a@x.co", "purpose": "recover"});
    is_plain(&post(&node, SEND, &recover).await, 404, "该邮箱未绑定任何玩家账户");
    registered(&node, "b@x.co").await;
    let taken = json!({"email": "b@x.co", "playerId": id, "purpose": "bind"});
    is_plain(&post(&node, SEND, &taken).await, 400, "该邮箱已被其他玩家绑定");
}

#[tokio::test]
async fn addresses_and_sources_get_only_so_many_codes() {
    let flags = [("EMAIL_CODES_PER_IP", "3"), ("EMAIL_CODES_PER_ADDRESS", "1")];
    let node = Node::with(&flags).await;
    let id = node.guest().await;
    let send = async |email: &str| {
        let body = json!({"email": email, "playerId": id, "purpose": "bind"});
        post(&node, SEND, &body).await
    };
    for (email, status) in
        [("a@x.co", 200), ("A@x.co", 429), ("b@x.co", 200), ("c@x.co", 200), ("d@x.co", 429)]
    {
        let answer = send(email).await;
        assert_eq!(answer.status, status, "{email}");
        let waits = answer.json().get("rateLimitSeconds") == Some(&json!(60));
        assert_eq!(waits, status == 429, "{email}");
    }
}

#[tokio::test]
async fn a_mail_that_is_not_sent_is_a_failure_and_its_code_counts() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = closed.to_string();
    let flags = [("EMAIL_PROVIDER", "smtp"), ("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", &port)];
    let node = Node::with(&flags).await;
    let id = node.guest().await;
    let bind = json!({"email": "a@x.co", "playerId": id, "purpose": "bind"});
    is_plain(&post(&node, SEND, &bind).await, 500, "验证码发送失败，请稍后重试");
    assert_eq!(post(&node, SEND, &bind).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn verifying_a_code_does_not_use_it_up_and_five_wrong_ones_do() {
    let node = Node::start().await;
    let id = node.guest().await;
    plant(&node, "a@x.co", Purpose::Bind, &id).await;
    let verify = async |code: &str, purpose: &str| {
        let body = json!({"email": "a@x.co", "code": code, "playerId": id, "purpose": purpose});
        post(&node, VERIFY, &body).await
    };
    let valid = json!({"success": true, "message": "验证码验证成功", "valid": true});
    let invalid = json!({"success": false, "message": CODE_BAD, "valid": false});
    for _ in 0..2 {
        let answer = verify(CODE, "bind").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, valid.clone()));
    }
    // There is none for the other purpose to be wrong about.
    for (code, purpose) in [(CODE, "recover"), (WRONG, "bind"), (WRONG, "bind"), (WRONG, "bind")] {
        let answer = verify(code, purpose).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::BAD_REQUEST, invalid.clone()));
    }
    let bind = |code: &str| json!({"email": "a@x.co", "code": code, "playerId": id});
    is_plain(&post(&node, BIND, &bind(WRONG)).await, 400, CODE_BAD);
    assert_eq!(verify(CODE, "bind").await.status, StatusCode::OK);
    is_plain(&post(&node, BIND, &bind(WRONG)).await, 400, CODE_BAD);
    is_plain(&post(&node, BIND, &bind(CODE)).await, 400, CODE_BAD);
    assert_eq!(verify(CODE, "bind").await.json(), invalid);
}

#[tokio::test]
async fn binding_answers_with_the_players_row_and_tokens_and_uses_the_code_up() {
    let node = Node::start().await;
    let (id, other) = (node.guest().await, node.guest().await);
    plant(&node, "a@x.co", Purpose::Bind, &id).await;
    let bind = |player: &str| json!({"email": "a@x.co", "code": CODE, "playerId": player});
    let answer = post(&node, BIND, &bind(&id)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let answer = answer.json();
    let (player, auth) = (&answer["player"], &answer["auth"]);
    for moment in ["created_at", "last_login_at", "email_bound_at"] {
        let text = player[moment].as_str().unwrap();
        assert!(text.starts_with("20") && text.ends_with("+00:00"), "{text}");
    }
    assert!(player["name"].as_str().unwrap().starts_with("游客-"));
    let wanted = json!({
        "success": true,
        "message": "邮箱绑定成功",
        "player": {
            "id": id, "name": player["name"], "created_at": player["created_at"],
            "last_login_at": player["created_at"], "metadata": {}, "email": "a@x.co",
            "email_verified": true, "email_bound_at": player["email_bound_at"],
            "is_registered": true,
        },
        "auth": {
            "accessToken": auth["accessToken"], "refreshToken": auth["refreshToken"],
            "expiresIn": 15_552_000,
            "player": {"id": id, "isRegistered": true, "email": "a@x.co"},
        },
    });
    assert_eq!(answer, wanted);
    let claims = node.app().tokens.access(access(&answer), 0).unwrap();
    assert_eq!((claims.player.as_str(), claims.email.as_deref()), (&*id, Some("a@x.co")));

    is_plain(&post(&node, BIND, &bind(&other)).await, 400, CODE_BAD);
    let checked = node.get(&format!("/api/v1/auth/check-player/{id}")).await.json();
    assert_eq!(checked["data"]["requiresAuth"], true);
    assert_eq!(checked["data"]["email"], "a@x.co");
}

/// What the log refuses a moment after the guard let the caller through.
#[tokio::test]
async fn what_changed_since_the_guard_looked_is_refused_in_the_same_words() {
    for (rejection, status, body) in [
        (Rejection::CodeInvalid, 400, json!({"success": false, "message": CODE_BAD})),
        (Rejection::PlayerUnknown, 404, json!({"success": false, "message": "玩家不存在"})),
        (
            Rejection::EmailTaken,
            400,
            json!({"success": false, "message": "该邮箱已被其他玩家绑定"}),
        ),
        (
            Rejection::EmailUnbound,
            404,
            json!({"success": false, "message": "该邮箱未绑定任何玩家账户"}),
        ),
        (
            Rejection::TokenRequired,
            401,
            json!({"success": false, "message": "注册用户需要提供访问令牌",
                "code": "TOKEN_REQUIRED_FOR_REGISTERED_USER"}),
        ),
        (Rejection::NoPack, 500, json!({"success": false, "message": "服务器内部错误"})),
        (
            Rejection::StaleRequest,
            503,
            json!({"success": false, "message": "集群暂时不可用，请稍后重试",
                "code": "CLUSTER_UNAVAILABLE"}),
        ),
    ] {
        let response = logging_in(ProposeError::Rejected(rejection)).into_response();
        assert_eq!(response.status(), status, "{body}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), body);
    }
}

#[tokio::test]
async fn an_address_that_was_let_go_recovers_nobody() {
    let node = Node::start().await;
    let (id, bound) = registered(&node, "a@x.co").await;
    plant(&node, "a@x.co", Purpose::Recover, "").await;
    let token = Some(access(&bound));
    let answer = post_with(&node, UNBIND, &json!({"playerId": id}), token).await;
    assert_eq!(answer.status, StatusCode::OK);
    let recover = json!({"email": "a@x.co", "code": CODE});
    is_plain(&post(&node, RECOVER, &recover).await, 404, "该邮箱未绑定任何玩家账户");
}

#[tokio::test]
async fn a_player_is_recovered_by_the_address_alone() {
    let node = Node::start().await;
    let (id, _) = registered(&node, "a@x.co").await;
    let recover = |code: &str| json!({"email": "a@x.co", "code": code});
    is_plain(&post(&node, RECOVER, &recover(CODE)).await, 400, CODE_BAD);
    plant(&node, "a@x.co", Purpose::Recover, "").await;
    is_plain(&post(&node, RECOVER, &recover(WRONG)).await, 400, CODE_BAD);
    let answer = post(&node, RECOVER, &recover(CODE)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json();
    assert_eq!(answer["message"], "玩家ID恢复成功");
    assert_eq!(
        (&answer["player"]["id"], &answer["auth"]["player"]["id"]),
        (&json!(id), &json!(id))
    );
    assert_eq!(node.app().tokens.access(access(&answer), 0).unwrap().player.as_str(), id);
    is_plain(&post(&node, RECOVER, &recover(CODE)).await, 400, CODE_BAD);
}

#[tokio::test]
async fn anybody_may_ask_whose_an_address_is() {
    let node = Node::start().await;
    let (id, bound) = registered(&node, "a+b@x.co").await;
    let check = async |query: &str| node.get(&format!("/api/v1/email/check-binding{query}")).await;
    let answer = check("?email=a%2Bb%40x.co").await;
    let wanted = json!({"bound": true, "playerId": id, "playerName": bound["player"]["name"]});
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, wanted));
    for free in ["?email=A%2Bb@x.co", "?email=b@x.co"] {
        let answer = check(free).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"bound": false})));
    }
    for bad in ["", "?email=", "?email=nobody", "?mail=a@x.co", "?email=%ff"] {
        is_plain(&check(bad).await, 400, "邮箱格式不正确");
    }
}

#[tokio::test]
async fn a_registered_player_becomes_a_guest_again() {
    let node = Node::start().await;
    let guest = node.guest().await;
    let answer = post(&node, UNBIND, &json!({"playerId": guest})).await;
    answer.is(403, "此功能仅限注册用户使用", "REGISTERED_USER_REQUIRED");

    let (id, bound) = registered(&node, "a@x.co").await;
    let (token, body) = (access(&bound), json!({"playerId": id}));
    let answer = post_with(&node, UNBIND, &body, Some(token)).await;
    assert_eq!(answer.json(), json!({"success": true, "message": "邮箱解绑成功"}));
    assert_eq!(answer.status, StatusCode::OK);
    // A guest needs no token, and the address is free.
    let answer = post(&node, UNBIND, &body).await;
    answer.is(403, "此功能仅限注册用户使用", "REGISTERED_USER_REQUIRED");
    let send = json!({"email": "a@x.co", "purpose": "recover"});
    is_plain(&post(&node, SEND, &send).await, 404, "该邮箱未绑定任何玩家账户");
}

#[tokio::test]
async fn a_registered_player_may_take_another_address_with_his_token() {
    let node = Node::start().await;
    let (id, bound) = registered(&node, "a@x.co").await;
    let token = Some(access(&bound));
    let send = json!({"email": "b@x.co", "playerId": id, "purpose": "bind"});
    assert_eq!(post_with(&node, SEND, &send, token).await.status, StatusCode::OK);
    plant(&node, "c@x.co", Purpose::Bind, &id).await;
    let bind = json!({"email": "c@x.co", "code": CODE, "playerId": id});
    let answer = post_with(&node, BIND, &bind, token).await;
    assert_eq!(answer.json()["player"]["email"], "c@x.co");
    let check = |email: &str| format!("/api/v1/email/check-binding?email={email}");
    assert_eq!(node.get(&check("a@x.co")).await.json(), json!({"bound": false}));
    assert_eq!(node.get(&check("c@x.co")).await.json()["playerId"], json!(id));
}
