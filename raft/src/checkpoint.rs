//! What a checkpoint's file says: which records belong to it, the machine, and what it changes.
//!
//! ```text
//! "SV2CKPT1"
//! head      length u32, bytes: generation and number of the records, lengths of what follows
//! machine   the machine's snapshot
//! changes   key length u8, key, value length u32, value   (repeated)
//!           for a record that was removed: a length of 2^32 - 1, and no value
//! ```
//!
//! The changes lead the base from the checkpoint before to this one. They are in the base already when
//! the file is used, but for a start after a crash in between: that writes them again. A snapshot from
//! another node has none, since its records came with it.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serverv2_machine::Snapshot;
use serverv2_storage::{Base, KeyValue, SnapshotFile, SnapshotReader, StorageError};

use crate::codec;
use crate::records::{self, Written};

const MAGIC: &[u8; 8] = b"SV2CKPT1";
/// Bytes of a head: a few numbers.
const HEAD_BYTES_MAX: u32 = 1024;
/// Bytes of the machine; it is in memory on every node.
pub(crate) const MACHINE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of a record on its way.
const VALUE_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Stands for the length of a value that was removed.
const REMOVED: u32 = u32::MAX;

/// The beginning of a checkpoint's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The generation of records that belongs to it.
    pub(crate) generation: u64,
    /// The position that the changes lead from; its own if there are none.
    pub(crate) from: u64,
    /// Bytes of the machine.
    pub(crate) machine_bytes: u64,
    /// How many changes follow.
    pub(crate) changes: u64,
}

impl Head {
    /// The bytes that a file begins with.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let head = codec::encode(self);
        let length = u32::try_from(head.len()).expect("a head is a few numbers");
        [&MAGIC[..], &length.to_be_bytes(), &head].concat()
    }
}

/// The body of a checkpoint's file.
pub(crate) fn encode(generation: u64, from: u64, machine: &[u8], changes: &[Written]) -> Vec<u8> {
    let head = Head {
        generation,
        from,
        machine_bytes: machine.len() as u64,
        changes: changes.len() as u64,
    };
    let mut body = head.encode();
    body.extend_from_slice(machine);
    for (key, value) in changes {
        match value {
            Some(value) => push_record(&mut body, key, value),
            None => {
                push_key(&mut body, key);
                body.extend_from_slice(&REMOVED.to_be_bytes());
            }
        }
    }
    body
}

/// One record behind others.
pub(crate) fn push_record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    push_key(to, key);
    to.extend_from_slice(&u32::try_from(value.len()).expect("values are bounded").to_be_bytes());
    to.extend_from_slice(value);
}

fn push_key(to: &mut Vec<u8>, key: &[u8]) {
    to.push(u8::try_from(key.len()).expect("keys are short"));
    to.extend_from_slice(key);
}

/// The next record; `None` at the end.
pub(crate) fn read_record(from: &mut impl Read) -> io::Result<Option<KeyValue>> {
    match read_change(from)? {
        None => Ok(None),
        Some((key, Some(value))) => Ok(Some((key, value))),
        Some((_, None)) => Err(io::Error::other("a record without a value")),
    }
}

/// The next record, and whether it was removed; `None` at the end.
#[expect(clippy::type_complexity, reason = "a change as it is read")]
fn read_change(from: &mut impl Read) -> io::Result<Option<(Vec<u8>, Option<Vec<u8>>)>> {
    let mut length = [0];
    if from.read(&mut length)? == 0 {
        return Ok(None);
    }
    let mut key = vec![0; usize::from(length[0])];
    from.read_exact(&mut key)?;
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length == REMOVED {
        return Ok(Some((key, None)));
    }
    if length > VALUE_BYTES_MAX {
        return Err(io::Error::other("a record that is too large"));
    }
    let mut value = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut value)?;
    if value.len() == length as usize { Ok(Some((key, Some(value)))) } else { Err(cut()) }
}

fn cut() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// A checkpoint's file, read up to the machine.
pub(crate) struct Opened {
    pub(crate) head: Head,
    body: SnapshotReader,
}

impl Opened {
    /// Reads the head.
    pub(crate) fn of(file: &SnapshotFile) -> io::Result<Self> {
        let mut body = file.reader();
        let mut magic = [0; MAGIC.len()];
        body.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::Error::other("not a checkpoint of a format known here"));
        }
        let mut length = [0; 4];
        body.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head that is too long"));
        }
        let mut head = vec![0; length as usize];
        body.read_exact(&mut head)?;
        let head: Head = codec::decode(&head).map_err(io::Error::other)?;
        if head.machine_bytes > MACHINE_BYTES_MAX {
            return Err(io::Error::other("a machine that is too large"));
        }
        Ok(Self { head, body })
    }

    /// Reads a checkpoint's head, once all of its file is what was written.
    pub(crate) fn check(file: &SnapshotFile) -> Result<Self, StorageError> {
        let read = || {
            io::copy(&mut file.reader(), &mut io::sink())?;
            Self::of(file)
        };
        let damaged = |error| {
            StorageError::Corrupt(format!("the snapshot {} can't be read: {error}", file.name()))
        };
        read().map_err(damaged)
    }

    /// Reads the machine's bytes piece by piece.
    pub(crate) fn machine(&mut self) -> impl Read + '_ {
        (&mut self.body).take(self.head.machine_bytes)
    }

    /// Reads the whole of it, which is checked to its end.
    pub(crate) fn read(mut self) -> io::Result<(Head, Snapshot, Vec<Written>)> {
        let mut machine = Vec::new();
        self.machine().read_to_end(&mut machine)?;
        if machine.len() as u64 != self.head.machine_bytes {
            return Err(cut());
        }
        let snapshot = Snapshot::decode(&machine).map_err(io::Error::other)?;
        drop(machine);
        let mut changes = Vec::new();
        while let Some((key, value)) = read_change(&mut self.body)? {
            changes.push((key, value.map(Into::into)));
        }
        if changes.len() as u64 != self.head.changes {
            return Err(io::Error::other("changes are missing"));
        }
        Ok((self.head, snapshot, changes))
    }
}

/// Brings a base to the position of a checkpoint, if a crash kept it from getting there.
pub(crate) fn catch_up(
    base: &Base,
    file: &SnapshotFile,
    position: u64,
) -> Result<(), StorageError> {
    if base.position() == position {
        return Ok(());
    }
    let damaged =
        |error: io::Error| StorageError::Corrupt(format!("the snapshot can't be read: {error}"));
    let (head, _, changes) = Opened::of(file).and_then(Opened::read).map_err(damaged)?;
    if base.position() != head.from {
        return Err(StorageError::Corrupt(format!(
            "the records are those of position {}, the snapshot needs those of {} or {position}",
            base.position(),
            head.from
        )));
    }
    tracing::info!(raft.index = position, changes = changes.len(), "a checkpoint is finished");
    base.redo(position, records::changes(&changes))
}
