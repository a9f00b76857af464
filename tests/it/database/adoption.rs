//! Tables that are there already.

use hyper::StatusCode;
use serde_json::json;

use super::{BIND, check, code, post, refusal, with_code};
use crate::harness::cluster::Trio;
use crate::harness::postgres::Database;
use crate::harness::process::Options;
use crate::harness::{Dial, Http, guest, jwt};

/// As the existing server has them: other names of constraints, a trigger, rows, and columns of its own.
const EXISTING: &str = include_str!("existing.sql");
const ANN: &str = "V1StGXR8_Z5jdHi6B-myT";
const BOB: &str = "0aB1cD2eF3gH4iJ5kL6mN";

/// Everything in the existing tables.
fn rows(database: &Database) -> String {
    let tables = ["players", "player_stats", "battle_records", "email_verification_codes"];
    tables.map(|table| database.sql(&format!("select * from {table} order by 1"))).join("\n")
}

#[tokio::test]
async fn an_existing_schema_is_adopted_with_all_its_rows() {
    let database = Database::fresh().await;
    database.sql(EXISTING);
    let before = rows(&database);
    assert!(before.contains(ANN) && before.contains("ann@game.example"), "{before}");
    let functions = "select count(*) from pg_proc where proname = 'search_players'";
    let server = database.used_by(Options::default()).env("JWT_SECRET", jwt::SECRET).start().await;
    assert_eq!(rows(&database), before);
    assert_eq!(database.sql(functions), "1", "its own function is kept");
    assert_eq!(database.sql("select search_players('x')"), "existing", "as it was");

    // Its players are ours: by id, by address, with their tokens, and by the code of a moment before.
    let ann = check(&server, ANN).await.json();
    assert_eq!(
        ann["data"],
        json!({
            "playerId": ANN, "playerName": "Ann", "isRegistered": true, "requiresAuth": true,
            "email": "ann@game.example", "createdAt": ann["data"]["createdAt"],
        })
    );
    assert_eq!(ann["data"]["createdAt"], "2025-06-20T08:00:00.000+00:00");
    let token = jwt::access(ANN, "AAAAAAAAAAAAAAAAAAAAA");
    Dial::player(&server, ANN).token(&token).open().await.settle().await;
    let bound = Http::get(&server, "/api/v1/email/check-binding?email=ann@game.example").send();
    assert_eq!(bound.await.json(), json!({"bound": true, "playerId": ANN, "playerName": "Ann"}));
    let bob = post(&server, BIND, &with_code("bob@game.example", "123456", BOB)).await;
    assert_eq!(bob.status, StatusCode::OK, "{bob:?}");
    assert_eq!(bob.json()["player"]["created_at"], "2025-06-21T08:00:00+00:00");
    assert_eq!(bob.json()["player"]["metadata"], json!({"skin": "red"}));
    let kept = "select level, is_registered, metadata ->> 'skin' from players where id = ";
    assert_eq!(database.sql(&format!("{kept}'{BOB}'")), "7|t|red");

    // And new ones are rows like the others.
    let id = guest(&server).await;
    assert_eq!(database.sql(&format!("{kept}'{id}'")), "1|f|");
}

#[tokio::test]
async fn a_table_that_lacks_columns_gets_them() {
    let database = Database::fresh().await;
    database.sql("create table players (id text primary key, name text not null)");
    database.sql(&format!("insert into players values ('{ANN}', 'Ann')"));
    let server = database.used_by(Options::default()).start().await;
    assert_eq!(check(&server, ANN).await.json()["data"]["playerName"], "Ann");
    let code = code(&server, &database, "ann@game.example", ANN).await;
    let bound = post(&server, BIND, &with_code("ann@game.example", &code, ANN)).await;
    assert_eq!(bound.status, StatusCode::OK, "{bound:?}");
    let other = guest(&server).await;
    let taken = json!({"email": "ann@game.example", "playerId": other, "purpose": "bind"});
    assert_eq!(post(&server, super::SEND, &taken).await.status, 400);
}

#[tokio::test]
async fn two_players_with_one_address_are_told_to_the_operator_and_not_touched() {
    let database = Database::fresh().await;
    database.sql("create table players (id text primary key, name text not null, email text)");
    database.sql("insert into players values ('a', 'Ann', 'x@x.co'), ('b', 'Bob', 'x@x.co')");
    let (code, text) = refusal(database.used_by(Options::default())).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("can't make the tables") && text.contains("23505"), "{text}");
    assert_eq!(database.sql("select * from players order by id"), "a|Ann|x@x.co\nb|Bob|x@x.co");
    assert_eq!(database.sql("select to_regclass('battle_records') is null"), "t");
}

#[tokio::test]
async fn three_nodes_make_the_tables_at_once_and_a_newer_programs_are_left_alone() {
    let database = Database::fresh().await;
    let mut trio = Trio::start_with(|_, options| database.used_by(options)).await;
    let steps = "select version, success from serverv2.migrations order by version";
    assert_eq!(database.sql(steps), "1|t\n2|t");
    assert_eq!(database.sql("select count(*) from serverv2.identity"), "1");
    let id = guest(&trio.nodes[0]).await;
    for node in &trio.nodes {
        assert_eq!(check(node, &id).await.status, StatusCode::OK);
    }

    database.sql("insert into serverv2.migrations values (99, 'later', now(), true, '', 0)");
    trio.nodes[1].terminate().await;
    trio.nodes[1].start_again();
    let log = trio.nodes[1].log();
    assert_eq!(trio.nodes[1].died().await.code(), Some(1));
    assert!(log.find(|line| line.contains("a newer version")).is_some(), "{}", log.tail());
}

#[tokio::test]
async fn tables_of_ours_hold_what_the_contract_wants_of_them() {
    let database = Database::fresh().await;
    let server = database.used_by(Options::default()).start().await;
    let (one, other) = (guest(&server).await, guest(&server).await);
    let players = |columns: &str, values: &str| {
        format!("insert into players (id, {columns}) values ('x', {values})")
    };
    let battle = |columns: &str, values: &str| {
        format!(
            "insert into battle_records (player_a_id, player_a_name, player_b_id, player_b_name, \
             battle_result, end_reason, {columns}) values ('{one}', 'A', '{other}', 'B', {values})"
        )
    };
    let refused = [
        players("name", "''"),
        players("name", "repeat('x', 51)"),
        players("name, email", "'x', 'a@x.co'"),
        players("name, is_registered", "'x', true"),
        players("name, email, email_verified, email_bound_at, is_registered", "'x', 'no', true, now(), true"),
        battle("winner_id", "'draw', 'surrender', 'x'"),
        battle("winner_id", "'lost', 'surrender', null"),
        battle("winner_id", "'draw', 'total_time_timeout', null"),
        battle("ended_at", "'draw', 'timeout', now()"),
        battle("ended_at, duration_seconds", "'draw', 'timeout', now(), 0"),
        format!("insert into player_stats (player_id, total_battles, wins) values ('{one}', 2, 1)"),
        "insert into email_verification_codes (email, code, player_id, purpose) values ('a', '12345', '', 'bind')".into(),
        "insert into email_verification_codes (email, code, player_id, purpose) values ('a', '123456', '', 'x')".into(),
    ];
    for sql in refused {
        let check = format!(
            "do $$ begin {sql}; raise exception 'was taken'; \
             exception when check_violation or foreign_key_violation then null; end $$"
        );
        database.sql(&check);
    }
    database.sql(&battle(
        "ended_at, duration_seconds, winner_id",
        &format!("'player_b_wins', 'surrender', now(), 9, '{other}'"),
    ));
    let found = format!("select opponent_id, is_winner from get_player_battle_records('{other}')");
    assert_eq!(database.sql(&found), format!("{one}|t"));
    assert_eq!(database.sql("select * from get_battle_statistics()"), "1|2|1|1|9.00");
}
