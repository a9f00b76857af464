//! The bytes of what openraft stores: entries, votes, positions, what is said about a snapshot.
//!
//! openraft's types change between its versions, so none of them is written as it is: they are taken
//! apart here into types that never change. Every value starts with one format byte. A batch is
//! written by the machine's own codec behind a small head, so its bytes are those that the machine
//! keeps golden files of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::vote::leader_id_adv::LeaderId;
use openraft::{EntryPayload, LogId as OpenraftLogId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serverv2_machine::{decode_entry, encode_entry};
use serverv2_storage::Record;

use crate::types::{
    Batch, LogEntry, LogId, Member, Membership, SnapshotMeta, StoredMembership, Vote,
};
use crate::versions;

const FORMAT: u8 = 1;
/// Memory that decoding a head may take; a membership is the largest.
const DECODE_BYTES_MAX: usize = 1024 * 1024;

/// An entry as the log store sees it.
#[derive(Clone)]
pub(crate) struct LogRecord(pub(crate) LogEntry);

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredLogId {
    term: u64,
    node: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredVote {
    term: u64,
    node: u64,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredMembers {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, Member>,
}

#[derive(Serialize, Deserialize)]
struct StoredHead {
    id: StoredLogId,
    payload: StoredPayload,
}

#[derive(Serialize, Deserialize)]
enum StoredPayload {
    Blank,
    /// The machine's bytes follow.
    Batch,
    Membership(StoredMembers),
}

#[derive(Serialize, Deserialize)]
struct StoredSnapshotMeta {
    last: Option<StoredLogId>,
    members_at: Option<StoredLogId>,
    members: StoredMembers,
}

impl Record for LogRecord {
    fn index(&self) -> u64 {
        self.0.log_id.index
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        let (payload, rest) = match &self.0.payload {
            EntryPayload::Blank => (StoredPayload::Blank, Vec::new()),
            EntryPayload::Normal(batch) => {
                let bytes = encode_entry(&batch.0).map_err(|error| error.to_string())?;
                (StoredPayload::Batch, bytes)
            }
            EntryPayload::Membership(members) => {
                (StoredPayload::Membership(members.into()), Vec::new())
            }
        };
        let mut bytes = encode(&StoredHead { id: self.0.log_id.into(), payload });
        bytes.extend_from_slice(&rest);
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (head, rest) = decode_head::<StoredHead>(bytes)?;
        let payload = match head.payload {
            StoredPayload::Blank => EntryPayload::Blank,
            StoredPayload::Batch => {
                let entry = decode_entry(rest).map_err(|error| error.to_string())?;
                versions::check_known(&entry)?;
                EntryPayload::Normal(Batch(Arc::new(entry)))
            }
            StoredPayload::Membership(members) => EntryPayload::Membership(members.try_into()?),
        };
        Ok(Self(LogEntry::new(head.id.into(), payload)))
    }
}

pub(crate) fn encode_log_id(id: LogId) -> Vec<u8> {
    encode(&StoredLogId::from(id))
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, String> {
    decode::<StoredLogId>(bytes).map(LogId::from)
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    encode(&StoredVote::from(vote))
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, String> {
    decode::<StoredVote>(bytes).map(Vote::from)
}

pub(crate) fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    encode(&StoredSnapshotMeta {
        last: meta.last_log_id.map(StoredLogId::from),
        members_at: meta.last_membership.log_id().map(StoredLogId::from),
        members: meta.last_membership.membership().into(),
    })
}

pub(crate) fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, String> {
    let stored: StoredSnapshotMeta = decode(bytes)?;
    let members_at = stored.members_at.map(LogId::from);
    Ok(SnapshotMeta {
        last_log_id: stored.last.map(LogId::from),
        last_membership: StoredMembership::new(members_at, stored.members.try_into()?),
    })
}

impl From<&Vote> for StoredVote {
    fn from(vote: &Vote) -> Self {
        let Vote { leader_id: LeaderId { term, node_id: node }, committed } = *vote;
        Self { term, node, committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(StoredVote { term, node, committed }: StoredVote) -> Self {
        Self { leader_id: LeaderId { term, node_id: node }, committed }
    }
}

impl StoredLogId {
    pub(crate) fn new(term: u64, node: u64, index: u64) -> Self {
        Self { term, node, index }
    }
}

impl From<LogId> for StoredLogId {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<StoredLogId> for LogId {
    fn from(stored: StoredLogId) -> Self {
        let leader_id = LeaderId { term: stored.term, node_id: stored.node };
        OpenraftLogId { leader_id, index: stored.index }
    }
}

impl From<&Membership> for StoredMembers {
    fn from(members: &Membership) -> Self {
        Self {
            configs: members.get_joint_config().clone(),
            nodes: members.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }
}

impl TryFrom<StoredMembers> for Membership {
    type Error = String;

    fn try_from(stored: StoredMembers) -> Result<Self, String> {
        // openraft knows the empty membership of a node that nobody has initialized.
        if stored.configs.is_empty() && stored.nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(stored.configs, stored.nodes).map_err(|error| error.to_string())
    }
}

pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("plain structs encode, and a vector takes everything");
    bytes
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (value, rest) = decode_head(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes are left over", rest.len())) }
}

pub(crate) fn decode_head<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), String> {
    let Some((&FORMAT, bytes)) = bytes.split_first() else {
        return Err("the format is not known here".into());
    };
    let config = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
    let (value, read) =
        bincode::serde::decode_from_slice(bytes, config).map_err(|error| error.to_string())?;
    Ok((value, &bytes[read..]))
}
