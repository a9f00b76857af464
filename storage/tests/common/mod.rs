//! What the tests of whole data folders have in common: entries that carry any bytes, and waiting for the
//! disk.

use std::sync::mpsc;

use serverv2_storage::{Done, Record};

/// An entry of the log that means nothing.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    pub(crate) index: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Line {
    /// An entry of so many bytes; two with another salt differ in each of them.
    pub(crate) fn filled(index: u64, size: usize, salt: u8) -> Self {
        Self { index, bytes: filled(size, salt) }
    }
}

impl Record for Line {
    fn index(&self) -> u64 {
        self.index
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        Ok([&self.index.to_be_bytes()[..], &self.bytes].concat())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (index, bytes) = bytes.split_first_chunk().ok_or("too short")?;
        Ok(Self { index: u64::from_be_bytes(*index), bytes: bytes.to_vec() })
    }
}

/// Bytes that say what they must be.
pub(crate) fn filled(size: usize, salt: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).map(|at: u8| at.wrapping_mul(31) ^ salt).collect();
    bytes = bytes.repeat(size.div_ceil(bytes.len()));
    bytes.truncate(size);
    bytes
}

/// Who is told that something is durable, and how to wait for that.
pub(crate) fn waiter() -> (Done, impl FnOnce()) {
    let (told, heard) = mpsc::channel();
    let done = Box::new(move |result| told.send(result).unwrap());
    (done, move || heard.recv().unwrap().unwrap())
}

/// A number that whoever runs the test asks for.
pub(crate) fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
