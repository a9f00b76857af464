//! openraft's log storage on top of the crate `storage`.
//!
//! An append returns when the entries can be read and calls back when they are durable; a vote returns
//! when it is durable. Truncating, purging and saving the committed position wait for no disk
//! (see [`serverv2_storage::LogStore`]).
//!
//! An entry that is older than the log's cache is read from the disk on the caller's task: it happens
//! while a node recovers, and for followers that are far behind.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, OnceLock};

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use serverv2_machine::planted::{self, Bug};
use serverv2_storage::{
    Folder, FolderId, LogStore, Purged, RecordStore, SnapshotStore, StorageError,
};
use tokio::sync::oneshot;

use crate::checkpoint;
use crate::codec::{self, LogRecord};
use crate::status::SavedVote;
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// Bytes of entries in one read for replication.
const REPLICATION_READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A node's open data folder. Everything in it closes in this order when the last user is gone.
pub(crate) struct Stores {
    pub(crate) log: LogStore<LogRecord>,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) records: RecordStore,
    pub(crate) folder: Folder,
    /// The first error that openraft got, in its own words.
    failed: OnceLock<StorageError>,
    /// Dropped last: tells that the folder may be opened again.
    _closed: oneshot::Sender<()>,
}

impl Stores {
    /// Opens a folder for a node; the receiver ends when all of it is closed. Blocks on the disk.
    pub(crate) fn open(
        path: &std::path::Path,
        node: u64,
    ) -> Result<(Arc<Self>, oneshot::Receiver<()>), StorageError> {
        Self::of(Folder::open(path, node)?, 0)
    }

    /// The same with a folder that is open already, and takes the place of one that was opened so often.
    pub(crate) fn of(
        mut folder: Folder,
        boots: u64,
    ) -> Result<(Arc<Self>, oneshot::Receiver<()>), StorageError> {
        let log = LogStore::open_after(&mut folder, boots)?;
        let (snapshots, records) = open_state(&folder, &log)?;
        let (closed, wait_closed) = oneshot::channel();
        Ok((
            Arc::new(Self {
                log,
                snapshots,
                records,
                folder,
                failed: OnceLock::new(),
                _closed: closed,
            }),
            wait_closed,
        ))
    }

    /// Says what a start goes on from.
    pub(crate) fn announce(&self) {
        let vote = self.log.vote().and_then(|bytes| codec::decode_vote(&bytes).ok());
        let vote = vote.as_ref().map(SavedVote::of);
        let range = self.log.range();
        tracing::info!(
            raft.vote_term = vote.map(|vote| vote.term),
            raft.vote_node = vote.map(|vote| vote.node.0),
            raft.first = range.start,
            raft.end = range.end,
            raft.snapshot = self.snapshots.position(),
            "the data folder is open"
        );
    }

    /// What stopped the log, or could not be read of it.
    pub(crate) fn failed(&self) -> Option<StorageError> {
        self.failed.get().cloned().or_else(|| self.log.failed())
    }

    /// Keeps an error, and makes it one for openraft.
    pub(crate) fn note(&self, error: StorageError) -> io::Error {
        let _ = self.failed.set(error.clone());
        error.into()
    }

    pub(crate) fn boots(&self) -> u64 {
        self.log.boots()
    }

    pub(crate) fn folder_id(&self) -> FolderId {
        self.folder.id()
    }
}

/// The newest checkpoint and its records. What is damaged is made anew, if the log has all of it.
fn open_state(
    folder: &Folder,
    log: &LogStore<LogRecord>,
) -> Result<(SnapshotStore, RecordStore), StorageError> {
    let is_whole = log.purged().is_none() && log.range().start == 0;
    match check_state(folder, log) {
        Err(StorageError::Corrupt(why)) if is_whole => {
            tracing::warn!(
                why,
                "the state is damaged, it is made anew from the log, which is whole"
            );
            folder.discard_state()?;
            check_state(folder, log)
        }
        checked => checked,
    }
}

fn check_state(
    folder: &Folder,
    log: &LogStore<LogRecord>,
) -> Result<(SnapshotStore, RecordStore), StorageError> {
    let snapshots = SnapshotStore::open(folder)?;
    let purged = log.purged().map_or(0, |purged| purged.index);
    if snapshots.position() < purged {
        return Err(StorageError::Corrupt(format!(
            "the log is purged up to {purged}, and the snapshot that led there is gone"
        )));
    }
    let records = open_records(folder, &snapshots)?;
    Ok((snapshots, records))
}

/// The records that belong to the newest checkpoint, as it left them.
fn open_records(folder: &Folder, snapshots: &SnapshotStore) -> Result<RecordStore, StorageError> {
    let Some(file) = snapshots.current() else {
        let records = RecordStore::open(folder, 0)?;
        return match records.valid().position() {
            0 => Ok(records),
            position => Err(StorageError::Corrupt(format!(
                "the records are those of position {position}, and the snapshot of it is gone"
            ))),
        };
    };
    let opened = checkpoint::Opened::check(&file)?;
    let records = RecordStore::open(folder, opened.head.generation)?;
    checkpoint::catch_up(&records.valid(), &file, snapshots.position())?;
    Ok(records)
}

/// The log as openraft wants it: storage and reader in one, clones share it.
#[derive(Clone)]
pub(crate) struct LogAdapter(pub(crate) Arc<Stores>);

impl LogAdapter {
    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, io::Error> {
        let records = self.0.log.read(range, bytes_max).map_err(|error| self.0.note(error))?;
        Ok(records.into_iter().map(|record| record.0).collect())
    }

    fn last_purged(&self) -> Result<Option<LogId>, io::Error> {
        let purged = self.0.log.purged();
        purged.map(|purged| codec::decode_log_id(&purged.about).map_err(damaged)).transpose()
    }
}

impl RaftLogReader<TypeConfig> for LogAdapter {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start..end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        self.read(start..end, REPLICATION_READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.0.log.vote().map(|bytes| codec::decode_vote(&bytes).map_err(damaged)).transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogAdapter {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id = self.last_purged()?;
        let range = self.0.log.range();
        let last = match range.end.checked_sub(1).filter(|last| *last >= range.start) {
            Some(last) => self.read(last..range.end, usize::MAX)?.pop().map(|entry| entry.log_id),
            None => None,
        };
        Ok(LogState { last_purged_log_id, last_log_id: last.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if planted::has(Bug::VoteNotSynced) {
            return Ok(());
        }
        let (told, durable) = oneshot::channel();
        let done = Box::new(move |result| {
            // A receiver that is gone is a node that stops.
            let _ = told.send(result);
        });
        self.0.log.save_vote(codec::encode_vote(vote), done)?;
        durable.await.map_err(|_| io::Error::other("the log writer has stopped"))??;
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.0.log.save_committed(codec::encode_log_id(committed))?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let committed = self.0.log.committed();
        committed.map(|bytes| codec::decode_log_id(&bytes).map_err(damaged)).transpose()
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(LogRecord).collect();
        if planted::has(Bug::IoFlushedBeforeFsync) {
            self.0.log.append(records, Box::new(|_| {}))?;
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let done = Box::new(move |result: Result<(), StorageError>| {
            callback.io_completed(result.map_err(io::Error::from));
        });
        Ok(self.0.log.append(records, done)?)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.0.log.truncate_from(last.map_or(0, |last| last.index + 1))?)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let about = codec::encode_log_id(upto);
        Ok(self.0.log.purge(Purged { index: upto.index, about })?)
    }
}

fn damaged(why: String) -> io::Error {
    StorageError::Corrupt(why).into()
}
