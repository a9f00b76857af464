//! Purges that race with applying, for a long time: three real processes with a snapshot every few
//! entries and hardly a log behind it, under constant load, killed and started again all the while.
//!
//! openraft is known to have panicked on machines of two cores when a purge overtook an apply that was
//! still queued (its issue 2116). So a process that ends by itself is expected here: it is counted,
//! started again, and must come back with nothing missing. What must hold is checked after each
//! disturbance: no acknowledged command is missing on any node, and none was done that was not asked for.
//!
//! Run with `cargo bench --bench soak`, or `… -- 1800` for half an hour instead of a minute.

// The tests' way to start servers; they need more of it.
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests")]
mod harness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use harness::cluster::Trio;
use harness::process::Options;
use harness::{Http, Server, eventually, guest};

const SECONDS: u64 = 60;
/// Callers of each node.
const CALLERS: usize = 16;
/// The cluster is under load for about so long before each disturbance.
const CALM_MS: std::ops::Range<u64> = 500..4_000;
const SNAPSHOT_ENTRIES: &str = "100";
const KEEP_ENTRIES: &str = "100";
/// What a caller waits after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// Renames one guest of its own to the next number, again and again.
struct Caller {
    guest: String,
    /// The last number that was acknowledged, and the last one that was asked for.
    acknowledged: AtomicU64,
    asked: AtomicU64,
    busy: AtomicBool,
}

/// What callers share.
#[derive(Default)]
struct Load {
    /// Where each node is, if it is.
    nodes: [Mutex<Option<SocketAddr>>; 3],
    resting: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    kills_of_all: u64,
    ended_by_themselves: u64,
    panics: u64,
    checks: u64,
}

#[tokio::main]
async fn main() {
    let argument = |skip: usize| {
        std::env::args().filter_map(|argument| argument.parse::<u64>().ok()).nth(skip)
    };
    let seconds = argument(0).unwrap_or(SECONDS);
    let seed = argument(1).unwrap_or_else(|| rand::rng().random());
    println!("{seconds} s, seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let restless = |_, options: Options| {
        let options = options.env("RAFT_SNAPSHOT_ENTRIES", SNAPSHOT_ENTRIES).may_panic(&[""]);
        options.env("RAFT_KEEP_ENTRIES", KEEP_ENTRIES)
    };
    let mut trio = Trio::start_with(restless).await;
    let load = Arc::<Load>::default();
    let mut callers = Vec::new();
    for at in 0..3 {
        *load.nodes[at].lock() = Some(trio.nodes[at].address());
        for _ in 0..CALLERS {
            let guest = guest(&trio.nodes[at]).await;
            let caller = Arc::new(Caller {
                guest,
                acknowledged: AtomicU64::new(0),
                asked: AtomicU64::new(0),
                busy: AtomicBool::new(false),
            });
            callers.push(caller.clone());
            tokio::spawn(call(caller, at, load.clone()));
        }
    }
    let (began, mut counts, mut lines) = (Instant::now(), Counts::default(), 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(CALM_MS))).await;
        disturb(&mut trio, &load, &mut rng, &mut counts).await;
        check(&trio, &load, &callers).await;
        counts.checks += 1;
        if began.elapsed().as_secs() / 60 >= lines {
            lines += 1;
            line(began, &load, &counts, &trio).await;
        }
    }
    line(began, &load, &counts, &trio).await;
}

async fn line(began: Instant, load: &Load, counts: &Counts, trio: &Trio) {
    let status = Http::get(&trio.nodes[0], "/cluster/status").send().await.json();
    let elapsed = began.elapsed();
    let acknowledged = load.acknowledged.load(Ordering::Relaxed);
    println!(
        "{:5.0} s: {acknowledged} acknowledged ({:.0}/s), {} failed, {counts:?}, term {}, index {}, \
         snapshot {}",
        elapsed.as_secs_f64(),
        acknowledged as f64 / elapsed.as_secs_f64(),
        load.failed.load(Ordering::Relaxed),
        status["raft"]["term"],
        status["raft"]["appliedIndex"],
        status["raft"]["snapshotIndex"],
    );
}

/// One after another, with no pause but after a failure.
async fn call(caller: Arc<Caller>, node: usize, load: Arc<Load>) {
    loop {
        caller.busy.store(true, Ordering::SeqCst);
        let address = *load.nodes[node].lock();
        let Some(address) = address.filter(|_| !load.resting.load(Ordering::SeqCst)) else {
            caller.busy.store(false, Ordering::SeqCst);
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let number = caller.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let rename = json!({"playerId": caller.guest, "name": format!("n{number}")});
        let request = Http::to(address, Method::PUT, "/api/v1/auth/update-player-name");
        match request.json(&rename).exchange().await {
            Ok(answer) if answer.status.is_success() => {
                caller.acknowledged.store(number, Ordering::SeqCst);
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                load.failed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Kills one node or all, and starts again whoever is not there.
async fn disturb(trio: &mut Trio, load: &Load, rng: &mut StdRng, counts: &mut Counts) {
    let victims = match rng.random_range(0..8) {
        0 => vec![0, 1, 2],
        1 => Vec::new(),
        _ => vec![rng.random_range(0..3)],
    };
    counts.kills += victims.len() as u64;
    counts.kills_of_all += u64::from(victims.len() == 3);
    for (at, node) in trio.nodes.iter_mut().enumerate() {
        let (has_ended, has_panicked) = (node.has_ended(), node.has_panicked());
        counts.panics += u64::from(has_panicked);
        counts.ended_by_themselves += u64::from(has_ended);
        if has_ended {
            println!("node {} ended by itself\n{}", at + 1, node.log_tail());
        }
        if has_ended || victims.contains(&at) {
            *load.nodes[at].lock() = None;
            node.kill9();
        }
    }
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
    trio.restart_dead().await;
    for (place, node) in load.nodes.iter().zip(&trio.nodes) {
        *place.lock() = Some(node.address());
    }
}

/// With all callers at rest: no node lacks what was acknowledged.
async fn check(trio: &Trio, load: &Load, callers: &[Arc<Caller>]) {
    load.resting.store(true, Ordering::SeqCst);
    let at_work = || async { callers.iter().any(|caller| caller.busy.load(Ordering::SeqCst)) };
    eventually("rest", at_work, |at_work| !at_work).await;
    for caller in callers {
        for node in &trio.nodes {
            let acknowledged = caller.acknowledged.load(Ordering::SeqCst);
            let asked = caller.asked.load(Ordering::SeqCst);
            let known = |number: &Option<u64>| {
                number.is_some_and(|number| (acknowledged..=asked).contains(&number))
            };
            let what = format!("number from {acknowledged} to {asked} of {}", caller.guest);
            eventually(&what, || number(node, &caller.guest), known).await;
        }
    }
    load.resting.store(false, Ordering::SeqCst);
}

/// The number that a node knows a guest by; 0 as long as it has its first name.
async fn number(node: &Server, guest: &str) -> Option<u64> {
    let path = format!("/api/v1/auth/check-player/{guest}");
    let answer = Http::get(node, &path).exchange().await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    let name = answer.json()["data"]["playerName"].as_str()?.to_owned();
    Some(name.strip_prefix('n').and_then(|number| number.parse().ok()).unwrap_or(0))
}
