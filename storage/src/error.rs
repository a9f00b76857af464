//! What can go wrong with a disk, in terms of what an operator has to do about it.
//!
//! Nothing here may be retried by the process that saw it, except [`StorageError::InUse`], which
//! ends when the other process does. A refusal of the machine is never one of these.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::undertaking::Undertaking;

/// Why bytes could not be read or made durable. Cloneable: one failed flush has many waiters.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process has the folder open. Stop it, or use another folder.
    #[error("the data folder {path} is in use by another process")]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
    /// The folder was not made by this server, or its header is damaged.
    #[error("{path} is not a data folder of this server: {why}")]
    Foreign {
        /// Which folder.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The folder was written by a newer version of this server.
    #[error("the data folder {path} has format {found}, this version knows formats up to {known}")]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// A tool died while it worked on the folder.
    #[error("a {what} of the data folder {path} was begun and not finished")]
    Unfinished {
        /// Which folder.
        path: PathBuf,
        /// What was begun.
        what: Undertaking,
    },
    /// A folder that must be new is not.
    #[error("the data folder {path} is not empty")]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
    },
    /// The folder belongs to another node id. A node id and its folder belong together for ever.
    #[error("the data folder {path} belongs to node {owner}, not to node {asked}")]
    OtherNode {
        /// Which folder.
        path: PathBuf,
        /// Whose it is.
        owner: u64,
        /// Who wanted it.
        asked: u64,
    },
    /// Stored bytes are not what was written. The folder must not be used any more.
    #[error("the data folder is damaged: {0}")]
    Corrupt(String),
    /// sled put a value into a file that it never syncs; what was acknowledged might not be there.
    #[error("{path} is not empty: sled keeps values there that it never syncs")]
    Unsynced {
        /// The folder of such values.
        path: PathBuf,
    },
    /// The system refused a read or a write, or did not confirm it.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The database refused a read or a write.
    #[error("cannot {doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: sled::Error,
    },
    /// The writer has stopped, by an earlier error or because the store was closed. Nothing was written.
    #[error("the store has stopped: {0}")]
    Stopped(String),
}

impl StorageError {
    /// What to do about it, for whoever is woken by it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other process, or use another folder",
            Self::Foreign { .. } => {
                "name the folder of this node, or an empty one for a node that never ran; \
                 nothing in it was changed"
            }
            Self::Newer { .. } => "start the version that wrote it, or a newer one",
            Self::OtherNode { .. } => "name the folder of this node, or start it under its own id",
            Self::Unfinished { what: Undertaking::Recovery, .. } => {
                "run `serverv2 cluster recover` on it again"
            }
            Self::Unfinished { what: Undertaking::Restore, .. } => {
                "remove it, and restore the backup again"
            }
            Self::NotEmpty { .. } => {
                "name a folder that is empty or not there; nothing was changed"
            }
            Self::Corrupt(_) => {
                "do not start it again on this folder: keep a copy of it, and check the disk. A lone \
                 node: restore the whole folder from a backup. A node of a cluster: the others have all \
                 that was acknowledged; leave it stopped, and never give it an older copy of its folder"
            }
            Self::Unsynced { .. } | Self::Io { .. } | Self::Database { .. } | Self::Stopped(_) => {
                "check the disk and its free space, then start it again; what was acknowledged is on it"
            }
        }
    }

    /// Adapts a closure for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source: Arc::new(source) }
    }

    /// Says which database is damaged.
    pub(crate) fn in_database(self, path: &Path) -> Self {
        match self {
            Self::Corrupt(why) => Self::Corrupt(format!("{}: {why}", path.display())),
            error => error,
        }
    }

    /// Adapts a closure for `map_err`.
    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sled::Error) -> Self {
        move |source| match source {
            sled::Error::Corruption { .. } => {
                Self::Corrupt(format!("cannot {doing}: its bytes are not what was written"))
            }
            source => Self::Database { doing, source },
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}
