//! Who is in the cluster, as a leader sees it; other nodes know less.

use std::collections::BTreeMap;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use serde::{Deserialize, Serialize};
use serverv2_storage::FolderId;

use crate::applier::Replica;
use crate::types::Raft;

/// The cluster, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MembersView {
    /// The node that says this; where it does not lead, it knows less.
    pub seen_by: u64,
    /// Who leads.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// Index up to which the log is known to be committed.
    pub committed: u64,
    /// The behaviour level in force.
    pub level: u32,
    /// A change of the voters is under way, or was cut off: the next change ends it.
    pub is_joint: bool,
    /// By id.
    pub members: Vec<MemberView>,
    /// Ids of nodes that were removed, never to be used again.
    pub removed: Vec<u64>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Its id.
    pub node: u64,
    /// Where peers reach it, by the membership; empty where it is not known.
    pub address: String,
    /// The id of its data folder.
    pub folder: String,
    /// Whether it votes; else it is a learner.
    pub is_voter: bool,
    /// Whether it serves, by the log: it is there and was not counted out.
    pub is_live: bool,
    /// The process that serves; 0 if none ever did.
    pub incarnation: u64,
    /// The newest behaviour level that it knows; 0 if it never served.
    pub level: u32,
    /// Milliseconds since it last acknowledged the leader.
    pub heard_ms: Option<u64>,
    /// Index up to which it is known to have the log.
    pub has: Option<u64>,
}

/// How this node sees the cluster; it waits for nothing.
pub(crate) fn look(raft: &Raft, replica: &Replica, own: u64) -> MembersView {
    // One after the other, so that no lock is held while another is waited for.
    let metrics = raft.metrics().borrow_watched().clone();
    let state = replica.read();
    let (applied, level) = (state.applied.map_or(0, |at| at.index), state.machine.level());
    let served: BTreeMap<u64, _> = state
        .machine
        .nodes()
        .map(|node| (node.id.0, (node.live, node.incarnation.0, node.level)))
        .collect();
    drop(state);
    let config = metrics.membership_config.membership();
    let voters: Vec<u64> = config.voter_ids().collect();
    let members = config.nodes().map(|(id, member)| {
        let (is_live, incarnation, level) = served.get(id).copied().unwrap_or_default();
        let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(id)?.as_ref());
        let heard_ms = heard.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        let has = metrics.replication.as_ref().and_then(|all| *all.get(id)?);
        let is_own = *id == own;
        MemberView {
            node: *id,
            address: member.address.clone(),
            folder: FolderId(member.folder).to_string(),
            is_voter: voters.contains(id),
            is_live,
            incarnation,
            level,
            heard_ms: if is_own { Some(0) } else { heard_ms },
            has: if is_own { metrics.last_log_index } else { has.map(|has| has.index) },
        }
    });
    let members: Vec<MemberView> = members.collect();
    let is_member = |id: &u64| members.iter().any(|member| member.node == *id);
    let removed = served.keys().copied().filter(|id| !members.is_empty() && !is_member(id));
    MembersView {
        seen_by: own,
        leader: metrics.current_leader,
        term: metrics.current_term,
        committed: metrics.local_committed.map_or(0, |at| at.index).max(applied),
        level,
        is_joint: config.get_joint_config().len() > 1,
        removed: removed.collect(),
        members,
    }
}
