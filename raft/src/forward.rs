//! A follower's proposals on their way to the leader, and its questions to it.
//!
//! A batch goes as it is, with its request ids and the node's floor; the leader stamps and proposes it.
//! Its answer only says what happened before the commit: callers are answered by this node's own
//! applier. When the answer does not come, or another leader is known, nothing is certain, and the
//! same ids are sent again: the machine applies each once.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use serverv2_machine::Entry;
use tokio::sync::Mutex;

use crate::network::Peers;
use crate::transport::link::Link;
use crate::transport::message::{Request, Response};
use crate::types::Raft;

/// Longest wait for a leader's answer before the batch is sent again.
const FORWARD_PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for the leader's word on a read.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a forwarded batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the log at this index.
    Committed(u64),
    /// It was not taken.
    Refused,
    /// It may have been taken.
    Unknown,
}

/// The way from this node to whoever leads.
pub(crate) struct Forwarder {
    peers: Option<Peers>,
    node: u64,
    /// A lock, because reads and batches share the way; the batcher has one of its own.
    link: Mutex<Option<(u64, Link)>>,
}

impl Forwarder {
    /// Without peers there is nobody else to lead.
    pub(crate) fn new(node: u64, peers: Option<Peers>) -> Self {
        Self { peers, node, link: Mutex::new(None) }
    }

    /// The leader, if it is known and another node.
    pub(crate) fn other_leader(&self, raft: &Raft) -> Option<u64> {
        let leader = leader(raft)?;
        (leader != self.node && self.peers.is_some()).then_some(leader)
    }

    /// Sends a batch to the leader.
    pub(crate) async fn forward(&self, raft: &Raft, leader: u64, entry: Entry) -> Fate {
        let sending = self.ask(leader, Request::Forward(entry), FORWARD_PATIENCE);
        tokio::select! {
            answer = sending => match answer {
                Some(Response::Forward(Some(index))) => Fate::Committed(index),
                Some(Response::Forward(None)) => Fate::Refused,
                Some(_) | None => Fate::Unknown,
            },
            // Its answer is worth nothing any more.
            () = leader_changes(raft, Some(leader)) => Fate::Unknown,
        }
    }

    /// The index that a linearizable read must have applied, by the leader's word.
    pub(crate) async fn read_index(&self, leader: u64) -> Option<u64> {
        match self.ask(leader, Request::ReadIndex, READ_PATIENCE).await {
            Some(Response::ReadIndex(index)) => index,
            Some(_) | None => None,
        }
    }

    async fn ask(&self, leader: u64, request: Request, patience: Duration) -> Option<Response> {
        let mut place = self.link.lock().await;
        let link = match place.take() {
            Some((to, link)) if to == leader => link,
            _ => self.peers.as_ref()?.link(leader)?,
        };
        let (_, link) = place.insert((leader, link));
        match link.call(&request, patience).await {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::debug!(%error, "the leader gave no answer");
                None
            }
        }
    }
}

/// Who leads, as this node knows.
pub(crate) fn leader(raft: &Raft) -> Option<u64> {
    raft.metrics().borrow_watched().current_leader
}

/// Waits until somebody else leads than this one, or nobody.
pub(crate) async fn leader_changes(raft: &Raft, from: Option<u64>) {
    let mut metrics = raft.metrics();
    while metrics.borrow_watched().current_leader == from {
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
