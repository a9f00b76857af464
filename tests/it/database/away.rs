//! A database that goes, and comes back.

use hyper::StatusCode;
use serde_json::json;

use super::{BIND, check, code, post, with_code};
use crate::harness::postgres::Postgres;
use crate::harness::process::Options;
use crate::harness::{Dial, Duel, Http, eventually, guest};

const UNAVAILABLE: &str = "DATABASE_UNAVAILABLE";

#[tokio::test]
async fn without_its_database_a_node_says_so_and_goes_on_when_it_is_back() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    let server = database.used_by(Options::default()).start().await;
    let (known, unknown) = (guest(&server).await, guest(&server).await);
    Dial::player(&server, &known).open().await.settle().await;
    let duel = Duel::started(&server).await;

    postgres.kill();
    let answer = check(&server, &known).await;
    answer.assert_error(503, UNAVAILABLE, Some("数据库暂时不可用，请稍后重试"));
    assert_eq!(answer.header("retry-after"), "1");
    Http::post(&server, "/api/v1/auth/create-guest").send().await.assert_error(
        503,
        UNAVAILABLE,
        None,
    );
    let rename = json!({"playerId": known, "name": "Ann"});
    let renamed = Http::put(&server, "/api/v1/auth/update-player-name").json(&rename).send().await;
    renamed.assert_error(503, UNAVAILABLE, None);
    let bound = Http::get(&server, "/api/v1/email/check-binding?email=a@x.co").send().await;
    bound.assert_error(503, UNAVAILABLE, None);
    // Who was seen a moment ago comes back, who was not has to wait.
    Dial::player(&server, &known).open().await.settle().await;
    let Err(refused) = Dial::player(&server, &unknown).try_open().await else { panic!("let in") };
    assert_eq!(refused, "AUTHENTICATION_ERROR");
    // And whoever plays, plays.
    duel.play(7, -1, false).await;

    postgres.start_again().await;
    let found = || async { check(&server, &known).await.status };
    eventually("the player", found, |status| *status == StatusCode::OK).await;
    Dial::player(&server, &unknown).open().await.settle().await;
    assert!(
        server.says("the database does not answer") && server.says("the database answers again")
    );
}

#[tokio::test]
async fn a_node_that_knows_its_database_starts_without_it() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    let mut server = database.used_by(Options::default()).start().await;
    let id = guest(&server).await;
    server.kill9();
    postgres.kill();
    server.restart().await;
    check(&server, &id).await.assert_error(503, UNAVAILABLE, None);
    postgres.start_again().await;
    let found = || async { check(&server, &id).await.status };
    eventually("the player", found, |status| *status == StatusCode::OK).await;
}

#[tokio::test]
async fn a_new_cluster_waits_for_its_database() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    postgres.kill();
    let mut server = database.used_by(Options::default()).launch();
    let waits = || async { server.says("waiting for the database") };
    eventually("a line that it waits", waits, |waits| *waits).await;
    postgres.start_again().await;
    server.until_ready().await;
    guest(&server).await;
}

#[tokio::test]
async fn a_node_that_dies_between_the_code_and_the_address_has_used_neither() {
    let postgres = Postgres::start().await;
    let database = postgres.database();
    let mut server =
        database.used_by(Options::default()).env("FAILPOINTS", "code-used=1*pause").start().await;
    let id = guest(&server).await;
    let code = code(&server, &database, "ann@game.example", &id).await;
    let bind = with_code("ann@game.example", &code, &id);
    let binding = tokio::spawn(Http::post(&server, BIND).json(&bind).exchange());
    let between = "select count(*) from pg_stat_activity \
        where datname = current_database() and state = 'idle in transaction'";
    let reached = || async { database.sql(between) };
    eventually("the moment between", reached, |count| count == "1").await;
    server.kill9();
    assert!(binding.await.expect("it does not panic").is_err(), "nobody answers");
    let used = "select count(*) from email_verification_codes where used_at is not null";
    assert_eq!(database.sql(used), "0");
    assert_eq!(database.sql("select count(*) from players where is_registered"), "0");

    server.change("FAILPOINTS", "");
    server.restart().await;
    let bound = post(&server, BIND, &bind).await;
    assert_eq!(bound.status, StatusCode::OK, "{bound:?}");
    assert_eq!(database.sql(used), "1");
}
