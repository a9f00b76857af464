//! The cluster under test: real server processes, ways between each two of them, and a real Redis.
//!
//! Everything is pid-exact, listens on this machine alone, and is gone with this program, however it ends.

pub(crate) mod clock;
pub(crate) mod containers;
pub(crate) mod disk;
pub(crate) mod host;
pub(crate) mod links;
pub(crate) mod log;
mod members;
mod node;
mod ports;
mod process;
pub(crate) mod redis;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;

use self::clock::Clock;
use self::containers::Containers;
use self::disk::Disk;
use self::links::{End, Links};
use self::log::Log;
pub(crate) use self::node::Node;
use self::node::Place;
use self::ports::Port;
use self::redis::Redis;
use crate::broken::{Broken, Doing as _};
use crate::client::Http;
use crate::history::{History, Life, Line};
use crate::mode::Mode;

/// Longest wait for a node's word on how it stands.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
const SECRET: &str = "a secret of this run that nobody else needs to know";
/// What the log decided is told by each node, with the log's index and the request.
const LOG_LEVEL: &str =
    "info,transcript=debug,serverv2::gateway=debug,serverv2::battle::host::mailbox=debug";
/// The prefix of keys in Redis.
pub(crate) const REDIS_PREFIX: &str = "chaos:";
/// So small that snapshots are made, sent and read all the time.
const SNAPSHOT_ENTRIES: u32 = 100;
const KEEP_ENTRIES: u32 = 200;
/// How long a node tells that it goes, and how long it takes to cut its clients; seconds.
const DRAIN_SECONDS: &str = "1";
/// Longest wait for the end of a node that was asked to stop.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How a node stands in its group, as it says itself (`raft` in `/cluster/status`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) ready: bool,
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) vote: Vote,
    pub(crate) committed_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) snapshot_index: u64,
    pub(crate) members: Vec<u64>,
}

/// The last vote that a node has on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) node: u64,
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub(crate) struct Make {
    pub(crate) mode: Mode,
    pub(crate) nodes: usize,
    pub(crate) binary: PathBuf,
    pub(crate) redis: bool,
    /// Disks that can fail and forget.
    pub(crate) faulty_disks: bool,
    /// Clocks that can be set.
    pub(crate) own_clocks: bool,
    /// Disks that only say that they sync: the proof that a loss is noticed.
    pub(crate) lying_disks: bool,
    /// The bug that the nodes have on purpose.
    pub(crate) planted: Option<&'static str>,
    /// Election times of the nodes, milliseconds: the least and the longest.
    pub(crate) election_ms: (u64, u64),
}

/// Nodes, links and Redis of one run.
pub(crate) struct Cluster {
    pub(crate) make: Make,
    nodes: Vec<tokio::sync::Mutex<Node>>,
    addresses: Vec<SocketAddr>,
    /// The id of the node at each place: another one after its folder was wiped.
    ids: Mutex<Vec<u64>>,
    pub(crate) links: Links,
    pub(crate) redis: Option<tokio::sync::Mutex<Redis>>,
    pub(crate) redis_address: Option<SocketAddr>,
    pub(crate) history: Arc<History>,
}

impl Cluster {
    /// Starts everything on empty folders and waits until all nodes are ready.
    pub(crate) async fn start(
        make: Make,
        data: &Path,
        evidence: &Path,
        history: Arc<History>,
    ) -> Result<Self, Broken> {
        let redis_port = if make.redis { Some(Port::take()?) } else { None };
        let mut ports = Vec::new();
        for _ in 0..make.nodes {
            ports.push((Port::take()?, Port::take()?));
        }
        let node_ends =
            ports.iter().enumerate().map(|(at, (_, peers))| (End::Node(at), peers.number));
        let redis_end = redis_port.iter().map(|port| (End::Redis, port.number));
        let ends: Vec<_> = node_ends.chain(redis_end).collect();
        let links = match make.mode {
            Mode::Compose => {
                let settings: Vec<_> = (0..make.nodes).map(|at| own_settings(&make, at)).collect();
                Links::of(Containers::make(&make, data, &settings)?)
            }
            mode => Links::between(mode, &ends)?,
        };
        let redis = match redis_port {
            Some(port) => Some(Redis::start(evidence, port, links.host(End::Redis)).await?),
            None => None,
        };
        let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
        for (at, (http, peers)) in ports.into_iter().enumerate() {
            let folder = data.join(format!("node-{}", at + 1));
            std::fs::create_dir(&folder).doing("make a node's folder")?;
            let env = settings(&make, at, &links)?;
            let log = Log::make(evidence, at, history.began())?;
            let disk = make.faulty_disks.then(Disk::new);
            let host = links.host(End::Node(at));
            let place = Place { binary: make.binary.clone(), host, http, peers, folder, env };
            let clock = make.own_clocks.then(Clock::new).transpose()?;
            let node = Node::new(place, log, disk, clock);
            addresses.push(node.address());
            nodes.push(tokio::sync::Mutex::new(node));
        }
        let redis_address = redis.as_ref().map(Redis::address);
        let redis = redis.map(tokio::sync::Mutex::new);
        let ids = Mutex::new((1..).take(make.nodes).collect());
        let cluster = Self { make, nodes, addresses, ids, links, redis, redis_address, history };
        cluster.start_nodes(&cluster.all()).await?;
        Ok(cluster)
    }

    /// The places of all nodes.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.nodes.len()).collect()
    }

    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Where clients reach a node.
    pub(crate) fn address(&self, at: usize) -> SocketAddr {
        self.addresses[at]
    }

    /// One node, for as long as this is held.
    pub(crate) async fn node(&self, at: usize) -> MutexGuard<'_, Node> {
        self.nodes[at].lock().await
    }

    /// The same, unless somebody else holds it.
    pub(crate) fn node_if_free(&self, at: usize) -> Option<MutexGuard<'_, Node>> {
        self.nodes[at].try_lock().ok()
    }

    /// Writes down what became of a node's process.
    pub(crate) fn tell(&self, at: usize, life: Life) {
        self.history.write(|t| Line::Node { t, node: at, life });
    }

    /// Starts those of these nodes that do not run, at once, and waits until they are ready.
    pub(crate) async fn start_nodes(&self, places: &[usize]) -> Result<(), Broken> {
        let starting = places.iter().map(|at| self.start_node(*at));
        futures::future::join_all(starting).await.into_iter().collect()
    }

    async fn start_node(&self, at: usize) -> Result<(), Broken> {
        self.launch(at).await?;
        let mut node = self.node(at).await;
        node.ready().await?;
        self.tell(at, Life::Ready);
        Ok(())
    }

    /// Starts a node that does not run, and waits for nothing.
    pub(crate) async fn launch(&self, at: usize) -> Result<(), Broken> {
        let mut node = self.node(at).await;
        if node.is_running() {
            return Ok(());
        }
        node.launch()?;
        let (number, pid) = (node.life(), node.pid().unwrap_or_default());
        self.tell(at, Life::Started { number, pid });
        self.links.shut(End::Node(at), false);
        Ok(())
    }

    /// `kill -9`; false if it was not running.
    pub(crate) async fn kill(&self, at: usize) -> bool {
        let mut node = self.node(at).await;
        if !node.is_running() {
            return false;
        }
        // A dead process's port refuses, from the moment of its death.
        self.links.shut(End::Node(at), true);
        let killed = node.kill().is_some();
        self.tell(at, Life::Killed);
        killed
    }

    /// SIGTERM, and its orderly end.
    pub(crate) async fn stop(&self, at: usize) -> bool {
        let mut node = self.node(at).await;
        let status = node.terminate(STOP_PATIENCE).await;
        self.links.shut(End::Node(at), true);
        let code = status.and_then(|status| status.code());
        self.tell(at, Life::Stopped { code });
        code == Some(0)
    }

    /// Writes down whoever died by himself; true if somebody has.
    pub(crate) fn notice_deaths(&self) -> bool {
        let mut noticed = false;
        for at in self.all() {
            let Some(mut node) = self.node_if_free(at) else { continue };
            if let Some(status) = node.has_died() {
                noticed = true;
                self.died(at, status);
            }
        }
        noticed
    }

    /// Writes down an end that a node came to by itself.
    pub(crate) fn died(&self, at: usize, status: std::process::ExitStatus) {
        use std::os::unix::process::ExitStatusExt as _;
        self.links.shut(End::Node(at), true);
        self.tell(at, Life::Died { code: status.code(), signal: status.signal() });
    }

    /// How a node says that it stands.
    pub(crate) async fn status(&self, at: usize) -> Option<Status> {
        status_of(self.address(at)).await
    }

    /// How all nodes that answer stand.
    pub(crate) async fn statuses(&self) -> Vec<(usize, Status)> {
        let asking = self.all().into_iter().map(async |at| Some((at, self.status(at).await?)));
        futures::future::join_all(asking).await.into_iter().flatten().collect()
    }

    /// The place of the leader of the highest term that anybody knows, and that term.
    pub(crate) async fn leader(&self) -> Option<(usize, u64)> {
        let statuses = self.statuses().await;
        let known = statuses.into_iter().filter_map(|(_, it)| Some((it.term, it.leader?)));
        let (term, leader) = known.max()?;
        Some((self.place_of(leader)?, term))
    }
}

/// How the node at this address says that it stands.
pub(crate) async fn status_of(address: SocketAddr) -> Option<Status> {
    let answer = Http::get(address, "/cluster/status").send(STATUS_PATIENCE).await.ok()?;
    serde_json::from_value(answer.body["raft"].clone()).ok()
}

fn settings(make: &Make, at: usize, links: &Links) -> Result<Vec<(String, String)>, Broken> {
    let mut settings = own_settings(make, at);
    if make.mode == Mode::Compose {
        return Ok(settings);
    }
    let mut peers = Vec::new();
    for other in 0..make.nodes {
        let address = links.address(End::Node(at), End::Node(other))?;
        peers.push(format!("{}={address}", other + 1));
    }
    settings.push(("PEERS".to_owned(), peers.join(",")));
    if make.redis {
        let address = links.address(End::Node(at), End::Redis)?;
        settings.push(("REDIS_URL".to_owned(), format!("redis://:{}@{address}", redis::PASSWORD)));
    }
    Ok(settings)
}

/// The settings that don't say where others are.
fn own_settings(make: &Make, at: usize) -> Vec<(String, String)> {
    let (least, longest) = make.election_ms;
    let mut settings = vec![
        ("NODE_ID", (at + 1).to_string()),
        ("JWT_SECRET", SECRET.to_owned()),
        ("CLUSTER_SECRET", SECRET.to_owned()),
        ("GUEST_AUTH", "token".to_owned()),
        // All clients come from this machine.
        ("RATE_LIMIT_AUTH", "0".to_owned()),
        ("RATE_LIMIT_EMAIL", "0".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
        ("LOG_LEVEL", LOG_LEVEL.to_owned()),
        ("DRAIN_NOTICE", DRAIN_SECONDS.to_owned()),
        ("DRAIN_PERIOD", DRAIN_SECONDS.to_owned()),
        ("RAFT_SNAPSHOT_ENTRIES", SNAPSHOT_ENTRIES.to_string()),
        ("RAFT_KEEP_ENTRIES", KEEP_ENTRIES.to_string()),
        ("RAFT_ELECTION_MIN_MS", least.to_string()),
        ("RAFT_ELECTION_MAX_MS", longest.to_string()),
    ];
    if make.lying_disks {
        settings.push(("POWERCUT_LIES", "1".to_owned()));
    }
    if let Some(bug) = make.planted {
        settings.push((crate::bugs::VARIABLE, bug.to_owned()));
    }
    if make.redis {
        settings.push(("REDIS_KEY_PREFIX", REDIS_PREFIX.to_owned()));
    }
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
