//! Who is in the cluster, and how that changes while it runs.
//!
//! A change is asked of any node and made by the leader, one small step at a time: a new node is a learner
//! first, a voter that goes is a learner before it goes, and each step is one change of consensus that is
//! waited for to its end (a joint membership included). Every change is idempotent: what is so already is
//! a success that says so. Therefore a change that was cut off by a lost leader is simply asked for again,
//! and a caller whose time is over may ask again too.
//!
//! What is refused: whatever would leave too few live voters for a majority, a node that is not there or is
//! somebody else, a learner as voter before it has the log. Refusals have codes ([`code`]) that don't change.
//!
//! **A node id is used once.** Whoever announced itself in the log and is in the membership no more has been
//! removed ([`Removal`]), for ever: its log may lack what it acknowledged under that id. A node that was
//! removed is told so at the handshake, with a proof that it comes from its cluster.

mod leading;
mod removal;
mod view;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serverv2_machine::{NodeGone, NodeId};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::forward::leader;
use crate::network::Peers;
use crate::reads::SURE_FOR;
use crate::transport::message::{Request, Response};
use crate::types::Raft;

pub(crate) use self::leading::Leading;
pub(crate) use self::removal::{Removal, removed};
pub(crate) use self::view::look;
pub use self::view::{MemberView, MembersView};

/// Pause before a change is asked for again.
const RETRY: Duration = Duration::from_millis(100);
/// What the way to the leader and back may take beyond the change itself.
const WAY: Duration = Duration::from_secs(1);
/// Time for the leader to say who is there.
const VIEW_PATIENCE: Duration = Duration::from_secs(1);
/// From the removal of a node until it can't be sure of anything any more.
const UNSURE_AFTER: Duration = SURE_FOR.saturating_add(Duration::from_millis(250));
/// Time to tell the log that a removed node is gone.
const GONE_PATIENCE: Duration = Duration::from_secs(2);

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Takes a node in as a learner: it gets everything and carries players, but has no vote.
    Add {
        /// Its id.
        node: u64,
        /// Where peers reach it.
        address: String,
    },
    /// Makes a learner a voter.
    Promote(u64),
    /// Makes a voter a learner.
    Demote(u64),
    /// Takes a node out, for ever.
    Remove(u64),
    /// Lets this voter lead, or any other than the present leader.
    TransferLead(Option<u64>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { node, address } => write!(f, "add node {node} at {address}"),
            Self::Promote(node) => write!(f, "promote node {node}"),
            Self::Demote(node) => write!(f, "demote node {node}"),
            Self::Remove(node) => write!(f, "remove node {node}"),
            Self::TransferLead(Some(node)) => write!(f, "let node {node} lead"),
            Self::TransferLead(None) => f.write_str("let another node lead"),
        }
    }
}

/// A change that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Whether it was so before.
    pub already: bool,
    /// For people.
    pub message: String,
}

/// A change that is not done, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchanged {
    /// For programs ([`code`]).
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same change may succeed later.
    pub retryable: bool,
}

impl Unchanged {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retryable: false }
    }

    fn for_now(code: &str, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(code, message) }
    }
}

/// The codes of what is not done. Stable.
pub(crate) mod code {
    /// No member has this id.
    pub(crate) const NODE_UNKNOWN: &str = "NODE_UNKNOWN";
    /// The id belonged to a node that was removed.
    pub(crate) const NODE_REMOVED: &str = "NODE_REMOVED";
    /// Too few live voters would be left for a majority.
    pub(crate) const QUORUM_LOST: &str = "QUORUM_LOST";
    /// It is the only voter.
    pub(crate) const LAST_VOTER: &str = "LAST_VOTER";
    /// The node can't be reached now.
    pub(crate) const NODE_UNREACHABLE: &str = "NODE_UNREACHABLE";
    /// Who answers at that address is not the node that is meant: of another cluster, under another id,
    /// on another data folder, or with another secret.
    pub(crate) const NODE_FOREIGN: &str = "NODE_FOREIGN";
    /// It lacks too much of the log, still.
    pub(crate) const NODE_BEHIND: &str = "NODE_BEHIND";
    /// Only a voter can lead.
    pub(crate) const NOT_A_VOTER: &str = "NOT_A_VOTER";
    /// The leader's own address is not known, so nobody could reach it.
    pub(crate) const NO_ADDRESS: &str = "NO_ADDRESS";
    /// This node listens to no peers.
    pub(crate) const ALONE: &str = "ALONE";
    /// There was no leader, or no end of the change, in time. It may be done, wholly or in part.
    pub(crate) const UNKNOWN: &str = "UNKNOWN";
}

/// What a leader, or who was taken for it, says of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Done(Changed),
    Not(Unchanged),
    /// It does not lead, or not any more: ask who does.
    NotLeading,
}

impl Cluster {
    /// Changes the membership, whoever leads, within a time.
    pub async fn change(&self, change: Change, patience: Duration) -> Result<Changed, Unchanged> {
        let Some(leading) = self.leading() else {
            let text =
                "this node stands alone: it listens to no peers (CLUSTER_ENABLED, PEER_BIND)";
            return Err(Unchanged::new(code::ALONE, text));
        };
        tracing::info!(%change, "a change of the membership is asked for");
        let asked = change.clone();
        // On the runtime of consensus, whose timers openraft uses.
        let asking = async move { ask(leading, asked, Instant::now() + patience).await };
        let verdict = self.runtime().spawn(asking).await;
        let verdict = verdict.unwrap_or_else(|error| {
            Err(Unchanged::for_now(code::UNKNOWN, format!("it was not seen to its end: {error}")))
        });
        match &verdict {
            Ok(done) => {
                tracing::info!(%change, result = done.message, "the membership is as asked");
            }
            Err(not) => tracing::warn!(%change, code = not.code, why = not.message, "no change"),
        }
        if let (Change::Remove(node), Ok(_)) = (&change, &verdict) {
            self.say_gone(NodeId(*node)).await;
        }
        verdict
    }

    /// Who is in the cluster, as the leader knows it, or else as this node does.
    pub async fn members(&self) -> MembersView {
        let local = view::look(self.raft(), self.replica(), self.node().0);
        let Some(Leading { raft, peers, .. }) = self.leading() else { return local };
        let asking = async move {
            let leader = leader(&raft).filter(|leader| *leader != peers.own.node)?;
            match peers.link(leader)?.call(&Request::Members, VIEW_PATIENCE).await {
                Ok(Response::Members(view)) => Some(view),
                _ => None,
            }
        };
        self.runtime().spawn(asking).await.ok().flatten().unwrap_or(local)
    }

    /// Whether this node was removed from its cluster.
    pub fn is_removed(&self) -> bool {
        self.leading().is_some_and(|leading| leading.peers.own.has_removed_me())
    }

    /// Its sessions are lost with it, sooner than by its silence. Not at once: a process that lives goes on for a
    /// moment with what it knows, and nobody waits for one that does not count.
    async fn say_gone(&self, node: NodeId) {
        let live = self.read(|machine, _| {
            machine.nodes().find(|it| it.id == node && it.live).map(|it| it.incarnation)
        });
        if node != self.node()
            && let Some(incarnation) = live.value
        {
            sleep(UNSURE_AFTER).await;
            let gone = NodeGone { node, incarnation, grace_ms: self.grace_ms() };
            // If it fails, the leader finds out by the node's silence.
            let _ = tokio::time::timeout(GONE_PATIENCE, self.propose(gone, None)).await;
        }
    }
}

/// Asks whoever leads until there is an answer.
async fn ask(leading: Leading, change: Change, until: Instant) -> Result<Changed, Unchanged> {
    let mut sent = false;
    loop {
        // Who is removed by way of itself is not told so by the leader, which has hung up.
        if change == Change::Remove(leading.peers.own.node) && leading.peers.own.has_removed_me() {
            let message = "this node is removed: stop it, and don't use its id again".to_owned();
            return Ok(Changed { already: !sent, message });
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late(&leading.raft, &change, sent));
        }
        let verdict = match leader(&leading.raft) {
            None => Verdict::NotLeading,
            Some(leader) if leader == leading.peers.own.node => {
                sent = true;
                leading.change(change.clone(), left).await
            }
            Some(leader) => {
                let answer = ask_leader(&leading.peers, leader, &change, left).await;
                sent |= answer.is_some();
                answer.unwrap_or(Verdict::NotLeading)
            }
        };
        match verdict {
            Verdict::Done(done) => return Ok(done),
            Verdict::Not(not) => return Err(not),
            Verdict::NotLeading => sleep(RETRY).await,
        }
    }
}

async fn ask_leader(
    peers: &Peers,
    leader: u64,
    change: &Change,
    patience: Duration,
) -> Option<Verdict> {
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Change { change: change.clone(), patience_ms };
    match peers.link(leader)?.call(&request, patience + WAY).await {
        Ok(Response::Change(verdict)) => Some(verdict),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "the leader does not say what became of a change");
            None
        }
    }
}

fn late(raft: &Raft, change: &Change, sent: bool) -> Unchanged {
    let known = if sent {
        "it may be done, wholly or in part"
    } else if leader(raft).is_none() {
        "no leader is known here, so it was not done"
    } else {
        "the leader was not reached, so it was not done"
    };
    let text = format!("{change}: no end of it in time; {known}. Look at the status and ask again");
    Unchanged::for_now(code::UNKNOWN, text)
}
