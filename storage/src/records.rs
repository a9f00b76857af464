//! Records on the disk: keys and values as they were at one position of the log.
//!
//! sled has no view of a point in time, so the table on disk (the *base*) always holds the state at one
//! position, and what came later is in its user's memory. Moving on means to write all changes up to a
//! later position ([`Base::redo`]); the caller keeps them in a file of its own until that is done, and
//! does it again after a crash: writing a change twice changes nothing.
//!
//! A base can be read from end to end while it moves on ([`RecordStream`]): what is about to be
//! overwritten and was not read yet is remembered. There is one such reader at a time, and it is
//! cancelled when it would have to remember too much.
//!
//! A base that comes from elsewhere fills a *generation* of its own ([`Filling`]) beside the valid
//! one. Which is valid, the caller says when it opens; all others are leftovers and are dropped.
//!
//! sled recovers what it can and says nothing about the rest, so a sum of all records is kept with the
//! position, and all of them are read when they are opened: one that is missing, or is an older one, is
//! damage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

mod progress;
mod stream;

pub use stream::RecordStream;

use self::progress::{Progress, Sum};
use self::stream::Streaming;
use crate::database::Database;
use crate::error::StorageError;
use crate::header::Folder;
use crate::keys;
use crate::pieces::{self, Joined};
use crate::table::{self, Of, Table};

/// Bytes of a record's key, 1 at least.
pub const RECORD_KEY_MAX: usize = 64;
/// Bytes after which a long write is synced, so that no sync takes long: the log's waits behind it.
const SYNC_BYTES: usize = 1024 * 1024;
/// Bytes of changes that are written while a reader who needs whole records waits.
const STRETCH_BYTES: usize = 32 * 1024;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// A key and its new value; `None`: it is removed.
pub type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The records of a data folder.
pub struct RecordStore {
    shared: Arc<Shared>,
    valid: Mutex<Base>,
}

struct Shared {
    db: Database,
    meta: Table,
    /// Whether a generation is being filled: there is room for one.
    filling: AtomicBool,
}

/// The records of one generation. Clones share them.
#[derive(Clone)]
pub struct Base {
    shared: Arc<Shared>,
    table: Table,
    generation: u64,
    progress: Arc<Mutex<Progress>>,
    streaming: Arc<Mutex<Streaming>>,
}

impl RecordStore {
    /// Opens the records of a folder with this generation valid; one that was never filled is empty and
    /// at position 0. Drops all others.
    pub fn open(folder: &Folder, generation: u64) -> Result<Self, StorageError> {
        let path = folder.records_path();
        let is_new = !Database::is_at(&path);
        let db = Database::open(&path, Of::Records)?;
        db.refuse_blobs()?;
        let meta = db.table(keys::META)?;
        if is_new {
            meta.insert(keys::FOLDER, &folder.id().0)?;
            db.sync()?;
            db.sync_names(folder)?;
        } else if meta.get(keys::FOLDER)?.as_deref() != Some(&folder.id().0[..]) {
            let path = path.display();
            return Err(StorageError::Corrupt(format!(
                "{path} is cut off or belongs to another data folder"
            )));
        }
        let shared = Arc::new(Shared { db, meta, filling: AtomicBool::new(false) });
        let valid = Base::open(&shared, generation)?;
        valid.verify().map_err(|error| error.in_database(&path))?;
        let valid = Mutex::new(valid);
        let store = Self { shared, valid };
        store.drop_others()?;
        Ok(store)
    }

    /// The valid records.
    pub fn valid(&self) -> Base {
        self.valid.lock().clone()
    }

    /// Begins another generation, for a state that comes from elsewhere. `None`: one is being filled.
    pub fn begin(&self) -> Result<Option<Filling>, StorageError> {
        let Some(room) = Room::take(&self.shared) else { return Ok(None) };
        let generation = self.valid.lock().generation + 1;
        self.shared.db.drop_table(keys::generation_name(generation))?;
        self.shared.meta.remove(keys::generation_position(generation))?;
        let base = Base::open(&self.shared, generation)?;
        Ok(Some(Filling { base, unsynced: 0, sum: Sum::default(), _room: room }))
    }

    /// Makes the generation after the valid one the valid one, after it was filled. The other's records
    /// stay until [`Self::drop_others`]: somebody may be reading them.
    pub fn switch_to(&self, generation: u64) -> Result<Base, StorageError> {
        let base = Base::open(&self.shared, generation)?;
        if base.position() == 0 {
            return Err(StorageError::Corrupt(format!("records {generation} are not complete")));
        }
        let before = std::mem::replace(&mut *self.valid.lock(), base.clone());
        before.streaming.lock().retired = true;
        Ok(base)
    }

    /// Drops all records that are not valid.
    pub fn drop_others(&self) -> Result<(), StorageError> {
        let valid = self.valid.lock().generation;
        // One that is being filled is not left over.
        let Some(_room) = Room::take(&self.shared) else { return Ok(()) };
        for name in self.shared.db.table_names() {
            if keys::parse_generation(&name).is_some_and(|generation| generation != valid) {
                self.shared.db.drop_table(name)?;
            }
        }
        Ok(())
    }
}

impl Base {
    fn open(shared: &Arc<Shared>, generation: u64) -> Result<Self, StorageError> {
        let table = shared.db.table(keys::generation_name(generation))?;
        let stored = shared.meta.get(keys::generation_position(generation))?;
        let progress = match stored {
            None => Progress::default(),
            Some(bytes) => Progress::decode(&bytes)?,
        };
        Ok(Self {
            shared: Arc::clone(shared),
            table,
            generation,
            progress: Arc::new(Mutex::new(progress)),
            streaming: Arc::default(),
        })
    }

    /// The database may have lost some and not said so.
    fn verify(&self) -> Result<(), StorageError> {
        let progress = *self.progress.lock();
        // Between two positions nobody knows; whoever goes on will.
        if progress.target.is_some() || self.sum()? == progress.sum {
            return Ok(());
        }
        Err(StorageError::Corrupt(format!("records of position {} are missing", progress.position)))
    }

    fn sum(&self) -> Result<Sum, StorageError> {
        let mut sum = Sum::default();
        for record in self.iter() {
            let (key, value) = record?;
            sum.add(&key, &value);
        }
        Ok(sum)
    }

    /// Which generation this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The position whose state this is.
    pub fn position(&self) -> u64 {
        self.progress.lock().position
    }

    /// A record's value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(key).or_else(|_| self.read_between_writes(key))
    }

    /// What can't be read may be a record of which only some pieces are written by now.
    fn read_between_writes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let _between = self.streaming.lock();
        self.read(key)
    }

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let found = table::values(self.table.prefix(keys::record_prefix(key)))?;
        if found.is_empty() { Ok(None) } else { whole(key, &found).map(Some) }
    }

    /// All records, in the order of their keys' lengths and then their keys. While the base moves on,
    /// what is seen belongs to no position.
    pub fn iter(&self) -> impl Iterator<Item = Result<KeyValue, StorageError>> + use<> {
        stream::records(self.table.iter(), self.again())
    }

    /// How a record is read again that was found in pieces that do not belong together.
    fn again(
        &self,
    ) -> impl Fn(&[u8], StorageError) -> Result<Option<Vec<u8>>, StorageError> + use<> {
        let base = self.clone();
        move |key, _| base.read_between_writes(key)
    }

    /// The records from one key to another, both included and of the same length, in the order of their
    /// keys or against it. While the base moves on, what is seen belongs to no position.
    pub fn range(
        &self,
        from: &[u8],
        to: &[u8],
        backward: bool,
    ) -> Box<dyn Iterator<Item = Result<KeyValue, StorageError>>> {
        let pieces = self.table.range(keys::record_prefix(from)..=keys::last_piece(to));
        if backward {
            Box::new(stream::records_backward(pieces.rev(), self.again()))
        } else {
            Box::new(stream::records(pieces, self.again()))
        }
    }

    /// Writes changes, and states that this is the state at a later position. Durable when it returns;
    /// until then some of them are.
    pub fn redo<'a>(
        &self,
        position: u64,
        changes: impl Iterator<Item = Change<'a>>,
    ) -> Result<(), StorageError> {
        self.streaming.lock().moving = true;
        // The last one of a key counts.
        let changes: BTreeMap<_, _> = changes.collect();
        let before = *self.progress.lock();
        let begun = before.target.filter(|(target, _)| *target == position);
        let sum = match begun {
            Some((_, sum)) => sum,
            None => self.sum_after(before.sum, &changes)?,
        };
        // Ahead of the changes: the database keeps the order.
        self.put_progress(Progress { target: Some((position, sum)), ..before })?;
        let (mut gathered, mut bytes, mut unsynced) = (Vec::new(), 0, 0);
        for (key, value) in changes {
            gathered.push((key, value));
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            if bytes > STRETCH_BYTES {
                self.write(&gathered)?;
                gathered.clear();
                unsynced += std::mem::take(&mut bytes);
            }
            if unsynced > SYNC_BYTES {
                self.shared.db.sync()?;
                unsynced = 0;
            }
        }
        self.write(&gathered)?;
        if begun.is_some() && self.sum()? != sum {
            return Err(StorageError::Corrupt(format!(
                "records of position {position} are missing"
            )));
        }
        self.put_progress(Progress { position, sum, target: None })?;
        self.shared.db.sync()?;
        *self.progress.lock() = Progress { position, sum, target: None };
        self.streaming.lock().moving = false;
        Ok(())
    }

    fn sum_after(
        &self,
        mut sum: Sum,
        changes: &BTreeMap<&[u8], Option<&[u8]>>,
    ) -> Result<Sum, StorageError> {
        for (key, value) in changes {
            if let Some(before) = self.get(key)? {
                sum.remove(key, &before);
            }
            if let Some(value) = value {
                sum.add(key, value);
            }
        }
        Ok(sum)
    }

    fn put_progress(&self, progress: Progress) -> Result<(), StorageError> {
        let key = keys::generation_position(self.generation);
        self.shared.meta.insert(key, progress.encode())?;
        Ok(())
    }

    fn write(&self, changes: &[Change<'_>]) -> Result<(), StorageError> {
        let mut streaming = self.streaming.lock();
        if streaming.retired {
            // Another generation has taken over: nobody will read this one.
            return Ok(());
        }
        for (key, value) in changes {
            let before = table::keys(self.table.prefix(keys::record_prefix(key)))?;
            if streaming.wants(key) {
                streaming.remember(key, self.read(key)?);
            }
            let pieces = value.map_or_else(|| Ok(Vec::new()), |value| cut(key, value))?;
            let count = pieces.len();
            for (at, piece) in pieces.into_iter().enumerate() {
                self.table.insert(keys::record_piece(key, at), piece)?;
            }
            // Behind the new ones, so that who reads a record of one piece misses it at no moment.
            let end = keys::record_piece(key, count);
            for old in before.into_iter().filter(|old| **old >= end[..]) {
                self.table.remove(old)?;
            }
        }
        Ok(())
    }
}

/// A generation that is being filled. Dropped before it was switched to, it is a leftover.
pub struct Filling {
    base: Base,
    unsynced: usize,
    sum: Sum,
    _room: Room,
}

impl Filling {
    /// Which generation it will be.
    pub fn generation(&self) -> u64 {
        self.base.generation
    }

    /// Adds a record.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.sum.add(key, value);
        for (at, piece) in cut(key, value)?.into_iter().enumerate() {
            self.unsynced += piece.len();
            self.base.table.insert(keys::record_piece(key, at), piece)?;
        }
        if self.unsynced > SYNC_BYTES {
            self.unsynced = 0;
            self.base.shared.db.sync()?;
        }
        Ok(())
    }

    /// States that all is there. Durable when it returns.
    pub fn finish(self, position: u64) -> Result<(), StorageError> {
        self.base.put_progress(Progress { position, sum: self.sum, target: None })?;
        self.base.shared.db.sync()
    }
}

/// Holds the room for a generation that is being filled.
struct Room(Arc<Shared>);

impl Room {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let was_taken = shared.filling.swap(true, Ordering::AcqRel);
        (!was_taken).then(|| Self(Arc::clone(shared)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.filling.store(false, Ordering::Release);
    }
}

fn cut(key: &[u8], value: &[u8]) -> Result<Vec<Vec<u8>>, StorageError> {
    if !(1..=RECORD_KEY_MAX).contains(&key.len()) {
        return Err(StorageError::Stopped(format!("a record's key has {} bytes", key.len())));
    }
    let too_large = || StorageError::Stopped(format!("a record has {} bytes", value.len()));
    pieces::cut(pieces::NO_LINK, value).ok_or_else(too_large)
}

fn whole(key: &[u8], found: &[sled::IVec]) -> Result<Vec<u8>, StorageError> {
    match pieces::join(pieces::NO_LINK, found.iter().map(AsRef::as_ref)) {
        Joined::Whole(value, _) => Ok(value),
        Joined::Incomplete | Joined::Damaged => {
            let key = String::from_utf8_lossy(key).into_owned();
            Err(StorageError::Corrupt(format!("the record {key:?} is not what was written")))
        }
    }
}

#[cfg(test)]
mod tests;
