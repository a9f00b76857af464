//! A cluster of one out of one survivor's folder.
//!
//! The membership is part of the log, so a new one is appended to it: this node alone, under a new cluster
//! id, in a term above all that this node has voted in. It is committed at once, and with it everything
//! before it: what was committed, and what this node's log holds beyond. What only others had is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::vote::leader_id_adv::LeaderId;
use serverv2_machine::NodeId;
use serverv2_storage::{Folder, StorageError, Undertaking};

use super::{OfflineError, Standing, durably};
use crate::codec::{self, LogRecord};
use crate::log_adapter::Stores;
use crate::types::{LogEntry, LogId, Member, Membership, Vote};

/// Bytes of the log in memory while its last membership is looked for.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Looks at a folder on which no node runs.
pub fn look_at(path: &Path) -> Result<Standing, OfflineError> {
    let stores = open(path, |node| Folder::open(path, node))?;
    Ok(State::of(&stores)?.standing)
}

/// Makes a cluster of one of the folder; gives how it stood before and how it stands now. Begun again after
/// its process died in between, it is done all the same.
pub fn recover(path: &Path) -> Result<(Standing, Standing), OfflineError> {
    let stores = open(path, |node| {
        // Nothing is begun with a folder that can't be.
        let folder = match Folder::open(path, node) {
            Err(StorageError::Unfinished { what: Undertaking::Recovery, .. }) => None,
            opened => Some(opened?),
        };
        drop(folder);
        Folder::begin(path, node, Undertaking::Recovery)
    })?;
    let State { standing: before, member, last, vote } = State::of(&stores)?;
    let node = before.node.0;
    let term = 1 + vote.map_or(0, |vote| vote.leader_id.term).max(before.term);
    let alone = Member { cluster: rand::random(), folder: stores.folder_id().0, ..member };
    let members = Membership::new(vec![BTreeSet::from([node])], BTreeMap::from([(node, alone)]))
        .map_err(|error| StorageError::Stopped(error.to_string()))?;
    let leader_id = LeaderId { term, node_id: node };
    let id = LogId { leader_id, index: last.map_or(0, |last| last.index + 1) };
    let entry = LogRecord(LogEntry::new(id, EntryPayload::Membership(members)));

    step("begun");
    let vote = codec::encode_vote(&Vote { leader_id, committed: true });
    durably(|done| stores.log.save_vote(vote.clone(), done))?;
    step("voted");
    durably(|done| stores.log.append(vec![entry], done))?;
    step("appended");
    stores.log.save_committed(codec::encode_log_id(id))?;
    // It is written with the next commit.
    durably(|done| stores.log.save_vote(vote, done))?;
    step("committed");
    let after = State::of(&stores)?.standing;
    stores.folder.finish()?;
    Ok((before, after))
}

/// Where tests let this process die.
fn step(_name: &str) {
    #[cfg(feature = "failpoints")]
    {
        crate::failpoints::arm();
        crate::failpoints::recovery(_name);
    }
}

fn open(
    path: &Path,
    open: impl FnOnce(u64) -> Result<Folder, StorageError>,
) -> Result<Arc<Stores>, OfflineError> {
    let node = Folder::owner(path)?.ok_or_else(|| OfflineError::Nothing(path.into()))?;
    Ok(Stores::of(open(node)?, 0)?.0)
}

/// What a folder holds.
struct State {
    standing: Standing,
    /// What its cluster says of this node; nothing if it is not of it any more.
    member: Member,
    last: Option<LogId>,
    vote: Option<Vote>,
}

impl State {
    fn of(stores: &Stores) -> Result<Self, OfflineError> {
        let damaged = StorageError::Corrupt;
        let log = &stores.log;
        let purged = log.purged().map(|purged| codec::decode_log_id(&purged.about));
        let mut last = purged.transpose().map_err(damaged)?;
        let meta = stores.snapshots.current().map(|file| codec::decode_snapshot_meta(file.meta()));
        let meta = meta.transpose().map_err(damaged)?;
        let mut members = meta.map(|meta| meta.last_membership.membership().clone());
        let mut next = log.range().start;
        while next < log.range().end {
            let read = log.read(next..log.range().end, READ_BYTES_MAX)?;
            let Some(newest) = read.last() else { break };
            (last, next) = (Some(newest.0.log_id), newest.0.log_id.index + 1);
            for LogRecord(entry) in read {
                if let EntryPayload::Membership(found) = entry.payload {
                    members = Some(found);
                }
            }
        }
        let members = members.filter(|members| members.nodes().next().is_some());
        let members = members.ok_or(OfflineError::NoCluster)?;
        let node = stores.folder.node();
        let known = members.get_node(&node).or_else(|| members.nodes().next().map(|(_, it)| it));
        let cluster = known.map(|member| member.cluster).unwrap_or_default();
        let member = members.get_node(&node).cloned().unwrap_or_default();
        let committed = log.committed().map(|bytes| codec::decode_log_id(&bytes));
        let committed = committed.transpose().map_err(damaged)?;
        let checkpoint = stores.snapshots.position();
        let vote =
            log.vote().map(|bytes| codec::decode_vote(&bytes)).transpose().map_err(damaged)?;
        let standing = Standing {
            node: NodeId(node),
            cluster,
            members: members.nodes().map(|(id, _)| NodeId(*id)).collect(),
            term: last.map_or(0, |last| last.leader_id.term),
            last: last.map_or(0, |last| last.index),
            committed: committed.map_or(0, |committed| committed.index).max(checkpoint),
            checkpoint,
        };
        Ok(Self { standing, member, last, vote })
    }
}
