//! All that the rest of the server knows of consensus: submit, read, look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serverv2_machine::limits::ANSWERS_PER_NODE_MAX;
use serverv2_machine::planted::{self, Bug};
use serverv2_machine::{
    Command, Done, DrainNode, FIRST_LEVEL, Incarnation, LogTime, Machine, NodeGone, NodeId,
    Records, Rejection, Reply, Request, RequestId, ScopedKey,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::applier::Replica;
use crate::batcher::Pending;
use crate::error::{ProposeError, StartError, StopReason};
use crate::feed::{EffectFeed, FeedGate};
use crate::figures::Figures;
use crate::ground;
use crate::membership::{Leading, removed};
use crate::node::{Node, NodeConfig};
use crate::notices::Listener;
use crate::presence;
use crate::reads::{self, Reader};
use crate::requests::Hold;
use crate::status::{self, Status};
use crate::succession;
use crate::types::Raft;
use crate::upgrade;

/// Pause before a node that is about to go says so once more.
const DRAIN_AGAIN: Duration = Duration::from_millis(100);

/// What became of a command, wherever it was applied first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Index of the entry that gave the answer; a local read sees it.
    pub index: u64,
    /// The answer; a refusal changed nothing.
    pub outcome: Result<Reply, Rejection>,
}

/// A success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<R> {
    /// Index of the entry that gave the answer.
    pub index: u64,
    /// The command's own reply.
    pub reply: R,
}

/// Something read, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped<T> {
    /// The state of exactly this index was read.
    pub index: u64,
    /// What was read.
    pub value: T,
}

/// The node's handle on the cluster; cheap to clone. When the last one is dropped the node stops as if
/// it had been killed: nothing acknowledged is lost.
#[derive(Clone)]
pub struct Cluster(Arc<Node>);

impl Cluster {
    /// Opens the data folder, recovers, finds or becomes the leader, and announces this process. The
    /// feed starts with that announcement, after everything that was there before.
    pub async fn start(config: NodeConfig) -> Result<(Self, EffectFeed), StartError> {
        let (node, gate) = Node::start(&config).await?;
        Self::join_in(config, node, &gate).await
    }

    /// What follows when the node runs.
    pub(crate) async fn join_in(
        config: NodeConfig,
        node: Node,
        gate: &FeedGate,
    ) -> Result<(Self, EffectFeed), StartError> {
        let cluster = Self(Arc::new(node));
        let feed = gate.open();
        let peers = cluster.0.peers.clone();
        let removed = async {
            match &peers {
                Some(peers) => removed(peers).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            announced = cluster.announce(&config) => announced?,
            () = removed => return Err(StartError::Removed),
        }
        cluster.0.set_started();
        cluster.0.handle.spawn(presence::watch_others(Arc::downgrade(&cluster.0), config.clone()));
        cluster.0.handle.spawn(presence::come_back(Arc::downgrade(&cluster.0), config));
        cluster.0.handle.spawn(reads::stay_certain(Arc::downgrade(&cluster.0)));
        cluster.0.handle.spawn(upgrade::keep_up(Arc::downgrade(&cluster.0)));
        Ok((cluster, feed))
    }

    pub(crate) fn of(node: Arc<Node>) -> Self {
        Self(node)
    }

    pub(crate) fn inner(&self) -> &Node {
        &self.0
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.requests.node()
    }

    /// This process of it: counts the starts of its data folder.
    pub fn incarnation(&self) -> Incarnation {
        self.0.requests.incarnation()
    }

    /// A new request id. It stays in this node's window until it was submitted and that has ended, or
    /// until it is given to [`Self::forget`]: an id that is neither holds the window back.
    pub fn next_request(&self) -> RequestId {
        self.0.requests.next()
    }

    /// Keeps the answer to a request remembered (`Machine::answered`) for as long as the hold lives, for a
    /// caller who learns of it from the effect feed alone: where that has a gap, the state still tells.
    pub fn hold(&self, request: RequestId) -> Hold {
        self.0.requests.claim(request)
    }

    /// Gives back a request id that will not be submitted.
    pub fn forget(&self, request: RequestId) {
        self.0.requests.forget(request);
    }

    /// Proposes a command and waits until it is applied here.
    ///
    /// Dropping the future takes nothing back: the proposal goes on. Submitting the same id again, at
    /// the same time or later, does not do it twice.
    pub async fn submit(
        &self,
        request: RequestId,
        command: Command,
        key: Option<ScopedKey>,
    ) -> Result<Answer, ProposeError> {
        let deadline = Instant::now() + self.0.propose_deadline;
        self.submit_by(deadline, request, command, key).await
    }

    /// The same for a caller whose time has begun to run before.
    pub async fn submit_by(
        &self,
        deadline: Instant,
        request: RequestId,
        command: Command,
        key: Option<ScopedKey>,
    ) -> Result<Answer, ProposeError> {
        let began = Instant::now();
        let outcome = self.submit_uncounted(deadline, request, command, key).await;
        self.0.counters.proposed(&outcome, began.elapsed());
        match &outcome {
            Ok(Answer { index, .. }) => {
                tracing::debug!(request.id = %request, raft.index = index, "a proposal is applied here");
            }
            Err(error) => {
                tracing::debug!(request.id = %request, %error, "a proposal has no answer");
            }
        }
        outcome
    }

    async fn submit_uncounted(
        &self,
        deadline: Instant,
        request: RequestId,
        command: Command,
        key: Option<ScopedKey>,
    ) -> Result<Answer, ProposeError> {
        let node = &self.0;
        let hold = node.requests.claim(request);
        // An older build, which may still be among the nodes, could not read it.
        if command.since_level() > node.replica.level().max(FIRST_LEVEL) {
            return Err(Rejection::NotEverywhere.into());
        }
        if node.requests.open() > ANSWERS_PER_NODE_MAX {
            return Err(ProposeError::Busy);
        }
        let is_hasty = planted::has(Bug::AckBeforeCommit)
            && matches!(command, Command::RevokeToken(_) | Command::LeaveQueue(_));
        let (pending, mut ticket) = Pending::new(hold.clone(), command, key, deadline)?;
        let mut answer = hold.answer();
        node.queue.try_send(pending).map_err(|error| match error {
            TrySendError::Full(_) => ProposeError::Busy,
            TrySendError::Closed(_) => ProposeError::Stopped,
        })?;
        if is_hasty {
            return Ok(Answer { index: 0, outcome: Ok(Done.into()) });
        }
        tokio::select! {
            biased;
            Ok(answer) = &mut answer => Ok(answer),
            refused = &mut ticket.refused => match (answer.try_recv(), refused) {
                (Ok(answer), _) => Ok(answer),
                (Err(_), Ok(error)) => Err(error),
                // Its keeper is gone without a word: the node was stopped.
                (Err(_), Err(_)) if ticket.phase.cancel() => Err(ProposeError::Stopped),
                (Err(_), Err(_)) => Err(ProposeError::Unknown),
            },
            () = tokio::time::sleep_until(deadline) => {
                let never_left = ticket.phase.cancel();
                Err(if never_left { ProposeError::Busy } else { ProposeError::Unknown })
            }
        }
    }

    /// Proposes a command under a request id of its own and gives its typed reply.
    pub async fn propose<R: Request>(
        &self,
        request: R,
        key: Option<ScopedKey>,
    ) -> Result<Committed<R::Reply>, ProposeError> {
        let Answer { index, outcome } =
            self.submit(self.next_request(), request.into(), key).await?;
        match R::Reply::try_from(outcome?) {
            Ok(reply) => Ok(Committed { index, reply }),
            Err(error) => {
                // Only a client's own id, used for two different commands, could lead here.
                tracing::error!(%error, "an answer has the wrong type");
                Err(ProposeError::Unknown)
            }
        }
    }

    /// Reads this node's state. Short: entries are not applied meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&Machine, &dyn Records) -> T) -> Stamped<T> {
        let state = self.0.replica.read();
        let index = state.applied.map_or(0, |applied| applied.index);
        Stamped { index, value: read(&state.machine, &state.records) }
    }

    /// Reads a state that contains everything acknowledged anywhere before this call.
    pub async fn read_linearizable<T>(
        &self,
        read: impl FnOnce(&Machine, &dyn Records) -> T,
    ) -> Result<Stamped<T>, ProposeError> {
        if planted::has(Bug::LocalReadOnLinearizable) {
            return Ok(self.read(read));
        }
        let reader = Reader::of(&self.0);
        // On the runtime of consensus, whose timers openraft uses.
        let confirmed = self.0.handle.spawn(async move { reader.catch_up().await });
        let abort = confirmed.abort_handle();
        match tokio::time::timeout(self.0.propose_deadline, confirmed).await {
            Ok(Ok(true)) => Ok(self.read(read)),
            Ok(Ok(false) | Err(_)) => Err(ProposeError::Stopped),
            Err(_) => {
                abort.abort();
                Err(ProposeError::Busy)
            }
        }
    }

    /// How old this node's knowledge may be: all that was acknowledged anywhere longer ago is applied
    /// here. `None`: not even that is known yet, or any more since this process has said goodbye and nobody waits for
    /// it. Grows while no majority is reached.
    pub fn uncertainty(&self) -> Option<Duration> {
        if self.0.leaving.load(Ordering::Acquire) { None } else { self.0.certainty.age() }
    }

    /// Waits until every node that counts has applied this index, which this node has; false if some
    /// did not say so within `patience`.
    pub async fn applied_everywhere(&self, index: u64, patience: Duration) -> bool {
        let others = self.others();
        let asked = others.len();
        let asking = reads::applied_by(self.0.clone(), others, index, patience);
        let applied = self.0.handle.spawn(asking).await;
        applied.is_ok_and(|applied| applied.len() == asked)
    }

    /// Hears what other nodes [`tell`](Self::tell) from here on; false if somebody listens already.
    pub fn listen(&self, listener: Listener) -> bool {
        self.0.notices.listen(listener)
    }

    /// The other nodes that count.
    pub fn others(&self) -> Vec<NodeId> {
        let me = self.node();
        self.read(|machine, _| {
            let live = machine.nodes().filter(|node| node.live && node.id != me);
            live.map(|node| node.id).collect()
        })
        .value
    }

    /// Tells these nodes something beside the log, all at once, and gives the answers that came within
    /// `patience`. It may get lost, and who has not answered may have heard it.
    pub async fn tell(
        &self,
        to: Vec<NodeId>,
        notice: Vec<u8>,
        patience: Duration,
    ) -> BTreeMap<NodeId, Vec<u8>> {
        let node = self.0.clone();
        let telling = async move {
            match &node.peers {
                Some(peers) => node.notices.tell(peers, &to, &notice, patience).await,
                None => BTreeMap::new(),
            }
        };
        self.0.handle.spawn(telling).await.unwrap_or_default()
    }

    /// What tells this cluster from all others: drawn when it was formed.
    pub fn id(&self) -> Option<u128> {
        let state = self.0.replica.read();
        let members = state.members.membership().nodes();
        let mut ids = members.map(|(_, member)| u128::from_be_bytes(member.cluster));
        ids.find(|id| *id != 0)
    }

    /// The log time, as well as it is known here.
    pub fn log_time(&self) -> LogTime {
        self.0.clock.read(ground::now())
    }

    /// How this node sees the cluster.
    pub fn status(&self) -> Status {
        let node = &self.0;
        let applied = self.read(|_, _| ()).index;
        let started = node.is_started() && !self.is_removed();
        status::look(&node.raft, applied, self.node(), self.incarnation(), started)
    }

    /// What this process has counted since its start.
    pub fn figures(&self) -> Figures {
        self.0.counters.read()
    }

    /// Gives the lead to another node, if this one leads. Tells who leads then; `None` if that is nobody else
    /// within `patience`.
    pub async fn hand_over(&self, patience: Duration) -> Option<NodeId> {
        let (raft, own) = (self.0.raft.clone(), self.node().0);
        let handing = async move { succession::hand_over(&raft, own, None, patience).await };
        // On the runtime of consensus, whose timers openraft uses.
        self.0.handle.spawn(handing).await.ok().flatten().map(NodeId)
    }

    /// Says that this process is about to stop: it is no home of battles any more, and all else goes on.
    /// False if that is not in the log within `patience`; it is tried again until then, as the cluster may be
    /// without a leader for a moment, or so young that it takes no such command yet.
    pub async fn drain(&self, patience: Duration) -> bool {
        let (node, incarnation) = (self.node(), self.incarnation());
        let drained = async {
            while self.propose(DrainNode { node, incarnation }, None).await.is_err() {
                tokio::time::sleep(DRAIN_AGAIN).await;
            }
        };
        tokio::time::timeout(patience, drained).await.is_ok()
    }

    /// Says goodbye: this process is counted out at once, so that others take over what it did. Nothing more
    /// can be proposed here. False if nobody said so within `patience`; then its silence will tell.
    pub async fn leave(&self, grace_ms: u64, patience: Duration) -> bool {
        self.0.leaving.store(true, Ordering::Release);
        let (node, incarnation) = (self.node(), self.incarnation());
        let gone = self.propose(NodeGone { node, incarnation, grace_ms }, None);
        matches!(tokio::time::timeout(patience, gone).await, Ok(Ok(_)))
    }

    /// Whether there are other nodes, or are to be.
    pub fn has_peers(&self) -> bool {
        let Some(peers) = &self.0.peers else { return false };
        let state = self.0.replica.read();
        let members = state.members.membership().nodes().take(2).count();
        members > 1 || (members == 0 && peers.own.listed.len() > 1)
    }

    /// What the membership is changed with; `None` where nobody can join.
    pub(crate) fn leading(&self) -> Option<Leading> {
        self.0.leading.clone()
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.0.replica
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.handle
    }

    pub(crate) fn grace_ms(&self) -> u64 {
        self.0.grace_ms
    }

    /// Waits until the node has stopped, and says why. Unless it was asked to, the process must exit
    /// with an error: nothing is proposed or applied here any more.
    pub async fn stopped(&self) -> StopReason {
        let mut reason = self.0.stop.clone();
        let stopped = reason.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        stopped.unwrap_or(StopReason::Shutdown)
    }

    /// Stops the node in order: what is queued for the disk is written, and the data folder can be
    /// opened again when this returns.
    pub async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}
