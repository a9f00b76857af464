//! What many accounts cost: memory, disk, checkpoints, a start, and a node that catches up on all of
//! them while the others serve.
//!
//! Run with `cargo bench --bench players`, or `… -- 200000` for so many accounts instead of a million.
//! Nodes run in this process: what the kernel tells of its memory includes the callers. It prints and
//! checks nothing; numbers belong to a machine.

#![expect(clippy::unwrap_used, reason = "a bench that fails may as well panic here")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serverv2_machine::{CreatePlayer, NanoId, NodeId, PlayerId, RenamePlayer};
use serverv2_raft::{Cluster, ClusterSecret, NodeConfig};

const PLAYERS: u64 = 1_000_000;
const CALLERS: u64 = 1_024;
/// Accounts between two lines.
const LINE: u64 = 100_000;
/// Share of the accounts that a node misses which is away.
const MISSED: u64 = 3;
const PROBES: usize = 500;

fn main() {
    let subscriber = tracing_subscriber::fmt().with_env_filter("serverv2_raft=info");
    subscriber.with_ansi(false).with_writer(std::io::stdout).init();
    let players = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(PLAYERS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(alone(players));
    runtime.block_on(three(players / MISSED));
}

async fn alone(players: u64) {
    println!("one node: accounts, accounts/s, memory MiB, disk MiB");
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig::new(NodeId(1), dir.path().to_path_buf());
    let cluster = start(&config).await;
    let mut made = 0;
    while made < players {
        let until = (made + LINE).min(players);
        let began = Instant::now();
        create(&cluster, made..until).await;
        let rate = (until - made) as f64 / began.elapsed().as_secs_f64();
        made = until;
        println!("{made:>9} {rate:>8.0} {:>6} {:>6}", memory_mib(), disk_mib(dir.path()));
    }
    // Few of them are in memory.
    let mut reads = Vec::new();
    for number in (0..players).step_by((players / 1_000) as usize) {
        let began = Instant::now();
        assert!(cluster.read(|_, records| records.player(player(number))).value.is_some());
        reads.push(began.elapsed());
    }
    println!("reads of accounts: {}", quantiles(&mut reads));
    cluster.shutdown().await;
    drop(cluster);
    let before = memory_mib();
    let began = Instant::now();
    let cluster = start(&config).await;
    let took = began.elapsed();
    let count = cluster.read(|_, records| records.player_count()).value;
    println!("start with {count} accounts: {took:?}, memory {before} -> {} MiB", memory_mib());
    cluster.shutdown().await;
}

async fn three(missed: u64) {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let listeners: Vec<_> =
        (0..3).map(|_| Arc::new(TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    let address = |listener: &Arc<TcpListener>| listener.local_addr().unwrap().to_string();
    let peers: BTreeMap<_, _> = (1..).map(NodeId).zip(listeners.iter().map(address)).collect();
    let config = |at: usize| NodeConfig {
        peers: peers.clone(),
        peer_listener: Some(listeners[at].clone()),
        cluster_secret: ClusterSecret("a secret of the bench".into()),
        snapshot_entries: 500,
        keep_entries: 100,
        ..NodeConfig::new(NodeId(at as u64 + 1), dirs[at].path().to_path_buf())
    };
    let configs = [config(0), config(1), config(2)];
    let (first, second, away) =
        tokio::join!(start(&configs[0]), start(&configs[1]), start(&configs[2]));
    away.shutdown().await;
    drop(away);
    create(&first, 0..missed).await;
    let mut before = probe(&first, || true).await;
    println!(
        "three nodes: one missed {missed} accounts; commits of the others: {}",
        quantiles(&mut before)
    );
    let applied = first.status().applied;
    let began = Instant::now();
    let returning = config(2);
    let returning = tokio::spawn(async move { start(&returning).await });
    let mut during = probe(&first, || returning.is_finished()).await;
    let node = returning.await.unwrap();
    while node.status().applied < applied {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "it is back after {:?}; commits meanwhile: {}",
        began.elapsed(),
        quantiles(&mut during)
    );
    assert_eq!(node.read(|_, records| records.player_count()).value, missed);
    for cluster in [&node, &first, &second] {
        cluster.shutdown().await;
    }
}

async fn start(config: &NodeConfig) -> Cluster {
    let (cluster, mut feed) = Cluster::start(config.clone()).await.unwrap();
    tokio::spawn(async move { while feed.recv().await.is_some() {} });
    cluster
}

/// Makes accounts with many callers at once.
async fn create(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let callers = (0..CALLERS).map(|_| {
        let (cluster, next, end) = (cluster.clone(), next.clone(), numbers.end);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return;
                }
                let name = format!("Player {number}").into();
                let create = CreatePlayer { player: player(number), name };
                while cluster.propose(create.clone(), None).await.is_err() {}
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// One command after the other, each timed.
async fn probe(cluster: &Cluster, over: impl Fn() -> bool) -> Vec<Duration> {
    let mut took = Vec::new();
    while took.len() < PROBES || !over() {
        let began = Instant::now();
        let rename = RenamePlayer { player: player(1), name: "Probe".into() };
        cluster.propose(rename, None).await.unwrap();
        took.push(began.elapsed());
    }
    took
}

fn player(number: u64) -> PlayerId {
    // Spread over the whole range, as drawn ids are.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&mixed.to_be_bytes());
    entropy[8..16].copy_from_slice(&number.to_be_bytes());
    PlayerId(NanoId::from_entropy(&entropy))
}

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, max {:?} of {}", at(0.5), at(0.99), at(1.0), took.len())
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: Option<u64> = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    kib.unwrap_or_default() / 1024
}

fn disk_mib(path: &Path) -> u64 {
    let bytes = |path: &Path| -> u64 {
        let mut sum = 0;
        let mut folders = vec![path.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for item in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match item.metadata() {
                    Ok(about) if about.is_dir() => folders.push(item.path()),
                    Ok(about) => sum += about.len(),
                    Err(_) => {}
                }
            }
        }
        sum
    };
    bytes(path) / 1024 / 1024
}
