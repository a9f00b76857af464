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
use sled::Tree;

use crate::database::Database;
use crate::error::StorageError;
use crate::header::Folder;
use crate::histogram::Durations;
use crate::keys;
use crate::pieces::{self, Joined};
use crate::tail::Tail;
use crate::witness::Witness;

/// Keys looked up before they are removed.
const REMOVED_AT_ONCE: usize = 1024;

/// The log database. Clones share it.
#[derive(Clone)]
pub(crate) struct LogDisk {
    db: Database,
    meta: Tree,
    segments: Arc<Mutex<BTreeMap<u64, Tree>>>,
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
        let db = Database::open(&path)?;
        let meta = db.tree(keys::META)?;
        let (base, witness) = (Arc::default(), Arc::new(Mutex::new(witness)));
        let (segments, syncs) = (Arc::default(), Arc::default());
        let disk = Self { db, meta, segments, base, witness, syncs };
        if folder.is_new() {
            disk.meta.insert(keys::FOLDER, &folder.id().0).map_err(writing)?;
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
        for name in self.db.tree_names() {
            let Some(segment) = keys::parse_segment(&name) else { continue };
            let tree = self.db.tree(&name)?;
            segments.insert(segment, tree);
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
        let value = self.meta.get(key).map_err(reading)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Says how far the log goes; durable after the next [`Self::sync`].
    pub(crate) fn put_tail(&self, tail: &Tail) -> Result<(), StorageError> {
        self.meta.insert(keys::TAIL, tail.encode()).map_err(writing)?;
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
        let mut tree: Option<(u64, Tree)> = None;
        for (index, value) in entries {
            let pieces = pieces::cut(link, value).ok_or_else(|| {
                StorageError::Stopped(format!("entry {index} has {} bytes", value.len()))
            })?;
            link = pieces::link(link, value);
            let segment = keys::segment_of(index);
            let tree = match &mut tree {
                Some((of, tree)) if *of == segment => tree,
                tree => &mut tree.insert((segment, self.segment_or_new(segment)?)).1,
            };
            for (number, piece) in pieces.into_iter().enumerate() {
                let number = u16::try_from(number).expect("values are bounded");
                tree.insert(keys::piece(index, number), piece).map_err(writing)?;
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
        let Some(tree) = self.segment(kept) else { return Ok(()) };
        loop {
            let last = tree.range(keys::piece(index, 0)..).keys().rev().take(REMOVED_AT_ONCE);
            let last = last.collect::<Result<Vec<_>, _>>().map_err(reading)?;
            if last.is_empty() {
                return Ok(());
            }
            for key in last {
                tree.remove(key).map_err(writing)?;
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
        let Some(tree) = self.segment(keys::segment_of(index)) else {
            return Ok(Joined::Incomplete);
        };
        let (start, base) = *self.base.lock();
        let before = if index == start { Some(base) } else { self.link(index.wrapping_sub(1))? };
        let Some(before) = before else { return Ok(Joined::Incomplete) };
        let pieces = tree
            .scan_prefix(index.to_be_bytes())
            .values()
            .collect::<Result<Vec<_>, _>>()
            .map_err(reading)?;
        Ok(pieces::join(before, pieces.iter().map(AsRef::as_ref)))
    }

    /// The link of an entry, if it is there.
    pub(crate) fn link(&self, index: u64) -> Result<Option<u32>, StorageError> {
        let Some(tree) = self.segment(keys::segment_of(index)) else { return Ok(None) };
        let first = tree.get(keys::piece(index, 0)).map_err(reading)?;
        Ok(first.and_then(|first| pieces::link_in(&first)))
    }

    /// The highest index with a piece of an entry.
    pub(crate) fn last_index(&self) -> Result<Option<u64>, StorageError> {
        let segments = self.segments.lock();
        for tree in segments.values().rev() {
            let last = tree.last().map_err(reading)?;
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

fn reading(error: sled::Error) -> StorageError {
    StorageError::database("read the log")(error)
}

fn writing(error: sled::Error) -> StorageError {
    StorageError::database("write the log")(error)
}
