//! Knowing that nothing is missing: reads that see all that was acknowledged anywhere before, and how long
//! ago this node last knew as much.
//!
//! The moment that counts is the one at which this node *asked*, by its own clock. What a leader said
//! unasked may have waited in a socket while this process was paused; an answer can't be older than its
//! question.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use openraft::ReadPolicy;
use openraft::errors::RaftError;
use parking_lot::Mutex;
use serverv2_machine::NodeId;
use tokio::time::Instant;

use crate::applier::Replica;
use crate::forward::Forwarder;
use crate::node::Node;
use crate::transport::message::{Request, Response};
use crate::types::Raft;

/// Pause before a leader that could not say is asked again.
const RETRY: Duration = Duration::from_millis(20);
/// How often a node makes sure that it knows all there is.
const PERIOD: Duration = Duration::from_millis(200);

/// Asks whoever leads what there is, and waits until it is here.
pub(crate) struct Reader {
    raft: Raft,
    forwarder: Forwarder,
    replica: Replica,
}

impl Reader {
    pub(crate) fn of(node: &Node) -> Self {
        let forwarder = Forwarder::new(node.requests.node().0, node.peers.clone());
        Self { raft: node.raft.clone(), forwarder, replica: node.replica.clone() }
    }

    /// Waits until all that was acknowledged anywhere before this call is applied here; false if
    /// consensus has stopped.
    pub(crate) async fn catch_up(&self) -> bool {
        loop {
            if let Some(leader) = self.forwarder.other_leader(&self.raft) {
                if let Some(index) = self.forwarder.read_index(leader).await {
                    self.replica.applied_at_least(index).await;
                    return true;
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
            match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(_) => return true,
                Err(RaftError::APIError(_)) => tokio::time::sleep(RETRY).await,
                Err(RaftError::Fatal(_)) => return false,
            }
        }
    }
}

/// When this node last asked for all there was, and got it.
#[derive(Default)]
pub(crate) struct Certainty(Mutex<Option<Instant>>);

impl Certainty {
    /// How long ago that was.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().map(|asked| asked.elapsed())
    }
}

/// Keeps the node's certainty young, until the node is dropped or consensus stops.
pub(crate) async fn stay_certain(node: Weak<Node>) {
    let Some(alive) = node.upgrade() else { return };
    let (reader, certainty) = (Reader::of(&alive), alive.certainty.clone());
    drop(alive);
    while node.strong_count() > 0 {
        let asked = Instant::now();
        // One try: what takes longer than this is asked anew, so that its moment is a younger one.
        match tokio::time::timeout(2 * PERIOD, reader.catch_up()).await {
            Ok(true) => *certainty.0.lock() = Some(asked),
            Ok(false) => return,
            Err(_) => {}
        }
        tokio::time::sleep(PERIOD.saturating_sub(asked.elapsed())).await;
    }
}

/// Waits until these peers have applied the entry of this index, each for as long as `patience`.
/// Tells who has.
pub(crate) async fn applied_by(
    node: Arc<Node>,
    peers: Vec<NodeId>,
    index: u64,
    patience: Duration,
) -> Vec<NodeId> {
    let asked = peers.into_iter().map(|peer| {
        let link = node.peers.as_ref().and_then(|peers| peers.link(peer.0));
        async move {
            match link?.call(&Request::AwaitApplied(index), patience).await {
                Ok(Response::Applied(true)) => Some(peer),
                Ok(_) => None,
                Err(error) => {
                    tracing::debug!(%error, "a peer does not say what it has applied");
                    None
                }
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}
