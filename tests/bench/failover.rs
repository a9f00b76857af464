//! How long nobody is served when a node dies by `kill -9`: three real processes, guests being renamed
//! through all of them, the leader killed again and again.
//!
//! Run with `cargo bench --bench failover`, or `… -- 100` for a hundred kills of each kind. It prints
//! and checks nothing; numbers belong to a machine.
//!
//! The gap of a kill is the time from the signal to the first acknowledgement of a command that was
//! sent after it, as the client of a node that lives sees it.

// The tests' way to start servers; they need more of it.
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests")]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use harness::cluster::Trio;
use harness::{Http, Server, eventually, guest};

const KILLS: usize = 40;
/// Callers of each node, and the pause between two commands of one caller.
const CALLERS: usize = 16;
const PAUSE: Duration = Duration::from_millis(10);
/// The cluster is left alone for so long before each kill.
const CALM: Duration = Duration::from_millis(700);

/// What the callers see.
#[derive(Default)]
struct Observed {
    /// Set to the moment of a kill, until the first success of a command sent after it.
    waiting: Mutex<Option<Instant>>,
    gap: Mutex<Option<Duration>>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Observed {
    fn success(&self, sent: Instant) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock();
        if let Some(killed) = waiting.filter(|killed| sent > *killed) {
            *self.gap.lock() = Some(killed.elapsed());
            *waiting = None;
        }
    }
}

/// Renames guests through one node until the node is killed: commands that leave nothing behind.
struct Load(Vec<tokio::task::JoinHandle<()>>);

impl Load {
    async fn on(node: &Server, observed: &Arc<Observed>) -> Self {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let rename = json!({"playerId": guest(node).await, "name": "Renamed"});
            let (address, observed) = (node.address(), observed.clone());
            callers.push(tokio::spawn(async move {
                loop {
                    let sent = Instant::now();
                    let path = "/api/v1/auth/update-player-name";
                    let request = Http::to(address, hyper::Method::PUT, path).json(&rename);
                    match request.exchange().await {
                        Ok(answer) if answer.status.is_success() => observed.success(sent),
                        _ => drop(observed.failed.fetch_add(1, Ordering::Relaxed)),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        Self(callers)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// The node that is killed.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Leader,
    Follower,
}

#[tokio::main]
async fn main() {
    let kills = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(KILLS);
    let mut trio = Trio::start().await;
    let observed = Arc::<Observed>::default();
    let mut loads = Vec::new();
    for node in &trio.nodes {
        loads.push(Load::on(node, &observed).await);
    }
    println!("victim    kills  p50 ms  p90 ms  p99 ms  max ms  commands/s  failed on survivors");
    for victim in [Victim::Leader, Victim::Follower] {
        let (mut gaps, mut failed) = (Vec::new(), 0);
        let (began, before) = (Instant::now(), observed.succeeded.load(Ordering::Relaxed));
        for _ in 0..kills {
            tokio::time::sleep(CALM).await;
            let leader = trio.leader(0).await;
            let dying = if victim == Victim::Leader { leader } else { (leader + 1) % 3 };
            // Its own callers would only count refused connections.
            loads[dying].0.drain(..).for_each(|caller| caller.abort());
            let failed_before = observed.failed.load(Ordering::Relaxed);
            *observed.waiting.lock() = Some(Instant::now());
            trio.nodes[dying].kill9();
            let gap = || async { observed.gap.lock().take() };
            gaps.extend(eventually("a command after the kill", gap, Option::is_some).await);
            failed += observed.failed.load(Ordering::Relaxed) - failed_before;
            trio.nodes[dying].restart().await;
            loads[dying] = Load::on(&trio.nodes[dying], &observed).await;
        }
        gaps.sort_unstable();
        let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share).ceil() as usize].as_millis();
        let name = if victim == Victim::Leader { "leader" } else { "follower" };
        let rate = (observed.succeeded.load(Ordering::Relaxed) - before) as f64
            / began.elapsed().as_secs_f64();
        println!(
            "{name:8}  {kills:5}  {:6}  {:6}  {:6}  {:6}  {rate:10.0}  {failed:19}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        );
    }
}
