//! Wall clocks that jump: log time, which decides what a player has left, doesn't notice.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server};

/// Each node looks at its own file for what its clock is to show; only the wall clock follows.
fn with_own_clock(folder: &Path) -> impl Fn(usize, Options) -> Options {
    let library = faketime();
    move |at, options| {
        let file = clock_file(folder, at);
        set_clock(folder, at, 0);
        options
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("TURN_TIME_LIMIT", "100")
            .env("TOTAL_TIME_LIMIT", "110")
    }
}

fn faketime() -> String {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let paths = folders.map(|folder| format!("/usr/lib/{folder}/faketime/libfaketimeMT.so.1"));
    let found = paths.into_iter().find(|path| Path::new(path).exists());
    found.expect("the package faketime is installed, `make setup` does it")
}

fn clock_file(folder: &Path, node: usize) -> String {
    folder.join(format!("clock-{node}")).to_str().expect("its name is text").to_owned()
}

fn set_clock(folder: &Path, node: usize, seconds: i64) {
    let file = clock_file(folder, node);
    // In one step: the node reads it at any moment.
    let new = format!("{file}.new");
    std::fs::write(&new, format!("{seconds:+}s\n")).expect("write the clock's file");
    std::fs::rename(new, file).expect("put it in its place");
}

/// What a node's clock shows, in seconds of the day.
async fn shown(node: &Server) -> i64 {
    let health = Http::get(node, "/health").send().await.json();
    let time = health["timestamp"].as_str().expect("a time").to_owned();
    let (_, time) = time.split_once('T').expect("date and time");
    let parts: Vec<i64> = time[..8].split(':').map(|part| part.parse().expect("digits")).collect();
    (parts[0] * 60 + parts[1]) * 60 + parts[2]
}

/// How far a node's clock is ahead of another's.
async fn ahead(node: &Server, other: &Server) -> i64 {
    const DAY: i64 = 24 * 60 * 60;
    (shown(node).await - shown(other).await + DAY + DAY / 2).rem_euclid(DAY) - DAY / 2
}

/// The time that a player has left for all choices, in seconds.
async fn left(of: &Fighter, asked: &Fighter) -> f64 {
    let timer = asked.client.ok("getPlayerTimerState", &[json!({"playerId": of.id})]).await;
    assert_eq!(timer["state"], "running", "{timer}");
    timer["remainingTotalTime"].as_f64().unwrap_or_else(|| panic!("{timer}"))
}

#[tokio::test]
async fn a_leader_whose_clock_jumps_changes_no_players_time() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let mut trio = Trio::start_with(with_own_clock(folder.path())).await;
    let leader = trio.leader(0).await;
    let [second, third] = [(leader + 1) % 3, (leader + 2) % 3];
    let a = Fighter::new(&trio.nodes[second], 0).await;
    let b = Fighter::new(&trio.nodes[third], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    let mut asked = -1;
    for jump in [120, -120] {
        set_clock(folder.path(), leader, jump);
        let off = ahead(&trio.nodes[leader], &trio.nodes[second]).await;
        assert!((off - jump).abs() <= 2, "its clock is {off} s ahead");
        // Stamped by the leader: a turn of 100 s would be over, and 110 s for all of them.
        asked = duel.attack_once(asked).await;
        for (of, asked) in [(&duel.a, &duel.b), (&duel.b, &duel.a)] {
            let left = left(of, asked).await;
            assert!(left > 60.0, "{left} s of 110 are left");
        }
    }
    // What comes after it goes on from there.
    trio.nodes[leader].kill9();
    asked = duel.attack_once(asked).await;
    for (of, by) in [(&duel.a, &duel.b), (&duel.b, &duel.a)] {
        let left = left(of, by).await;
        assert!(left > 60.0, "{left} s of 110 are left");
    }
    let chosen: Vec<Value> = duel.b.available().await;
    assert!(!chosen.is_empty() && asked > 0, "the battle goes on");
}
