//! The Raft log of one node: entries, the vote, how far it is committed, how far it is purged.
//!
//! Reading and writing are apart. What is asked for takes effect for readers at once, in memory;
//! the writer thread brings it to the disk in the same order. Only appends and votes have waiters
//! that learn of durability; truncating, purging and saving the committed position return at once.
//! That is safe: each of them leaves a state that is also right if it is found undone after a crash.
//!
//! The vote that readers see is the last durable one, never one that is on its way.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::durable::{Disk, Done, Durable};
use crate::error::StorageError;
use crate::header::Folder;
use crate::histogram::{Durations, Sizes};
use crate::log_cache::{CACHE_BYTES_MAX, CACHE_ENTRIES_MAX, Cache, Stamp};
use crate::log_disk::LogDisk;
use crate::pieces::{self, Joined};
use crate::tail::Tail;

/// An entry of the log, of which this crate knows only how it becomes bytes.
pub trait Record: Clone + Send + Sync + Sized + 'static {
    /// Its place in the log.
    fn index(&self) -> u64;

    /// Its bytes. Runs on the writer thread; an error stops the store.
    fn encode(&self) -> Result<Vec<u8>, String>;

    /// The entry of these bytes. Never panics; an error means that they are not what was written.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// How far the log is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The last index that is gone.
    pub index: u64,
    /// What the caller wants to know about it.
    pub about: Vec<u8>,
}

struct State<R> {
    vote: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    purged: Option<Purged>,
    /// Indexes that can be read.
    range: Range<u64>,
    cache: Cache<R>,
}

enum Write<R> {
    Vote(Vec<u8>),
    Append(Vec<(Stamp, R)>),
    TruncateFrom(u64),
    Purge(Purged),
    Committed(Vec<u8>),
}

/// An open log. One for each folder; shared by reference.
pub struct LogStore<R> {
    state: Arc<Mutex<State<R>>>,
    // Held while a change is made in memory and queued: the order in memory is the order on the
    // disk. Not the lock of `state`, which the writer needs to make room in the queue.
    order: Mutex<()>,
    disk: LogDisk,
    sizes: Arc<Sizes>,
    boots: u64,
    // Last: its drop writes what is queued, with the rest still there.
    durable: Durable<Write<R>>,
}

impl<R: Record> LogStore<R> {
    /// Opens the log of a folder, checks it, and counts this opening durably.
    pub fn open(folder: &mut Folder) -> Result<Self, StorageError> {
        Self::open_after(folder, 0)
    }

    /// The same for a folder that takes the place of one that was opened so often.
    pub fn open_after(folder: &mut Folder, boots: u64) -> Result<Self, StorageError> {
        Self::open_with(folder, boots, CACHE_ENTRIES_MAX, CACHE_BYTES_MAX)
    }

    fn open_with(
        folder: &mut Folder,
        boots: u64,
        cache_entries_max: usize,
        cache_bytes_max: usize,
    ) -> Result<Self, StorageError> {
        let disk = LogDisk::open(folder)?;
        disk.refuse_blobs()?;
        let mut tail = disk.tail()?;
        // A process that died while it was writing may have left some.
        if disk.last_index()?.is_some_and(|last| last >= tail.end) {
            tracing::warn!(end = tail.end, "entries that were never finished are dropped");
            disk.truncate_from(tail.end)?;
        }
        if let Some(purged) = &tail.purged {
            disk.drop_segments_upto(purged.index)?;
        }
        let range = tail.start..tail.end;
        if !range.is_empty() && disk.link(tail.end - 1)? != Some(tail.link) {
            return Err(missing(tail.end - 1));
        }
        let mut cache = Cache::new(range.end, cache_entries_max, cache_bytes_max);
        for index in range.clone().rev() {
            let bytes = whole(&disk, index)?;
            if !cache.push_older(index, decode(index, &bytes)?, bytes.len()) {
                break;
            }
        }
        tail.boots = tail.boots.max(boots) + 1;
        tail.number += 1;
        disk.put_tail(&tail)?;
        disk.sync(tail.number)?;
        disk.sync_witness()?;
        let boots = tail.boots;
        let state = State {
            vote: tail.vote.clone(),
            committed: tail.committed.clone(),
            purged: tail.purged.clone(),
            range,
            cache,
        };
        let state = Arc::new(Mutex::new(state));
        let sizes = Arc::<Sizes>::default();
        let (shared, counted) = (Arc::clone(&state), Arc::clone(&sizes));
        let writer = LogWriter { disk: disk.clone(), tail, state: shared, sizes: counted };
        let (order, durable) = (Mutex::new(()), Durable::start(writer)?);
        Ok(Self { state, order, disk, sizes, boots, durable })
    }

    /// How often this folder was opened, this time included.
    pub fn boots(&self) -> u64 {
        self.boots
    }

    /// How long each commit of the writer waited for the disk, by this process.
    pub fn syncs(&self) -> &Arc<Durations> {
        self.disk.syncs()
    }

    /// How large each entry is that this process has made durable, encoded.
    pub fn sizes(&self) -> &Arc<Sizes> {
        &self.sizes
    }

    /// The error that stopped the writer.
    pub fn failed(&self) -> Option<StorageError> {
        self.durable.failed()
    }

    /// The last durable vote.
    pub fn vote(&self) -> Option<Vec<u8>> {
        self.state.lock().vote.clone()
    }

    /// Saves a vote; `done` says when it is durable.
    pub fn save_vote(&self, vote: Vec<u8>, done: Done) -> Result<(), StorageError> {
        self.durable.push(Write::Vote(vote), Some(done))
    }

    /// The committed position saved last.
    pub fn committed(&self) -> Option<Vec<u8>> {
        self.state.lock().committed.clone()
    }

    /// Saves the committed position, some time soon and never before the entries appended until now.
    pub fn save_committed(&self, committed: Vec<u8>) -> Result<(), StorageError> {
        self.state.lock().committed = Some(committed.clone());
        self.durable.set_lazy(Write::Committed(committed))
    }

    /// How far the log is gone.
    pub fn purged(&self) -> Option<Purged> {
        self.state.lock().purged.clone()
    }

    /// The indexes that can be read.
    pub fn range(&self) -> Range<u64> {
        self.state.lock().range.clone()
    }

    /// Appends entries, each following the one before. They can be read when this returns; `done`
    /// says when they are durable.
    pub fn append(&self, records: Vec<R>, done: Done) -> Result<(), StorageError> {
        let _order = self.order.lock();
        let mut state = self.state.lock();
        let mut stamped = Vec::with_capacity(records.len());
        for record in records {
            let index = record.index();
            let empty = state.range.is_empty();
            if index < state.range.start || (!empty && index != state.range.end) {
                let range = &state.range;
                return Err(StorageError::Stopped(format!(
                    "entry {index} leaves a hole in {range:?}"
                )));
            }
            if empty {
                state.range.start = index;
            }
            state.range.end = index + 1;
            stamped.push((state.cache.push(index, record.clone()), record));
        }
        drop(state);
        self.durable.push(Write::Append(stamped), Some(done))
    }

    /// Removes the entries from this index on.
    pub fn truncate_from(&self, index: u64) -> Result<(), StorageError> {
        let _order = self.order.lock();
        let mut state = self.state.lock();
        state.cache.truncate_from(index);
        state.range.end = state.range.end.min(index.max(state.range.start));
        drop(state);
        self.durable.push(Write::TruncateFrom(index), None)
    }

    /// Removes the entries up to and with a position, which may lie beyond the last one.
    pub fn purge(&self, purged: Purged) -> Result<(), StorageError> {
        let _order = self.order.lock();
        let mut state = self.state.lock();
        if state.purged.as_ref().is_some_and(|before| before.index >= purged.index) {
            return Ok(());
        }
        state.cache.purge(purged.index);
        let start = state.range.start.max(purged.index + 1);
        state.range = start..state.range.end.max(start);
        state.purged = Some(purged.clone());
        drop(state);
        self.durable.push(Write::Purge(purged), None)
    }

    /// The entries of a range that the log contains, in order. Stops early, but not before the first
    /// one, when their bytes exceed `bytes_max`.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<R>, StorageError> {
        let state = self.state.lock();
        let start = range.start.max(state.range.start);
        let end = range.end.min(state.range.end).max(start);
        let cached_from = state.cache.range().start.clamp(start, end);
        let cached: Vec<(R, usize)> = state
            .cache
            .read(cached_from..end)
            .map(|(record, bytes)| (record.clone(), bytes))
            .collect();
        drop(state);

        let mut found = Vec::with_capacity((end - start) as usize);
        let mut bytes_read = 0;
        for index in start..cached_from {
            let (record, bytes) = match self.read_one(index) {
                Ok(found) => found,
                // Purged, truncated or replaced while it was being read.
                Err(_) if index < self.range().start => continue,
                Err(_) if index >= self.range().end => return Ok(found),
                Err(_) => self.read_again(index)?,
            };
            bytes_read += bytes;
            if bytes_read > bytes_max && !found.is_empty() {
                return Ok(found);
            }
            found.push(record);
        }
        for (record, bytes) in cached {
            bytes_read += bytes;
            if bytes_read > bytes_max && !found.is_empty() {
                break;
            }
            found.push(record);
        }
        Ok(found)
    }

    fn read_one(&self, index: u64) -> Result<(R, usize), StorageError> {
        let bytes = whole(&self.disk, index)?;
        Ok((decode(index, &bytes)?, bytes.len()))
    }

    /// Another entry may have taken the place of one that could not be read.
    fn read_again(&self, index: u64) -> Result<(R, usize), StorageError> {
        let state = self.state.lock();
        let cached = state.cache.read(index..index + 1).next();
        if let Some((record, bytes)) = cached {
            return Ok((record.clone(), bytes));
        }
        drop(state);
        self.read_one(index)
    }
}

/// The writer thread's side.
struct LogWriter<R> {
    disk: LogDisk,
    tail: Tail,
    state: Arc<Mutex<State<R>>>,
    sizes: Arc<Sizes>,
}

impl<R: Record> LogWriter<R> {
    fn append(&mut self, entries: &[(u64, Vec<u8>)]) -> Result<(), StorageError> {
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else {
            return Ok(());
        };
        if self.tail.start == self.tail.end {
            self.start_at(*first)?;
        }
        let entries = entries.iter().map(|(index, bytes)| (*index, &bytes[..]));
        self.tail.link = self.disk.put_entries(self.tail.link, entries)?;
        self.tail.end = last + 1;
        Ok(())
    }

    fn truncate_from(&mut self, index: u64) -> Result<(), StorageError> {
        if index < self.tail.end {
            self.tail.end = index.max(self.tail.start);
            self.tail.link = match self.tail.end.checked_sub(1).filter(|at| *at >= self.tail.start)
            {
                None => self.tail.base,
                Some(last) => self.disk.link(last)?.ok_or_else(|| missing(last))?,
            };
            self.put_tail()?;
        }
        self.disk.truncate_from(index)
    }

    fn purge(&mut self, purged: Purged) -> Result<(), StorageError> {
        let index = purged.index;
        if index >= self.tail.start {
            if index + 1 >= self.tail.end {
                self.tail.end = index + 1;
                self.start_at(index + 1)?;
            } else {
                self.tail.base = self.disk.link(index)?.ok_or_else(|| missing(index))?;
                self.tail.start = index + 1;
            }
        }
        self.tail.purged = Some(purged);
        self.put_tail()?;
        self.disk.drop_segments_upto(index)
    }

    /// The log is empty, and its next entry has this index.
    fn start_at(&mut self, index: u64) -> Result<(), StorageError> {
        let before = index.checked_sub(1).map(|before| self.disk.link(before)).transpose()?;
        self.tail.base = before.flatten().unwrap_or(pieces::NO_LINK);
        (self.tail.start, self.tail.end, self.tail.link) = (index, index, self.tail.base);
        Ok(())
    }

    fn put_tail(&mut self) -> Result<(), StorageError> {
        self.tail.number += 1;
        self.disk.put_tail(&self.tail)
    }
}

impl<R: Record> Disk for LogWriter<R> {
    type Write = Write<R>;

    fn commit(&mut self, writes: Vec<Write<R>>) -> Result<(), StorageError> {
        let mut vote = None;
        let mut appended: Vec<(u64, Stamp, usize)> = Vec::new();
        for write in writes {
            match write {
                Write::Vote(bytes) => {
                    self.tail.vote = Some(bytes.clone());
                    vote = Some(bytes);
                }
                Write::Append(records) => {
                    let mut encoded = Vec::with_capacity(records.len());
                    for (stamp, record) in &records {
                        let bytes = record.encode().map_err(StorageError::Stopped)?;
                        appended.push((record.index(), *stamp, bytes.len()));
                        encoded.push((record.index(), bytes));
                    }
                    self.append(&encoded)?;
                }
                Write::TruncateFrom(index) => self.truncate_from(index)?,
                Write::Purge(purged) => self.purge(purged)?,
                Write::Committed(bytes) => self.tail.committed = Some(bytes),
            }
        }
        self.put_tail()?;
        self.disk.sync(self.tail.number)?;
        let mut state = self.state.lock();
        if vote.is_some() {
            state.vote = vote;
        }
        for (index, stamp, bytes) in appended {
            state.cache.set_durable(index, stamp, bytes);
            self.sizes.add(bytes);
        }
        state.cache.evict();
        Ok(())
    }

    fn close(&mut self) {
        // Not needed: whoever died does not do it either. It leaves less to chance.
        if let Err(error) = self.disk.sync_witness() {
            tracing::warn!(%error, "the witness of the log is not synced");
        }
    }
}

fn whole(disk: &LogDisk, index: u64) -> Result<Vec<u8>, StorageError> {
    match disk.entry(index)? {
        Joined::Whole(bytes, _) => Ok(bytes),
        Joined::Incomplete => Err(missing(index)),
        Joined::Damaged => {
            Err(StorageError::Corrupt(format!("entry {index} is not what was written")))
        }
    }
}

fn decode<R: Record>(index: u64, bytes: &[u8]) -> Result<R, StorageError> {
    let record = R::decode(bytes)
        .map_err(|why| StorageError::Corrupt(format!("entry {index} can't be read: {why}")))?;
    if record.index() == index {
        Ok(record)
    } else {
        Err(StorageError::Corrupt(format!("entry {index} says it is {}", record.index())))
    }
}

fn missing(index: u64) -> StorageError {
    StorageError::Corrupt(format!("entry {index} is missing"))
}

#[cfg(test)]
mod tests;
