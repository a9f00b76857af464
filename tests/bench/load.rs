//! A full node: what 10,000 idle sockets and 500 battles beside them cost, and that nobody suffers.
//!
//! Run with `make load`, or `make load LOAD="2000 100 30"` for so many idle sockets, battles and seconds. With a
//! fourth number each sync of each disk takes at least so many milliseconds.
//! Three real nodes with the election limits that they have by default; every idle socket is on the leader,
//! and so are seven of eight fighters: the others are spread over the two followers. Clients share the
//! machine with the nodes.
//!
//! Times are printed only: they belong to a machine. What must hold on any machine of two cores is checked,
//! and whatever does not ends the program with exit code 1: there was no election, no socket was cut, no battle
//! ended otherwise than by playing, no player was refused or waited in vain, and all of them played.

// The tests' way to start servers; they need more of it.
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests")]
mod harness;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use harness::cluster::Trio;
use harness::disk::Disk;
use harness::light::{Gone, Ledger, Light, Manner};
use harness::{Server, guest};

const IDLE: usize = 10_000;
const BATTLES: usize = 500;
const SECONDS: usize = 60;
/// Connections being made at once.
const DIALS: usize = 64;
/// Clients of one source address: a port each.
const PER_ADDRESS: usize = 5_000;
/// One fighter in so many is on a follower.
const ELSEWHERE: usize = 8;
/// Ticks of the kernel's accounting in a second.
const TICKS: f64 = 100.0;

#[tokio::main]
async fn main() -> ExitCode {
    harness::raise_open_files();
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let (idle, battles, seconds) = (number(IDLE), number(BATTLES), number(SECONDS));

    let slow_ms = u32::try_from(number(0)).unwrap_or(u32::MAX);

    let trio = Trio::start_with(|_, options| {
        let options = options.env("TURN_TIME_LIMIT", "10");
        if slow_ms > 0 { options.on_faulty_disk() } else { options }
    })
    .await;
    if slow_ms > 0 {
        println!("each sync takes {slow_ms} ms");
        trio.nodes.iter().for_each(|node| node.disk().becomes(Disk::Slow(slow_ms)));
    }
    let leader = trio.leader(0).await;
    let full = &trio.nodes[leader];
    let terms = trio.terms().await;
    println!("{idle} idle sockets, {battles} battles, {seconds} s; terms {terms:?}");
    println!("load average before: {}", load_average());

    let began = Instant::now();
    let mut ids = guests(full, idle + 2 * battles).await;
    println!("{} accounts in {:.1} s", ids.len(), began.elapsed().as_secs_f64());
    let idle_ids = ids.split_off(2 * battles);

    let before = full.resident_kib();
    let began = Instant::now();
    let cut = Arc::new(AtomicUsize::new(0));
    let live = |socket: Light| {
        let cut = cut.clone();
        tokio::spawn(async move {
            socket.idle().await;
            cut.fetch_add(1, Ordering::Relaxed);
        })
    };
    // They live while others dial: nobody may be silent for long.
    let dial = |(at, id): (usize, String)| connect(full, at, id);
    let dials = futures::stream::iter(idle_ids.into_iter().enumerate().map(dial));
    let sockets: Vec<_> = dials.buffer_unordered(DIALS).map(live).collect().await;
    let took = began.elapsed().as_secs_f64();
    // Both heartbeats have been exchanged then.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after = full.resident_kib();
    println!(
        "idle sockets: connected in {took:.1} s ({:.0}/s); memory {} -> {} MiB, {:.1} KiB each",
        idle as f64 / took,
        before / 1024,
        after / 1024,
        after.saturating_sub(before) as f64 / idle.max(1) as f64,
    );
    println!("{}", usage("idle for 10 s", &trio, &cpu(&trio), 10).await);

    let ledger = Arc::<Ledger>::default();
    let followers = [&trio.nodes[(leader + 1) % 3], &trio.nodes[(leader + 2) % 3]];
    let place = |at: usize| match at % (2 * ELSEWHERE) {
        0 => followers[0],
        ELSEWHERE => followers[1],
        _ => full,
    };
    let dial = |(at, id): (usize, String)| connect(place(at), at, id);
    let dials = futures::stream::iter(ids.into_iter().enumerate().map(dial));
    let fighters: Vec<Light> = dials.buffered(DIALS).collect().await;
    let until = Instant::now() + Duration::from_secs(seconds as u64);
    let manner = Manner { think_ms: (1_500, 5_500), animates: 3, dreams: 24 };
    let fights: Vec<_> = fighters
        .into_iter()
        .enumerate()
        .map(|(team, mut fighter)| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                // The last battle of each is cut short by the end of the program.
                while Instant::now() < until {
                    fighter.fight_once(team, manner, &ledger).await?;
                }
                Ok(())
            })
        })
        .collect();
    let used = cpu(&trio);
    println!("{}", usage("battles", &trio, &used, seconds).await);
    println!("rooms: {}", trio.stats(leader).await["rooms"]);
    report(&ledger);
    let terms_after = trio.terms().await;
    println!("idle sockets cut: {} of {}", cut.load(Ordering::Relaxed), sockets.len());
    println!("terms {terms:?} -> {terms_after:?}");
    println!("load average after: {}", load_average());

    let mut broken = Vec::new();
    let mut must = |holds: bool, text: &str| {
        if !holds {
            broken.push(text.to_owned());
        }
    };
    must(terms == terms_after, "there was an election");
    must(cut.load(Ordering::Relaxed) == 0, "idle sockets were cut");
    must(ledger.acks_of("ready") >= 2 * battles, "not all players came to play");
    must(ledger.ended_otherwise_than("all_pet_fainted") == 0, "battles ended early");
    must(ledger.refusals.lock().is_empty(), "honest players were refused");
    let (lost, hung) = suffered(fights).await;
    must(lost == 0, &format!("{lost} players were cut"));
    must(hung == 0, &format!("{hung} players waited in vain"));
    if broken.is_empty() {
        println!("all promises were kept");
        return ExitCode::SUCCESS;
    }
    eprintln!("NOT KEPT: {}", broken.join("; "));
    ExitCode::FAILURE
}

/// How many players have lost their connection, and how many were not answered.
async fn suffered(fights: Vec<JoinHandle<Result<(), Gone>>>) -> (usize, usize) {
    let (mut lost, mut hung) = (0, 0);
    // The others are in the middle of a battle.
    for fight in fights.into_iter().filter(JoinHandle::is_finished) {
        match fight.await {
            Ok(Ok(())) => {}
            Ok(Err(Gone)) => lost += 1,
            Err(_) => hung += 1,
        }
    }
    (lost, hung)
}

/// Makes accounts.
async fn guests(server: &Server, count: usize) -> Vec<String> {
    futures::stream::iter((0..count).map(|_| guest(server))).buffer_unordered(DIALS).collect().await
}

/// Connects a player; addresses of this machine take turns, since each has only so many ports.
async fn connect(server: &Server, at: usize, id: String) -> Light {
    let from = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + at / PER_ADDRESS).unwrap_or(255));
    Light::connect(server, &id, from).await
}

fn cpu(trio: &Trio) -> Vec<u64> {
    trio.nodes.iter().map(cpu_ticks).collect()
}

/// Processor time that a node has used.
fn cpu_ticks(node: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap_or_default();
    // The name in parentheses may contain anything; user and system time stand 12 fields behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Waits, and says what the nodes used meanwhile.
async fn usage(what: &str, trio: &Trio, before: &[u64], seconds: usize) -> String {
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let took = began.elapsed().as_secs_f64();
    let nodes = trio.nodes.iter().zip(before).map(|(node, before)| {
        let share = (cpu_ticks(node) - before) as f64 / TICKS / took * 100.0;
        format!("{share:.0} % of a core, {} MiB", node.resident_kib() / 1024)
    });
    format!("{what}: {}", nodes.collect::<Vec<_>>().join("; "))
}

fn report(ledger: &Ledger) {
    println!("acks                      count   p50 ms   p99 ms   max ms");
    for (name, took) in ledger.acks.lock().iter_mut() {
        took.sort_unstable();
        let at =
            |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
        println!("{name:24} {:6}  {:7.1}  {:7.1}  {:7.1}", took.len(), at(0.5), at(0.99), at(1.0));
    }
    println!("refusals: {:?}", ledger.refusals.lock());
    println!("ends, for one player each: {:?}", ledger.ends.lock());
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
