//! Lists of reports, and what is deleted from them.

use serde_json::{Value, json};

use super::{counts, get, only_report, reports_of, stats, surrender};
use crate::harness::{Duel, Fighter, Server, eventually};
use crate::kept::{Kept, wherever_players_are_kept};

wherever_players_are_kept! {
    lists_are_paged_newest_first
    old_reports_are_deleted_and_statistics_stay
}

/// Another battle of these two, which the first one loses.
async fn again(a: Fighter, b: Fighter) -> (Fighter, Fighter) {
    let last = a.client.events("matchSuccess").len();
    a.join().await;
    b.join().await;
    for fighter in [&a, &b] {
        let matched = || async { fighter.client.events("matchSuccess").len() };
        eventually("another match", matched, |matches| *matches > last).await;
    }
    a.client.ok("ready", &[]).await;
    b.client.ok("ready", &[]).await;
    a.submit(&a.surrender()).await;
    let ended = b.client.events("roomClosed").len();
    b.attack().await;
    let closed = || async { b.client.events("roomClosed").len() };
    eventually("the end", closed, |closed| *closed > ended).await;
    (a, b)
}

async fn lists_are_paged_newest_first(kept: Kept) {
    let server = kept.start().await;
    let (mut a, mut b) = (Fighter::new(&server, 0).await, Fighter::new(&server, 1).await);
    for _ in 0..5 {
        // Sockets of their own: numbers of messages begin anew with each battle.
        a.reconnect(&server).await;
        b.reconnect(&server).await;
        (a, b) = again(a, b).await;
    }
    // A database is told of an end a moment later.
    let all = || async { reports_of(&server, &a.id).await };
    let are_closed =
        |rows: &Vec<Value>| rows.len() == 5 && rows.iter().all(|row| !row["ended_at"].is_null());
    let all = eventually("five closed reports", all, are_closed).await;
    let started: Vec<&str> = all.iter().filter_map(|row| row["started_at"].as_str()).collect();
    assert_eq!(started.len(), 5);
    assert!(started.is_sorted_by(|newer, older| newer >= older), "{started:?}");
    let path = format!("/players/{}/battles?limit=2&offset=1", a.id);
    let page = get(&server, &path).await;
    assert_eq!(page["data"], json!(all[1..3]));
    assert_eq!((&page["total"], &page["has_more"]), (&json!(5), &json!(true)));
    let ids = |rows: &Value| -> Vec<Value> {
        rows.as_array().expect("a list").iter().map(|row| row["id"].clone()).collect()
    };
    let rest = get(&server, "/battles?limit=3&offset=2").await;
    assert_eq!(ids(&rest["data"]), ids(&json!(all[2..])));
    assert_eq!(rest["has_more"], json!(false));
    assert_eq!(get(&server, "/battles?offset=99").await["data"], json!([]));
    assert_eq!(counts(&stats(&server, &b.id).await), [5, 5, 0, 0].map(Some));
    let statistics = get(&server, "/statistics").await;
    assert_eq!(
        (&statistics["total_battles"], &statistics["total_players"]),
        (&json!(5), &json!(2))
    );
}

async fn old_reports_are_deleted_and_statistics_stay(kept: Kept) {
    let server = kept.by(Server::with("BATTLE_REPORT_RETENTION", "4s")).start().await;
    let duel = Duel::started(&server).await;
    surrender(&duel.a, &duel.b).await;
    let id = only_report(&server, &duel.a.id).await["id"].clone();
    // One that runs outlives its time.
    let running = Duel::started(&server).await;
    let none = || async { reports_of(&server, &duel.a.id).await.len() };
    eventually("a deleted report", none, |reports| *reports == 0).await;
    let path = format!("/api/v1/battles/{}", id.as_str().expect("an id"));
    assert_eq!(crate::harness::Http::get(&server, &path).send().await.status, 404);
    assert_eq!(counts(&stats(&server, &duel.b.id).await), [1, 1, 0, 0].map(Some));
    assert_eq!(get(&server, "/battles").await["total"], 1);
    surrender(&running.a, &running.b).await;
    let total = || async { get(&server, "/battles").await["total"].clone() };
    eventually("all deleted", total, |total| *total == 0).await;
    assert_eq!(get(&server, "/statistics").await["total_battles"], 0);
    assert_eq!(counts(&stats(&server, &running.b.id).await), [1, 1, 0, 0].map(Some));
}
