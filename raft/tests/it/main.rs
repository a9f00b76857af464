//! What a user of this crate may rely on, against a real node on a real disk.

#![expect(clippy::unwrap_used, reason = "a test that fails here says so by itself")]

mod away;
mod broken_off;
mod certainty;
mod common;
#[path = "../../../tests/it/harness/links.rs"]
#[expect(dead_code, reason = "shared with the tests of the server")]
mod links;
mod noise;
mod peers;
mod restart;
mod single;
mod snapshot;
