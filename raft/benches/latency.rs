//! How long a command takes from `submit` to its answer, on a cluster of one in a temporary folder.
//!
//! `cargo bench -p serverv2-raft --bench latency`
//!
//! Prints commands per second, median and 99th percentile for 1, 64 and 1024 callers, and how many
//! commands shared an entry. The disk decides most of it: the folder is where `TMPDIR` points.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serverv2_machine::{LeaveQueue, NanoId, NodeId, PlayerId, SessionKey};
use serverv2_raft::{Cluster, NodeConfig};

const ROUNDS: [(usize, usize); 3] = [(1, 2000), (64, 20_000), (1024, 100_000)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let config = NodeConfig::new(NodeId(1), dir.path().to_path_buf());
    let (cluster, _feed) = Cluster::start(config).await?;
    println!("callers  commands/s  p50 us  p99 us  commands/entry");
    for (callers, commands) in ROUNDS {
        let entries = cluster.status().last_log;
        let start = Instant::now();
        let mut times = measure(&cluster, callers, commands).await?;
        let seconds = start.elapsed().as_secs_f64();
        let entries = (cluster.status().last_log - entries).max(1);
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
        let (rate, shared) = (times.len() as f64 / seconds, times.len() as f64 / entries as f64);
        println!("{callers:7}  {rate:10.0}  {:6}  {:6}  {shared:14.1}", at(0.5), at(0.99));
    }
    cluster.shutdown().await;
    Ok(())
}

async fn measure(
    cluster: &Cluster,
    callers: usize,
    commands: usize,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let left = Arc::new(AtomicUsize::new(commands));
    let tasks = (0..callers).map(|_| {
        let (cluster, left) = (cluster.clone(), Arc::clone(&left));
        tokio::spawn(async move {
            let player = PlayerId(NanoId::from_entropy(&[1; 32]));
            let session = SessionKey { player, session: "bench".parse().expect("a session id") };
            let mut times = Vec::new();
            let take =
                || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            while take().is_ok() {
                let start = Instant::now();
                cluster.propose(LeaveQueue { session: session.clone() }, None).await?;
                times.push(start.elapsed());
            }
            Ok::<_, serverv2_raft::ProposeError>(times)
        })
    });
    let mut all = Vec::with_capacity(commands);
    for times in join_all(tasks).await {
        all.extend(times??);
    }
    Ok(all)
}
