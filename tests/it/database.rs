//! Players in a PostgreSQL database of the operator's own: what is there is adopted, its constraints decide,
//! and its absence is no disaster.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::harness::cluster::Trio;
use crate::harness::postgres::{Database, PASSWORD};
use crate::harness::process::Options;
use crate::harness::team::schema;
use crate::harness::{Answer, Dial, Fighter, Http, Server, eventually, guest};

mod adoption;
mod away;
mod clashes;
mod tls;

const SEND: &str = "/api/v1/email/send-verification-code";
const BIND: &str = "/api/v1/email/bind";

async fn check(server: &Server, player: &str) -> Answer {
    Http::get(server, &format!("/api/v1/auth/check-player/{player}")).send().await
}

async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    Http::post(server, path).json(body).send().await
}

/// Asks for a code to bind this address, and reads it in the mail that the server writes to its log: the
/// table does not have it.
async fn code(server: &Server, database: &Database, email: &str, player: &str) -> String {
    let body = json!({"email": email, "playerId": player, "purpose": "bind"});
    let sent = post(server, SEND, &body).await;
    assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    let mail = || async { server.log().find(|line| line.contains(email)) };
    let mail = eventually("the mail in the log", mail, Option::is_some).await;
    let mail = mail.expect("it is there");
    let mut numbers = mail.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() == 6);
    let code = numbers.find(|word| !mail.contains(&format!("{word}Z"))).expect("six digits");
    let kept =
        database.sql(&format!("select code from email_verification_codes where email = '{email}'"));
    assert!(kept.len() == 6 && kept.starts_with('h'), "{kept}");
    code.to_owned()
}

fn with_code(email: &str, code: &str, player: &str) -> Value {
    json!({"email": email, "code": code, "playerId": player})
}

/// What a start that must fail has to say.
async fn refusal(options: Options) -> (Option<i32>, String) {
    let output = options.run_to_end().await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn supabases_api_alone_is_refused_with_where_to_find_the_connection_string() {
    let api = ("SUPABASE_URL", "https://project.supabase.co");
    let (code, text) = refusal(Server::with(api.0, api.1)).await;
    assert_eq!(code, Some(2), "{text}");
    for part in ["DATABASE_URL", "connection", "Session pooler", "[YOUR-PASSWORD]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // With the connection string it does not matter, and neither does its name.
    let database = Database::fresh().await;
    let options = Server::with(api.0, api.1).env("SUPABASE_DB_URL", &database.url);
    let server = options.start().await;
    let id = guest(&server).await;
    assert_eq!(database.sql("select id from players"), id);
}

#[tokio::test]
async fn a_connection_string_that_leads_nowhere_is_refused_without_showing_it() {
    for url in [
        format!("postgres://owner:{PASSWORD}@127.0.0.1:port/game"),
        format!("mysql://owner:{PASSWORD}@127.0.0.1/game"),
        format!("postgres://owner:{PASSWORD}@127.0.0.1/game?sslmode=allow"),
    ] {
        let (code, text) = refusal(Server::with("DATABASE_URL", &url)).await;
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("DATABASE_URL is (hidden)"), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
    // The address is right, the password is not.
    let database = Database::fresh().await;
    let url = database.url.replace(PASSWORD, "another-password");
    let (code, text) = refusal(Server::with("DATABASE_URL", &url)).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("can't connect to the database") && text.contains("28P01"), "{text}");
    assert!(!text.contains("another-password"), "{text}");
}

#[tokio::test]
async fn the_password_is_in_no_log_answer_or_help() {
    let database = Database::fresh().await;
    let server = database.used_by(Server::with("LOG_LEVEL", "trace")).start().await;
    let id = guest(&server).await;
    code(&server, &database, "ann@game.example", &id).await;
    for path in ["/health", "/cluster/status", "/metrics", "/ready"] {
        let answer = Http::get(&server, path).send().await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains(PASSWORD), "{path}: {text}");
    }
    assert_eq!(server.log().find(|line| line.contains(PASSWORD)), None);
    let help = database.used_by(Options::default()).arg("--help").run_to_end().await;
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.contains("DATABASE_URL") && !text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn players_outlive_the_cluster_that_made_them_and_play_with_those_of_another() {
    let database = Database::fresh().await;
    let id = {
        let server = database.used_by(Options::default()).start().await;
        guest(&server).await
    };
    let server = database.used_by(Options::default()).start().await;
    assert_eq!(check(&server, &id).await.status, StatusCode::OK);
    Dial::player(&server, &id).open().await.settle().await;
}

#[tokio::test]
async fn a_cluster_keeps_its_players_where_it_began_to() {
    let (one, other) = (Database::fresh().await, Database::fresh().await);
    let mut server = one.used_by(Options::default()).start().await;
    let id = guest(&server).await;

    // In another database; and in none, where the name is set to nothing.
    for (url, text) in [(&*other.url, "names another database"), ("", "set DATABASE_URL")] {
        server.terminate().await;
        server.change("DATABASE_URL", url);
        server.start_again();
        let log = server.log();
        assert_eq!(server.died().await.code(), Some(1));
        assert!(log.find(|line| line.contains(text)).is_some(), "{}", log.tail());
        server.change("DATABASE_URL", &one.url);
        server.restart().await;
        assert_eq!(check(&server, &id).await.status, StatusCode::OK);
    }

    assert_eq!(other.sql("select to_regclass('players') is null"), "t", "nothing was made there");

    // And the other way round.
    let mut server = Server::start().await;
    guest(&server).await;
    server.terminate().await;
    server.change("DATABASE_URL", &one.url);
    server.start_again();
    let log = server.log();
    assert_eq!(server.died().await.code(), Some(1));
    assert!(log.find(|line| line.contains("in its own records")).is_some(), "{}", log.tail());
    assert_eq!(one.sql("select count(*) from players"), "1");
}

#[tokio::test]
async fn a_node_with_other_settings_is_refused_by_the_others() {
    let database = Database::fresh().await;
    let mut trio = Trio::start_with(|_, options| database.used_by(options)).await;
    trio.nodes[2].terminate().await;
    trio.nodes[2].change("DATABASE_URL", "");
    trio.nodes[2].start_again();
    let log = trio.nodes[2].log();
    assert_eq!(trio.nodes[2].died().await.code(), Some(1));
    assert!(log.find(|line| line.contains("set DATABASE_URL")).is_some(), "{}", log.tail());
    guest(&trio.nodes[0]).await;
}

#[tokio::test]
async fn a_retried_request_is_done_once_through_whichever_node() {
    let database = Database::fresh().await;
    let trio = Trio::start_with(|_, options| database.used_by(options)).await;
    let create = |at: usize| {
        let request = Http::post(&trio.nodes[at], "/api/v1/auth/create-guest");
        request.header("idempotency-key", "once").send()
    };
    let (one, two, three) = tokio::join!(create(0), create(1), create(2));
    let id = one.json()["data"]["playerId"].clone();
    for answer in [two, three, create(1).await] {
        assert_eq!(answer.json()["data"]["playerId"], id);
    }
    assert_eq!(database.sql("select count(*) from players"), "1");

    let rename = |at: usize, key: &'static str, name: &str| {
        let request = Http::put(&trio.nodes[at], "/api/v1/auth/update-player-name");
        let body = json!({"playerId": id, "name": name});
        request.header("idempotency-key", key).json(&body).send()
    };
    assert_eq!(rename(0, "first", "Ann").await.status, StatusCode::OK);
    assert_eq!(rename(1, "second", "Bea").await.status, StatusCode::OK);
    let again = rename(2, "first", "Ann").await.json();
    assert_eq!(again["data"]["playerName"], "Ann", "the first time's answer");
    assert_eq!(database.sql("select name from players"), "Bea", "and nothing else");
}

#[tokio::test]
async fn matches_show_the_names_that_the_database_has() {
    let database = Database::fresh().await;
    let trio = Trio::start_with(|_, options| database.used_by(options)).await;
    let mut fighters = Vec::new();
    for (at, name) in [(0, "Ännchen"), (1, "Bob")] {
        let id = guest(&trio.nodes[at]).await;
        database.sql(&format!("update players set name = '{name}' where id = '{id}'"));
        let client = Dial::player(&trio.nodes[at], &id).session("tab").open().await;
        fighters.push(Fighter { team: schema(2, &id), session: "tab".to_owned(), id, client });
    }
    for fighter in &fighters {
        fighter.join().await;
    }
    for (fighter, opponent) in fighters.iter().zip(["Bob", "Ännchen"]) {
        let found = fighter.client.event("matchSuccess").await;
        assert_eq!(found.arg()["data"]["opponent"]["name"], opponent);
    }
}
