//! openraft's view of the replicated state: apply entries, build and install snapshots.
//!
//! The state itself is in memory and belongs to the applier; what is durable is the log and the
//! newest snapshot. A restart installs that snapshot and applies the log from there.
//!
//! A snapshot is built from a copy taken under the read lock (rooms are shared, not copied), and
//! encoded and written on a thread of the blocking pool: the applier goes on meanwhile.

use std::io;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot as OpenraftSnapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use serverv2_machine::{MemoryRecords, Records, Snapshot};
use serverv2_storage::{SnapshotFile, StorageError};
use tokio::sync::{mpsc, oneshot};

use crate::applier::{Applicable, Replica, State, Work};
use crate::codec;
use crate::log_adapter::Stores;
use crate::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries handed to the applier at once.
const APPLY_ENTRIES_MAX: usize = 256;

type BuiltSnapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// The state machine that openraft owns.
pub(crate) struct StateMachine {
    replica: Replica,
    applier: mpsc::Sender<Work>,
    stores: Arc<Stores>,
}

/// Builds one snapshot from a copy of the state.
pub(crate) struct SnapshotBuilder {
    copy: Option<(Snapshot, SnapshotMeta)>,
    stores: Arc<Stores>,
}

impl StateMachine {
    pub(crate) fn new(replica: Replica, applier: mpsc::Sender<Work>, stores: Arc<Stores>) -> Self {
        Self { replica, applier, stores }
    }

    async fn ask(&self, work: impl FnOnce(oneshot::Sender<()>) -> Work) -> Result<(), io::Error> {
        let gone = || io::Error::other("the applier has stopped");
        let (done, is_done) = oneshot::channel();
        self.applier.send(work(done)).await.map_err(|_| gone())?;
        is_done.await.map_err(|_| gone())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.replica.read();
        Ok((state.applied, state.members.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let mut chunk: Vec<Applicable> = Vec::new();
            while chunk.len() < APPLY_ENTRIES_MAX {
                match entries.try_next().await? {
                    Some(entry) => chunk.push(entry),
                    None => break,
                }
            }
            if chunk.is_empty() {
                return Ok(());
            }
            self.ask(|done| Work::Apply { entries: chunk, done }).await?;
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let state = self.replica.read();
        let snapshot = Snapshot::take(&state.machine, &state.records);
        let meta =
            SnapshotMeta { last_log_id: state.applied, last_membership: state.members.clone() };
        SnapshotBuilder { copy: Some((snapshot, meta)), stores: Arc::clone(&self.stores) }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        file: SnapshotFile,
    ) -> Result<(), io::Error> {
        let stores = Arc::clone(&self.stores);
        let meta = meta.clone();
        let state = blocking(move || {
            // Everything is checked before anything is replaced.
            let state = load(&meta, &file)?;
            if !stores.snapshots.current().is_some_and(|current| current.is_same(&file)) {
                let position = meta.last_log_id.map_or(0, |last| last.index);
                let about = codec::encode_snapshot_meta(&meta);
                stores.snapshots.save(position, &about, file.reader())?;
            }
            Ok(state)
        })
        .await?;
        self.ask(|done| Work::Install { state: Box::new(state), done }).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<BuiltSnapshot>, io::Error> {
        self.stores.snapshots.current().map(describe).transpose()
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<BuiltSnapshot, io::Error> {
        let (snapshot, meta) =
            self.copy.take().ok_or_else(|| io::Error::other("one builder builds one snapshot"))?;
        let stores = Arc::clone(&self.stores);
        blocking(move || {
            let position = meta.last_log_id.map_or(0, |last| last.index);
            let about = codec::encode_snapshot_meta(&meta);
            let body = snapshot.encode();
            let bytes = body.len();
            let file = stores.snapshots.save(position, &about, &body[..])?;
            tracing::info!(raft.index = position, bytes, "a snapshot is saved");
            describe(file)
        })
        .await
    }
}

/// The state in a snapshot.
fn load(meta: &SnapshotMeta, file: &SnapshotFile) -> Result<State, io::Error> {
    let snapshot = Snapshot::decode(&file.read()?).map_err(|error| damaged(&error))?;
    let (machine, players) = snapshot.restore();
    let mut records = MemoryRecords::default();
    for player in players {
        records.put_player(player).map_err(|error| damaged(&error))?;
    }
    let members = meta.last_membership.clone();
    Ok(State { machine, records, applied: meta.last_log_id, members })
}

fn describe(file: SnapshotFile) -> Result<BuiltSnapshot, io::Error> {
    let meta = codec::decode_snapshot_meta(file.meta()).map_err(|error| damaged(&error))?;
    Ok(OpenraftSnapshot { meta, snapshot: file })
}

fn damaged(why: &dyn std::fmt::Display) -> io::Error {
    StorageError::Corrupt(format!("the snapshot can't be read: {why}")).into()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, io::Error> + Send + 'static,
) -> Result<T, io::Error> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
