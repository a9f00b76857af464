//! Errors that answer the caller's two questions: did it happen, and may I try again?

use std::fmt;
use std::net::SocketAddr;

use serverv2_machine::Rejection;
use serverv2_storage::StorageError;

/// Why there is no success to a proposal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The machine refused: it did not happen, and asking again means asking anew.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It was never proposed: the queue was full, or no leader came in time. Try again.
    #[error("the server is busy, try again")]
    Busy,
    /// It can never be proposed.
    #[error("the request is too large")]
    TooLarge,
    /// No answer within the deadline: it may have happened. The same request id may be submitted
    /// again without doing it twice.
    #[error("no answer in time: it may have happened")]
    Unknown,
    /// This node is stopping; it did not happen, and it can't happen here any more.
    #[error("the server is stopping")]
    Stopped,
}

/// Why a node can't start. None of these goes away by itself, except a folder in use and a time-out.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder is in use, foreign, newer, or damaged.
    #[error("{error}; {}", error.advice())]
    Storage {
        /// What is wrong with it.
        #[from]
        error: StorageError,
    },
    /// A setting is out of range.
    #[error("{0}")]
    Setting(String),
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// Peers can't be listened to.
    #[error("cannot listen for peers on {0}: {1}")]
    Peers(SocketAddr, std::io::Error),
    /// Consensus refuses the state of the folder, or broke while starting.
    #[error("consensus can't start: {0}")]
    Consensus(String),
    /// The cluster refuses this node.
    #[error("the cluster refuses this node: {0}")]
    Refused(Rejection),
    /// This node was removed from its cluster, for ever.
    #[error("this node was removed from the cluster")]
    Removed,
    /// No leader was found, or it committed nothing in time.
    #[error("no leader was found in time")]
    NoLeader,
}

/// Why a node has stopped. Whatever it is but [`Self::Shutdown`], the process must exit with an error
/// so that it is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was asked to.
    Shutdown,
    /// The disk or the stored state failed.
    Storage(String),
    /// A part of it panicked.
    Panicked,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("it was asked to stop"),
            Self::Storage(why) => write!(f, "the storage failed: {why}"),
            Self::Panicked => f.write_str("consensus panicked"),
        }
    }
}
