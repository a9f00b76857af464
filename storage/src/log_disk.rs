//! The log as it lies in sled: which writes make up a vote, an append, a truncation, a purge.
//!
//! sled orders all writes of one database in one file, so what a crash leaves is a prefix of what
//! was written. The order here relies on that: pieces of an entry in order (an unfinished one is
//! recognised by its length), a purge's position before its trees go, a truncation from the end
//! backward. Batches stay small: sled holds a lock of the whole *process* while it applies one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sled::{Batch, Tree};

use crate::database::{BATCH_BYTES_MAX, Database};
use crate::error::StorageError;
use crate::header::Folder;
use crate::keys;
use crate::pieces::{self, Joined};

/// The log database. Clones share it.
#[derive(Clone)]
pub(crate) struct LogDisk {
    db: Database,
    meta: Tree,
    segments: Arc<Mutex<BTreeMap<u64, Tree>>>,
}

impl LogDisk {
    /// Opens the folder's log database, or makes it if the folder is new.
    pub(crate) fn open(folder: &mut Folder) -> Result<Self, StorageError> {
        let path = folder.log_path();
        if !folder.is_new() && !Database::is_at(&path) {
            return Err(StorageError::Corrupt(format!("{} is missing", path.display())));
        }
        let db = Database::open(&path)?;
        let meta = db.tree(keys::META)?;
        let disk = Self { db, meta, segments: Arc::default() };
        if folder.is_new() {
            disk.put_meta(keys::FOLDER, &folder.id().0)?;
            disk.sync()?;
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
        for name in self.db.tree_names() {
            let Some(segment) = keys::parse_segment(&name) else { continue };
            let tree = self.db.tree(&name)?;
            segments.insert(segment, tree);
        }
        Ok(())
    }

    /// Counts this opening durably and returns its number, from 1.
    pub(crate) fn count_boot(&self) -> Result<u64, StorageError> {
        let before = match self.meta(keys::BOOTS)? {
            None => 0,
            Some(bytes) => bytes
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| StorageError::Corrupt("the start counter is no number".into()))?,
        };
        let boots = before + 1;
        self.put_meta(keys::BOOTS, &boots.to_be_bytes())?;
        self.sync()?;
        Ok(boots)
    }

    /// The value of a key in the tree `meta`.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let value = self.meta.get(key).map_err(StorageError::database("read the log"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Sets a key in the tree `meta`; durable after the next [`Self::sync`].
    pub(crate) fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        self.meta.insert(key, value).map_err(StorageError::database("write the log"))?;
        Ok(())
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.db.sync()
    }

    /// See [`Database::refuse_blobs`].
    pub(crate) fn refuse_blobs(&self) -> Result<(), StorageError> {
        self.db.refuse_blobs()
    }

    /// Writes entries in the order given.
    pub(crate) fn put_entries<'a>(
        &self,
        entries: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<(), StorageError> {
        let mut writer = BatchWriter { disk: self, segment: 0, batch: Batch::default(), bytes: 0 };
        for (index, value) in entries {
            let pieces = pieces::cut(value).ok_or_else(|| {
                StorageError::Stopped(format!("entry {index} has {} bytes", value.len()))
            })?;
            for (number, piece) in pieces.into_iter().enumerate() {
                let number = u16::try_from(number).expect("values are bounded");
                writer.make_room(keys::segment_of(index), piece.len())?;
                writer.batch.insert(&keys::piece(index, number), piece);
            }
        }
        writer.write()
    }

    /// Removes everything from an index on, from the end backward.
    pub(crate) fn truncate_from(&self, index: u64) -> Result<(), StorageError> {
        let kept = keys::segment_of(index);
        while let Some(last) = self.last_segment().filter(|last| *last > kept) {
            self.drop_segment(last)?;
        }
        let Some(tree) = self.segment(kept) else { return Ok(()) };
        let mut writer =
            BatchWriter { disk: self, segment: kept, batch: Batch::default(), bytes: 0 };
        for key in tree.range(keys::piece(index, 0)..).keys().rev() {
            let key = key.map_err(StorageError::database("read the log"))?;
            writer.make_room(kept, key.len())?;
            writer.batch.remove(key);
        }
        writer.write()
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
        let Some(tree) = self.segment(keys::segment_of(index)) else {
            return Ok(Joined::Incomplete);
        };
        let pieces = tree
            .scan_prefix(index.to_be_bytes())
            .values()
            .collect::<Result<Vec<_>, _>>()
            .map_err(StorageError::database("read the log"))?;
        Ok(pieces::join(pieces.iter().map(AsRef::as_ref)))
    }

    /// The lowest index with a piece of an entry, at or above a bound.
    pub(crate) fn first_index(&self, at_least: u64) -> Result<Option<u64>, StorageError> {
        let segments = self.segments.lock();
        for (_, tree) in segments.range(keys::segment_of(at_least)..) {
            let first = tree.range(keys::piece(at_least, 0)..).next();
            let first = first.transpose().map_err(StorageError::database("read the log"))?;
            if let Some((key, _)) = first {
                return Ok(keys::piece_index(&key));
            }
        }
        Ok(None)
    }

    /// The highest index with a piece of an entry.
    pub(crate) fn last_index(&self) -> Result<Option<u64>, StorageError> {
        let segments = self.segments.lock();
        for tree in segments.values().rev() {
            let last = tree.last().map_err(StorageError::database("read the log"))?;
            if let Some((key, _)) = last {
                return Ok(keys::piece_index(&key));
            }
        }
        Ok(None)
    }

    fn segment(&self, segment: u64) -> Option<Tree> {
        self.segments.lock().get(&segment).cloned()
    }

    #[cfg(test)]
    pub(crate) fn segment_tree(&self, segment: u64) -> Tree {
        self.segment(segment).expect("the test wrote to it")
    }

    fn last_segment(&self) -> Option<u64> {
        self.segments.lock().last_key_value().map(|(segment, _)| *segment)
    }

    fn segment_or_new(&self, segment: u64) -> Result<Tree, StorageError> {
        if let Some(tree) = self.segment(segment) {
            return Ok(tree);
        }
        let tree = self.db.tree(keys::segment_name(segment))?;
        self.segments.lock().insert(segment, tree.clone());
        Ok(tree)
    }

    fn drop_segment(&self, segment: u64) -> Result<(), StorageError> {
        self.segments.lock().remove(&segment);
        self.db.drop_tree(keys::segment_name(segment))
    }
}

/// Gathers changes of one tree into batches of bounded size.
struct BatchWriter<'a> {
    disk: &'a LogDisk,
    segment: u64,
    batch: Batch,
    bytes: usize,
}

impl BatchWriter<'_> {
    fn make_room(&mut self, segment: u64, bytes: usize) -> Result<(), StorageError> {
        if segment != self.segment || self.bytes + bytes > BATCH_BYTES_MAX {
            self.write()?;
            self.segment = segment;
        }
        self.bytes += bytes;
        Ok(())
    }

    fn write(&mut self) -> Result<(), StorageError> {
        if self.bytes > 0 {
            self.bytes = 0;
            let tree = self.disk.segment_or_new(self.segment)?;
            tree.apply_batch(std::mem::take(&mut self.batch))
                .map_err(StorageError::database("write the log"))?;
        }
        Ok(())
    }
}
