//! How this node sees the cluster, for operators and health checks.

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use serverv2_machine::{Incarnation, NodeId};

use crate::types::{Raft, Vote};

/// Entries that a node may have to apply still and count as ready: there is always something under way.
const READY_LAG_MAX: u64 = 1_000;

/// Whom a node follows, or wants to, and in which term: of two votes the later term counts, then the higher
/// node. A node never goes back behind a vote that it has saved, or two could lead under one vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SavedVote {
    /// The term; 0 before the first vote.
    pub term: u64,
    /// The node.
    pub node: NodeId,
}

impl SavedVote {
    pub(crate) fn of(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: NodeId(vote.leader_id.node_id) }
    }
}

/// A look at consensus from this node. Indexes are 0 where there is nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// This process of it.
    pub incarnation: Incarnation,
    /// Who leads, as far as known here.
    pub leader: Option<NodeId>,
    /// Whether this node leads.
    pub is_leader: bool,
    /// The current term.
    pub term: u64,
    /// The last vote that is durable here.
    pub vote: SavedVote,
    /// Index of the last entry in the log here.
    pub last_log: u64,
    /// Index up to which entries are known here to be committed.
    pub committed: u64,
    /// Index up to which entries are applied here.
    pub applied: u64,
    /// Index of the newest snapshot here.
    pub snapshot: u64,
    /// Index up to which the log is gone here.
    pub purged: u64,
    /// All members, learners included.
    pub members: Vec<NodeId>,
    /// Whether this node has started, knows a leader and is not far behind what it knows to be committed.
    pub ready: bool,
}

/// Looks at openraft's published figures; waits for nothing. They come a little after the fact, so
/// what is applied is asked of the applier.
pub(crate) fn look(
    raft: &Raft,
    applied: u64,
    node: NodeId,
    incarnation: Incarnation,
    started: bool,
) -> Status {
    let metrics = raft.metrics();
    // The borrow is short: openraft waits for it when it publishes.
    let metrics = metrics.borrow_watched();
    let leader = metrics.current_leader.map(NodeId);
    let index = |id: Option<openraft::alias::LogIdOf<crate::types::TypeConfig>>| {
        id.map_or(0, |id| id.index)
    };
    let committed = index(metrics.local_committed).max(applied);
    let running = metrics.running_state.is_ok();
    Status {
        node,
        incarnation,
        leader,
        is_leader: metrics.state == ServerState::Leader,
        term: metrics.current_term,
        vote: SavedVote::of(&metrics.vote),
        last_log: metrics.last_log_index.unwrap_or(0).max(applied),
        committed,
        applied,
        snapshot: index(metrics.snapshot),
        purged: index(metrics.purged),
        members: metrics.membership_config.nodes().map(|(id, _)| NodeId(*id)).collect(),
        ready: started && running && leader.is_some() && committed - applied <= READY_LAG_MAX,
    }
}
