//! A disk in memory that knows what a power cut would leave.
//!
//! Writes reach it in the order in which they were asked for, and whoever reads sees them at once. They are
//! durable after a sync, which takes its time and serves all that waited when it began. A power cut leaves
//! what was synced and some of what was on its way, in order: any beginning of it. A process that is killed
//! loses nothing of what it wrote.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::Snapshot as OpenraftSnapshot;
use parking_lot::Mutex;
use rand::Rng as _;
use serverv2_machine::{Records as _, Snapshot};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

use crate::applier::{Applier, State, WORK_MAX, Work};
use crate::checkpoint::{self, Head};
use crate::codec;
use crate::disk::Shot;
use crate::records::OverlayRecords;
use crate::state_machine::{BuiltSnapshot, Copy};
use crate::status::SavedVote;
use crate::transport::snapshot::{Outgoing, Part};
use crate::types::{LogId, SnapshotMeta, Vote};
use crate::versions::own_level;

/// Bytes of one piece of a snapshot on its way: small, so that there are several.
const PIECE_BYTES: usize = 4 * 1024;
/// Pieces between disk and network.
const PIECES_WAITING_MAX: usize = 4;
/// Time for a sync, milliseconds, until somebody says otherwise.
const SYNC_MS: Range<u64> = 1..4;

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Its process dies.
    Kill,
    /// Its machine loses power.
    PowerCut,
}

/// One node's disk. It outlives the node; clones share it.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    id: [u8; 16],
    state: Mutex<Content>,
    written: Notify,
}

struct Content {
    boots: u64,
    sync_ms: Range<u64>,
    /// As the node sees it.
    seen: Files,
    /// As a power cut leaves it.
    safe: Files,
    /// From the one to the other.
    unsynced: VecDeque<(Write, Done)>,
}

/// Whom to tell when a write is durable.
type Done = Option<Box<dyn FnOnce() + Send>>;

#[derive(Clone, Default)]
pub(super) struct Files {
    pub(super) entries: BTreeMap<u64, Arc<[u8]>>,
    pub(super) purged: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    snapshot: Option<Image>,
}

#[derive(Clone)]
pub(super) enum Write {
    Entries(Vec<(u64, Arc<[u8]>)>),
    TruncateFrom(u64),
    Purge(LogId),
    Vote(Vote),
    Committed(LogId),
    Snapshot(Image),
}

/// A snapshot with all records.
#[derive(Clone)]
pub(crate) struct Image(Arc<Whole>);

struct Whole {
    meta: SnapshotMeta,
    machine: Vec<u8>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn take(&mut self, write: &Write) {
        match write {
            Write::Entries(entries) => self.entries.extend(entries.iter().cloned()),
            Write::TruncateFrom(index) => drop(self.entries.split_off(index)),
            Write::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
            }
            Write::Vote(vote) => self.vote = Some(*vote),
            Write::Committed(committed) => self.committed = Some(*committed),
            Write::Snapshot(image) => self.snapshot = Some(image.clone()),
        }
    }
}

impl Disk {
    /// An empty disk that no other one is.
    pub fn new(id: [u8; 16]) -> Self {
        let content = Content {
            boots: 0,
            sync_ms: SYNC_MS,
            seen: Files::default(),
            safe: Files::default(),
            unsynced: VecDeque::new(),
        };
        Self(Arc::new(Shared { id, state: Mutex::new(content), written: Notify::new() }))
    }

    /// How long syncs take from here on.
    pub fn set_sync_ms(&self, sync_ms: Range<u64>) {
        self.0.state.lock().sync_ms = sync_ms;
    }

    /// Whether a vote was written that a power cut could take back.
    pub fn has_unsynced_vote(&self) -> bool {
        let content = self.0.state.lock();
        content.unsynced.iter().any(|(write, _)| matches!(write, Write::Vote(_)))
    }

    /// The vote that a node which starts on it finds.
    pub fn vote(&self) -> Option<SavedVote> {
        self.0.state.lock().seen.vote.as_ref().map(SavedVote::of)
    }

    /// The node has ended, and all its tasks with it. Tells how many writes are lost.
    pub fn crash(&self, how: Crash) -> usize {
        let mut content = self.0.state.lock();
        let unsynced = std::mem::take(&mut content.unsynced);
        let kept = match how {
            Crash::Kill => unsynced.len(),
            Crash::PowerCut => rand::rng().random_range(0..=unsynced.len()),
        };
        for (write, _) in unsynced.iter().take(kept) {
            content.safe.take(write);
        }
        content.seen = content.safe.clone();
        unsynced.len() - kept
    }

    /// A node starts on it: counts that, and begins to sync what it writes.
    pub(super) fn open(&self) {
        self.0.state.lock().boots += 1;
        tokio::spawn(self.clone().sync());
    }

    async fn sync(self) {
        loop {
            let (count, pause) = {
                let content = self.0.state.lock();
                let pause = rand::rng().random_range(content.sync_ms.clone());
                (content.unsynced.len(), Duration::from_millis(pause))
            };
            if count == 0 {
                self.0.written.notified().await;
                continue;
            }
            sleep(pause).await;
            for _ in 0..count {
                let mut content = self.0.state.lock();
                let Some((write, done)) = content.unsynced.pop_front() else { break };
                content.safe.take(&write);
                drop(content);
                if let Some(done) = done {
                    done();
                }
            }
        }
    }

    pub(super) fn write(&self, write: Write, done: Done) {
        let mut content = self.0.state.lock();
        content.seen.take(&write);
        content.unsynced.push_back((write, done));
        drop(content);
        self.0.written.notify_one();
    }

    pub(super) async fn write_durably(&self, write: Write) -> io::Result<()> {
        let (told, durable) = oneshot::channel();
        let done = Box::new(move || {
            // A receiver that is gone is a node that stops.
            let _ = told.send(());
        });
        self.write(write, Some(done));
        durable.await.map_err(|_| io::Error::other("the disk is gone"))
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Files) -> T) -> T {
        read(&self.0.state.lock().seen)
    }

    pub(crate) fn boots(&self) -> u64 {
        self.0.state.lock().boots
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        self.0.id
    }

    pub(crate) fn start_applier(&self, applier: Applier) -> mpsc::Sender<Work> {
        let (sender, work) = mpsc::channel(WORK_MAX);
        tokio::spawn(applier.run_beside(work));
        sender
    }

    pub(crate) fn current_snapshot(&self) -> Option<BuiltSnapshot> {
        self.read(|files| files.snapshot.clone()).map(Image::describe)
    }

    /// Keeps a copy of the state as the newest snapshot.
    pub(crate) async fn save(&self, copy: Copy) -> io::Result<BuiltSnapshot> {
        let Copy { meta, machine, layer } = copy;
        // The layer is never forgotten: there is nothing below it.
        let records = layer.written().into_iter();
        let records = records.filter_map(|(key, value)| Some((key, value?.to_vec()))).collect();
        let image = Image(Arc::new(Whole { meta, machine: machine.encode(), records }));
        self.write_durably(Write::Snapshot(image.clone())).await?;
        Ok(image.describe())
    }

    /// The state that a snapshot is, which is this disk's own from here on; tells whether it was before.
    pub(crate) async fn take_over(
        &self,
        meta: &SnapshotMeta,
        snapshot: Shot,
    ) -> io::Result<(State, bool)> {
        let Shot::Simulated(image) = snapshot else {
            return Err(io::Error::other("a snapshot of another disk"));
        };
        let (machine, _) = Snapshot::decode(&image.0.machine).map_err(io::Error::other)?.restore();
        if machine.level() > own_level() {
            return Err(io::Error::other("a snapshot of a newer behaviour level"));
        }
        let current = self.read(|files| files.snapshot.clone());
        let is_own = current.is_some_and(|current| Arc::ptr_eq(&current.0, &image.0));
        if !is_own {
            self.write_durably(Write::Snapshot(image.clone())).await?;
        }
        let mut records = OverlayRecords::default();
        for (key, value) in &image.0.records {
            records.set(key.clone(), Some(value[..].into()));
        }
        let members = meta.last_membership.clone();
        Ok((State { machine, records, applied: meta.last_log_id, members }, is_own))
    }

    /// Puts together a snapshot that a peer sends.
    pub(crate) async fn receive(
        self,
        meta: Vec<u8>,
        head: Head,
        mut parts: mpsc::Receiver<Part>,
    ) -> Result<Shot, String> {
        let meta = codec::decode_snapshot_meta(&meta)?;
        let (mut machine, mut records) = (Vec::new(), Vec::new());
        let mut hash = crc32fast::Hasher::new();
        loop {
            match parts.recv().await {
                Some(Part::Piece(bytes)) => {
                    hash.update(&bytes);
                    if (machine.len() as u64) < head.machine_bytes {
                        machine.extend_from_slice(&bytes);
                        continue;
                    }
                    let mut rest = &bytes[..];
                    let next = |rest: &mut &[u8]| checkpoint::read_record(rest);
                    while let Some(record) = next(&mut rest).map_err(|error| error.to_string())? {
                        records.push(record);
                    }
                }
                Some(Part::End { crc, records: count }) => {
                    let whole = crc == hash.finalize() && count == records.len() as u64;
                    let image = Image(Arc::new(Whole { meta, machine, records }));
                    return if whole {
                        Ok(Shot::Simulated(image))
                    } else {
                        Err("the snapshot is not whole".to_owned())
                    };
                }
                None => return Err("the snapshot broke off".to_owned()),
            }
        }
    }
}

impl Image {
    fn describe(self) -> BuiltSnapshot {
        OpenraftSnapshot { meta: self.0.meta.clone(), snapshot: Shot::Simulated(self) }
    }

    /// Begins to read it for a peer.
    pub(crate) fn outgoing(&self) -> Outgoing {
        let Whole { meta, machine, records } = &*self.0;
        let head = Head {
            generation: 0,
            from: meta.last_log_id.map_or(0, |last| last.index),
            machine_bytes: machine.len() as u64,
            changes: 0,
        };
        let mut pieces: Vec<Vec<u8>> = machine.chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect();
        pieces.extend(records.chunks(PIECES_WAITING_MAX).map(push_all));
        let mut hash = crc32fast::Hasher::new();
        pieces.iter().for_each(|piece| hash.update(piece));
        let end = Part::End { crc: hash.finalize(), records: records.len() as u64 };
        let (to, parts) = mpsc::channel(PIECES_WAITING_MAX);
        tokio::spawn(async move {
            for part in pieces.into_iter().map(Part::Piece).chain([end]) {
                // Whoever does not listen any more does not want the rest.
                if to.send(Ok(part)).await.is_err() {
                    return;
                }
            }
        });
        Outgoing { head, parts }
    }
}

fn push_all(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        checkpoint::push_record(&mut bytes, key, value);
    }
    bytes
}
