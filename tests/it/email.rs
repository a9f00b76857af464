//! E-mail as players use it (contract 1.7 and 9): codes come by mail through a real relay, and what they
//! prove holds on every node.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::relay::Relay;
use crate::harness::{Answer, Dial, Http, Server, eventually, guest};
use crate::kept::{Kept, wherever_players_are_kept};

const SEND: &str = "/api/v1/email/send-verification-code";
const VERIFY: &str = "/api/v1/email/verify-code";
const BIND: &str = "/api/v1/email/bind";
const RECOVER: &str = "/api/v1/email/recover";
const UNBIND: &str = "/api/v1/email/unbind";
const CODE_BAD: &str = "验证码无效或已过期";

/// Sends it again while the answer is that nobody can say now.
async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    post_with(server, path, body, None).await
}

async fn post_with(server: &Server, path: &str, body: &Value, token: Option<&str>) -> Answer {
    let ask = || {
        let mut request = Http::post(server, path).json(body);
        if let Some(token) = token {
            request = request.header("authorization", &format!("Bearer {token}"));
        }
        request.send()
    };
    eventually("an answer", ask, |answer| answer.status != StatusCode::SERVICE_UNAVAILABLE).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, message: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["message"]), (status, &json!(message)), "{body}");
}

fn to_bind(email: &str, player: &str) -> Value {
    json!({"email": email, "playerId": player, "purpose": "bind"})
}

fn with_code(email: &str, code: &str, player: &str) -> Value {
    json!({"email": email, "code": code, "playerId": player})
}

/// Another code than this one.
fn wrong(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

/// Asks for a code, reads it in the mailbox and binds the address; gives what the server answered.
pub(crate) async fn registered(server: &Server, relay: &Relay, email: &str) -> (String, Value) {
    let id = guest(server).await;
    let sent = post(server, SEND, &to_bind(email, &id)).await;
    assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    let code = relay.code_to(email).await;
    let bound = post(server, BIND, &with_code(email, &code, &id)).await;
    assert_eq!(bound.status, StatusCode::OK, "{bound:?}");
    (id, bound.json())
}

pub(crate) fn access(answer: &Value) -> &str {
    answer["auth"]["accessToken"].as_str().expect("an access token")
}

wherever_players_are_kept! {
    a_code_arrives_in_a_mail_that_every_reader_can_read
    without_a_relay_the_mail_is_written_to_the_log
    a_relay_that_refuses_hangs_or_closes_is_a_failure_and_the_code_counts
    a_guest_registers_and_is_known_by_token_from_then_on_on_every_node
    limits_hold_over_three_nodes_and_outlive_the_death_of_all
    of_two_players_with_one_code_at_two_nodes_one_gets_the_address
}

async fn a_code_arrives_in_a_mail_that_every_reader_can_read(kept: Kept) {
    let relay = Relay::start().await;
    let server = kept.by(relay.used_by(Options::default().env("LOG_LEVEL", "debug"))).start().await;
    let id = guest(&server).await;
    let sent = post(&server, SEND, &to_bind("ann@game.example", &id)).await;
    assert_eq!(sent.json(), json!({"success": true, "message": "验证码已发送，请查收邮件"}));
    let mail = relay.mail_to("ann@game.example").await;
    let envelope = json!({"from": "noreply@yuuinih.com", "to": ["ann@game.example"]});
    assert_eq!(mail["envelope"], envelope);
    let from = json!({"name": "阿卡迪亚永恒", "address": "noreply@yuuinih.com"});
    assert_eq!(mail["from"], from);
    assert_eq!(mail["subject"], "绑定邮箱验证码 - 阿卡迪亚永恒");
    assert_eq!((&mail["type"], &mail["ascii"]), (&json!("multipart/alternative"), &json!(true)));
    assert_eq!(mail["defects"], json!([]));
    assert!(mail["messageId"].as_str().unwrap().ends_with("@yuuinih.com>"), "{mail}");
    let code = relay.code_to("ann@game.example").await;
    assert!((100_000..1_000_000).contains(&code.parse::<u32>().unwrap()), "{code}");
    for part in ["text/plain", "text/html"] {
        let text = mail["parts"][part].as_str().unwrap();
        assert!(text.contains("绑定邮箱") && text.contains("游客-"), "{text}");
    }
    // Neither is anybody's business who reads the log. (The moment of a line may look like a code.)
    let moment = format!("{code}Z");
    for secret in ["ann@game.example", &code] {
        let told = server.log().find(|line| line.replace(&moment, "").contains(secret));
        assert_eq!(told, None, "the log has {secret}");
    }
}

async fn without_a_relay_the_mail_is_written_to_the_log(kept: Kept) {
    let server = kept.start().await;
    let id = guest(&server).await;
    post(&server, SEND, &to_bind("ann@game.example", &id)).await;
    let written = || async { server.says("您正在进行绑定邮箱操作") };
    eventually("the mail in the log", written, |written| *written).await;
    assert!(server.says("ann@game.example"));
}

async fn a_relay_that_refuses_hangs_or_closes_is_a_failure_and_the_code_counts(kept: Kept) {
    let refusing = Relay::that_refuses().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closing = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (silent_port, closing_port) =
        (silent.local_addr().unwrap().port(), closing.local_addr().unwrap().port());
    let closes = tokio::spawn(async move {
        while let Ok((stream, _)) = closing.accept().await {
            drop(stream);
        }
    });
    let by_port = |port: u16| {
        Options::default()
            .env("EMAIL_PROVIDER", "smtp")
            .env("SMTP_HOST", "127.0.0.1")
            .env("SMTP_PORT", &port.to_string())
    };
    let options =
        [refusing.used_by(Options::default()), by_port(silent_port), by_port(closing_port)];
    // In a database all three have the same codes.
    let emails = ["ann@game.example", "bob@game.example", "cat@game.example"];
    for (options, email) in options.into_iter().zip(emails) {
        let server = kept.by(options).start().await;
        let id = guest(&server).await;
        let wanted = to_bind(email, &id);
        refused(&post(&server, SEND, &wanted).await, 500, "验证码发送失败，请稍后重试");
        let again = post(&server, SEND, &wanted).await;
        refused(&again, 429, "发送过于频繁，请稍后再试");
        assert_eq!(again.json()["rateLimitSeconds"], 60);
        assert!(server.says("a verification code could not be mailed"));
        assert!(!server.says(email), "not even what the relay said of it");
    }
    drop(silent);
    closes.abort();
}

async fn a_guest_registers_and_is_known_by_token_from_then_on_on_every_node(kept: Kept) {
    let relay = Relay::start().await;
    let trio = Trio::start_with(|_, options| kept.by(relay.used_by(options))).await;
    let [one, two, three] = &trio.nodes[..] else { panic!("three nodes") };
    let (id, bound) = registered(one, &relay, "ann@game.example").await;
    let player = &bound["player"];
    assert_eq!((&player["id"], &player["email"]), (&json!(id), &json!("ann@game.example")));
    assert_eq!((&player["is_registered"], &player["email_verified"]), (&json!(true), &json!(true)));

    // Without the token nothing goes any more, with it everything, also elsewhere.
    let rename = |name: &str| json!({"playerId": id, "name": name});
    let path = "/api/v1/auth/update-player-name";
    let unnamed = || Http::put(two, path).json(&rename("Eve")).send();
    let answer = eventually("the other node to know", unnamed, |it| it.status == 401).await;
    answer.assert_error(401, "TOKEN_REQUIRED_FOR_REGISTERED_USER", None);
    let token = access(&bound);
    let named = || {
        let bearer = format!("Bearer {token}");
        Http::put(two, path).header("authorization", &bearer).json(&rename("Ann")).send()
    };
    eventually("a new name", named, |it| it.status == 200).await;
    let Err(text) = Dial::player(three, &id).try_open().await else { panic!("let in") };
    assert_eq!(text, "TOKEN_REQUIRED_FOR_REGISTERED_USER");
    Dial::player(three, &id).token(token).open().await.settle().await;

    // On another device, through another node.
    let recover = json!({"email": "ann@game.example", "purpose": "recover"});
    assert_eq!(post(two, SEND, &recover).await.status, StatusCode::OK);
    let recovering = || async {
        let mail = relay.mail_to("ann@game.example").await;
        mail["subject"].as_str().unwrap_or_default().to_owned()
    };
    eventually("the mail to recover", recovering, |it| it.starts_with("恢复玩家ID")).await;
    let code = relay.code_to("ann@game.example").await;
    let body = json!({"email": "ann@game.example", "code": code});
    let recovered = post(three, RECOVER, &body).await;
    assert_eq!(recovered.status, StatusCode::OK, "{recovered:?}");
    let recovered = recovered.json();
    assert_eq!(recovered["player"]["id"], json!(id));
    assert_eq!(recovered["player"]["name"], "Ann");
    Dial::player(one, &id).token(access(&recovered)).open().await.settle().await;
    refused(&post(one, RECOVER, &body).await, 400, CODE_BAD);

    // And a guest again.
    let unbound = post_with(two, UNBIND, &json!({"playerId": id}), Some(access(&recovered))).await;
    assert_eq!(unbound.json(), json!({"success": true, "message": "邮箱解绑成功"}));
    let open = || async { Dial::player(three, &id).try_open().await.is_ok() };
    eventually("entry without a token", open, |open| *open).await;
    let path = "/api/v1/email/check-binding?email=ann@game.example";
    assert_eq!(Http::get(three, path).send().await.json(), json!({"bound": false}));
}

async fn limits_hold_over_three_nodes_and_outlive_the_death_of_all(kept: Kept) {
    let relay = Relay::start().await;
    let limited = |_, options: Options| {
        kept.by(relay.used_by(options))
            .env("EMAIL_CODES_PER_IP", "3")
            .env("EMAIL_CODES_PER_ADDRESS", "2")
    };
    let mut trio = Trio::start_with(limited).await;
    let id = guest(&trio.nodes[0]).await;
    for (node, email) in ["a@x.example", "b@x.example", "c@x.example"].iter().enumerate() {
        let sent = post(&trio.nodes[node], SEND, &to_bind(email, &id)).await;
        assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    }
    let too_often = "发送过于频繁，请稍后再试";
    // Too soon after the last one, which another node sent; and one more than a client may ask for.
    for (node, email) in [(1, "a@x.example"), (2, "d@x.example")] {
        refused(&post(&trio.nodes[node], SEND, &to_bind(email, &id)).await, 429, too_often);
    }
    assert_eq!(relay.count(), 3);
    let code = relay.code_to("b@x.example").await;
    for node in [0, 1] {
        let verify = json!({"email": "b@x.example", "code": wrong(&code), "playerId": id, "purpose": "bind"});
        refused(&post(&trio.nodes[node], VERIFY, &verify).await, 400, CODE_BAD);
    }

    trio.nodes.iter_mut().for_each(Server::kill9);
    trio.restart_dead().await;
    refused(&post(&trio.nodes[0], SEND, &to_bind("d@x.example", &id)).await, 429, too_often);
    // Tries count over the death, too: three more void the code.
    let bind = |code: &str| with_code("b@x.example", code, &id);
    for node in [2, 1, 0] {
        let answer = post(&trio.nodes[node], BIND, &bind(wrong(&code))).await;
        refused(&answer, 400, CODE_BAD);
    }
    refused(&post(&trio.nodes[1], BIND, &bind(&code)).await, 400, CODE_BAD);
    let code = relay.code_to("c@x.example").await;
    let bound = post(&trio.nodes[2], BIND, &with_code("c@x.example", &code, &id)).await;
    assert_eq!(bound.status, StatusCode::OK, "a code outlives it as well: {bound:?}");
}

async fn of_two_players_with_one_code_at_two_nodes_one_gets_the_address(kept: Kept) {
    let relay = Relay::start().await;
    let trio = Trio::start_with(|_, options| kept.by(relay.used_by(options))).await;
    let (ann, bob) = (guest(&trio.nodes[0]).await, guest(&trio.nodes[1]).await);
    for round in 0..5 {
        let email = format!("race{round}@x.example");
        let sent = post(&trio.nodes[2], SEND, &to_bind(&email, &ann)).await;
        assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
        let code = relay.code_to(&email).await;
        let by = [
            (&trio.nodes[0], guest(&trio.nodes[0]).await),
            (&trio.nodes[1], guest(&trio.nodes[1]).await),
        ];
        let bodies = by.each_ref().map(|(_, id)| with_code(&email, &code, id));
        let both = tokio::join!(post(by[0].0, BIND, &bodies[0]), post(by[1].0, BIND, &bodies[1]));
        let both = [both.0, both.1];
        let won: Vec<usize> = (0..2).filter(|at| both[*at].status == StatusCode::OK).collect();
        let &[winner] = &won[..] else { panic!("round {round}: {both:?}") };
        refused(&both[1 - winner], 400, CODE_BAD);
        let path = format!("/api/v1/email/check-binding?email={email}");
        let owner = Http::get(&trio.nodes[2], &path).send().await.json();
        assert_eq!(owner["playerId"], json!(by[winner].1));
        // Who lost can't ask for it any more.
        let loser = to_bind(&email, &by[1 - winner].1);
        refused(&post(&trio.nodes[2], SEND, &loser).await, 400, "该邮箱已被其他玩家绑定");
    }
    // Neither of these two has ever used a code.
    for id in [ann, bob] {
        Dial::player(&trio.nodes[2], &id).open().await.settle().await;
    }
}

#[tokio::test]
async fn other_ways_to_send_mail_are_refused_with_what_to_do() {
    for provider in ["sendgrid", "ses"] {
        let output = Options::default().env("EMAIL_PROVIDER", provider).run_to_end().await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("EMAIL_PROVIDER") && text.contains("SMTP relays"), "{text}");
    }
    let output = Options::default().env("EMAIL_PROVIDER", "smtp").run_to_end().await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("SMTP_HOST is not set"));
}
