//! What the tests play with: servers as real processes, clients, battles.
//!
//! Nothing here knows the server's types: it knows the wire, as a client does.

pub(crate) mod battle;
pub(crate) mod cluster;
pub(crate) mod codec;
#[path = "../../faults/disk.rs"]
pub(crate) mod disk;
pub(crate) mod guests;
mod http;
mod inbound;
pub(crate) mod jwt;
pub(crate) mod knowledge;
#[path = "../../faults/library.rs"]
mod library;
pub(crate) mod light;
pub(crate) mod links;
mod log;
pub(crate) mod patch;
pub(crate) mod polling;
pub(crate) mod ports;
pub(crate) mod postgres;
#[path = "../../faults/powercut.rs"]
mod powercut;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod roamers;
pub(crate) mod socket;
pub(crate) mod team;
mod turns;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

pub(crate) use battle::{Duel, Fighter};
pub(crate) use http::{Answer, Http};
pub(crate) use process::Server;
pub(crate) use raw::Raw;
pub(crate) use socket::{Client, Dial};
pub(crate) use turns::turn;

/// How long a test waits for what must come soon. Generous: a slow machine is no defect.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Lets this process open as many files as it may: thousands of clients are thousands of files.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
}

/// Makes a guest as clients do and gives its id.
pub(crate) async fn guest(server: &Server) -> String {
    let answer = Http::post(server, "/api/v1/auth/create-guest").send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"]["playerId"].as_str().expect("a guest has an id").to_owned()
}

/// Makes a guest and connects it without a session id.
pub(crate) async fn connected_guest(server: &Server) -> (String, Client) {
    let id = guest(server).await;
    let client = Dial::player(server, &id).open().await;
    (id, client)
}

/// Asks again until the answer is as wanted.
pub(crate) async fn eventually<T, F>(
    what: &str,
    ask: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T
where
    F: Future<Output = T>,
    T: std::fmt::Debug,
{
    within(DEADLINE, Instant::now(), what, ask, wanted).await
}

/// The same, within so long from a moment that may lie in the past: for what is promised by then.
pub(crate) async fn within<T, F>(
    promised: Duration,
    since: Instant,
    what: &str,
    mut ask: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T
where
    F: Future<Output = T>,
    T: std::fmt::Debug,
{
    loop {
        // What is seen now was true at the latest now: how long looking takes does not count.
        let waited = since.elapsed();
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(waited < promised, "no {what} within {promised:?}; last answer {answer:?}");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}
