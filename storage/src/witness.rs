//! A small file beside the log that knows how far the log was.
//!
//! ```text
//! two slots, 4096 bytes apart: folder id 16 bytes, number u64, crc32 u32
//! ```
//!
//! A log that lost its end looks like one that never had it. So after each commit, and before anybody is
//! told of it, the number of the log's newest [`crate::tail::Tail`] is written here, too. That costs no
//! `fdatasync`: the number survives `kill -9`, and the system brings it to the disk some time later; it is
//! synced once a second at most. After a power cut it may be behind, so it is a lower bound: a log
//! that is older than its witness has lost what was acknowledged.
//!
//! The slot that was synced last is not touched before the other one is synced.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::StorageError;
use crate::files;
use crate::header::Folder;

const SLOT_BYTES: usize = 28;
const SLOT_AT: [u64; 2] = [0, 4096];
/// Pause between two syncs.
const SYNC_PAUSE: Duration = Duration::from_secs(1);

/// See the module's text.
pub(crate) struct Witness {
    file: File,
    path: PathBuf,
    folder: [u8; 16],
    number: u64,
    /// The slot to be written.
    slot: usize,
    synced: Instant,
}

impl Witness {
    /// Makes a new folder's witness, or finds the one that is there.
    pub(crate) fn open(folder: &Folder) -> Result<Self, StorageError> {
        let path = folder.witness_path();
        let id = folder.id().0;
        if folder.is_new() {
            let bytes = slot(id, 0);
            let mut whole = bytes.to_vec();
            whole.resize(SLOT_AT[1] as usize, 0);
            whole.extend_from_slice(&bytes);
            files::replace(&path, &whole)?;
        }
        let open = File::options().read(true).write(true).open(&path);
        let file = open.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                StorageError::Corrupt(format!("{} is missing", path.display()))
            }
            _ => StorageError::io("open", &path)(error),
        })?;
        let mut found = [None; 2];
        for (found, at) in found.iter_mut().zip(SLOT_AT) {
            let mut bytes = [0; SLOT_BYTES];
            match file.read_exact_at(&mut bytes, at) {
                Ok(()) => *found = parse(id, &bytes),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(StorageError::io("read", &path)(error)),
            }
        }
        let newest = found.iter().copied().max().flatten();
        let number = newest.ok_or_else(|| {
            let path = path.display();
            StorageError::Corrupt(format!("{path} can't be read or is another folder's"))
        })?;
        // The newer one may be there in the system's memory only.
        let slot = if found[0] == newest { 0 } else { 1 };
        Ok(Self { file, path, folder: id, number, slot, synced: Instant::now() })
    }

    /// The number that the log had at least.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Notes a number that is durable in the log.
    pub(crate) fn note(&mut self, number: u64) -> Result<(), StorageError> {
        self.number = number;
        let written = self.file.write_all_at(&slot(self.folder, number), SLOT_AT[self.slot]);
        written.map_err(StorageError::io("write", &self.path))?;
        if self.synced.elapsed() >= SYNC_PAUSE { self.sync() } else { Ok(()) }
    }

    /// Makes the number durable.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))?;
        self.slot = 1 - self.slot;
        self.synced = Instant::now();
        Ok(())
    }
}

fn slot(folder: [u8; 16], number: u64) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..16].copy_from_slice(&folder);
    bytes[16..24].copy_from_slice(&number.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn parse(folder: [u8; 16], bytes: &[u8; SLOT_BYTES]) -> Option<u64> {
    let number = u64::from_be_bytes(bytes[16..24].try_into().expect("eight bytes"));
    (slot(folder, number) == *bytes).then_some(number)
}
