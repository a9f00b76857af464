//! openraft's types, filled in: what an entry carries and what a member is.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serverv2_machine::Entry;

use crate::state_machine::StateMachine;

openraft::declare_raft_types!(
    /// Everything generic in openraft, decided. The leader id is openraft's own kind (term and node):
    /// it needs no second round when two candidates meet in a term.
    pub(crate) TypeConfig:
        D = Batch,
        // Answers don't travel through openraft: the applier gives them by request id.
        R = (),
        NodeId = u64,
        Node = Member,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type LogEntry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;

/// The machine's entry, shared by the log's cache, replication and the applier.
#[derive(Clone, Debug)]
pub(crate) struct Batch(pub(crate) Arc<Entry>);

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} proposals", self.0.proposals.len())
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entry::deserialize(deserializer).map(|entry| Self(Arc::new(entry)))
    }
}

/// What the membership says about a node. A node id and its data folder belong together for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Where peers reach it; empty for a node without peers.
    pub(crate) address: String,
    /// Its data folder.
    pub(crate) folder: [u8; 16],
    /// The cluster it is in: drawn when the cluster is formed.
    pub(crate) cluster: [u8; 16],
}
