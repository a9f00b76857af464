//! What the nodes are busy with when the power goes: guests are made one by one, and players queue with
//! large teams, alone, in pairs and in crowds, so that entries of all sizes are written.
//!
//! What is asked for at one moment becomes one entry, as long as the entry before is on its way: slow
//! disks make sure that it is. Two teams make an entry of 26 KiB, a crowd fills one of 256 KiB.
//! The log's own count of its entries says whether they came about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::teams::team;
use crate::harness::disk::Disk;
use crate::harness::guests::Callers;
use crate::harness::{Fighter, Http, Server, eventually};
use crate::metrics::scrape;

/// Callers of each node that make guests.
const CALLERS: usize = 6;
/// Players who queue at one moment: an entry holds the teams of 19.
const CROWD: usize = 22;
/// Rows of players of each node who queue just before the power goes, one by one in each row.
const ROWS: usize = 4;
/// Players of a row.
const LATE: usize = 4;
/// How long each sync takes.
const SLOW_MS: u32 = 25;

/// Entries by their size: of 200 B, of 24 KiB, of 256 KiB.
pub(super) type Sizes = [u64; 3];
/// Which sizes those are: more than the first, the second at most.
const CLASSES: [(f64, f64); 3] =
    [(0.0, 256.0), (24.0 * 1024.0, 32.0 * 1024.0), (240.0 * 1024.0, 256.0 * 1024.0)];

/// How many entries of each size a node has made durable.
async fn sizes(node: &Server) -> Sizes {
    let page = scrape(node).await;
    let upto = |bound: f64| {
        let buckets = page.of("serverv2_log_entry_size_bytes_bucket", &[]);
        let of = |le: &str| le.parse::<f64>().is_ok_and(|le| le == bound);
        let mut buckets = buckets.filter(|bucket| bucket.label("le").is_some_and(of));
        buckets.next().map_or(0, |bucket| bucket.value as u64)
    };
    CLASSES.map(|(above, most)| upto(most) - upto(above))
}

/// What was acknowledged.
pub(super) struct Told {
    pub(super) guests: Vec<String>,
    /// Players who were told that they are in the queue, still connected where their node lives.
    pub(super) queued: Vec<Fighter>,
}

/// A player who queues.
struct Joiner {
    fighter: Fighter,
    is_queued: bool,
}

impl Joiner {
    async fn new(node: &Server) -> Self {
        let mut fighter = Fighter::new(node, 0).await;
        fighter.team = team(&fighter.id);
        Self { fighter, is_queued: false }
    }

    /// Queues, once more perhaps. False: the connection is gone.
    async fn join(&mut self) -> bool {
        let team = std::slice::from_ref(&self.fighter.team);
        let ack = self.fighter.client.ask_or_end("joinMatchmaking", team).await;
        self.is_queued |=
            ack.as_ref().is_some_and(|ack| ack["data"] == json!({"status": "QUEUED"}));
        ack.is_some()
    }
}

async fn joiners(node: &Server, count: usize) -> Vec<Joiner> {
    join_all((0..count).map(|_| Joiner::new(node))).await
}

/// All that goes on.
pub(super) struct Load {
    callers: Callers,
    joining: JoinSet<Vec<Joiner>>,
    /// Tells those who queue late that it is time.
    late: watch::Sender<bool>,
    stop: Arc<AtomicBool>,
    before: Vec<Sizes>,
}

impl Load {
    /// Begins; one of the nodes has the crowd.
    pub(super) async fn on(nodes: &[Server], crowded: usize) -> Self {
        for node in nodes {
            // One that has just come back may be without a leader for a moment.
            let ask = || Http::post(node, "/api/v1/auth/create-guest").send();
            eventually("a guest", ask, |answer| answer.status == 200).await;
        }
        let (late, stop) = (watch::Sender::new(false), Arc::<AtomicBool>::default());
        let mut joining = JoinSet::new();
        let crowd = joiners(&nodes[crowded], CROWD).await;
        let pair = joiners(&nodes[crowded], 2).await;
        let rows = nodes.iter().flat_map(|node| [node; ROWS]);
        let rows = join_all(rows.map(|node| joiners(node, LATE))).await;
        let before = join_all(nodes.iter().map(sizes)).await;
        nodes.iter().for_each(|node| node.disk().becomes(Disk::Slow(SLOW_MS)));
        joining.spawn(join_together([crowd, pair], stop.clone()));
        for row in rows {
            joining.spawn(join_one_by_one(row, late.subscribe(), stop.clone()));
        }
        Self { callers: Callers::on(nodes, CALLERS), joining, late, stop, before }
    }

    /// Waits until every node has written entries of every size, and lets the late players in.
    pub(super) async fn until_all_sizes(&self, nodes: &[Server]) -> Sizes {
        let new = || async {
            let now = join_all(nodes.iter().map(sizes)).await;
            let grown = now.iter().zip(&self.before);
            grown.map(|(now, before)| [0, 1, 2].map(|at| now[at] - before[at])).collect::<Vec<_>>()
        };
        let of_each = |new: &Vec<Sizes>| new.iter().flatten().all(|count| *count > 0);
        let written = eventually("entries of all sizes on all nodes", new, of_each).await;
        self.late.send_replace(true);
        [0, 1, 2].map(|at| written.iter().map(|sizes| sizes[at]).sum())
    }

    /// Ends it and gives what was acknowledged. The disks are as they should be again.
    pub(super) async fn stop(self, nodes: &[Server]) -> Told {
        nodes.iter().for_each(|node| node.disk().becomes(Disk::Healthy));
        self.stop.store(true, Ordering::Relaxed);
        self.late.send_replace(true);
        let guests = self.callers.stop().await;
        let joiners = self.joining.join_all().await.into_iter().flatten();
        let queued = joiners.filter(|joiner| joiner.is_queued).map(|joiner| joiner.fighter);
        Told { guests, queued: queued.collect() }
    }
}

/// Each group queues at one moment, again and again.
async fn join_together(mut groups: [Vec<Joiner>; 2], stop: Arc<AtomicBool>) -> Vec<Joiner> {
    let mut connected = true;
    while connected && !stop.load(Ordering::Relaxed) {
        for group in &mut groups {
            connected &= join_all(group.iter_mut().map(Joiner::join)).await.contains(&true);
        }
    }
    groups.into_iter().flatten().collect()
}

async fn join_one_by_one(
    mut joiners: Vec<Joiner>,
    mut late: watch::Receiver<bool>,
    stop: Arc<AtomicBool>,
) -> Vec<Joiner> {
    // A sender that is gone is a test that has failed.
    let _ = late.wait_for(|late| *late).await;
    for joiner in &mut joiners {
        if stop.load(Ordering::Relaxed) || !joiner.join().await {
            break;
        }
    }
    joiners
}
