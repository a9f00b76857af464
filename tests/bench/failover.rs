//! How long nobody is served when a node dies by `kill -9`, or hands over because it is asked to stop: three real
//! processes with battles going on, guests being renamed through all of them.
//!
//! Run with `cargo bench --bench failover`, or `… -- 200 200 leader` for so many battles, so many kills and one kind
//! of the three. It prints and checks nothing; numbers belong to a machine.
//!
//! The gap of a kill is the time from the signal to the first acknowledgement of a command that was
//! sent after it, as the client of a node that lives sees it. The gap of a hand-over is the longest time
//! between two acknowledgements from the signal to the end of the process.

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
use harness::light::Manner;
use harness::roamers::Roamers;
use harness::{Http, Server, eventually, guest};

const BATTLES: usize = 50;
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
    /// The last success, and the longest time between two since this was last looked at.
    rhythm: Mutex<(Option<Instant>, Duration)>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Observed {
    fn success(&self, sent: Instant) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        {
            let (last, longest) = &mut *self.rhythm.lock();
            let pause = last.map_or(Duration::ZERO, |last| last.elapsed());
            (*last, *longest) = (Some(Instant::now()), pause.max(*longest));
        }
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
    /// The leader, which is asked to stop.
    Stopped,
}

#[tokio::main]
async fn main() {
    harness::raise_open_files();
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let (battles, kills) = (number(BATTLES), number(KILLS));
    let mut trio = Trio::start().await;
    let manner = Manner { think_ms: (1_500, 5_500), animates: 3, dreams: 0 };
    let roamers = Roamers::fight(&trio.nodes, battles, manner).await;
    let observed = Arc::<Observed>::default();
    let mut loads = Vec::new();
    for node in &trio.nodes {
        loads.push(Load::on(node, &observed).await);
    }
    println!("{battles} battles");
    println!("victim    kills  p50 ms  p90 ms  p99 ms  max ms  commands/s  failed on survivors");
    let victims =
        [(Victim::Leader, "leader"), (Victim::Follower, "follower"), (Victim::Stopped, "stopped")];
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let all = !victims.iter().any(|(_, name)| asked(name));
    for (victim, name) in victims.into_iter().filter(|(_, name)| all || asked(name)) {
        let (mut gaps, mut failed) = (Vec::new(), 0);
        let (began, before) = (Instant::now(), observed.succeeded.load(Ordering::Relaxed));
        for _ in 0..kills {
            tokio::time::sleep(CALM).await;
            let leader = trio.leader(0).await;
            let dying = if victim == Victim::Follower { (leader + 1) % 3 } else { leader };
            // Its own callers would only count refused connections.
            loads[dying].0.drain(..).for_each(|caller| caller.abort());
            roamers.places.set(dying, None);
            let failed_before = observed.failed.load(Ordering::Relaxed);
            if victim == Victim::Stopped {
                observed.rhythm.lock().1 = Duration::ZERO;
                assert!(trio.nodes[dying].terminate().await.success());
                gaps.push(observed.rhythm.lock().1);
            } else {
                *observed.waiting.lock() = Some(Instant::now());
                trio.nodes[dying].kill9();
                let gap = || async { observed.gap.lock().take() };
                gaps.extend(eventually("a command after the kill", gap, Option::is_some).await);
            }
            failed += observed.failed.load(Ordering::Relaxed) - failed_before;
            trio.nodes[dying].restart().await;
            roamers.places.set(dying, Some(trio.nodes[dying].address()));
            loads[dying] = Load::on(&trio.nodes[dying], &observed).await;
        }
        gaps.sort_unstable();
        let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share).ceil() as usize].as_millis();
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
    println!("ends, for one player each: {:?}", roamers.ledger.ends.lock());
    println!("refusals: {:?}", roamers.ledger.refusals.lock());
}
