//! What is done with a data folder while no node runs on it: a cluster of one is made of a survivor, or of
//! a backup.
//!
//! Both give the folder a cluster id of its own, so that nodes of the former cluster and this one refuse each
//! other whatever their settings say. Until all of it is on the disk the folder says that it is unfinished
//! ([`Undertaking`]), and no node starts on it.

mod recovery;
mod restoration;

use std::sync::mpsc;

use serverv2_machine::NodeId;
use serverv2_storage::{Done, StorageError};

pub use self::recovery::{look_at, recover};
pub use self::restoration::{check_backup, restore};

/// Where a data folder stands. Indexes are 0 where there is nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose folder it is.
    pub node: NodeId,
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// All members, learners included.
    pub members: Vec<NodeId>,
    /// Term of the last entry.
    pub term: u64,
    /// Index of the last entry.
    pub last: u64,
    /// Index up to which entries were known to be committed: those behind may or may not have been.
    pub committed: u64,
    /// Index of the newest checkpoint: a start applies what follows.
    pub checkpoint: u64,
}

/// Why nothing was done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The folder can't be worked on.
    #[error("{error}; {}", error.advice())]
    Storage {
        /// Why.
        #[from]
        error: StorageError,
    },
    /// There is no data folder here.
    #[error("{0} is no data folder of this server")]
    Nothing(std::path::PathBuf),
    /// The folder's node was never in a cluster.
    #[error("this node was never in a cluster: there is nothing to recover")]
    NoCluster,
    /// The backup can't be restored. The folder was not touched.
    #[error("the backup {0} can't be restored: {1}")]
    Backup(std::path::PathBuf, String),
}

/// Asks the log to write, and waits until it is durable.
fn durably(ask: impl FnOnce(Done) -> Result<(), StorageError>) -> Result<(), StorageError> {
    let (told, durable) = mpsc::channel();
    let done = Box::new(move |result| {
        // Whoever asked is waiting below.
        let _ = told.send(result);
    });
    ask(done)?;
    durable.recv().unwrap_or_else(|_| Err(StorageError::Stopped("the log was closed".to_owned())))
}
