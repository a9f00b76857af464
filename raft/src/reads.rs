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
use serverv2_machine::planted::{self, Bug};
use tokio::time::Instant;

use crate::applier::Replica;
use crate::forward::{self, Forwarder};
use crate::node::Node;
use crate::transport::message::{Request, Response};
use crate::types::Raft;
use crate::whole::whole;

/// How old a node's knowledge may be for it to say of anything that it still holds, such as that a token counts.
pub const SURE_FOR: Duration = Duration::from_secs(1);
/// Pause before a node that could not say is asked again.
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
            if planted::has(Bug::LeaseReadWithoutLease) && forward::leader(&self.raft).is_some() {
                return true;
            }
            // Who reads may lose patience at any time.
            let raft = self.raft.clone();
            let asking =
                whole(async move { raft.ensure_linearizable(ReadPolicy::ReadIndex).await }).await;
            match asking {
                Some(Ok(_)) => return true,
                Some(Err(RaftError::APIError(_))) => tokio::time::sleep(RETRY).await,
                Some(Err(RaftError::Fatal(_))) | None => return false,
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
///
/// One that can't be asked is waited for as long, too: that it does not answer is no proof that it is not
/// there. It may go on for a moment with what it knows (its disk has failed, or it can ask and not be asked).
pub(crate) async fn applied_by(
    node: Arc<Node>,
    peers: Vec<NodeId>,
    index: u64,
    patience: Duration,
) -> Vec<NodeId> {
    let deadline = Instant::now() + patience;
    let asked = peers.into_iter().map(|peer| {
        let node = &node;
        async move {
            loop {
                if says_applied(node, peer, index, deadline).await {
                    return Some(peer);
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                tokio::time::sleep(RETRY.min(left)).await;
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Asks a peer once, until the deadline at most.
async fn says_applied(node: &Node, peer: NodeId, index: u64, deadline: Instant) -> bool {
    let Some(mut link) = node.peers.as_ref().and_then(|peers| peers.link(peer.0)) else {
        return false;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    match link.call(&Request::AwaitApplied(index), left).await {
        Ok(Response::Applied(applied)) => applied,
        Ok(_) => false,
        Err(error) => {
            tracing::debug!(%error, "a peer does not say what it has applied");
            false
        }
    }
}
