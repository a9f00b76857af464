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
//! 6. The first pack of the settings is activated if the cluster has none: it is new, and takes the
//!    newest behaviour level as soon as all its nodes know it.

mod config;
pub(crate) mod snapshots;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::Config;
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use serverv2_machine::{ActivatePack, Command, Incarnation, NodeUp, RaiseLevel};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch::{Receiver, channel};
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::config::{ClusterSecret, NodeConfig};
use self::snapshots::Schedule;
use self::watch::{count_elections, supervise};
use crate::applier::{Applier, Replica};
use crate::batcher::{Batcher, Pending};
use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::error::{ProposeError, StartError, StopReason};
use crate::feed::{FeedGate, FeedSender};
use crate::figures::Counters;
use crate::formation::form;
use crate::forward::Forwarder;
use crate::ground::{self, Listener, Net, Tcp};
use crate::log_adapter::Stores;
use crate::log_clock::LogClock;
use crate::membership::{Leading, Removal, removed};
use crate::network::Peers;
use crate::notices::Notices;
use crate::reads::Certainty;
use crate::records::Broken;
use crate::requests::Requests;
use crate::succession::Succession;
use crate::transport::handshake::Identity;
use crate::transport::server::Server;
use crate::types::{Member, Raft};
use crate::versions::own_level;

/// Threads of the runtime that openraft has for itself.
const RUNTIME_THREADS: usize = 2;
/// Incarnations of one process: more than it can be counted out in a lifetime.
pub(crate) const INCARNATION_BITS: u32 = 20;
/// How long a start may take from the election to the announcement.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a shutdown waits for the disk.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// A running node. Dropping it stops it without saying goodbye to anybody.
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) requests: Arc<Requests>,
    pub(crate) replica: Replica,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) queue: mpsc::Sender<Pending>,
    pub(crate) stop: Receiver<Option<StopReason>>,
    pub(crate) propose_deadline: Duration,
    pub(crate) handle: Handle,
    pub(crate) peers: Option<Peers>,
    pub(crate) leading: Option<Leading>,
    pub(crate) grace_ms: u64,
    pub(crate) counted_out: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) certainty: Arc<Certainty>,
    /// The data folder; weak, as the node's end must not wait for whoever holds this.
    pub(crate) stores: Weak<Stores>,
    pub(crate) cluster_name: String,
    /// This process has put the cluster to work: it had no pack before.
    pub(crate) is_founder: AtomicBool,
    pub(crate) notices: Arc<Notices>,
    started: AtomicBool,
    /// It has said goodbye, and does not come back when it is counted out.
    pub(crate) leaving: AtomicBool,
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
        let starting = handle.spawn(build_on_folder(config, openraft_config, runtime));
        starting.await.map_err(|error| StartError::Consensus(error.to_string()))?
    }

    /// The same on the caller's runtime, and on what a simulation brings.
    #[cfg(feature = "simulation")]
    pub(crate) async fn start_simulated(
        config: &NodeConfig,
        disk: Disk,
        net: Arc<dyn Net>,
        listener: Box<dyn Listener>,
    ) -> Result<(Self, FeedGate), StartError> {
        let openraft_config = config.openraft()?;
        let ground = Ground { disk, closed: None, net, listener: Some(listener), deaf: None };
        Box::pin(build(config.clone(), openraft_config, ground, Background(None))).await
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

/// What a node is built on.
struct Ground {
    disk: Disk,
    /// Ends when the disk is let go of.
    closed: Option<oneshot::Receiver<()>>,
    net: Arc<dyn Net>,
    listener: Option<Box<dyn Listener>>,
    /// Why there is no listener, where a cluster of one can do without.
    deaf: Option<StartError>,
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn build_on_folder(
    config: NodeConfig,
    openraft_config: Config,
    runtime: Background,
) -> Result<(Node, FeedGate), StartError> {
    let id = config.node.0;
    let (stores, closed) = tokio::task::spawn_blocking({
        let path = config.data_dir.clone();
        move || Stores::open(&path, id)
    })
    .await
    .map_err(|error| StartError::Consensus(error.to_string()))??;

    stores.announce();
    let (listener, deaf) = listen(&config)?;
    let (disk, net) = (Disk::Folder(stores), Arc::new(Tcp));
    let ground = Ground { disk, closed: Some(closed), net, listener, deaf };
    build(config, openraft_config, ground, runtime).await
}

async fn build(
    config: NodeConfig,
    openraft_config: Config,
    ground: Ground,
    mut runtime: Background,
) -> Result<(Node, FeedGate), StartError> {
    let Ground { disk, closed, net, listener, deaf } = ground;
    let id = config.node.0;
    // Each start has room for the incarnations that follow when a live process is counted out.
    let incarnation = Incarnation(disk.boots() << INCARNATION_BITS);
    let requests = Arc::new(Requests::new(config.node, incarnation));
    let broken = Arc::<Broken>::default();
    // How many accounts there are, the snapshot says when it is installed.
    let replica = Replica::on(disk.records(Arc::clone(&broken)));
    let clock = Arc::<LogClock>::default();
    let feed = FeedSender::default();
    let gate = feed.gate();
    let counted_out = Arc::<Notify>::default();
    let checkpoint = Arc::<Notify>::default();
    let counters = Arc::new(disk.counters());
    let applier = Applier {
        replica: replica.clone(),
        feed,
        requests: Arc::clone(&requests),
        clock: Arc::clone(&clock),
        counted_out: Arc::clone(&counted_out),
        checkpoint: Arc::clone(&checkpoint),
        counters: Arc::clone(&counters),
    };
    let applier = disk.start_applier(applier).map_err(StartError::Threads)?;
    let own_address = config.peers.get(&config.node).unwrap_or(&config.peer_address).clone();
    let member =
        Member { address: own_address.clone(), folder: disk.id(), cluster: rand::random() };
    let own = Arc::new(Identity {
        node: id,
        folder: disk.id(),
        cluster_name: config.cluster_name.clone(),
        secret: config.cluster_secret.0.clone().into_bytes(),
        listed: config.peers.keys().map(|node| node.0).collect(),
        replica: replica.clone(),
        removal: Removal::default(),
        net,
    });
    let addresses = config.peers.iter().map(|(node, address)| (node.0, address.clone())).collect();
    let network = Peers::new(Arc::clone(&own), addresses, disk.stores());
    let receivers = Arc::clone(&network.receivers);
    let peers = listener.is_some().then(|| network.clone());
    let raft = disk
        .start_consensus(id, openraft_config, network, replica.clone(), applier)
        .await
        .map_err(|fatal| StartError::Consensus(fatal.to_string()))?;
    if let Some(deaf) = deaf {
        let members = raft.metrics().borrow_watched().membership_config.nodes().count();
        if members > 1 {
            return Err(deaf);
        }
        tracing::warn!(why = %deaf, "nobody can join this node");
    }
    let (stop_sender, stop) = channel(None);
    let stores = disk.stores();
    tokio::spawn(supervise(raft.clone(), Arc::clone(&clock), broken, stores.clone(), stop_sender));
    tokio::spawn(count_elections(raft.clone(), Arc::clone(&counters)));
    let schedule = Schedule {
        raft: raft.clone(),
        entries: config.snapshot_entries,
        keep: config.keep_entries,
        receivers,
        asked: checkpoint,
    };
    tokio::spawn(schedule.keep(stop.clone()));
    let leading = peers.clone().map(|peers| Leading { raft: raft.clone(), peers, own_address });
    let notices = Arc::<Notices>::default();
    if let Some((leading, listener)) = leading.clone().zip(listener) {
        let (clock, notices) = (Arc::clone(&clock), Arc::clone(&notices));
        let peers = leading.peers.clone();
        let succession = Succession::new(raft.clone(), peers);
        let server = Server { raft: raft.clone(), own, disk, clock, succession, leading, notices };
        let server = Arc::new(server);
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
        Some(peers) => tokio::select! {
            met = meet(&raft, peers, member) => met?,
            () = removed(peers) => return Err(StartError::Removed),
        },
    }
    let node = Node {
        raft,
        requests,
        replica,
        clock,
        queue,
        stop,
        propose_deadline: config.propose_deadline,
        handle: Handle::current(),
        peers,
        leading,
        grace_ms: config.grace_ms,
        counted_out,
        leaving: AtomicBool::new(false),
        counters,
        certainty: Arc::default(),
        stores,
        cluster_name: config.cluster_name,
        is_founder: AtomicBool::new(false),
        notices,
        started: AtomicBool::new(false),
        runtime: Mutex::new(runtime.0.take()),
        closed: Mutex::new(closed),
    };
    Ok((node, gate))
}

type Listening = (Option<Box<dyn Listener>>, Option<StartError>);

/// The listener for peers, if there is to be one; or why there is none, where a cluster of one can do without.
fn listen(config: &NodeConfig) -> Result<Listening, StartError> {
    let alone = config.peers.is_empty();
    if alone && !config.is_joinable {
        return Ok((None, None));
    }
    let bound = config.peer_listener.as_deref();
    let listening = Tcp::listen(config.peer_bind, bound);
    match listening.map_err(|error| StartError::Peers(config.peer_bind, error)) {
        Ok(listener) => Ok((Some(listener), None)),
        Err(error) if alone && !config.must_listen => Ok((None, Some(error))),
        Err(error) => Err(error),
    }
}

/// Forms the cluster if it falls to this node, and waits until there is a leader and its log is here.
async fn meet(raft: &Raft, peers: &Peers, member: Member) -> Result<(), StartError> {
    let own = &peers.own;
    let others = raft.metrics().borrow_watched().membership_config.nodes().count() > 1;
    if own.listed.is_empty() && !others {
        return lead_alone(raft, own.node, member).await;
    }
    form(raft, peers).await.map_err(StartError::Consensus)?;
    if raft.voter_ids().eq([own.node]) {
        let elected = raft.trigger().elect(false).await;
        elected.map_err(|fatal| StartError::Consensus(fatal.to_string()))?;
    }
    raft.wait_for_recovery(None).await.map(drop).map_err(|_| StartError::NoLeader)
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

impl Cluster {
    /// Steps 5 and 6.
    pub(crate) async fn announce(&self, config: &NodeConfig) -> Result<(), StartError> {
        let up =
            NodeUp { packs: config.packs.clone(), level: own_level(), grace_ms: config.grace_ms };
        self.insist(up.into()).await?;
        let has_pack = self.read(|machine, _| machine.active_pack().is_some()).value;
        if let Some(pack) = config.packs.first().filter(|_| !has_pack) {
            self.insist(ActivatePack { pack: pack.clone() }.into()).await?;
            self.inner().is_founder.store(true, Ordering::Release);
        }
        if self.inner().is_founder.load(Ordering::Acquire) && !self.has_peers() {
            self.insist(RaiseLevel { level: own_level() }.into()).await?;
        }
        Ok(())
    }

    /// Submits one command until it has an answer; a cluster of several may take its time to meet.
    pub(crate) async fn insist(&self, command: Command) -> Result<(), StartError> {
        let patience = if self.has_peers() { Duration::MAX } else { START_DEADLINE };
        let deadline = ground::now().checked_add(patience);
        let request = self.next_request();
        loop {
            match self.submit(request, command.clone(), None).await {
                Ok(answer) => return answer.outcome.map(|_| ()).map_err(StartError::Refused),
                Err(ProposeError::Busy | ProposeError::Unknown)
                    if deadline.is_none_or(|deadline| ground::now() < deadline) => {}
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
