//! Tokens from outside: at the door, at its routes, and when they are taken away (rows 2, 3, 4, 6).

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::process::Options;
use crate::harness::{Client, DEADLINE, Dial, Http, Server, eventually, guest, jwt};
use crate::kept::{Kept, wherever_players_are_kept};

/// A guest of a server that wants tokens of guests too.
pub(crate) struct Holder {
    pub(crate) id: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Holder {
    pub(crate) async fn of(server: &Server) -> Self {
        let made = Http::post(server, "/api/v1/auth/create-guest").send().await.json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (data, auth) = (&made["data"], &made["data"]["auth"]);
        Self {
            id: text(&data["playerId"]),
            access: text(&auth["accessToken"]),
            refresh: text(&auth["refreshToken"]),
        }
    }

    pub(crate) fn dial(&self, server: &Server) -> Dial {
        Dial::player(server, &self.id).token(&self.access)
    }
}

pub(crate) fn wanting_tokens(options: Options) -> Options {
    options.env("GUEST_AUTH", "token").env("JWT_SECRET", jwt::SECRET)
}

/// A request by this token.
pub(crate) fn by(token: &str, server: &Server, method: Method, path: &str) -> Http {
    Http::new(server, method, path).header("authorization", &format!("Bearer {token}"))
}

/// The status of a question whether a token counts.
pub(crate) async fn verify(token: &str, server: &Server) -> u16 {
    by(token, server, Method::GET, "/api/v1/auth/verify").send().await.status.as_u16()
}

pub(crate) async fn refresh(token: &str, server: &Server) -> (u16, Value) {
    let asked = Http::post(server, "/api/v1/auth/refresh").json(&json!({"refreshToken": token}));
    let answer = asked.send().await;
    (answer.status.as_u16(), answer.json()["data"].clone())
}

/// The text with which a handshake is refused.
pub(crate) async fn refusal(dial: Dial) -> String {
    match dial.try_open().await {
        Ok(_) => panic!("the handshake was accepted"),
        Err(text) => text,
    }
}

/// Waits until the server has told this client to leave: it will not come back by itself.
pub(crate) async fn is_dismissed(client: &Client) {
    let why = client.closed_within(DEADLINE).await;
    assert!(why.contains("said goodbye"), "{why}");
}

/// Waits until this client has lost its connection: it will look for another node.
pub(crate) async fn is_cut(client: &Client) {
    let why = client.closed_within(DEADLINE).await;
    assert!(!why.contains("said goodbye"), "{why}");
}

wherever_players_are_kept! {
    a_handshake_needs_a_token_that_counts_and_is_the_players
    tokens_of_the_existing_server_are_good_until_they_are_given_up
    a_lone_server_keeps_its_secret_and_its_revocations_over_kill_9
    a_session_is_listed_and_ended_with_its_socket
}

async fn a_handshake_needs_a_token_that_counts_and_is_the_players(kept: Kept) {
    let server = kept.by(wanting_tokens(Options::default())).start().await;
    let (ann, bob) = (Holder::of(&server).await, Holder::of(&server).await);
    let dial = || Dial::player(&server, &ann.id);
    assert_eq!(refusal(dial()).await, "TOKEN_REQUIRED_FOR_REGISTERED_USER");
    assert_eq!(refusal(dial().token("")).await, "TOKEN_REQUIRED_FOR_REGISTERED_USER");
    let foreign =
        jwt::signed("another secret", &json!({"playerId": ann.id, "exp": jwt::now() + 60}));
    let expired = jwt::signed(jwt::SECRET, &json!({"playerId": ann.id, "exp": jwt::now() - 1}));
    for bad in ["x", &ann.refresh, &foreign, &expired] {
        assert_eq!(refusal(dial().token(bad)).await, "INVALID_TOKEN", "{bad}");
    }
    assert_eq!(refusal(dial().token(&bob.access)).await, "PLAYER_ID_TOKEN_MISMATCH");
    ann.dial(&server).open().await.settle().await;
    // The query is for those who can't send it otherwise; what the payload says comes first.
    let query = format!("playerId={}&token={}&", ann.id, ann.access);
    Dial::query(&server, &query).open().await.settle().await;
    assert_eq!(refusal(Dial::query(&server, &query).token("x")).await, "INVALID_TOKEN");
}

async fn tokens_of_the_existing_server_are_good_until_they_are_given_up(kept: Kept) {
    let server = kept.by(wanting_tokens(Options::default())).start().await;
    let ann = Holder::of(&server).await;
    let old = jwt::access(&ann.id, "V1StGXR8_Z5jdHi6B-myT");
    assert_eq!(verify(&old, &server).await, 200);
    let client = Dial::player(&server, &ann.id).token(&old).open().await;
    let other = ann.dial(&server).open().await;
    let (status, pair) = refresh(&jwt::refresh(&ann.id, "0aB1cD2eF3gH4iJ5kL6mN"), &server).await;
    assert_eq!(status, 200);
    assert_eq!(verify(pair["accessToken"].as_str().unwrap(), &server).await, 200);

    let logout = by(&old, &server, Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    is_dismissed(&client).await;
    assert_eq!(refusal(Dial::player(&server, &ann.id).token(&old)).await, "TOKEN_BLACKLISTED");
    assert_eq!(verify(&old, &server).await, 401);
    other.settle().await;
    assert_eq!(verify(&ann.access, &server).await, 200, "another login is not touched");
}

async fn a_lone_server_keeps_its_secret_and_its_revocations_over_kill_9(kept: Kept) {
    let mut server = kept.by(Options::default()).env("GUEST_AUTH", "token").start().await;
    let (ann, bob) = (Holder::of(&server).await, Holder::of(&server).await);
    let logout = by(&bob.access, &server, Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    server.kill9();
    server.restart().await;
    let known = || verify(&ann.access, &server);
    eventually("a good token", known, |status| *status == 200).await;
    assert_eq!(verify(&bob.access, &server).await, 401);
    assert_eq!(refusal(bob.dial(&server)).await, "TOKEN_BLACKLISTED");
    assert_eq!(refresh(&bob.refresh, &server).await.0, 401);
}

async fn a_session_is_listed_and_ended_with_its_socket(kept: Kept) {
    let server = kept.by(wanting_tokens(Options::default())).start().await;
    let ann = Holder::of(&server).await;
    let (first, second) = (
        ann.dial(&server).session("tab-1").open().await,
        ann.dial(&server).session("tab-2").open().await,
    );
    first.settle().await;
    second.settle().await;
    let path = format!("/api/v1/sessions/sessions/{}", ann.id);
    let listed = by(&ann.access, &server, Method::GET, &path).send().await.json();
    let sessions = listed["data"]["sessions"].as_array().unwrap();
    let ids: Vec<_> = sessions.iter().map(|it| it["sessionId"].as_str().unwrap()).collect();
    assert_eq!((&listed["data"]["sessionCount"], &ids[..]), (&json!(2), &["tab-1", "tab-2"][..]));
    assert_eq!(
        (&sessions[0]["instanceId"], &sessions[0]["isExpired"]),
        (&json!("node-1"), &json!(false))
    );

    let one = format!("/api/v1/sessions/{}/tab-1", ann.id);
    let removed = by(&ann.access, &server, Method::DELETE, &one).send().await.json();
    assert_eq!(removed["data"], json!({"playerId": ann.id, "sessionId": "tab-1"}));
    is_dismissed(&first).await;
    second.settle().await;
    let all = by(&ann.access, &server, Method::DELETE, &path).send().await.json();
    assert_eq!(all["data"], json!({"playerId": ann.id, "removedSessionCount": 1}));
    is_dismissed(&second).await;
    ann.dial(&server).session("tab-1").open().await.settle().await;
}

#[tokio::test]
async fn one_request_too_many_is_told_when_to_come_back() {
    let server = Options::default()
        .env("RATE_LIMIT_AUTH", "3")
        .env("RATE_LIMIT_EMAIL", "1")
        .env("TRUST_PROXY", "127.0.0.0/8")
        .start()
        .await;
    let ask = |path: &str| Http::post(&server, path).send();
    for _ in 0..3 {
        guest(&server).await;
    }
    let refused = ask("/api/v1/auth/create-guest").await;
    assert_eq!(refused.status, 429);
    let body = refused.json();
    let left = body["retryAfter"].as_u64().unwrap();
    assert!((1..=60).contains(&left), "{body}");
    let expected = json!({
        "success": false, "message": "请求过于频繁，请稍后重试", "code": "RATE_LIMIT_EXCEEDED",
        "retryAfter": left,
    });
    assert_eq!(body, expected);
    // The other router counts for itself, and so does each client of a trusted proxy.
    assert_ne!(ask("/api/v1/email/nothing").await.status, 429);
    assert_eq!(ask("/api/v1/email/nothing").await.status, 429);
    assert_eq!(Http::get(&server, "/health").send().await.status, 200);
    let behind = |client: &'static str| {
        let asked = Http::post(&server, "/api/v1/auth/create-guest");
        asked.header("x-forwarded-for", client).send()
    };
    assert_eq!(behind("198.51.100.7").await.status, 200);
    assert_eq!(behind("198.51.100.7, 127.0.0.9").await.status, 200);
}
