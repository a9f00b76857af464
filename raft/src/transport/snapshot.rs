//! A snapshot on its way: read in pieces here, put together in pieces there.
//!
//! ```text
//! Request::Snapshot { vote, meta, head }
//! Piece  bytes of the machine            (repeated, until all of them came)
//! Piece  records                         (repeated)
//! End    crc32 of all pieces u32, number of records u64
//! ```
//!
//! Neither side holds more than a few pieces. The sender reads the records as they were at the
//! snapshot's position, while its own go on; the receiver fills a generation of its own, which counts
//! for nothing until openraft has it installed. What breaks off is begun again from the start.

use std::io::{self, Read};
use std::sync::Arc;

use serverv2_storage::{RecordStream, SnapshotFile, StorageError};
use tokio::sync::mpsc;

use crate::checkpoint::{self, Head, MACHINE_BYTES_MAX, Opened};
use crate::disk::{Disk, Shot};
use crate::log_adapter::Stores;

/// Bytes of one piece, about.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces between disk and network.
const PIECES_WAITING_MAX: usize = 4;

/// A snapshot that is being read.
pub(crate) struct Outgoing {
    /// What the other side is told first.
    pub(crate) head: Head,
    /// Its pieces; the last one is an [`Part::End`].
    pub(crate) parts: mpsc::Receiver<Result<Part, StorageError>>,
}

/// What is sent, in order.
#[derive(Debug)]
pub(crate) enum Part {
    Piece(Vec<u8>),
    End { crc: u32, records: u64 },
}

impl Outgoing {
    /// Begins to read the snapshot of this position. An error if that can't be, or not now: another
    /// node may be getting one.
    pub(crate) fn read(
        stores: &Arc<Stores>,
        file: &SnapshotFile,
        position: u64,
    ) -> Result<Self, StorageError> {
        let later = |why: &str| StorageError::Stopped(why.to_owned());
        let opened = Opened::of(file).map_err(|error| damaged(&error))?;
        let base = stores.records.valid();
        if base.generation() != opened.head.generation {
            return Err(later("its records are gone"));
        }
        let records = base.stream(position);
        let records =
            records.ok_or_else(|| later("its records are being sent already, or have moved on"))?;
        let (to, parts) = mpsc::channel(PIECES_WAITING_MAX);
        let head = opened.head.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send(opened, records, &to) {
                // Whoever does not listen any more does not want to know either.
                let _ = to.blocking_send(Err(error));
            }
        });
        Ok(Self { head, parts })
    }
}

fn send(
    mut opened: Opened,
    mut records: RecordStream,
    to: &mpsc::Sender<Result<Part, StorageError>>,
) -> Result<(), StorageError> {
    let gone = || StorageError::Stopped("nobody wants the snapshot any more".to_owned());
    let mut hash = crc32fast::Hasher::new();
    let mut piece = |bytes: Vec<u8>| {
        hash.update(&bytes);
        to.blocking_send(Ok(Part::Piece(bytes))).map_err(|_| gone())
    };
    let mut machine = opened.machine();
    loop {
        let mut bytes = Vec::new();
        (&mut machine)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(&error))?;
        if bytes.is_empty() {
            break;
        }
        piece(bytes)?;
    }
    let mut count = 0;
    loop {
        let next = records.next(PIECE_BYTES)?;
        if next.is_empty() {
            break;
        }
        count += next.len() as u64;
        let mut bytes = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        for (key, value) in next {
            checkpoint::push_record(&mut bytes, &key, &value);
        }
        piece(bytes)?;
    }
    let crc = hash.finalize();
    to.blocking_send(Ok(Part::End { crc, records: count })).map_err(|_| gone())
}

/// A snapshot that is being received, beside whoever reads its parts.
pub(crate) struct Incoming {
    parts: mpsc::Sender<Part>,
    whole: tokio::task::JoinHandle<Result<Shot, String>>,
}

impl Incoming {
    /// Begins to write what comes.
    pub(crate) fn begin(disk: Disk, meta: Vec<u8>, position: u64, head: Head) -> Self {
        let (parts, from) = mpsc::channel(PIECES_WAITING_MAX);
        let whole = match disk {
            Disk::Folder(stores) => tokio::task::spawn_blocking(move || {
                receive(&stores, &meta, position, &head, from).map(Shot::File)
            }),
            #[cfg(feature = "simulation")]
            Disk::Simulated(disk) => tokio::spawn(disk.receive(meta, head, from)),
        };
        Self { parts, whole }
    }

    /// Adds a part. False: the writer has failed, which [`Self::end`] explains.
    pub(crate) async fn add(&self, part: Part) -> bool {
        self.parts.send(part).await.is_ok()
    }

    /// Waits until all is on the disk; the file is to be installed.
    pub(crate) async fn end(self) -> Result<Shot, String> {
        drop(self.parts);
        self.whole.await.map_err(|error| error.to_string())?
    }
}

/// Puts the parts together; what comes of it is to be published or installed. Blocks.
pub(crate) fn receive(
    stores: &Stores,
    meta: &[u8],
    position: u64,
    head: &Head,
    parts: mpsc::Receiver<Part>,
) -> Result<SnapshotFile, String> {
    let begun = stores.records.begin().map_err(|error| error.to_string())?;
    let mut filling = begun.ok_or("another snapshot is still being received")?;
    let mut parts = Pieces { parts, hash: crc32fast::Hasher::new(), rest: Vec::new(), given: 0 };
    let machine_bytes = head.machine_bytes;
    if machine_bytes > MACHINE_BYTES_MAX {
        return Err("a machine that is too large was announced".to_owned());
    }
    let own = Head { generation: filling.generation(), from: position, changes: 0, ..head.clone() };
    let body = io::Cursor::new(own.encode()).chain((&mut parts).take(machine_bytes));
    let file = stores.snapshots.prepare(meta, body).map_err(|error| error.to_string())?;
    if parts.given < parts.rest.len() {
        return Err("the machine is longer than was said".to_owned());
    }
    let mut count = 0;
    loop {
        match parts.parts.blocking_recv() {
            Some(Part::Piece(bytes)) => {
                parts.hash.update(&bytes);
                let mut bytes = &bytes[..];
                while let Some((key, value)) =
                    checkpoint::read_record(&mut bytes).map_err(|error| error.to_string())?
                {
                    filling.put(&key, &value).map_err(|error| error.to_string())?;
                    count += 1;
                }
            }
            Some(Part::End { crc, records }) if records == count => {
                if crc != parts.hash.finalize() {
                    return Err("the checksum of the snapshot does not hold".to_owned());
                }
                filling.finish(position).map_err(|error| error.to_string())?;
                return Ok(file);
            }
            Some(Part::End { .. }) => return Err("records are missing".to_owned()),
            None => return Err("the snapshot broke off".to_owned()),
        }
    }
}

/// The pieces that hold the machine, as a stream of bytes.
struct Pieces {
    parts: mpsc::Receiver<Part>,
    hash: crc32fast::Hasher,
    rest: Vec<u8>,
    given: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // An empty piece is no end: a machine that ended there would be taken for a whole one.
        while self.given == self.rest.len() {
            let Some(Part::Piece(bytes)) = self.parts.blocking_recv() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            self.hash.update(&bytes);
            (self.rest, self.given) = (bytes, 0);
        }
        let rest = &self.rest[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

fn damaged(error: &io::Error) -> StorageError {
    StorageError::Corrupt(format!("the snapshot can't be read: {error}"))
}
