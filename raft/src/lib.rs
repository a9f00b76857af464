//! Consensus: an intent becomes a fact on every node, once.
//!
//! The path of a command, all of it in this crate:
//!
//! 1. [`Cluster::submit`] gives it a place in a bounded queue (`batcher.rs`); a full queue says *busy*.
//! 2. While one entry is under way the next one gathers: whatever is waiting when the way is free
//!    becomes one log entry, stamped with log time, wall time and a seed. One append, one `fsync`,
//!    one round of replication serve all of it.
//! 3. openraft appends, replicates and commits the entry (`log_adapter.rs`, on the crate `storage`).
//! 4. The applier thread feeds it to the machine (`applier.rs`), publishes the effects in log order
//!    (`feed.rs`), and then answers whoever waits for one of its requests (`requests.rs`).
//!
//! So nothing is answered before it is committed and applied *here*, and a local read stamped with
//! index `i` ([`Cluster::read`]) sees exactly the effects of the entries up to `i` — no more, no less,
//! because an entry is applied and published under one lock.
//!
//! This is the only crate that names openraft; whoever uses it sees commands, answers, effects and a
//! status. It knows neither sockets nor HTTP nor Redis.
//!
//! Threads: openraft and everything asynchronous here run on a runtime of their own, so that a busy
//! gateway can't delay a heartbeat; the log writer (in `storage`) and the applier have a thread each.
//!
//! Nodes reach each other over connections of their own ([`transport`]); the listed ones form a cluster
//! once ([`formation`]), a follower's batches go to the leader ([`forward`]), and the leader counts out
//! whoever it has not heard for too long ([`presence`]). Nodes join, get a vote and go while it runs
//! ([`membership`]). Each knows how old its knowledge may be ([`reads`]), and may tell the others something
//! beside the log ([`notices`]). A leader whose process died is succeeded at
//! once ([`succession`]).
//!
//! All of it stands on connections, clocks ([`ground`]) and a disk ([`disk`]); a simulation brings its own
//! (`raft/sim`).
//!
//! Builds of different age stand in one cluster by [`versions`] and [`upgrade`]. A live node gives a [`backup`] of
//! the whole state; [`offline`] makes a new data folder of one, or a cluster of one out of a survivor.

mod applier;
mod backup;
mod batcher;
mod checkpoint;
mod cluster;
mod codec;
#[cfg(test)]
mod conformance;
mod disk;
mod error;
#[cfg(feature = "failpoints")]
mod failpoints;
mod feed;
mod figures;
mod formation;
mod forward;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
#[cfg_attr(
    not(feature = "simulation"),
    expect(unreachable_pub, reason = "a simulation brings its own, and nobody else")
)]
mod ground;
mod log_adapter;
mod log_clock;
mod membership;
mod network;
mod node;
mod notices;
mod offline;
mod presence;
mod reads;
mod records;
mod requests;
#[cfg(feature = "simulation")]
pub mod simulation;
mod stamp;
mod state_machine;
mod status;
mod succession;
mod transport;
mod types;
mod upgrade;
mod versions;
mod whole;

pub use backup::{Backup, BackupAbout, BackupError};
pub use cluster::{Answer, Cluster, Committed, Stamped};
pub use error::{ProposeError, StartError, StopReason};
pub use feed::{EffectFeed, FeedItem};
pub use figures::{Figures, Proposals};
pub use membership::{Change, Changed, MemberView, MembersView, Unchanged};
pub use node::{ClusterSecret, NodeConfig};
pub use notices::{Listener, NOTICE_BYTES_MAX};
pub use offline::{OfflineError, Standing, check_backup, look_at, recover, restore};
pub use reads::SURE_FOR;
pub use requests::Hold;
pub use serverv2_storage::{Durations, HistogramCounts};
pub use status::{SavedVote, Status};
pub use upgrade::{Levels, UpgradeError};
