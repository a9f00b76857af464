//! The log as it lies in sled: which writes make up a vote, an append, a truncation, a purge.
//!
//! sled orders all writes of one database in one file, so what a crash leaves is a prefix of what
//! was written. The order here relies on that: entries come before the [`Tail`] that counts them, and
//! entries go after the one that does not. What the tail does not count is a leftover. So nothing here has
//! to be written as one, and nothing is: [`crate::database`] says what that would cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::database::Database;
use crate::error::StorageError;
use crate::header::Folder;
use crate::histogram::Durations;
use crate::keys;
use crate::pieces::{self, Joined};
use crate::table::{self, Of, Table};
use crate::tail::Tail;
use crate::witness::Witness;

/// Keys looked up before they are removed.
const REMOVED_AT_ONCE: usize = 1024;

/// The log database. Clones share it.
#[derive(Clone)]
pub(crate) struct LogDisk {
    db: Database,
    meta: Table,
    segments: Arc<Mutex<BTreeMap<u64, Table>>>,
    /// The first index, and the link of what was before it.
    base: Arc<Mutex<(u64, u32)>>,
    witness: Arc<Mutex<Witness>>,
    syncs: Arc<Durations>,
}

impl LogDisk {
    /// Opens the folder's log database, or makes it if the folder is new.
    pub(crate) fn open(folder: &mut Folder) -> Result<Self, StorageError> {
        let path = folder.log_path();
        if !folder.is_new() && !Database::is_at(&path) {
            return Err(StorageError::Corrupt(format!("{} is missing", path.display())));
        }
        let witness = Witness::open(folder)?;
        let db = Database::open(&path, Of::Log)?;
        let meta = db.table(keys::META)?;
        let (base, witness) = (Arc::default(), Arc::new(Mutex::new(witness)));
        let (segments, syncs) = (Arc::default(), Arc::default());
        let disk = Self { db, meta, segments, base, witness, syncs };
        if folder.is_new() {
            disk.meta.insert(keys::FOLDER, &folder.id().0)?;
            disk.put_tail(&Tail::default())?;
            disk.db.sync()?;
            disk.db.sync_names(folder)?;
            folder.set_ready()?;
        } else if disk.meta(keys::FOLDER)?.as_deref() != Some(&folder.id().0) {
            let path = path.display();
            return Err(StorageError::Corrupt(format!(
                "{path} is cut off or belongs to another data folder"
            )));
        }
        disk.open_segments()?;
        Ok(disk)
    }

    fn open_segments(&self) -> Result<(), StorageError> {
        let mut segments = self.segments.lock();
        for name in self.db.table_names() {
            let Some(segment) = keys::parse_segment(&name) else { continue };
            let table = self.db.table(&name)?;
            segments.insert(segment, table);
        }
        Ok(())
    }

    /// What the log says of itself, unless it once said more.
    pub(crate) fn tail(&self) -> Result<Tail, StorageError> {
        let Some(bytes) = self.meta(keys::TAIL)? else {
            return Err(StorageError::Corrupt("the log does not say how far it goes".into()));
        };
        let tail = Tail::decode(&bytes)?;
        let known = self.witness.lock().number();
        if tail.number < known {
            return Err(StorageError::Corrupt(format!(
                "the log has lost what was written last (its state is {}, {known} is known)",
                tail.number
            )));
        }
        *self.base.lock() = (tail.start, tail.base);
        Ok(tail)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let value = self.meta.get(key)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Says how far the log goes; durable after the next [`Self::sync`].
    pub(crate) fn put_tail(&self, tail: &Tail) -> Result<(), StorageError> {
        self.meta.insert(keys::TAIL, tail.encode())?;
        *self.base.lock() = (tail.start, tail.base);
        Ok(())
    }

    /// Makes everything written so far durable, of which this is the number.
    pub(crate) fn sync(&self, number: u64) -> Result<(), StorageError> {
        let began = Instant::now();
        self.db.sync()?;
        self.syncs.add(began.elapsed());
        self.witness.lock().note(number)
    }

    /// How long each [`Self::sync`] waited for the disk.
    pub(crate) fn syncs(&self) -> &Arc<Durations> {
        &self.syncs
    }

    /// Makes it durable, too, how far the log is.
    pub(crate) fn sync_witness(&self) -> Result<(), StorageError> {
        self.witness.lock().sync()
    }

    /// See [`Database::refuse_blobs`].
    pub(crate) fn refuse_blobs(&self) -> Result<(), StorageError> {
        self.db.refuse_blobs()
    }

    /// Writes entries in the order given, each linked to the one before; gives the last one's link.
    pub(crate) fn put_entries<'a>(
        &self,
        mut link: u32,
        entries: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<u32, StorageError> {
        let mut table: Option<(u64, Table)> = None;
        for (index, value) in entries {
            let pieces = pieces::cut(link, value).ok_or_else(|| {
                StorageError::Stopped(format!("entry {index} has {} bytes", value.len()))
            })?;
            link = pieces::link(link, value);
            let segment = keys::segment_of(index);
            let table = match &mut table {
                Some((of, table)) if *of == segment => table,
                table => &mut table.insert((segment, self.segment_or_new(segment)?)).1,
            };
            for (number, piece) in pieces.into_iter().enumerate() {
                let number = u16::try_from(number).expect("values are bounded");
                table.insert(keys::piece(index, number), piece)?;
            }
        }
        Ok(link)
    }

    /// Removes everything from an index on, from the end backward.
    pub(crate) fn truncate_from(&self, index: u64) -> Result<(), StorageError> {
        let kept = keys::segment_of(index);
        while let Some(last) = self.last_segment().filter(|last| *last > kept) {
            self.drop_segment(last)?;
        }
        let Some(table) = self.segment(kept) else { return Ok(()) };
        loop {
            let last = table.range(keys::piece(index, 0)..).rev().take(REMOVED_AT_ONCE);
            let last = table::keys(last)?;
            if last.is_empty() {
                return Ok(());
            }
            for key in last {
                table.remove(key)?;
            }
        }
    }

    /// Drops the trees that hold nothing above an index.
    pub(crate) fn drop_segments_upto(&self, upto: u64) -> Result<(), StorageError> {
        let first_kept = keys::segment_of(upto.saturating_add(1));
        let dropped: Vec<u64> =
            self.segments.lock().range(..first_kept).map(|(segment, _)| *segment).collect();
        dropped.into_iter().try_for_each(|segment| self.drop_segment(segment))
    }

    /// One entry's bytes.
    pub(crate) fn entry(&self, index: u64) -> Result<Joined, StorageError> {
        let Some(table) = self.segment(keys::segment_of(index)) else {
            return Ok(Joined::Incomplete);
        };
        let (start, base) = *self.base.lock();
        let before = if index == start { Some(base) } else { self.link(index.wrapping_sub(1))? };
        let Some(before) = before else { return Ok(Joined::Incomplete) };
        let pieces = table::values(table.prefix(index.to_be_bytes()))?;
        Ok(pieces::join(before, pieces.iter().map(AsRef::as_ref)))
    }

    /// The link of an entry, if it is there.
    pub(crate) fn link(&self, index: u64) -> Result<Option<u32>, StorageError> {
        let Some(table) = self.segment(keys::segment_of(index)) else { return Ok(None) };
        let first = table.get(keys::piece(index, 0))?;
        Ok(first.and_then(|first| pieces::link_in(&first)))
    }

    /// The highest index with a piece of an entry.
    pub(crate) fn last_index(&self) -> Result<Option<u64>, StorageError> {
        let segments = self.segments.lock();
        for table in segments.values().rev() {
            let last = table.last()?;
            if let Some((key, _)) = last {
                return Ok(keys::piece_index(&key));
            }
        }
        Ok(None)
    }

    fn segment(&self, segment: u64) -> Option<Table> {
        self.segments.lock().get(&segment).cloned()
    }

    #[cfg(test)]
    pub(crate) fn segment_table(&self, segment: u64) -> Table {
        self.segment(segment).expect("the test wrote to it")
    }

    fn last_segment(&self) -> Option<u64> {
        self.segments.lock().last_key_value().map(|(segment, _)| *segment)
    }

    fn segment_or_new(&self, segment: u64) -> Result<Table, StorageError> {
        if let Some(table) = self.segment(segment) {
            return Ok(table);
        }
        let table = self.db.table(keys::segment_name(segment))?;
        self.segments.lock().insert(segment, table.clone());
        Ok(table)
    }

    fn drop_segment(&self, segment: u64) -> Result<(), StorageError> {
        self.segments.lock().remove(&segment);
        self.db.drop_table(keys::segment_name(segment))
    }
}
