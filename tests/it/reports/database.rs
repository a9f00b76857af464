//! Reports in a database: what is away when a battle ends, who dies between the database and the log, and
//! what was there before.

use serde_json::{Value, json};

use super::deaths::assert_reported_once;
use super::{assert_whole_story, counts, get, last_report, only_report, stats, surrender};
use crate::harness::cluster::Trio;
use crate::harness::postgres::{Database, Postgres};
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server, eventually};
use crate::metrics::scrape;

/// Dies with the report written, and the log not knowing.
const WRITTEN: (&str, &str) = ("FAILPOINTS", "report-written=1*pause");
const ANN: &str = "V1StGXR8_Z5jdHi6B-myT";
const BOB: &str = "0aB1cD2eF3gH4iJ5kL6mN";
const FOUGHT: &str = "2f1c9d3e-0000-4000-8000-000000000002";

async fn gauge(server: &Server, name: &str) -> u64 {
    scrape(server).await.sum(name, &[]) as u64
}

/// Ended battles that are not written yet, as a node knows.
async fn waiting(server: &Server) -> u64 {
    gauge(server, "serverv2_cluster_battle_reports_pending").await
}

async fn until_written(server: &Server) {
    let waiting = || waiting(server);
    eventually("nothing that waits", waiting, |waiting| *waiting == 0).await;
}

/// Every report is there once, closed, and counted once for each of its players.
fn assert_rows(database: &Database, battles: usize) {
    let closed = "select count(*) from battle_records where ended_at is not null";
    assert_eq!(database.sql(closed), battles.to_string());
    assert_eq!(database.sql("select count(*) from battle_records"), battles.to_string());
    let counted = "select sum(total_battles) from player_stats";
    assert_eq!(database.sql(counted), (2 * battles).to_string());
}

#[tokio::test]
async fn what_ends_while_the_database_is_away_is_written_when_it_is_back() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    let server = database.used_by(Options::default()).start().await;
    let begun = Duel::started(&server).await;
    let id = only_report(&server, &begun.a.id).await["id"].as_str().expect("an id").to_owned();
    // These begin and end without it.
    let (a, b) = (Fighter::new(&server, 0).await, Fighter::new(&server, 1).await);

    postgres.kill();
    surrender(&begun.a, &begun.b).await;
    let whole = Duel::pair(a, b).await;
    whole.ready().await;
    surrender(&whole.a, &whole.b).await;
    for path in [
        "/battles".to_owned(),
        format!("/battles/{id}"),
        format!("/players/{}", begun.a.id),
        format!("/players/{}/battles", begun.a.id),
        format!("/players/{}/stats", begun.a.id),
        "/players?search=a".to_owned(),
        "/statistics".to_owned(),
    ] {
        let answer = Http::get(&server, &format!("/api/v1{path}")).send().await;
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
        let body = answer.json();
        assert_eq!(body["code"], "DATABASE_UNAVAILABLE", "{path}: {body}");
        assert!(body["error"].is_string() && body["message"].is_string(), "{body}");
    }
    assert_eq!(waiting(&server).await, 2, "they wait in the log");
    let reachable = || async {
        let health = Http::get(&server, "/health").send().await.json();
        health["cluster"]["details"]["database"]["reachable"].clone()
    };
    assert_eq!(gauge(&server, "serverv2_database_away").await, 1);
    assert_eq!(reachable().await, json!(false));

    postgres.start_again().await;
    eventually("the database", reachable, |reachable| *reachable == json!(true)).await;
    until_written(&server).await;
    assert_eq!(gauge(&server, "serverv2_database_away").await, 0);
    for duel in [&begun, &whole] {
        assert_reported_alike(&server, duel).await;
    }
    assert_rows(&database, 2);
}

async fn assert_reported_alike(server: &Server, duel: &Duel) {
    let report = last_report(server, &duel.a.id).await;
    assert_whole_story(&report);
    assert_eq!(report["winner_id"], json!(duel.b.id));
    assert_eq!(report["metadata"], json!({"battleId": duel.room}));
    only_report(server, &duel.a.id).await;
    assert_eq!(counts(&stats(server, &duel.a.id).await), [1, 0, 1, 0].map(Some));
    assert_eq!(counts(&stats(server, &duel.b.id).await), [1, 1, 0, 0].map(Some));
}

#[tokio::test]
async fn reports_outlive_the_node_that_waits_for_the_database() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    let mut server = database.used_by(Options::default()).start().await;
    let duel = Duel::started(&server).await;
    postgres.kill();
    surrender(&duel.a, &duel.b).await;
    server.kill9();
    server.restart().await;
    assert_eq!(waiting(&server).await, 1);
    postgres.start_again().await;
    until_written(&server).await;
    assert_reported_alike(&server, &duel).await;
    assert_rows(&database, 1);
}

/// Waits until the database has this many ended battles: whoever wrote the last one stands still behind it.
async fn until_in_database(database: &Database, battles: &str) {
    let ended = "select count(*) from battle_records where ended_at is not null";
    let ended = || async { database.sql(ended) };
    eventually("the report in the database", ended, |ended| ended == battles).await;
}

#[tokio::test]
async fn a_node_that_dies_before_the_log_knows_writes_and_counts_nothing_twice() {
    let database = Database::fresh().await;
    let mut server = database.used_by(Options::default()).env(WRITTEN.0, WRITTEN.1).start().await;
    let duel = Duel::started(&server).await;
    surrender(&duel.a, &duel.b).await;
    until_in_database(&database, "1").await;
    let row = database.sql("select * from battle_records");
    assert_eq!(waiting(&server).await, 1);
    server.kill9();
    server.change(WRITTEN.0, "");
    server.restart().await;
    until_written(&server).await;
    assert_eq!(database.sql("select * from battle_records"), row, "it is not touched again");
    assert_rows(&database, 1);
    assert_reported_once(&[server], &duel.a.id, &duel.b.id).await;
}

#[tokio::test]
async fn another_node_goes_on_where_a_home_died_with_its_report_written() {
    let database = Database::fresh().await;
    let start = Trio::start_with(|at, options: Options| {
        let options = database.used_by(options).env("NODE_GONE_AFTER_MS", "1500");
        if at == 0 { options.env(WRITTEN.0, WRITTEN.1) } else { options }
    });
    let mut trio = start.await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    surrender(&duel.a, &duel.b).await;
    until_in_database(&database, "1").await;
    trio.nodes[0].kill9();
    for node in &trio.nodes[1..] {
        until_written(node).await;
    }
    assert_rows(&database, 1);
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
    trio.nodes[0].change(WRITTEN.0, "");
    trio.nodes[0].restart().await;
    until_written(&trio.nodes[0]).await;
    assert_rows(&database, 1);
}

#[tokio::test]
async fn a_report_that_the_database_refuses_keeps_no_other_back_and_is_written_in_the_end() {
    let database = Database::fresh().await;
    let mut server = database.used_by(Options::default()).start().await;
    let refused = Duel::started(&server).await;
    database.sql(&format!(
        "alter table battle_records add constraint whim check (winner_id <> '{}')",
        refused.b.id
    ));
    surrender(&refused.a, &refused.b).await;
    let other = Duel::started(&server).await;
    surrender(&other.a, &other.b).await;
    assert_reported_alike(&server, &other).await;
    let says = || async { server.says("constraint whim") };
    eventually("a line that says why", says, |says| *says).await;
    assert_eq!(waiting(&server).await, 1);
    database.sql("alter table battle_records drop constraint whim");
    // A new process offers it at once.
    server.kill9();
    server.restart().await;
    until_written(&server).await;
    assert_reported_alike(&server, &refused).await;
    assert_rows(&database, 2);
}

#[tokio::test]
async fn rows_of_an_adopted_database_are_shown_as_they_are() {
    let database = Database::fresh().await;
    database.sql(include_str!("../database/existing.sql"));
    database.sql(&format!(
        "insert into battle_records (id, player_a_id, player_a_name, player_b_id, player_b_name, started_at, \
         ended_at, duration_seconds, winner_id, battle_result, end_reason, battle_messages, metadata, created_at) \
         values ('{FOUGHT}', '{BOB}', 'Bob', '{ANN}', 'Ann', date_trunc('second', now()) - interval '200 s', \
         date_trunc('second', now()), 200, '{ANN}', 'player_b_wins', 'all_pet_fainted', \
         '[{{\"type\": \"BATTLE_END\"}}]', '{{\"battleId\": \"r\", \"ladder\": 3}}', '2025-06-20 08:00Z')"
    ));
    let server = database.used_by(Options::default()).start().await;
    let report = get(&server, &format!("/battles/{FOUGHT}")).await;
    let right = json!({
        "id": FOUGHT, "player_a_id": BOB, "player_a_name": "Bob", "player_b_id": ANN,
        "player_b_name": "Ann", "duration_seconds": 200, "winner_id": ANN,
        "battle_result": "player_b_wins", "end_reason": "all_pet_fainted",
        "battle_messages": [{"type": "BATTLE_END"}], "final_state": {},
        "metadata": {"battleId": "r", "ladder": 3}, "created_at": "2025-06-20T08:00:00+00:00",
        "started_at": report["started_at"], "ended_at": report["ended_at"],
    });
    assert_eq!(report, right);
    let of_ann = get(&server, &format!("/players/{ANN}/battles")).await;
    assert_eq!((&of_ann["total"], &of_ann["has_more"]), (&json!(2), &json!(false)));
    let row = of_ann["data"].as_array().expect("a list").iter().find(|row| row["id"] == FOUGHT);
    let row = row.expect("it is in the list");
    assert_eq!((&row["opponent_id"], &row["is_winner"]), (&json!(BOB), &json!(true)));
    assert_eq!(counts(&stats(&server, ANN).await), [1, 1, 0, 0].map(Some));
    assert_eq!(stats(&server, BOB).await, Value::Null);
    let found = get(&server, "/players?search=AN").await;
    let ann = json!({"id": ANN, "name": "Ann", "total_battles": 1, "wins": 1, "win_rate": 100.0});
    assert_eq!(found, json!({"data": [ann]}));
    let numbers = get(&server, "/statistics").await;
    assert_eq!((&numbers["total_battles"], &numbers["total_players"]), (&json!(1), &json!(2)));
    assert_eq!(numbers["avg_battle_duration"], json!(200.0));
    for path in ["/battles".into(), "/players?search=n".into(), format!("/players/{ANN}")] {
        let text = get(&server, &path).await.to_string();
        assert!(!text.contains("ann@game.example"), "{path}: {text}");
    }
    for odd in ["%00", "%27", "a%5Cb"] {
        assert_eq!(get(&server, &format!("/players?search={odd}")).await["data"], json!([]));
        assert_eq!(get(&server, &format!("/players/{odd}/battles")).await["total"], 0);
        let answer = Http::get(&server, &format!("/api/v1/battles/{odd}")).send().await;
        assert_eq!(answer.status, 404, "{odd}");
    }
}

#[tokio::test]
async fn a_row_left_open_is_closed_as_abandoned_and_none_whose_battle_runs() {
    let database = Database::fresh().await;
    database.sql(include_str!("../database/existing.sql"));
    database.sql("update battle_records set started_at = now() - interval '1 hour'");
    let options = Server::with("BATTLE_ABANDONED_AFTER", "2s");
    let server = database.used_by(options).start().await;
    let duel = Duel::started(&server).await;
    let older = "select count(*) from battle_records \
        where ended_at is null and started_at < now() - interval '3 s'";
    let runs = || async { database.sql(older) };
    let left = "select battle_result, end_reason, duration_seconds between 3600 and 3660 \
        from battle_records where ended_at is not null";
    let closed = || async { database.sql(left) };
    eventually("a closed row", closed, |row| row == "abandoned|timeout|t").await;
    eventually("a battle that is older than that", runs, |rows| rows == "1").await;
    // Another row that is left behind is closed by the next sweep, and the battle's is not.
    database.sql(&format!(
        "insert into battle_records (player_a_id, player_a_name, player_b_id, player_b_name, battle_result, \
         end_reason, started_at) values ('{ANN}', 'Ann', '{BOB}', 'Bob', 'abandoned', 'disconnect', \
         now() - interval '1 hour')"
    ));
    let closed =
        || async { database.sql("select count(*) from battle_records where ended_at is not null") };
    eventually("another closed row", closed, |rows| rows == "2").await;
    assert_eq!(database.sql(older), "1");
    surrender(&duel.a, &duel.b).await;
    assert_reported_alike(&server, &duel).await;
    assert_eq!(stats(&server, BOB).await, Value::Null, "nobody has won or lost what was left");
}
