//! A backup: the whole replicated state at one index, in one file that needs nothing else.
//!
//! ```text
//! "SV2BACKP"
//! format   u32
//! about    length u32, crc32 u32, bytes: whose backup, of which index
//! pieces   length u32 (1 to 8 MiB), crc32 u32, bytes       (repeated)
//!          first the machine's snapshot, then the records as peers send them
//! end      0 u32, crc32 of all pieces u32, number of records u64
//! ```
//!
//! All numbers are big-endian. A live node makes a checkpoint, as it does from time to time anyway, and reads
//! what a peer would be sent: entries are applied meanwhile, and no more than a few pieces are in memory. There
//! is one such reader at a time, so a backup waits while a peer is getting a snapshot.
//!
//! Nothing in the file is believed before its checksum held; a file that is cut, continued or changed
//! anywhere is refused, and so is one of a newer format or behaviour level.

mod reader;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serverv2_storage::StorageError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub(crate) use self::reader::Reader;
use crate::cluster::Cluster;
use crate::codec::{self, StoredLogId};
use crate::log_adapter::Stores;
use crate::transport::snapshot::{Outgoing, Part};
use crate::types::{LogId, SnapshotMeta};

const MAGIC: &[u8; 8] = b"SV2BACKP";
/// The newest format that this build reads, and the one it writes.
const FORMAT: u32 = 1;
/// Bytes of what is said about a backup.
const ABOUT_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of a piece.
const PIECE_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Time for a checkpoint, and for another reader to end.
const BEGIN_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two tries to begin.
const BEGIN_PAUSE: Duration = Duration::from_millis(50);
/// Time after which a checkpoint is asked for once more.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(2);

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAbout {
    /// The cluster's name.
    pub cluster_name: String,
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// The node that made it.
    pub node: u64,
    /// Term of the last entry in it.
    pub term: u64,
    /// Leader of that term.
    pub leader: u64,
    /// Index of that entry: everything acknowledged up to there is in it.
    pub index: u64,
    /// The behaviour level that a build must know to read it.
    pub level: u32,
    /// When it was made, milliseconds of Unix time by that node's clock.
    pub wall_ms: u64,
    /// The build that made it.
    pub build: String,
    /// Bytes of the machine's snapshot.
    pub(crate) machine_bytes: u64,
}

impl BackupAbout {
    pub(crate) fn last(&self) -> LogId {
        StoredLogId::new(self.term, self.leader, self.index).into()
    }
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// A peer is getting a snapshot, or the disk is too slow. Try again.
    #[error("the state is being read by somebody else, or the disk is slow: try again later")]
    Busy,
    /// What was read is not what was written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A backup that is being made: the bytes of its file, in order.
pub struct Backup {
    /// What it says of itself.
    pub about: BackupAbout,
    head: Option<Vec<u8>>,
    parts: mpsc::Receiver<Result<Part, StorageError>>,
    ended: bool,
}

impl Cluster {
    /// Begins a backup of everything that is applied here now.
    pub async fn backup(&self) -> Result<Backup, BackupError> {
        let (cluster, deadline) = (self.clone(), Instant::now() + BEGIN_PATIENCE);
        // On the runtime of consensus, whose timers openraft uses.
        let beginning = self.inner().handle.spawn(async move { cluster.begin(deadline).await });
        beginning.await.map_err(|_| BackupError::Stopped)?
    }

    async fn begin(&self, deadline: Instant) -> Result<Backup, BackupError> {
        let node = self.inner();
        let stores = node.stores.upgrade().ok_or(BackupError::Stopped)?;
        let wanted = node.replica.read().applied.map_or(0, |applied| applied.index);
        let mut asked: Option<Instant> = None;
        loop {
            if stores.snapshots.position() >= wanted {
                if let Some((meta, outgoing)) = read(&stores)? {
                    return Ok(self.announce_backup(&meta, outgoing));
                }
            } else if asked.is_none_or(|at| at.elapsed() > CHECKPOINT_PAUSE) {
                asked = Some(Instant::now());
                node.raft.trigger().snapshot().await.map_err(|_| BackupError::Stopped)?;
            }
            if Instant::now() > deadline {
                return Err(BackupError::Busy);
            }
            sleep(BEGIN_PAUSE).await;
        }
    }

    fn announce_backup(&self, meta: &SnapshotMeta, outgoing: Outgoing) -> Backup {
        let node = self.inner();
        let last = meta.last_log_id;
        let member = meta.last_membership.membership().nodes().next();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let about = BackupAbout {
            cluster_name: node.cluster_name.clone(),
            cluster: member.map(|(_, member)| member.cluster).unwrap_or_default(),
            node: self.node().0,
            term: last.map_or(0, |last| last.leader_id.term),
            leader: last.map_or(0, |last| last.leader_id.node_id),
            index: last.map_or(0, |last| last.index),
            // The state may be a little older, and of a lower one.
            level: self.levels().in_force,
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            machine_bytes: outgoing.head.machine_bytes,
        };
        let head = Some(head(&about));
        tracing::info!(raft.index = about.index, "a backup is being made");
        Backup { about, head, parts: outgoing.parts, ended: false }
    }
}

/// `None`: not now.
fn read(stores: &Arc<Stores>) -> Result<Option<(SnapshotMeta, Outgoing)>, StorageError> {
    let Some(file) = stores.snapshots.current() else { return Ok(None) };
    let meta = codec::decode_snapshot_meta(file.meta()).map_err(StorageError::Corrupt)?;
    let position = meta.last_log_id.map_or(0, |last| last.index);
    match Outgoing::read(stores, &file, position) {
        Ok(outgoing) => Ok(Some((meta, outgoing))),
        Err(StorageError::Stopped(why)) => {
            tracing::debug!(why, "a backup can't begin yet");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Backup {
    /// The next bytes of the file; `None` when all of them were given. After an error the file is worthless.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, StorageError>> {
        if let Some(head) = self.head.take() {
            return Some(Ok(head));
        }
        if self.ended {
            return None;
        }
        let part = self.parts.recv().await;
        let part = part.unwrap_or_else(|| {
            Err(StorageError::Stopped("the state could not be read to its end".to_owned()))
        });
        self.ended = !matches!(part, Ok(Part::Piece(_)));
        Some(part.map(|part| match part {
            Part::Piece(bytes) => piece(&bytes),
            Part::End { crc, records } => end(crc, records),
        }))
    }
}

/// How a file begins.
fn head(about: &BackupAbout) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &FORMAT.to_be_bytes()].concat();
    bytes.extend_from_slice(&piece(&codec::encode(about)));
    bytes
}

fn piece(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("pieces are bounded");
    [&length.to_be_bytes()[..], &crc32fast::hash(bytes).to_be_bytes(), bytes].concat()
}

fn end(crc: u32, records: u64) -> Vec<u8> {
    [&0u32.to_be_bytes()[..], &crc.to_be_bytes(), &records.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
