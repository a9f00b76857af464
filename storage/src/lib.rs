//! Durability: bytes on this node's disk, and when they are really there.
//!
//! This crate keeps a Raft log, a vote, snapshots and records. It knows **bytes, not meanings**: what an
//! entry says is the business of its caller, who hands in types that can turn themselves into bytes
//! ([`Record`]).
//!
//! What it promises:
//! * Something is called durable only after `fdatasync` of the file that holds it.
//! * Votes, appends, truncations and purges reach the disk in the order in which they were asked
//!   for: one writer thread drains one queue (`durable.rs`).
//! * A folder belongs to one node and one format for ever; another one is refused with a text that
//!   says why ([`Folder`]).
//! * Damage is detected by checksums and said; damaged bytes are never handed out, and neither is what is
//!   left when a part was lost (`tail.rs`, `witness.rs`, `records.rs`). What can't be noticed: a disk that
//!   confirmed a sync, lost the end of the log, and lost the witness of that last second too.
//!
//! What it refuses: retrying after a failed `fsync` (the kernel may have dropped the dirty pages, so
//! a second one that succeeds proves nothing). The first error is the last: every waiter is told,
//! and the node has to be started again.
//!
//! The layout of a data folder:
//!
//! ```text
//! header      format, folder id, node id, checksum (text)
//! lock        held exclusively by the running process
//! log/        sled: table `meta` and one table for each 8192 log indexes
//! records/    sled: a table of records for each generation, one of which is valid
//! witness     how far the log was at least
//! unfinished  what a tool has begun with the folder and not finished; else not there
//! snapshots/  <position>-<number>.snap files and `current`, which names the valid one
//! control.sock, jwt-secret   not of this crate
//! ```

mod database;
mod durable;
mod error;
mod files;
#[cfg(test)]
mod fuzz;
mod header;
mod histogram;
mod keys;
mod log_cache;
mod log_disk;
mod log_store;
mod pieces;
mod records;
mod snapshot_file;
mod snapshot_store;
mod table;
mod tail;
mod undertaking;
mod witness;

pub use durable::Done;
pub use error::StorageError;
pub use header::{Folder, FolderId};
pub use histogram::{Durations, HistogramCounts, Sizes};
pub use log_store::{LogStore, Purged, Record};
pub use records::{Base, Change, Filling, KeyValue, RECORD_KEY_MAX, RecordStore, RecordStream};
pub use snapshot_file::{SnapshotFile, SnapshotReader};
pub use snapshot_store::SnapshotStore;
pub use undertaking::Undertaking;
