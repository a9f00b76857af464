//! Wires a node together and starts it.
//!
//! A start goes through these steps, each of which may refuse:
//!
//! 1. The data folder is opened and its start counted: the count is the incarnation.
//! 2. openraft installs the newest snapshot and applies the log up to what was known as committed.
//! 3. An empty folder forms a cluster of one; a sole voter elects itself at once, since nobody else
//!    could object.
//! 4. The log's tail is committed and applied under the new leader.
//! 5. The feed opens, and `NodeUp` is committed: sessions of former processes of this node end.
//! 6. The first pack of the settings is activated if the cluster has none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{Config, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use serverv2_machine::{ActivatePack, Command, Incarnation, LATEST_LEVEL, NodeId, NodeUp, PackRef};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::applier::{Applier, Replica};
use crate::batcher::{Batcher, Pending};
use crate::cluster::Cluster;
use crate::error::{ProposeError, StartError, StopReason};
use crate::feed::{FeedGate, FeedSender};
use crate::formation::form;
use crate::forward::Forwarder;
use crate::log_adapter::{LogAdapter, Stores};
use crate::log_clock::LogClock;
use crate::network::Peers;
use crate::records::{Broken, OverlayRecords};
use crate::requests::Requests;
use crate::state_machine::StateMachine;
use crate::succession::Succession;
use crate::transport::handshake::Identity;
use crate::transport::server::Server;
use crate::types::{Member, Raft, TypeConfig};

/// Threads of the runtime that openraft has for itself.
const RUNTIME_THREADS: usize = 2;
/// Incarnations of one process: more than it can be counted out in a lifetime.
const INCARNATION_BITS: u32 = 20;
/// How long a start may take from the election to the announcement.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a shutdown waits for the disk.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// Entries in one message to a follower.
const PAYLOAD_ENTRIES_MAX: u64 = 4096;
const INSTALL_SNAPSHOT_TIMEOUT_MS: u64 = 30_000;

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its id; belongs to the data folder for ever.
    pub node: NodeId,
    /// Its data folder; made if it is not there.
    pub data_dir: PathBuf,
    /// How often a leader is heard, milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader before an election, milliseconds.
    pub election_min_ms: u64,
    /// Longest time without a leader before an election, milliseconds.
    pub election_max_ms: u64,
    /// Entries after which a snapshot is taken.
    pub snapshot_entries: u64,
    /// Entries kept in the log behind a snapshot, for followers that are behind.
    pub keep_entries: u64,
    /// Packs this node has loaded; the first is activated in a cluster that has none.
    pub packs: Vec<PackRef>,
    /// Grace for players who were connected to a former process of this node, milliseconds.
    pub grace_ms: u64,
    /// Proposals that may wait here; one more is refused as *busy*.
    pub waiting_proposals_max: usize,
    /// How long a caller waits for an answer.
    pub propose_deadline: Duration,
    /// The nodes that form the cluster, this one included, and where they are reached; empty for a
    /// cluster of one that needs no peers.
    pub peers: BTreeMap<NodeId, String>,
    /// Where peers reach this node.
    pub peer_bind: SocketAddr,
    /// A listener for peers that is bound already; used instead of `peer_bind`.
    pub peer_listener: Option<Arc<std::net::TcpListener>>,
    /// Which cluster this is; nodes of others are refused.
    pub cluster_name: String,
    /// What nodes prove to each other; never logged.
    pub cluster_secret: ClusterSecret,
    /// Silence after which the leader counts a node out, milliseconds.
    pub node_gone_after_ms: u64,
}

/// What nodes prove to each other. Does not show itself.
#[derive(Clone, Default)]
pub struct ClusterSecret(pub String);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

impl NodeConfig {
    /// A cluster of one on this folder, with everything else as it is by default.
    pub fn new(node: NodeId, data_dir: PathBuf) -> Self {
        Self {
            node,
            data_dir,
            heartbeat_ms: 60,
            election_min_ms: 200,
            election_max_ms: 400,
            snapshot_entries: 50_000,
            keep_entries: 100_000,
            packs: Vec::new(),
            grace_ms: 60_000,
            waiting_proposals_max: 4_096,
            propose_deadline: Duration::from_secs(5),
            peers: BTreeMap::new(),
            peer_bind: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            peer_listener: None,
            cluster_name: "serverv2".to_owned(),
            cluster_secret: ClusterSecret::default(),
            node_gone_after_ms: 3_000,
        }
    }

    fn openraft(&self) -> Result<Config, StartError> {
        if self.waiting_proposals_max == 0 || self.snapshot_entries == 0 {
            let text = "waiting proposals and snapshot entries must be at least 1";
            return Err(StartError::Setting(text.into()));
        }
        let config = Config {
            cluster_name: "serverv2".into(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            enable_pre_vote: Some(true),
            // A restarted leader would serve with what it remembers; an election proves it current.
            enable_leader_restore: Some(false),
            max_payload_entries: PAYLOAD_ENTRIES_MAX,
            install_snapshot_timeout: INSTALL_SNAPSHOT_TIMEOUT_MS,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.keep_entries,
            replication_lag_threshold: self.keep_entries.max(self.snapshot_entries + 1),
            ..Config::default()
        };
        config.validate().map_err(|error| StartError::Setting(error.to_string()))
    }
}

/// A running node. Dropping it stops it without saying goodbye to anybody.
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) requests: Arc<Requests>,
    pub(crate) replica: Replica,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) queue: mpsc::Sender<Pending>,
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
    pub(crate) propose_deadline: Duration,
    pub(crate) handle: Handle,
    pub(crate) peers: Option<Peers>,
    pub(crate) counted_out: Arc<Notify>,
    started: AtomicBool,
    runtime: Mutex<Option<Runtime>>,
    /// Ends when the data folder is closed.
    closed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Node {
    /// Steps 1 to 4; the gate is what opens the feed.
    pub(crate) async fn start(config: &NodeConfig) -> Result<(Self, FeedGate), StartError> {
        let openraft_config = config.openraft()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let runtime = Background(Some(runtime));
        let handle = runtime.handle().clone();
        let config = config.clone();
        let starting = handle.spawn(build(config, openraft_config, runtime));
        starting.await.map_err(|error| StartError::Consensus(error.to_string()))?
    }

    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    pub(crate) async fn shutdown(&self) {
        let raft = self.raft.clone();
        let stopping = self.handle.spawn(async move { raft.shutdown().await });
        if !matches!(stopping.await, Ok(Ok(()))) {
            tracing::warn!("consensus did not stop in order");
        }
        // The supervisor has the last word: whoever submits from here on is told that this is the end.
        let _ = self.stop.clone().wait_for(Option::is_some).await;
        self.replica.write().records.close();
        let closed = self.closed.lock().take();
        if let Some(closed) = closed
            && tokio::time::timeout(SHUTDOWN_DEADLINE, closed).await.is_err()
        {
            tracing::warn!("the data folder was not closed in time");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

/// A runtime that may be dropped anywhere: dropping one inside another waits for it and panics.
struct Background(Option<Runtime>);

impl Background {
    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken only when it is given away").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn build(
    config: NodeConfig,
    openraft_config: Config,
    mut runtime: Background,
) -> Result<(Node, FeedGate), StartError> {
    let id = config.node.0;
    let (stores, closed) = tokio::task::spawn_blocking({
        let path = config.data_dir.clone();
        move || Stores::open(&path, id)
    })
    .await
    .map_err(|error| StartError::Consensus(error.to_string()))??;

    // Each start has room for the incarnations that follow when a live process is counted out.
    let incarnation = Incarnation(stores.boots() << INCARNATION_BITS);
    let requests = Arc::new(Requests::new(config.node, incarnation));
    let broken = Arc::<Broken>::default();
    // How many accounts there are, the snapshot says when it is installed.
    let records = OverlayRecords::on(stores.records.valid(), 0, Arc::clone(&broken));
    let replica = Replica::on(records);
    let clock = Arc::<LogClock>::default();
    let feed = FeedSender::default();
    let gate = feed.gate();
    let counted_out = Arc::<Notify>::default();
    let checkpoint = Arc::<Notify>::default();
    let applier = Applier {
        replica: replica.clone(),
        feed,
        requests: Arc::clone(&requests),
        clock: Arc::clone(&clock),
        counted_out: Arc::clone(&counted_out),
        checkpoint: Arc::clone(&checkpoint),
    };
    let applier = applier.start().map_err(StartError::Threads)?;
    let state_machine = StateMachine::new(replica.clone(), applier, Arc::clone(&stores));
    let member =
        Member { address: String::new(), folder: stores.folder_id().0, cluster: rand::random() };
    let own = Arc::new(Identity {
        node: id,
        folder: stores.folder_id().0,
        cluster_name: config.cluster_name.clone(),
        secret: config.cluster_secret.0.clone().into_bytes(),
        listed: config.peers.keys().map(|node| node.0).collect(),
        replica: replica.clone(),
    });
    let addresses = config.peers.iter().map(|(node, address)| (node.0, address.clone())).collect();
    let network = Peers::new(Arc::clone(&own), addresses, &stores);
    let peers = (!config.peers.is_empty()).then(|| network.clone());
    let listener = peers.is_some().then(|| listen(&config)).transpose()?;
    let log = LogAdapter(Arc::clone(&stores));
    let raft = Raft::new(id, Arc::new(openraft_config), network, log, state_machine)
        .await
        .map_err(|fatal| StartError::Consensus(fatal.to_string()))?;
    let (stop_sender, stop) = watch::channel(None);
    tokio::spawn(supervise(raft.clone(), Arc::clone(&clock), broken, stop_sender));
    tokio::spawn(checkpoint_when_asked(raft.clone(), checkpoint, stop.clone()));
    if let Some((peers, listener)) = peers.clone().zip(listener) {
        let clock = Arc::clone(&clock);
        let succession = Succession::new(raft.clone(), peers);
        let server = Arc::new(Server { raft: raft.clone(), own, stores, clock, succession });
        tokio::spawn(server.run(listener, stop.clone()));
    }

    let (queue, proposals) = mpsc::channel(config.waiting_proposals_max);
    let batcher = Batcher {
        forwarder: Forwarder::new(id, peers.clone()),
        replica: replica.clone(),
        raft: raft.clone(),
        requests: Arc::clone(&requests),
        clock: Arc::clone(&clock),
        stop: stop.clone(),
    };
    tokio::spawn(batcher.run(proposals));

    match &peers {
        None => lead_alone(&raft, id, member).await?,
        Some(peers) => {
            form(&raft, peers).await.map_err(StartError::Consensus)?;
            raft.wait_for_recovery(None).await.map_err(|_| StartError::NoLeader)?;
        }
    }
    let handle = runtime.handle().clone();
    let node = Node {
        raft,
        requests,
        replica,
        clock,
        queue,
        stop,
        propose_deadline: config.propose_deadline,
        handle,
        peers,
        counted_out,
        started: AtomicBool::new(false),
        runtime: Mutex::new(runtime.0.take()),
        closed: Mutex::new(Some(closed)),
    };
    Ok((node, gate))
}

/// The listener for peers.
fn listen(config: &NodeConfig) -> Result<TcpListener, StartError> {
    let listener = match &config.peer_listener {
        Some(listener) => listener.try_clone(),
        None => std::net::TcpListener::bind(config.peer_bind),
    };
    let listening = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    listening.map_err(|error| StartError::Peers(config.peer_bind, error))
}

/// Forms a cluster of one out of nothing, elects a sole voter, waits until the log is applied.
async fn lead_alone(raft: &Raft, id: u64, member: Member) -> Result<(), StartError> {
    let broken = |error: &dyn std::fmt::Display| StartError::Consensus(error.to_string());
    if !raft.is_initialized().await.map_err(|error| broken(&error))? {
        let members = BTreeMap::from([(id, member)]);
        raft.initialize(members).await.map_err(|error| broken(&error))?;
    }
    if raft.voter_ids().eq([id]) {
        raft.trigger().elect(false).await.map_err(|error| broken(&error))?;
    }
    let recovered = raft.wait_for_recovery(Some(START_DEADLINE)).await;
    recovered.map(|_| ()).map_err(|error| {
        tracing::warn!(%error, "the log was not recovered in time");
        StartError::NoLeader
    })
}

/// Follows openraft's state: starts and stops the log clock, and tells when all is over.
async fn supervise(
    raft: Raft,
    clock: Arc<LogClock>,
    broken: Arc<Broken>,
    stop: watch::Sender<Option<StopReason>>,
) {
    let mut metrics = raft.metrics();
    drop(raft);
    let reason = loop {
        let (running, leading) = {
            let metrics = metrics.borrow_watched();
            (metrics.running_state.clone(), metrics.state == ServerState::Leader)
        };
        clock.set_leading(leading && running.is_ok(), Instant::now());
        if let Err(fatal) = running {
            break reason(&fatal);
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                break StopReason::Shutdown;
            },
            error = broken.happened() => break StopReason::Storage(error.to_string()),
        }
    };
    match &reason {
        StopReason::Shutdown => tracing::info!("consensus has stopped"),
        StopReason::Storage(_) | StopReason::Panicked => {
            tracing::error!(%reason, "consensus is broken, the process must be restarted");
        }
    }
    stop.send_replace(Some(reason));
}

/// Has a snapshot built whenever the records take too much memory.
async fn checkpoint_when_asked(
    raft: Raft,
    asked: Arc<Notify>,
    mut stop: watch::Receiver<Option<StopReason>>,
) {
    loop {
        tokio::select! {
            () = asked.notified() => {}
            _ = stop.wait_for(Option::is_some) => return,
        }
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

fn reason(fatal: &Fatal<TypeConfig>) -> StopReason {
    match fatal {
        Fatal::Stopped => StopReason::Shutdown,
        Fatal::Panicked => StopReason::Panicked,
        Fatal::StorageError(error) => StopReason::Storage(error.to_string()),
    }
}

impl Cluster {
    /// Steps 5 and 6.
    pub(crate) async fn announce(&self, config: &NodeConfig) -> Result<(), StartError> {
        let up =
            NodeUp { packs: config.packs.clone(), level: LATEST_LEVEL, grace_ms: config.grace_ms };
        self.insist(up.into()).await?;
        let has_pack = self.read(|machine, _| machine.active_pack().is_some()).value;
        if let Some(pack) = config.packs.first().filter(|_| !has_pack) {
            self.insist(ActivatePack { pack: pack.clone() }.into()).await?;
        }
        Ok(())
    }

    /// Submits one command until it has an answer; a cluster of several may take its time to meet.
    pub(crate) async fn insist(&self, command: Command) -> Result<(), StartError> {
        let patience = if self.has_peers() { Duration::MAX } else { START_DEADLINE };
        let deadline = Instant::now().checked_add(patience);
        let request = self.next_request();
        loop {
            match self.submit(request, command.clone(), None).await {
                Ok(answer) => return answer.outcome.map(|_| ()).map_err(StartError::Refused),
                Err(ProposeError::Busy | ProposeError::Unknown)
                    if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                Err(ProposeError::Busy | ProposeError::Unknown) => {
                    return Err(StartError::NoLeader);
                }
                Err(error) => return Err(StartError::Consensus(error.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
