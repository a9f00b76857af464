//! A table of a database: a tree of sled's whose panics are errors.
//!
//! sled checks what it finds on the disk with assertions in some places, when it opens its file and when it comes to
//! a page that it did not need before. A panic there is damage, said politely. It also panics on some writes that a
//! disk refuses, where nothing is damaged: a panic while it writes says only that it has stopped, and if the bytes
//! are the cause after all, the next start finds that.

#![expect(clippy::disallowed_types, reason = "this is what the rule tells to use")]

use std::ops::RangeBounds;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sled::{IVec, Tree};

use crate::error::StorageError;

/// A key and what is under it.
pub(crate) type Pair = (IVec, IVec);

/// What a database is for, as its errors say it.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Log,
    Records,
}

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Table {
    tree: Tree,
    of: Of,
}

impl Table {
    pub(crate) fn new(tree: Tree, of: Of) -> Self {
        Self { tree, of }
    }

    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<IVec>, StorageError> {
        self.of.reading(|| self.tree.get(key))
    }

    /// What is under the greatest key.
    pub(crate) fn last(&self) -> Result<Option<Pair>, StorageError> {
        self.of.reading(|| self.tree.last())
    }

    pub(crate) fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<IVec>,
    ) -> Result<(), StorageError> {
        self.of.writing(|| self.tree.insert(key, value).map(drop))
    }

    pub(crate) fn remove(&self, key: impl AsRef<[u8]>) -> Result<(), StorageError> {
        self.of.writing(|| self.tree.remove(key).map(drop))
    }

    /// In the order of the keys, or from the end on against it.
    pub(crate) fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Pairs {
        Pairs { iter: Some(self.tree.range(range)), of: self.of }
    }

    /// All whose keys begin with these bytes.
    pub(crate) fn prefix(&self, prefix: impl AsRef<[u8]>) -> Pairs {
        Pairs { iter: Some(self.tree.scan_prefix(prefix)), of: self.of }
    }

    /// All of it.
    pub(crate) fn iter(&self) -> Pairs {
        Pairs { iter: Some(self.tree.iter()), of: self.of }
    }
}

/// Some of a table. Ends with the first error.
pub(crate) struct Pairs {
    iter: Option<sled::Iter>,
    of: Of,
}

impl Pairs {
    fn step(
        &mut self,
        step: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<Pair>>,
    ) -> Option<Result<Pair, StorageError>> {
        let iter = self.iter.as_mut()?;
        let found = self.of.reading(|| step(iter).transpose()).transpose();
        if !matches!(found, Some(Ok(_))) {
            self.iter = None;
        }
        found
    }
}

/// The keys alone.
pub(crate) fn keys(
    pairs: impl Iterator<Item = Result<Pair, StorageError>>,
) -> Result<Vec<IVec>, StorageError> {
    pairs.map(|pair| pair.map(|(key, _)| key)).collect()
}

/// What is under the keys.
pub(crate) fn values(
    pairs: impl Iterator<Item = Result<Pair, StorageError>>,
) -> Result<Vec<IVec>, StorageError> {
    pairs.map(|pair| pair.map(|(_, value)| value)).collect()
}

impl Iterator for Pairs {
    type Item = Result<Pair, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for Pairs {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}

impl Of {
    fn reading<T>(self, read: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
        let doing = match self {
            Self::Log => "read the log",
            Self::Records => "read the records",
        };
        asked_to_read(doing, read)
    }

    fn writing<T>(self, write: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
        let doing = match self {
            Self::Log => "write the log",
            Self::Records => "write the records",
        };
        asked_to_write(doing, write)
    }
}

/// Asks sled for what is on the disk.
pub(crate) fn asked_to_read<T>(
    doing: &'static str,
    read: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StorageError> {
    asked(doing, read, |doing| {
        StorageError::Corrupt(format!("cannot {doing}: its bytes contradict each other"))
    })
}

/// Asks sled to change what is on the disk.
pub(crate) fn asked_to_write<T>(
    doing: &'static str,
    write: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StorageError> {
    asked(doing, write, |doing| {
        StorageError::Stopped(format!("the database panicked: cannot {doing}"))
    })
}

/// After a panic what sled has in memory may be anything: the caller stops, as with each error.
fn asked<T>(
    doing: &'static str,
    ask: impl FnOnce() -> sled::Result<T>,
    panicked: fn(&str) -> StorageError,
) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(answer) => answer.map_err(StorageError::database(doing)),
        Err(_) => Err(panicked(doing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_damage_where_it_reads_and_a_refusal_of_the_disk_where_it_writes() {
        let read = Of::Log.reading::<()>(|| panic!("this page is not there")).unwrap_err();
        assert!(matches!(read, StorageError::Corrupt(_)), "{read:?}");
        assert!(read.to_string().contains("cannot read the log"), "{read}");
        let written = Of::Log.writing::<()>(|| panic!("no space")).unwrap_err();
        assert!(matches!(written, StorageError::Stopped(_)), "{written:?}");
        assert!(written.advice().contains("start it again"), "{}", written.advice());
    }
}
