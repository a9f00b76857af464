//! Tokens and who may act by them. Guests with tokens stand for all who need one here.

use super::*;

const REFRESH: &str = "/api/v1/auth/refresh";
const LOGOUT: &str = "/api/v1/auth/logout";
const VERIFY: &str = "/api/v1/auth/verify";

/// A guest who needs a token, and his tokens.
struct Holder {
    id: String,
    access: String,
    refresh: String,
}

impl Node {
    async fn wanting_tokens() -> Self {
        let node = Self::with(&[("GUEST_AUTH", "token")]).await;
        node.is_sure().await;
        node
    }

    /// A node that has just started may not be sure of what it knows.
    async fn is_sure(&self) {
        while !crate::auth::is_sure(&self.app().cluster) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn holder(&self) -> Holder {
        let made = self.create(None).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let data = &made["data"];
        Holder {
            id: text(&data["playerId"]),
            access: text(&data["auth"]["accessToken"]),
            refresh: text(&data["auth"]["refreshToken"]),
        }
    }

    async fn with_token(&self, method: Method, path: &str, token: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn verify(&self, token: &str) -> Answer {
        self.with_token(Method::GET, VERIFY, token).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        let request = Request::post(REFRESH).header("content-type", "application/json");
        let body = json!({"refreshToken": token}).to_string();
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn rename_with(&self, holder: &Holder, token: &str) -> Answer {
        let request = Request::put(RENAME)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
        let body = json!({"playerId": holder.id, "name": "Ann"}).to_string();
        self.send(request.body(body.into()).unwrap()).await
    }
}

#[tokio::test]
async fn a_guest_gets_tokens_only_where_he_needs_them() {
    let node = Node::start().await;
    assert!(node.create(None).await.json()["data"].get("auth").is_none());
    let node = Node::wanting_tokens().await;
    let made = node.create(Some("key-1")).await.json();
    let auth = &made["data"]["auth"];
    assert_eq!(auth["expiresIn"], 15_552_000);
    let id = &made["data"]["playerId"];
    assert_eq!(auth["player"], json!({"id": id, "isRegistered": false}));
    // A retry gets the very same ones.
    assert_eq!(node.create(Some("key-1")).await.json(), made);
}

#[tokio::test]
async fn acting_as_a_player_who_needs_a_token_needs_his() {
    let node = Node::wanting_tokens().await;
    let (ann, bob) = (node.holder().await, node.holder().await);
    let body = json!({"playerId": ann.id, "name": "Ann"});
    let required = "TOKEN_REQUIRED_FOR_REGISTERED_USER";
    node.rename(&body).await.is(401, "注册用户需要提供访问令牌", required);
    for bad in ["x", "a.b.c", &ann.refresh, &ann.access[..ann.access.len() - 1]] {
        node.rename_with(&ann, bad).await.is(401, "访问令牌无效或已过期", "TOKEN_INVALID");
    }
    let mismatch = node.rename_with(&ann, &bob.access).await;
    mismatch.is(403, "令牌与请求的玩家ID不匹配", "PLAYER_ID_TOKEN_MISMATCH");
    assert_eq!(node.rename_with(&ann, &ann.access).await.status, 200);
}

#[tokio::test]
async fn a_token_says_whose_it_is_until_he_logs_out() {
    let node = Node::wanting_tokens().await;
    let ann = node.holder().await;
    node.get(VERIFY).await.is(401, "访问令牌缺失", "TOKEN_MISSING");
    node.send(Request::post(LOGOUT).body(Body::empty()).unwrap()).await.is(
        401,
        "访问令牌缺失",
        "TOKEN_MISSING",
    );
    let data = json!({"playerId": ann.id, "isRegistered": false});
    let verified = node.verify(&ann.access).await;
    assert_eq!(verified.json(), json!({"success": true, "valid": true, "data": data}));

    let request = || {
        Request::post(LOGOUT)
            .header("authorization", format!("Bearer {}", ann.access))
            .header("idempotency-key", "bye")
            .body(Body::empty())
            .unwrap()
    };
    let done = json!({"success": true, "message": "登出成功"});
    assert_eq!(node.send(request()).await.json(), done);
    assert_eq!(node.send(request()).await.json(), done, "a retry is answered like the first");
    let invalid = "访问令牌无效或已过期";
    node.verify(&ann.access).await.is(401, invalid, "TOKEN_INVALID");
    node.with_token(Method::POST, LOGOUT, &ann.access).await.is(401, invalid, "TOKEN_INVALID");
    node.rename_with(&ann, &ann.access).await.is(401, invalid, "TOKEN_INVALID");
    let refused = node.refresh(&ann.refresh).await;
    refused.is(401, "刷新令牌无效或已过期", "REFRESH_TOKEN_INVALID");
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_and_its_copy_ends_the_login() {
    let node = Node::wanting_tokens().await;
    let ann = node.holder().await;
    let first = node.refresh(&ann.refresh).await.json();
    assert_eq!((&first["success"], &first["message"]), (&json!(true), &json!("令牌刷新成功")));
    let text = |answer: &Value, name: &str| answer["data"][name].as_str().unwrap().to_owned();
    let (access, refresh) = (text(&first, "accessToken"), text(&first, "refreshToken"));
    assert_ne!(refresh, ann.refresh);
    // The answer was lost: the same pair again.
    assert_eq!(node.refresh(&ann.refresh).await.json(), first);
    assert_eq!(node.verify(&access).await.status, 200);
    assert_eq!(node.verify(&ann.access).await.status, 200, "nobody gave it up");

    let second = node.refresh(&refresh).await.json();
    node.refresh(&ann.refresh).await.is(401, "刷新令牌无效或已过期", "REFRESH_TOKEN_INVALID");
    for token in [&ann.access, &access, &text(&second, "accessToken")] {
        node.verify(token).await.is(401, "访问令牌无效或已过期", "TOKEN_INVALID");
    }
    let newest = text(&second, "refreshToken");
    node.refresh(&newest).await.is(401, "刷新令牌无效或已过期", "REFRESH_TOKEN_INVALID");
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_in_the_contracts_words() {
    let node = Node::wanting_tokens().await;
    let ann = node.holder().await;
    node.refresh("").await.is(400, "刷新令牌不能为空", "VALIDATION_ERROR");
    let body = |text: &'static str| {
        let request = Request::post(REFRESH).header("content-type", "application/json");
        node.send(request.body(text.into()).unwrap())
    };
    body("{}").await.is(400, "Required", "VALIDATION_ERROR");
    let number = "Expected string, received number";
    body(r#"{"refreshToken":5}"#).await.is(400, number, "VALIDATION_ERROR");
    for bad in [&ann.access, "x", "a.b.c"] {
        node.refresh(bad).await.is(401, "刷新令牌无效或已过期", "REFRESH_TOKEN_INVALID");
    }
    assert_eq!(node.refresh(&ann.refresh).await.status, 200, "nothing was given up");
}

#[tokio::test]
async fn a_players_sessions_are_his_own_business() {
    let node = Node::wanting_tokens().await;
    let (ann, bob) = (node.holder().await, node.holder().await);
    for root in ["/api/v1/sessions", "/api/v1/sessions/sessions"] {
        let path = format!("{root}/{}", ann.id);
        node.get(&path).await.is(401, "访问令牌缺失", "TOKEN_MISSING");
        let foreign = node.with_token(Method::GET, &path, &bob.access).await;
        foreign.is(403, "权限不足", "INSUFFICIENT_PERMISSIONS");
        let own = node.with_token(Method::GET, &path, &ann.access).await.json();
        assert_eq!(own["message"], "获取会话列表成功");
        let empty = json!({"playerId": ann.id, "sessionCount": 0, "sessions": []});
        assert_eq!(own["data"], empty);
        let all = node.with_token(Method::DELETE, &path, &ann.access).await;
        all.is(404, "玩家没有活跃会话", "NO_SESSIONS_FOUND");
        let one = node.with_token(Method::DELETE, &format!("{path}/tab"), &ann.access).await;
        one.is(404, "会话不存在", "SESSION_NOT_FOUND");
        for (method, route) in [(Method::GET, "stats"), (Method::POST, "cleanup")] {
            let answer = node.with_token(method, &format!("{root}/{route}"), &ann.access).await;
            answer.is(403, "权限不足，仅管理员可访问", "ADMIN_REQUIRED");
        }
        let strange = format!("{path}/{}", "x".repeat(65));
        let strange = node.with_token(Method::DELETE, &strange, &ann.access).await;
        assert_eq!(
            (strange.status.as_u16(), &strange.json()["code"]),
            (400, &json!("VALIDATION_ERROR"))
        );
    }
}
