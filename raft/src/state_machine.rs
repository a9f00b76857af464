//! openraft's view of the replicated state: apply entries, build and install snapshots.
//!
//! The machine is in memory and belongs to the applier; what is durable is the log, the newest
//! snapshot and the records as they were at that ([`crate::records`]). A restart installs that snapshot
//! and applies the log from there.
//!
//! Building a snapshot is a checkpoint: under the lock the machine is copied (rooms are shared, not
//! copied) and the records' layer is frozen; both are written to one file, on a thread of the blocking
//! pool, and the layer is then brought to the base. The applier goes on meanwhile. openraft purges the
//! log only after that, so the log never misses what the base lacks.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot as OpenraftSnapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use serverv2_machine::Snapshot;
use serverv2_storage::{Base, SnapshotFile, StorageError};
use tokio::sync::{mpsc, oneshot};

use crate::applier::{Applicable, Replica, State, Work};
use crate::checkpoint::{self, Head, Opened};
use crate::codec;
use crate::disk::{Disk, Shot};
use crate::log_adapter::Stores;
use crate::records::{self, Broken, Layer, OverlayRecords, Written};
use crate::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::versions::own_level;

/// Entries handed to the applier at once.
const APPLY_ENTRIES_MAX: usize = 256;

pub(crate) type BuiltSnapshot = openraft::alias::SnapshotOf<TypeConfig, Shot>;

/// The state machine that openraft owns.
pub(crate) struct StateMachine {
    replica: Replica,
    applier: mpsc::Sender<Work>,
    disk: Disk,
}

/// Builds one snapshot from a copy of the state.
pub(crate) struct SnapshotBuilder {
    copy: Option<Copy>,
    replica: Replica,
    onto: Onto,
}

/// Whose snapshot it will be.
enum Onto {
    /// With the records as they were when the copy was made.
    Folder(Arc<Stores>, Base),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::Disk),
}

/// The state at one position, above the records as the disk has them.
pub(crate) struct Copy {
    pub(crate) meta: SnapshotMeta,
    pub(crate) machine: Snapshot,
    pub(crate) layer: Arc<Layer>,
}

impl StateMachine {
    pub(crate) fn new(replica: Replica, applier: mpsc::Sender<Work>, disk: Disk) -> Self {
        Self { replica, applier, disk }
    }

    async fn ask(&self, work: impl FnOnce(oneshot::Sender<()>) -> Work) -> Result<(), io::Error> {
        let gone = || io::Error::other("the applier has stopped");
        let (done, is_done) = oneshot::channel();
        self.applier.send(work(done)).await.map_err(|_| gone())?;
        is_done.await.map_err(|_| gone())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Shot;
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
        let mut state = self.replica.write();
        let copy = Copy {
            meta: SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.members.clone(),
            },
            machine: Snapshot::without_records(&state.machine),
            layer: state.records.freeze(),
        };
        let onto = match &self.disk {
            Disk::Folder(stores) => Onto::Folder(Arc::clone(stores), stores.records.valid()),
            #[cfg(feature = "simulation")]
            Disk::Simulated(disk) => Onto::Simulated(disk.clone()),
        };
        drop(state);
        SnapshotBuilder { copy: Some(copy), replica: self.replica.clone(), onto }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Shot,
    ) -> Result<(), io::Error> {
        let broken = self.replica.read().records.broken();
        // Everything is checked before anything is replaced.
        let (state, is_own) = match &self.disk {
            Disk::Folder(stores) => {
                let file = snapshot.into_file()?;
                take_over(stores, meta.clone(), file, broken).await?
            }
            #[cfg(feature = "simulation")]
            Disk::Simulated(disk) => disk.take_over(meta, snapshot).await?,
        };
        self.ask(|done| Work::Install { state: Box::new(state), done }).await?;
        if !is_own {
            tracing::info!(raft.index = position(meta), "a peer's snapshot is installed");
        }
        match &self.disk {
            Disk::Folder(stores) => {
                let theirs = Arc::clone(stores);
                // Nobody reads the old ones any more.
                blocking(stores, move || Ok(theirs.records.drop_others()?)).await
            }
            #[cfg(feature = "simulation")]
            Disk::Simulated(_) => Ok(()),
        }
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<BuiltSnapshot>, io::Error> {
        match &self.disk {
            Disk::Folder(stores) => stores.snapshots.current().map(describe).transpose(),
            #[cfg(feature = "simulation")]
            Disk::Simulated(disk) => Ok(disk.current_snapshot()),
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Shot;

    async fn build_snapshot(&mut self) -> Result<BuiltSnapshot, io::Error> {
        let copy =
            self.copy.take().ok_or_else(|| io::Error::other("one builder builds one snapshot"))?;
        match &self.onto {
            Onto::Folder(stores, base) => {
                save(stores, base.clone(), self.replica.clone(), copy).await
            }
            #[cfg(feature = "simulation")]
            Onto::Simulated(disk) => disk.save(copy).await,
        }
    }
}

/// Writes a checkpoint, then brings the base to it.
async fn save(
    stores: &Arc<Stores>,
    base: Base,
    replica: Replica,
    copy: Copy,
) -> Result<BuiltSnapshot, io::Error> {
    let to = Arc::clone(stores);
    blocking(stores, move || {
        let began = Instant::now();
        let Copy { meta, machine, layer } = copy;
        let position = position(&meta);
        let changes = layer.written();
        let body =
            checkpoint::encode(base.generation(), base.position(), &machine.encode(), &changes);
        drop(machine);
        let bytes = body.len();
        let about = codec::encode_snapshot_meta(&meta);
        let file = to.snapshots.save(position, &about, &body[..])?;
        drop(body);
        // Not so if one from elsewhere came first; that one brought its own records.
        base.redo(position, records::changes(&changes))?;
        replica.write().records.forget(&layer);
        let (changes, ms) = (changes.len(), began.elapsed().as_millis());
        tracing::info!(raft.index = position, bytes, changes, ms, "a snapshot is saved");
        describe(file)
    })
    .await
}

/// Reads a checkpoint and its records, and makes it this node's own; tells whether it was before.
async fn take_over(
    stores: &Arc<Stores>,
    meta: SnapshotMeta,
    file: SnapshotFile,
    broken: Arc<Broken>,
) -> Result<(State, bool), io::Error> {
    let own = Arc::clone(stores);
    blocking(stores, move || {
        let (head, machine, changes) =
            Opened::of(&file).and_then(Opened::read).map_err(|error| damaged(&error))?;
        let (machine, _) = machine.restore();
        if machine.level() > own_level() {
            return Err(damaged(&"it is of a newer behaviour level"));
        }
        let is_own = own.snapshots.current().is_some_and(|current| current.is_same(&file));
        let base =
            if is_own { own.records.valid() } else { adopt(&own, &meta, &file, &head, &changes)? };
        let records = OverlayRecords::on(base, broken);
        let members = meta.last_membership.clone();
        Ok((State { machine, records, applied: meta.last_log_id, members }, is_own))
    })
    .await
}

/// Makes a snapshot from elsewhere this node's own; gives the records that came with it.
fn adopt(
    stores: &Stores,
    meta: &SnapshotMeta,
    file: &SnapshotFile,
    head: &Head,
    changes: &[Written],
) -> Result<Base, io::Error> {
    if stores.snapshots.is_prepared(file) {
        stores.snapshots.publish(file, position(meta))?;
        return Ok(stores.records.switch_to(head.generation)?);
    }
    // A file that no peer sent: all its records must be in it.
    let mut filling =
        stores.records.begin()?.ok_or_else(|| damaged(&"another one is coming in"))?;
    if head.from != 0 {
        return Err(damaged(&"its records are missing"));
    }
    for (key, value) in changes {
        if let Some(value) = value {
            filling.put(key, value)?;
        }
    }
    let generation = filling.generation();
    filling.finish(position(meta))?;
    let mut machine = Vec::new();
    Opened::of(file)?.machine().read_to_end(&mut machine)?;
    let body = checkpoint::encode(generation, position(meta), &machine, &[]);
    let about = codec::encode_snapshot_meta(meta);
    stores.snapshots.save(position(meta), &about, &body[..])?;
    Ok(stores.records.switch_to(generation)?)
}

/// The position of the log that a snapshot is the state at.
pub(crate) fn position(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |last| last.index)
}

fn describe(file: SnapshotFile) -> Result<BuiltSnapshot, io::Error> {
    let meta = codec::decode_snapshot_meta(file.meta()).map_err(|error| damaged(&error))?;
    Ok(OpenraftSnapshot { meta, snapshot: Shot::File(file) })
}

fn damaged(why: &dyn std::fmt::Display) -> io::Error {
    StorageError::Corrupt(format!("the snapshot can't be read: {why}")).into()
}

/// Works on a thread of the blocking pool; the error of a disk is kept in its own words.
async fn blocking<T: Send + 'static>(
    stores: &Arc<Stores>,
    work: impl FnOnce() -> Result<T, io::Error> + Send + 'static,
) -> Result<T, io::Error> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    done.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => stores.note(StorageError::clone(error)),
        None => error,
    })
}
