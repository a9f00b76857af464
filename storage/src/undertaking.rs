//! What a tool has begun to do with a data folder: until it is done, no node starts on it.
//!
//! A small file says so. It is there, durably, before the first change and goes after the last one, so a tool
//! that dies in between leaves a folder that is refused, never one that is taken for what it is not.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::StorageError;
use crate::files;

/// The file's name.
pub(crate) const FILE: &str = "unfinished";
const BYTES_MAX: u64 = 64;

/// What a tool does with a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undertaking {
    /// Makes a cluster of one of it. Begun again, it is done all the same.
    Recovery,
    /// Fills a new one from a backup.
    Restore,
}

impl Undertaking {
    const ALL: [Self; 2] = [Self::Recovery, Self::Restore];

    fn name(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Restore => "restore",
        }
    }

    /// What was begun in this folder and not finished.
    pub(crate) fn found_in(folder: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = files::read_small(&folder.join(FILE), BYTES_MAX)? else {
            return Ok(None);
        };
        let found = Self::ALL.into_iter().find(|it| it.name().as_bytes() == bytes.trim_ascii());
        // Whatever it says, somebody began something.
        Ok(Some(found.unwrap_or(Self::Restore)))
    }

    /// Says that this is begun, durably.
    pub(crate) fn begin(self, folder: &Path) -> Result<(), StorageError> {
        files::replace(&folder.join(FILE), format!("{}\n", self.name()).as_bytes())
    }

    /// Says that it is done, durably.
    pub(crate) fn finish(folder: &Path) -> Result<(), StorageError> {
        let path = folder.join(FILE);
        fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
        files::sync_folder(folder)
    }
}

impl fmt::Display for Undertaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
