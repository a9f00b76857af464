//! What a user of this crate may rely on, against a real node on a real disk.

mod common;
mod restart;
mod single;
mod snapshot;
