//! The document of the REST API, held against what is really answered: by each described route, with every
//! key and every code that was heard.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

mod document;

use document::{Asked, Document, bare, by, said, with};
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::relay::Relay;
use crate::harness::{Duel, Http, Server, eventually, guest};
use crate::reports::surrender;
use crate::tokens::{Holder, wanting_tokens};

const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAA";
const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// One server and all that is asked of it: each route once with success, and with what it refuses.
struct Round<'a> {
    document: &'a Document,
    server: &'a Server,
    relay: &'a Relay,
    ann: Holder,
    bob: Holder,
}

impl Round<'_> {
    async fn is(&self, status: u16, method: Method, path: &str, asked: Asked<'_>) -> Value {
        let answer = self.document.ask(self.server, method, path, asked).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    async fn of_the_node(&self) {
        let assign = "/api/v1/cluster/assign";
        for path in ["/health", "/ready", "/cluster/status", "/metrics", assign] {
            self.is(200, GET, path, bare()).await;
        }
    }

    async fn of_players(&self) {
        let create = "/api/v1/auth/create-guest";
        let key = |key| Asked { header: Some(("idempotency-key", key)), ..bare() };
        self.is(200, POST, create, key("once")).await;
        self.is(400, POST, create, key("not a key")).await;
        self.is(400, POST, create, said("{")).await;
        let packed = Asked { header: Some(("content-encoding", "gzip")), ..said("{}") };
        self.is(415, POST, create, packed).await;
        let check = |id: &str| format!("/api/v1/auth/check-player/{id}");
        self.is(200, GET, &check(&self.ann.id), bare()).await;
        self.is(404, GET, &check(NOBODY), bare()).await;
        self.is(400, GET, &check("%FF"), bare()).await;

        let rename = "/api/v1/auth/update-player-name";
        let form = |id: &str, name: &str| with(&json!({"playerId": id, "name": name}));
        let ann = || Asked { token: Some(&self.ann.access), ..form(&self.ann.id, "Ann") };
        self.is(200, PUT, rename, ann()).await;
        let twice = Asked { header: Some(("idempotency-key", "")), ..ann() };
        self.is(400, PUT, rename, twice).await;
        self.is(400, PUT, rename, bare()).await;
        let unnamed = Asked { body: form(&self.ann.id, "").body, ..by(&self.ann.access) };
        self.is(400, PUT, rename, unnamed).await;
        self.is(401, PUT, rename, form(&self.ann.id, "Eve")).await;
        self.is(401, PUT, rename, Asked { token: Some("x"), ..ann() }).await;
        self.is(403, PUT, rename, Asked { token: Some(&self.bob.access), ..ann() }).await;
        self.is(404, PUT, rename, form(NOBODY, "Eve")).await;
    }

    async fn of_sessions(&self) {
        let ann = &self.ann;
        for root in ["/api/v1/sessions/sessions", "/api/v1/sessions"] {
            let all = format!("{root}/{}", ann.id);
            let tabs = (
                ann.dial(self.server).session("one").open().await,
                ann.dial(self.server).session("two").open().await,
            );
            tabs.0.settle().await;
            tabs.1.settle().await;
            let listed = self.is(200, GET, &all, by(&ann.access)).await;
            assert_eq!(listed["data"]["sessionCount"], 2, "{listed}");
            self.is(401, GET, &all, bare()).await;
            self.is(403, GET, &all, by(&self.bob.access)).await;
            self.is(400, GET, &format!("{root}/%FF"), by(&ann.access)).await;
            self.is(200, DELETE, &format!("{all}/one"), by(&ann.access)).await;
            self.is(404, DELETE, &format!("{all}/one"), by(&ann.access)).await;
            self.is(400, DELETE, &format!("{all}/{}", "x".repeat(65)), by(&ann.access)).await;
            self.is(200, DELETE, &all, by(&ann.access)).await;
            self.is(404, DELETE, &all, by(&ann.access)).await;
            for (method, path) in [(GET, "stats"), (POST, "cleanup")] {
                let path = format!("{root}/{path}");
                self.is(401, method.clone(), &path, bare()).await;
                self.is(403, method.clone(), &path, by(&self.bob.access)).await;
            }
        }
    }

    /// Of a server where guests need no token.
    async fn of_reports(&self) {
        let server = Server::start().await;
        let is = async |status: u16, path: &str| {
            let answer = self.document.ask(&server, GET, &format!("/api/v1{path}"), bare()).await;
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            answer.json()
        };
        let none = is(200, "/battles").await;
        assert_eq!(none["total"], 0);
        let duel = Duel::started(&server).await;
        is(200, "/battles").await;
        let id = &duel.a.id;
        is(200, &format!("/players/{id}")).await;
        is(404, &format!("/players/{id}/stats")).await;
        surrender(&duel.a, &duel.b).await;
        let battles = is(200, &format!("/players/{id}/battles")).await;
        let battle = battles["data"][0]["id"].as_str().unwrap();
        is(200, &format!("/battles/{battle}")).await;
        is(200, "/battles?limit=1&offset=0").await;
        is(200, &format!("/players/{id}/stats")).await;
        is(200, "/players?search=%E6%B8%B8").await;
        is(200, "/statistics").await;
        is(404, "/battles/x").await;
        is(404, "/players/x").await;
        for path in ["/battles?limit=101", "/players/x/battles?offset=-1", "/players"] {
            is(400, path).await;
        }
    }

    async fn of_admins(&self, token: &str) {
        for root in ["/api/v1/sessions/sessions", "/api/v1/sessions"] {
            self.is(200, GET, &format!("{root}/stats"), by(token)).await;
            self.is(200, POST, &format!("{root}/cleanup"), by(token)).await;
        }
        let root = "/api/v1/cluster";
        let by_admin = |body: Value| Asked { token: Some(token), ..with(&body) };
        let announce = format!("{root}/announce");
        for to in [json!("all"), json!({"player": NOBODY}), json!({"room": NOBODY})] {
            let news = json!({"to": to, "event": "announcement", "data": {"text": "hello"}});
            self.is(200, POST, &announce, by_admin(news)).await;
        }
        self.is(403, POST, &announce, by_admin(json!({"to": "all", "event": "x"}))).await;
        self.is(400, POST, &announce, by_admin(json!({"to": "x", "event": "x"}))).await;
        self.is(400, POST, &announce, Asked { token: Some(token), ..said("{") }).await;
        let disconnect = format!("{root}/disconnect");
        self.is(200, POST, &disconnect, by_admin(json!({"playerId": NOBODY}))).await;
        self.is(400, POST, &disconnect, by_admin(json!({"playerId": "x"}))).await;
        let counts = self.is(200, GET, &format!("{root}/sockets"), by(token)).await;
        assert_eq!(counts["data"]["complete"], true, "{counts}");
        for (method, path) in [(POST, "announce"), (POST, "disconnect"), (GET, "sockets")] {
            let path = format!("{root}/{path}");
            self.is(401, method.clone(), &path, bare()).await;
            self.is(403, method, &path, by(&self.bob.access)).await;
        }
    }

    /// Gives the token of an admin.
    async fn of_mail(&self) -> String {
        let (ann, email) = (&self.ann, "ann@game.example");
        let send = "/api/v1/email/send-verification-code";
        let by_ann = |body: Value| Asked { token: Some(&ann.access), ..with(&body) };
        let wanted = json!({"email": email, "playerId": ann.id, "purpose": "bind"});
        self.is(200, POST, send, by_ann(wanted.clone())).await;
        self.is(429, POST, send, by_ann(wanted.clone())).await;
        self.is(401, POST, send, with(&wanted)).await;
        let eve = Asked { token: Some(&self.bob.access), ..with(&wanted) };
        self.is(403, POST, send, eve).await;
        self.is(400, POST, send, with(&json!({"email": email, "purpose": "bind"}))).await;
        self.is(400, POST, send, said("{")).await;
        let unbound = json!({"email": "nobody@game.example", "purpose": "recover"});
        self.is(404, POST, send, with(&unbound)).await;
        let nobody = json!({"email": email, "playerId": NOBODY, "purpose": "bind"});
        self.is(404, POST, send, with(&nobody)).await;

        let code = self.relay.code_to(email).await;
        let verify = "/api/v1/email/verify-code";
        let asked = |code: &str| {
            by_ann(json!({"email": email, "playerId": ann.id, "code": code, "purpose": "bind"}))
        };
        self.is(200, POST, verify, asked(&code)).await;
        self.is(400, POST, verify, asked("000000")).await;
        self.is(400, POST, verify, bare()).await;
        let bind = "/api/v1/email/bind";
        let asked = |code: &str| by_ann(json!({"email": email, "playerId": ann.id, "code": code}));
        self.is(400, POST, bind, asked("000000")).await;
        self.is(400, POST, bind, bare()).await;
        self.is(200, POST, bind, asked(&code)).await;

        let check = "/api/v1/email/check-binding?email=";
        self.is(200, GET, &format!("{check}{email}"), bare()).await;
        self.is(200, GET, &format!("{check}nobody@game.example"), bare()).await;
        self.is(400, GET, &format!("{check}nobody"), bare()).await;

        self.is(200, POST, send, with(&json!({"email": email, "purpose": "recover"}))).await;
        let mailed = || async { (self.relay.count(), self.relay.code_to(email).await) };
        let (_, second) = eventually("the second mail", mailed, |(count, _)| *count == 2).await;
        let recover = "/api/v1/email/recover";
        let asked = |code: &str| with(&json!({"email": email, "code": code}));
        self.is(400, POST, recover, asked("000000")).await;
        self.is(400, POST, recover, said("{")).await;
        let recovered = self.is(200, POST, recover, asked(&second)).await;
        recovered["auth"]["accessToken"].as_str().unwrap().to_owned()
    }

    async fn of_unbinding(&self, token: &str) {
        let unbind = "/api/v1/email/unbind";
        let form = |holder: &Holder| with(&json!({"playerId": holder.id}));
        let guest = Asked { token: Some(&self.bob.access), ..form(&self.bob) };
        self.is(403, POST, unbind, guest).await;
        self.is(400, POST, unbind, bare()).await;
        self.is(401, POST, unbind, form(&self.ann)).await;
        self.is(200, POST, unbind, Asked { token: Some(token), ..form(&self.ann) }).await;
    }

    async fn of_tokens(&self) {
        let (verify, bob) = ("/api/v1/auth/verify", &self.bob);
        self.is(200, GET, verify, by(&bob.access)).await;
        self.is(401, GET, verify, bare()).await;
        self.is(401, GET, verify, by("x")).await;
        let refresh = "/api/v1/auth/refresh";
        let form = |token: &str| with(&json!({"refreshToken": token}));
        self.is(400, POST, refresh, form("")).await;
        self.is(401, POST, refresh, form("x")).await;
        let pair = self.is(200, POST, refresh, form(&bob.refresh)).await;
        let token = pair["data"]["accessToken"].as_str().unwrap();
        let logout = "/api/v1/auth/logout";
        self.is(401, POST, logout, bare()).await;
        self.is(200, POST, logout, by(token)).await;
        self.is(401, POST, logout, by(token)).await;
    }
}

#[tokio::test]
async fn all_that_is_answered_is_described() {
    let relay = Relay::start().await;
    let options = wanting_tokens(relay.used_by(Options::default()));
    let server = options
        .env("CLUSTER_ENABLED", "true")
        .env("ADMIN_EMAILS", "ann@game.example")
        .start()
        .await;
    let document = Document::of(&server).await;
    let (ann, bob) = (Holder::of(&server).await, Holder::of(&server).await);
    let round = Round { document: &document, server: &server, relay: &relay, ann, bob };
    round.of_the_node().await;
    round.of_players().await;
    round.of_sessions().await;
    round.of_reports().await;
    let token = round.of_mail().await;
    round.of_admins(&token).await;
    round.of_unbinding(&token).await;
    round.of_tokens().await;
    assert_eq!(document.heard(200), document.operations(), "each was asked with success");
}

#[tokio::test]
async fn what_is_answered_out_of_cluster_mode_is_described() {
    let server = Server::with("CLUSTER_ENABLED", "false")
        .env("RATE_LIMIT_AUTH", "5")
        .env("RATE_LIMIT_EMAIL", "2")
        .env("RATE_LIMIT_ASSIGN", "1")
        .start()
        .await;
    let document = Document::of(&server).await;
    for path in ["/health", "/cluster/status"] {
        document.ask(&server, GET, path, bare()).await;
    }
    document.ask(&server, POST, "/api/v1/auth/create-guest", bare()).await;
    let operations = document.operations();
    let roots = ["/api/v1/auth", "/api/v1/email", "/api/v1/cluster/assign"];
    let limited = operations
        .iter()
        .filter_map(|named| named.split_once(' '))
        .filter(|(_, path)| roots.iter().any(|root| path.starts_with(root)));
    let limited: Vec<_> = limited.collect();
    // The first round spends what is allowed; whatever else is wrong with a request counts as well.
    for round in 0..2 {
        for (method, path) in &limited {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = path.replace("{playerId}", NOBODY);
            let answer = document.ask(&server, method, &path, bare()).await;
            assert!(round == 0 || answer.status == 429, "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_a_node_without_a_majority_answers_is_described() {
    let mut trio = Trio::start().await;
    let document = Document::of(&trio.nodes[0]).await;
    let id = guest(&trio.nodes[0]).await;
    trio.nodes[1].kill9();
    trio.nodes[2].kill9();
    let server = &trio.nodes[0];
    let create = || document.ask(server, POST, "/api/v1/auth/create-guest", bare());
    eventually("no new guests", create, |it| it.status == 503).await;
    for path in ["/health", "/cluster/status"] {
        document.ask(server, GET, path, bare()).await;
    }
    let assign = || document.ask(server, GET, "/api/v1/cluster/assign", bare());
    eventually("no instance", assign, |it| it.status == 503).await;
    let rename = with(&json!({"playerId": id, "name": "Ann"}));
    let rename = document.ask(server, PUT, "/api/v1/auth/update-player-name", rename).await;
    assert_eq!(rename.status, 503);
}

#[tokio::test]
#[should_panic(expected = "Additional properties are not allowed ('playerName' was unexpected)")]
async fn a_key_that_is_not_described_is_noticed() {
    let server = Server::start().await;
    let mut document = Document::of(&server).await;
    let made = &mut document.all["components"]["schemas"]["Success_Guest"];
    let guest = &mut made["properties"]["data"];
    guest["properties"].as_object_mut().unwrap().remove("playerName").unwrap();
    guest["required"] = json!([]);
    document.ask(&server, POST, "/api/v1/auth/create-guest", bare()).await;
}

#[tokio::test]
async fn each_route_described_is_served_and_no_other_method_of_it() {
    let server = Server::start().await;
    let document = Document::of(&server).await;
    let paths = document.all["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{paths:?}");
    for (path, item) in paths {
        for method in [GET, POST, PUT, DELETE, Method::PATCH] {
            let described = item.get(method.as_str().to_lowercase()).is_some();
            let path = path.replace(['{', '}'], "");
            let answer = Http::new(&server, method.clone(), &path).send().await;
            let unknown = answer.body.starts_with(format!("Cannot {method} {path}").as_bytes());
            assert_eq!(described, !unknown, "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_page_and_all_that_it_is_made_of_come_from_here() {
    let server = Server::start().await;
    let moved = Http::get(&server, "/api-docs").send().await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/api-docs/"));
    let page = Http::get(&server, "/api-docs/").send().await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("http"), "{policy}");
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let named = page.split(['"', '\'']).skip(1).step_by(2);
    let assets: Vec<_> =
        named.filter(|name| name.contains(".js") || name.contains(".css")).collect();
    assert!(assets.len() >= 4, "{page}");
    assert!(!page.contains("//"), "{page}");
    for name in assets {
        let name = name.trim_start_matches("./");
        let asset = Http::get(&server, &format!("/api-docs/{name}")).send().await;
        assert_eq!(asset.status, 200, "{name}");
        let kind = if name.ends_with(".js") { "text/javascript" } else { "text/css" };
        assert_eq!(asset.header("content-type"), kind, "{name}");
        assert!(!asset.body.is_empty(), "{name}");
    }
    let start = Http::get(&server, "/api-docs/swagger-initializer.js").send().await;
    let start = String::from_utf8(start.body.to_vec()).unwrap();
    assert!(start.contains("\"/api-docs.json\"") && !start.contains("://"), "{start}");
    assert!(start.contains("\"validatorUrl\": \"none\""), "{start}");
    let nothing = Http::get(&server, "/api-docs/nothing.js").send().await;
    assert_eq!(
        (nothing.status.as_u16(), &nothing.body[..]),
        (404, &b"Cannot GET /api-docs/nothing.js"[..])
    );
}
