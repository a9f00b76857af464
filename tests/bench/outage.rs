//! What players notice when Redis is killed, comes back empty, is flushed, hangs, can't be reached by the leader, or is
//! full: three real processes with battles and logins going on, and a window of the same length and load just before
//! each fault to compare it with.
//!
//! Run with `cargo bench --bench outage`, or `… -- 60 30 10` for so many battles, seconds of a long fault and of a short
//! one. Figures are printed only: they belong to a machine, whose cores the clients share. What must hold
//! on any is checked, and whatever does not ends the program with exit code 1: nothing was lost or refused, and
//! other services were told all that is soon behind the return.

// The tests' way to start servers; they need more of it.
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests")]
mod harness;
// And what benches share.
#[path = "parts/mod.rs"]
mod parts;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::sleep;

use harness::cluster::Trio;
use harness::links::Links;
use harness::redis::Redis;
use harness::{Http, Server, jwt};
use parts::book::{Book, Chapter, Wait, quantile};
use parts::duo::{Duo, Manner, Queue};
use parts::player::Lost;

const BATTLES: usize = 60;
const LONG_S: usize = 30;
const SHORT_S: usize = 10;
const MANNER: Manner = Manner { think_ms: (500, 1_500), turns_max: 40 };
/// Between two logins at a node.
const LOGINS: Duration = Duration::from_millis(500);
/// The load runs for so long before anything is timed.
const WARM: Duration = Duration::from_secs(10);
/// Other services are told all that is so soon behind the return.
const PROMISED: Duration = Duration::from_secs(5);
/// How long that is waited for, to know it.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
/// How much longer than without the fault 99 of 100 waits may be, milliseconds.
const LATER_MS: f64 = 50.0;

/// What becomes of Redis, in this order: each begins where the one before has left it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Killed,
    RestartedEmpty,
    Flushed,
    Paused,
    CutFromLeader,
    Full,
}

impl Fault {
    const ALL: [(Self, &str); 6] = [
        (Self::Killed, "killed"),
        (Self::RestartedEmpty, "restarted empty"),
        (Self::Flushed, "FLUSHALL"),
        (Self::Paused, "SIGSTOP"),
        (Self::CutFromLeader, "cut from the leader"),
        (Self::Full, "maxmemory reached"),
    ];

    fn lasts(self, long: Duration, short: Duration) -> Duration {
        match self {
            Self::Killed | Self::CutFromLeader | Self::Full => long,
            Self::RestartedEmpty | Self::Flushed | Self::Paused => short,
        }
    }

    async fn begin(self, redis: &mut Redis, links: &Links, leader: usize) {
        match self {
            Self::Killed => redis.kill(),
            Self::RestartedEmpty => redis.start_again().await,
            Self::Flushed => redis.ask(&redis::cmd("FLUSHALL")),
            Self::Paused => redis.pause(),
            Self::CutFromLeader => links.isolate(leader),
            Self::Full => redis.limit_memory(1),
        }
    }

    /// Whether all is to be told again from its beginning on.
    fn is_a_return(self) -> bool {
        matches!(self, Self::RestartedEmpty | Self::Flushed)
    }

    /// Whether that is so from its end on.
    fn is_over_at_the_end(self) -> bool {
        matches!(self, Self::Paused | Self::CutFromLeader | Self::Full)
    }

    fn end(self, redis: &Redis, links: &Links) {
        match self {
            Self::Killed | Self::RestartedEmpty | Self::Flushed => {}
            Self::Paused => redis.unpause(),
            Self::CutFromLeader => links.heal(),
            Self::Full => redis.limit_memory(0),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    harness::raise_open_files();
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let battles = number(BATTLES);
    let [long, short] =
        [number(LONG_S), number(SHORT_S)].map(|seconds| Duration::from_secs(seconds as u64));

    let mut redis = Redis::start().await;
    // All nodes reach Redis over a way of their own, in all windows.
    let links = Links::to(&[redis.port(); 3]).await;
    let trio = Trio::start_with(|at, options| {
        let url = format!("redis://{}", links.address(at, at));
        options.env("GUEST_AUTH", "token").env("REDIS_URL", &url)
    })
    .await;
    let book = Arc::<Book>::default();
    let nodes = &trio.nodes;
    let queue = Queue::new(Duration::ZERO);
    let load = async {
        let duos =
            futures::future::join_all((0..battles).map(|at| fight(nodes, at, &queue, &book)));
        let clerks = futures::future::join_all((0..3).map(|at| keep_accounts(nodes, at, &book)));
        tokio::join!(duos, clerks);
    };
    println!("{battles} battles; faults of {} s and {} s", long.as_secs(), short.as_secs());
    let mut report = Report::default();
    let faults = async {
        sleep(WARM).await;
        report.add("warming up", &Chapter::default(), &book.take(), Told::NotAsked);
        let mut revoked = Vec::new();
        for (fault, name) in Fault::ALL {
            let lasts = fault.lasts(long, short);
            // A Redis that has been killed is to come back, not to be calm.
            if fault != Fault::RestartedEmpty {
                sleep(lasts).await;
            }
            let before = book.take();
            let leader = trio.leader(0).await;
            fault.begin(&mut redis, &links, leader).await;
            let begun = Instant::now();
            let mut told = Told::NotAsked;
            if fault.is_a_return() {
                told = told_all(&redis, nodes, leader, &revoked).await;
            }
            revoked.push(log_out(&nodes[leader]).await);
            sleep(lasts.saturating_sub(begun.elapsed())).await;
            let amid = book.take();
            fault.end(&redis, &links);
            if fault.is_over_at_the_end() {
                told = told_all(&redis, nodes, leader, &revoked).await;
            }
            report.add(name, &before, &amid, told);
        }
    };
    tokio::select! {
        () = load => {}
        () = faults => {}
    }
    report.end()
}

/// Battles of two players on two nodes, one after the other.
async fn fight(nodes: &[Server], at: usize, queue: &Queue, book: &Arc<Book>) {
    let places = [0, 1].map(|further| nodes[(at + further) % nodes.len()].address());
    for life in 0.. {
        let mut rng = StdRng::seed_from_u64((at + 1_000 * life) as u64);
        // Whoever has lost something begins anew; the book knows.
        let Err(Lost) = live(places, queue, &mut rng, book).await;
    }
}

async fn live(
    places: [SocketAddr; 2],
    queue: &Queue,
    rng: &mut StdRng,
    book: &Arc<Book>,
) -> Result<Infallible, Lost> {
    let players = [account(places[0]).await, account(places[1]).await];
    let mut duo = Duo::connect(places, &players, book).await?;
    loop {
        duo.fight(queue, MANNER, rng).await?;
    }
}

/// A new player and his token.
async fn account(node: SocketAddr) -> (String, Option<String>) {
    let path = "/api/v1/auth/create-guest";
    let made = Http::to(node, Method::POST, path).send().await.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let data = &made["data"];
    (text(&data["playerId"]), Some(text(&data["auth"]["accessToken"])))
}

/// Logins, refreshes, lists of sessions and logouts at a node, one after the other.
async fn keep_accounts(nodes: &[Server], at: usize, book: &Arc<Book>) {
    let node = &nodes[at];
    let timed = async |request: Http| -> Value {
        let began = Instant::now();
        match request.exchange().await {
            Ok(answer) => {
                book.waited(Wait::Account, began.elapsed());
                if !answer.status.is_success() {
                    book.refused(answer.status.to_string());
                }
                serde_json::from_slice(&answer.body).unwrap_or_default()
            }
            Err(_) => {
                book.lost();
                Value::Null
            }
        }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    loop {
        let made = timed(Http::post(node, "/api/v1/auth/create-guest")).await;
        let token = json!({"refreshToken": made["data"]["auth"]["refreshToken"]});
        let next = timed(Http::post(node, "/api/v1/auth/refresh").json(&token)).await;
        let bearer = format!("Bearer {}", text(&next["data"]["accessToken"]));
        let path = format!("/api/v1/sessions/sessions/{}", text(&made["data"]["playerId"]));
        timed(Http::get(node, &path).header("authorization", &bearer)).await;
        let logout = Http::post(node, "/api/v1/auth/logout").header("authorization", &bearer);
        timed(logout).await;
        sleep(LOGINS).await;
    }
}

/// Logs somebody out through this node; gives his token.
async fn log_out(node: &Server) -> String {
    let (_, token) = account(node.address()).await;
    let token = token.expect("guests have tokens here");
    let bearer = format!("Bearer {token}");
    let logout = Http::post(node, "/api/v1/auth/logout").header("authorization", &bearer);
    assert_eq!(logout.send().await.status, 200);
    token
}

/// How long it takes until other services are told all that is now: the mirror's index, these revocations, and a sign
/// of each instance.
async fn told_all(redis: &Redis, nodes: &[Server], leader: usize, revoked: &[String]) -> Told {
    let (began, wall_s) = (Instant::now(), jwt::now());
    let health = Http::get(&nodes[leader], "/health").send().await.json();
    let applied = health["cluster"]["details"]["raft"]["appliedIndex"].as_u64().expect("an index");
    let ask = |command: &mut redis::Cmd| -> Option<u64> { redis.ask(command) };
    while began.elapsed() < PATIENCE {
        let index = ask(redis::cmd("HGET").arg("arcadia:mirror:applied").arg("index"));
        let there = |token: &String| {
            let key = format!("arcadia:auth:blacklist:{}", jwt::id(token));
            ask(redis::cmd("EXISTS").arg(key)) == Some(1)
        };
        let lives = |node: usize| {
            let key = format!("arcadia:service:instance:node-{}", node + 1);
            let at = ask(redis::cmd("HGET").arg(key).arg("lastHeartbeat"));
            at.is_some_and(|at| at >= wall_s * 1_000)
        };
        if index >= Some(applied) && revoked.iter().all(there) && (0..nodes.len()).all(lives) {
            return Told::After(began.elapsed());
        }
        sleep(LOOK).await;
    }
    Told::Never
}

/// When other services were told all that is.
#[derive(Clone, Copy)]
enum Told {
    NotAsked,
    After(Duration),
    Never,
}

/// What is printed, and what was not kept.
#[derive(Default)]
struct Report {
    rows: usize,
    broken: Vec<String>,
    later: Vec<String>,
}

impl Report {
    fn add(&mut self, name: &str, before: &Chapter, amid: &Chapter, told: Told) {
        if self.rows == 0 {
            println!(
                "\nfault                what                 count   p50 ms   p99 ms   before: count   p50 ms   p99 ms   p99 later by"
            );
        }
        self.rows += 1;
        for (of, times) in &amid.times {
            let at = |share| quantile(times, share);
            print!(
                "{name:20} {:18} {:7}  {:7.1}  {:7.1}",
                of.name(),
                times.len(),
                at(0.5),
                at(0.99)
            );
            let Some(calm) = before.times.get(of).filter(|calm| calm.len() > 1) else {
                println!();
                continue;
            };
            let later = at(0.99) - quantile(calm, 0.99);
            let (p50, p99) = (quantile(calm, 0.5), quantile(calm, 0.99));
            println!("   {:13}  {p50:7.1}  {p99:7.1}   {later:12.1}", calm.len());
            if later > LATER_MS {
                self.later.push(format!("{name}, {}: {later:.0} ms", of.name()));
            }
        }
        let Chapter { matches, turns, lost, refusals, .. } = amid;
        println!("{name:20} {matches} matches, {turns} turns; lost {lost}, refused {refusals:?}");
        for (when, of) in [("before", before), ("amid", amid)] {
            if of.lost > 0 || !of.refusals.is_empty() {
                self.broken
                    .push(format!("{when} {name}: lost {}, refused {:?}", of.lost, of.refusals));
            }
        }
        match told {
            Told::NotAsked => {}
            Told::After(time) => {
                println!("{name:20} all told {:.1} s behind the return", time.as_secs_f64());
                if time > PROMISED {
                    self.broken.push(format!("{name}: told only after {time:?}"));
                }
            }
            Told::Never => self.broken.push(format!("{name}: not told all in {PATIENCE:?}")),
        }
    }

    fn end(self) -> ExitCode {
        println!("99 of 100 waited longer by more than {LATER_MS} ms: {:?}", self.later);
        if self.broken.is_empty() {
            println!("all promises were kept");
            return ExitCode::SUCCESS;
        }
        eprintln!("NOT KEPT: {}", self.broken.join("; "));
        ExitCode::FAILURE
    }
}
