//! A new data folder out of a backup.
//!
//! It is as if the node had got the backup as a snapshot: an empty log that goes on behind the backup's index,
//! the machine, the records. Its only member is this node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use openraft::vote::leader_id_adv::LeaderId;
use serverv2_machine::{NodeId, Snapshot};
use serverv2_storage::{Folder, Purged, SnapshotFile, StorageError, Undertaking};
use tokio::sync::mpsc;

use super::{OfflineError, durably};
use crate::backup::{BackupAbout, Reader};
use crate::checkpoint::Head;
use crate::codec;
use crate::log_adapter::Stores;
use crate::node::INCARNATION_BITS;
use crate::transport::snapshot::{Part, receive};
use crate::types::{LogId, Member, Membership, SnapshotMeta, StoredMembership, Vote};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Pieces between the file and the folder.
const PIECES_WAITING_MAX: usize = 4;

/// Reads a backup to its end, and says what it says of itself if all of it is what was written.
pub fn check_backup(file: &Path) -> Result<BackupAbout, OfflineError> {
    open(file)?.check().map_err(|why| OfflineError::Backup(file.into(), why))
}

/// Fills a new folder from a backup, for a node that others reach at `address` (empty: nobody needs to).
/// A backup that is not whole is refused before the folder is made.
pub fn restore(
    file: &Path,
    folder: &Path,
    node: NodeId,
    address: &str,
) -> Result<BackupAbout, OfflineError> {
    let about = check_backup(file)?;
    // A node that was in the cluster goes on counting where it was, or its requests would be taken for old.
    let boots = boots_of(file, node)?;
    let begun = Folder::begin(folder, node.0, Undertaking::Restore)?;
    let (stores, _) = Stores::of(begun, boots)?;
    let last = about.last();
    let meta = meta(
        last,
        node,
        Member {
            address: address.to_owned(),
            folder: stores.folder_id().0,
            cluster: rand::random(),
        },
    )?;
    let log = &stores.log;
    log.purge(Purged { index: last.index, about: codec::encode_log_id(last) })?;
    log.save_committed(codec::encode_log_id(last))?;
    let leader_id = LeaderId { term: last.leader_id.term, node_id: last.leader_id.node_id };
    let vote = codec::encode_vote(&Vote { leader_id, committed: false });
    durably(|done| log.save_vote(vote, done))?;

    let filled = fill(&stores, file, &about, &codec::encode_snapshot_meta(&meta));
    let filled = filled.map_err(|why| OfflineError::Backup(file.into(), why))?;
    let generation = crate::checkpoint::Opened::check(&filled)?.head.generation;
    stores.snapshots.publish(&filled, last.index)?;
    stores.records.switch_to(generation)?;
    stores.records.drop_others()?;
    stores.folder.finish()?;
    Ok(about)
}

fn open(file: &Path) -> Result<Reader<BufReader<File>>, OfflineError> {
    let refused = |why| OfflineError::Backup(file.into(), why);
    let opened = File::open(file).map_err(|error| refused(error.to_string()))?;
    Reader::open(BufReader::with_capacity(BUFFER_BYTES, opened)).map_err(refused)
}

fn meta(last: LogId, node: NodeId, member: Member) -> Result<SnapshotMeta, StorageError> {
    let voters = vec![BTreeSet::from([node.0])];
    let members = Membership::new(voters, BTreeMap::from([(node.0, member)]))
        .map_err(|error| StorageError::Stopped(error.to_string()))?;
    Ok(SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), members),
    })
}

/// Takes the file in as if a peer sent it; gives what is to be published.
fn fill(
    stores: &Arc<Stores>,
    file: &Path,
    about: &BackupAbout,
    meta: &[u8],
) -> Result<SnapshotFile, String> {
    let mut reader = open(file).map_err(|error| error.to_string())?;
    let (to, parts) = mpsc::channel(PIECES_WAITING_MAX);
    let machine_bytes = about.machine_bytes;
    let head = Head { generation: 0, from: about.index, machine_bytes, changes: 0 };
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || -> Result<(), String> {
            while let Some(part) = reader.next()? {
                if to.blocking_send(part).is_err() {
                    // The other side says why.
                    return Ok(());
                }
            }
            Ok(())
        });
        let filled = receive(stores, meta, about.index, &head, parts);
        let read = reading.join().map_err(|_| "reading it panicked".to_owned())?;
        read.and(filled)
    })
}

/// How often the folder was opened from which this node's newest process in the backup came.
fn boots_of(file: &Path, node: NodeId) -> Result<u64, OfflineError> {
    let refused = |why: String| OfflineError::Backup(file.into(), why);
    let mut reader = open(file)?;
    let wanted = reader.about.machine_bytes;
    let mut machine = Vec::new();
    while (machine.len() as u64) < wanted
        && let Some(Part::Piece(bytes)) = reader.next().map_err(refused)?
    {
        machine.extend_from_slice(&bytes);
    }
    let snapshot = Snapshot::decode(&machine).map_err(|error| refused(error.to_string()))?;
    let (machine, _) = snapshot.restore();
    let known = machine.nodes().find(|known| known.id == node);
    Ok(known.map_or(0, |known| known.incarnation.0 >> INCARNATION_BITS))
}
