//! How a snapshot lies on the disk, and how it is read.
//!
//! ```text
//! "SV2SNAP1"
//! folder:  id of the data folder, 16 bytes
//! meta:    length u32, crc32 u32, bytes
//! chunks:  length u32 (1 to 256 KiB), crc32 u32, bytes   (repeated)
//! end:     0 u32, crc32 of all chunks' bytes u32, their length u64
//! ```
//!
//! All numbers are big-endian. A reader hands out a chunk only after its checksum held, and says
//! *end* only after the checksum of the whole did; a file that is cut or continued is damage.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::StorageError;
use crate::header::FolderId;

const MAGIC: &[u8; 8] = b"SV2SNAP1";
const FOLDER_BYTES: usize = 16;
/// Bytes of one chunk.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Bytes of what the caller says about a snapshot.
const META_BYTES_MAX: usize = 1024 * 1024;

/// A complete snapshot. It stays readable while this is held, even when a newer one has replaced it.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    pub(crate) file: Arc<File>,
    pub(crate) folder: Arc<Path>,
    pub(crate) name: Arc<str>,
    pub(crate) meta: Arc<[u8]>,
}

impl SnapshotFile {
    /// What the caller said about it when it was saved.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// Its name in the folder of snapshots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are the same file on this disk.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// Reads its body from the start; any number of readers may do so at once.
    pub fn reader(&self) -> SnapshotReader {
        SnapshotReader {
            file: At { file: Arc::clone(&self.file), at: self.body_at() },
            chunk: Vec::new(),
            given: 0,
            hash: crc32fast::Hasher::new(),
            length: 0,
            ended: false,
        }
    }

    /// Its whole body.
    pub fn read(&self) -> Result<Vec<u8>, StorageError> {
        let mut body = Vec::new();
        self.reader().read_to_end(&mut body).map_err(|error| self.damaged(&error))?;
        Ok(body)
    }

    pub(crate) fn damaged(&self, error: &io::Error) -> StorageError {
        StorageError::Corrupt(format!("snapshot {}: {error}", self.name))
    }

    fn body_at(&self) -> u64 {
        (MAGIC.len() + FOLDER_BYTES + 8 + self.meta.len()) as u64
    }

    /// Reads the head of a file.
    pub(crate) fn open(
        file: File,
        id: FolderId,
        folder: &Path,
        name: Arc<str>,
    ) -> Result<Self, StorageError> {
        let file = Arc::new(file);
        let mut at = At { file: Arc::clone(&file), at: 0 };
        let meta = read_meta(&mut at, id)
            .map_err(|error| StorageError::Corrupt(format!("snapshot {name}: {error}")))?;
        Ok(Self { file, folder: folder.into(), name, meta: meta.into() })
    }
}

/// Writes a snapshot's bytes; syncing and naming are the caller's.
pub(crate) fn write(
    mut file: impl Write,
    id: FolderId,
    meta: &[u8],
    mut body: impl Read,
) -> Result<(), io::Error> {
    if meta.len() > META_BYTES_MAX {
        return Err(io::Error::other("what is said about the snapshot is too long"));
    }
    file.write_all(MAGIC)?;
    file.write_all(&id.0)?;
    write_frame(&mut file, meta)?;
    let mut hash = crc32fast::Hasher::new();
    let mut length = 0;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
    loop {
        chunk.clear();
        (&mut body).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        hash.update(&chunk);
        length += chunk.len() as u64;
        write_frame(&mut file, &chunk)?;
    }
    file.write_all(&0u32.to_be_bytes())?;
    file.write_all(&hash.finalize().to_be_bytes())?;
    file.write_all(&length.to_be_bytes())
}

fn write_frame(file: &mut impl Write, bytes: &[u8]) -> Result<(), io::Error> {
    let length = u32::try_from(bytes.len()).expect("frames are bounded");
    file.write_all(&length.to_be_bytes())?;
    file.write_all(&crc32fast::hash(bytes).to_be_bytes())?;
    file.write_all(bytes)
}

fn read_meta(file: &mut At, id: FolderId) -> Result<Vec<u8>, io::Error> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(io::Error::other("not a snapshot of a format known here"));
    }
    let mut folder = [0; FOLDER_BYTES];
    file.read_exact(&mut folder)?;
    if folder != id.0 {
        return Err(io::Error::other("it belongs to another data folder"));
    }
    let length = read_u32(file)?;
    read_checked(file, length, META_BYTES_MAX)
}

fn read_checked(file: &mut At, length: u32, max: usize) -> Result<Vec<u8>, io::Error> {
    let crc = read_u32(file)?;
    if length as usize > max {
        return Err(io::Error::other("a length is damaged"));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    if crc32fast::hash(&bytes) == crc {
        Ok(bytes)
    } else {
        Err(io::Error::other("a checksum does not hold"))
    }
}

fn read_u32(file: &mut At) -> Result<u32, io::Error> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// A position in a file that others read too.
struct At {
    file: Arc<File>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads a snapshot's body and checks it on the way.
pub struct SnapshotReader {
    file: At,
    chunk: Vec<u8>,
    given: usize,
    hash: crc32fast::Hasher,
    length: u64,
    ended: bool,
}

impl SnapshotReader {
    /// Fills the chunk; leaves it empty at the end.
    fn next_chunk(&mut self) -> Result<(), io::Error> {
        self.chunk.clear();
        self.given = 0;
        let length = read_u32(&mut self.file)?;
        if length > 0 {
            self.chunk = read_checked(&mut self.file, length, CHUNK_BYTES_MAX)?;
            self.hash.update(&self.chunk);
            self.length += u64::from(length);
            return Ok(());
        }
        let crc = read_u32(&mut self.file)?;
        let mut total = [0; 8];
        self.file.read_exact(&mut total)?;
        let whole = crc == self.hash.clone().finalize() && u64::from_be_bytes(total) == self.length;
        if !whole || self.file.read(&mut [0])? != 0 {
            return Err(io::Error::other("the whole is not what was written"));
        }
        self.ended = true;
        Ok(())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.chunk.len() && !self.ended {
            self.next_chunk()?;
        }
        let rest = &self.chunk[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}
