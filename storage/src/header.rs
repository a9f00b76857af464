//! The data folder itself: whose it is, which format it has, and that one process has it.
//!
//! A folder gets a random id when it is made. The id stands in the header and in the log database,
//! so a header next to another folder's log is noticed, and so is a log that was deleted: a node
//! that forgot its votes could vote twice.
//!
//! Making a folder takes three durable steps: a header with `state=new`, the log database, a header
//! with `state=ready`. A process that dies in between has acknowledged nothing, so the next one
//! starts over; from `ready` on a missing log is an error for ever.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::StorageError;
use crate::files;
use crate::undertaking::Undertaking;

/// The newest format of a data folder that this code reads, and the one it writes.
const FORMAT: u32 = 1;
const MAGIC: &str = "serverv2-data";
const HEADER: &str = "header";
const HEADER_BYTES_MAX: u64 = 4096;
const LOCK: &str = "lock";
const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";
const RECORDS: &str = "records";
const WITNESS: &str = "witness";

/// The random name of a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderId(pub [u8; 16]);

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    state: State,
    folder: FolderId,
    node: u64,
}

/// An open data folder. It stays locked until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    header: Header,
    _lock: File,
}

impl Folder {
    /// Opens a folder for a node, or makes it if there is none or an empty one.
    pub fn open(path: &Path, node: u64) -> Result<Self, StorageError> {
        Self::open_to(path, node, None)
    }

    /// Opens a folder to do something with it that must be done wholly: until [`Self::finish`] nobody else
    /// opens it. A restore makes the folder, so there may be none.
    pub fn begin(path: &Path, node: u64, what: Undertaking) -> Result<Self, StorageError> {
        Self::open_to(path, node, Some(what))
    }

    /// What was begun with it is done.
    pub fn finish(&self) -> Result<(), StorageError> {
        Undertaking::finish(&self.path)
    }

    /// Whose folder this is; `None` if it is nobody's yet.
    pub fn owner(path: &Path) -> Result<Option<u64>, StorageError> {
        let header = files::read_small(&path.join(HEADER), HEADER_BYTES_MAX)?;
        header.map(|bytes| parse(path, &bytes).map(|header| header.node)).transpose()
    }

    fn open_to(path: &Path, node: u64, what: Option<Undertaking>) -> Result<Self, StorageError> {
        files::create_folder(path)?;
        refuse_unfinished(path, what)?;
        let header = files::read_small(&path.join(HEADER), HEADER_BYTES_MAX)?;
        if header.is_none() {
            refuse_foreign_files(path)?;
        } else if what == Some(Undertaking::Restore) {
            return Err(StorageError::NotEmpty { path: path.into() });
        }
        let lock = lock(path)?;
        refuse_unfinished(path, what)?;
        // Read again: another process may have made the folder before this one got the lock.
        let header = match files::read_small(&path.join(HEADER), HEADER_BYTES_MAX)? {
            Some(bytes) => parse(path, &bytes)?,
            None => Header { state: State::New, folder: FolderId(rand::random()), node },
        };
        if header.node != node {
            return Err(StorageError::OtherNode {
                path: path.into(),
                owner: header.node,
                asked: node,
            });
        }
        if let Some(what) = what {
            what.begin(path)?;
        }
        let folder = Self { path: path.into(), header, _lock: lock };
        if header.state == State::New {
            folder.start_over()?;
        }
        Ok(folder)
    }

    /// The folder's random id.
    pub fn id(&self) -> FolderId {
        self.header.folder
    }

    /// The node whose folder it is.
    pub fn node(&self) -> u64 {
        self.header.node
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its log was never made.
    pub(crate) fn is_new(&self) -> bool {
        self.header.state == State::New
    }

    /// From here on a missing log is an error.
    pub(crate) fn set_ready(&mut self) -> Result<(), StorageError> {
        self.header.state = State::Ready;
        self.write_header()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    pub(crate) fn snapshots_path(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    pub(crate) fn records_path(&self) -> PathBuf {
        self.path.join(RECORDS)
    }

    pub(crate) fn witness_path(&self) -> PathBuf {
        self.path.join(WITNESS)
    }

    /// Removes snapshots and records, which somebody can make anew.
    pub fn discard_state(&self) -> Result<(), StorageError> {
        self.remove([self.snapshots_path(), self.records_path()])
    }

    fn start_over(&self) -> Result<(), StorageError> {
        self.write_header()?;
        self.remove([self.log_path(), self.snapshots_path(), self.records_path()])
    }

    fn remove<const N: usize>(&self, paths: [PathBuf; N]) -> Result<(), StorageError> {
        for path in paths {
            if path.exists() {
                fs::remove_dir_all(&path).map_err(StorageError::io("remove", &path))?;
            }
        }
        files::sync_folder(&self.path)
    }

    fn write_header(&self) -> Result<(), StorageError> {
        files::replace(&self.path.join(HEADER), print(&self.header).as_bytes())
    }
}

/// How long a lock may outlive its owner: a process that is being started by it, between `fork` and
/// `exec`, holds it too.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two looks at a lock.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(10);

fn lock(path: &Path) -> Result<File, StorageError> {
    let path_of_lock = path.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path_of_lock)
        .map_err(StorageError::io("open", &path_of_lock))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse { path: path.into() }),
            Err(TryLockError::Error(error)) => {
                return Err(StorageError::io("lock", &path_of_lock)(error));
            }
        }
    }
}

/// What a tool has begun, only the same tool may go on with.
fn refuse_unfinished(path: &Path, by: Option<Undertaking>) -> Result<(), StorageError> {
    match (Undertaking::found_in(path)?, by) {
        (None, _) | (Some(Undertaking::Recovery), Some(Undertaking::Recovery)) => Ok(()),
        (Some(what), _) => Err(StorageError::Unfinished { path: path.into(), what }),
    }
}

/// A folder without a header may hold only what an interrupted first start leaves behind.
fn refuse_foreign_files(path: &Path) -> Result<(), StorageError> {
    for item in fs::read_dir(path).map_err(StorageError::io("list", path))? {
        let name = item.map_err(StorageError::io("list", path))?.file_name();
        if name != LOCK && name != "header.tmp" && name != HEADER {
            let why = format!("it has no header but holds {}", name.to_string_lossy());
            return Err(StorageError::Foreign { path: path.into(), why });
        }
    }
    Ok(())
}

fn print(header: &Header) -> String {
    let state = match header.state {
        State::New => "new",
        State::Ready => "ready",
    };
    let Header { folder, node, .. } = header;
    let text = format!("{MAGIC}\nformat={FORMAT}\nstate={state}\nfolder={folder}\nnode={node}\n");
    let crc = crc32fast::hash(text.as_bytes());
    format!("{text}crc={crc:08x}\n")
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Header, StorageError> {
    let foreign = |why: &str| StorageError::Foreign { path: path.into(), why: why.into() };
    let text = std::str::from_utf8(bytes).map_err(|_| foreign("its header is not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return Err(foreign("its header does not start with the server's name"));
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix('=');
    // The format is read before anything that a newer format may have changed.
    let format = field("format").and_then(|text| text.parse().ok());
    let format: u32 = format.ok_or_else(|| foreign("its header names no format"))?;
    if format > FORMAT {
        return Err(StorageError::Newer { path: path.into(), found: format, known: FORMAT });
    }
    let header = (|| {
        let state = match field("state")? {
            "new" => State::New,
            "ready" => State::Ready,
            _ => return None,
        };
        let folder = FolderId(parse_hex(field("folder")?)?);
        let node = field("node")?.parse().ok()?;
        Some(Header { state, folder, node })
    })();
    match header {
        // Printing is exact, so equal text means that the checksum holds too.
        Some(header) if format == FORMAT && print(&header) == text => Ok(header),
        Some(_) | None => Err(foreign("its header is damaged")),
    }
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(path: &Path) -> FolderId {
        let mut folder = Folder::open(path, 1).unwrap();
        folder.set_ready().unwrap();
        folder.id()
    }

    #[test]
    fn a_folder_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let id = ready(dir.path());
        assert_eq!(Folder::open(dir.path(), 1).unwrap().id(), id);
    }

    #[test]
    fn a_folder_is_open_in_one_process_only() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path(), 1).unwrap();
        assert!(matches!(Folder::open(dir.path(), 1), Err(StorageError::InUse { .. })));
        drop(first);
        Folder::open(dir.path(), 1).unwrap();
    }

    #[test]
    fn a_folder_of_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        ready(dir.path());
        let error = Folder::open(dir.path(), 2).unwrap_err();
        assert!(error.to_string().contains("belongs to node 1, not to node 2"), "{error}");
    }

    #[test]
    fn a_folder_of_a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(HEADER), "serverv2-data\nformat=7\nanything").unwrap();
        let error = Folder::open(dir.path(), 1).unwrap_err();
        assert!(error.to_string().contains("has format 7"), "{error}");
    }

    #[test]
    fn what_a_tool_began_keeps_everybody_else_out_until_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        ready(dir.path());
        let begun = Folder::begin(dir.path(), 1, Undertaking::Recovery).unwrap();
        drop(begun);
        let unfinished = |result: Result<Folder, StorageError>, what: Undertaking| matches!(result, Err(StorageError::Unfinished { what: found, .. }) if found == what);
        assert!(unfinished(Folder::open(dir.path(), 1), Undertaking::Recovery));
        let restore = Folder::begin(dir.path(), 1, Undertaking::Restore);
        assert!(unfinished(restore, Undertaking::Recovery));
        Folder::begin(dir.path(), 1, Undertaking::Recovery).unwrap().finish().unwrap();
        Folder::open(dir.path(), 1).unwrap();

        let restore = Folder::begin(dir.path(), 1, Undertaking::Restore);
        assert!(matches!(restore, Err(StorageError::NotEmpty { .. })));
        let dir = tempfile::tempdir().unwrap();
        Folder::begin(dir.path(), 7, Undertaking::Restore).unwrap();
        for what in [Undertaking::Restore, Undertaking::Recovery] {
            assert!(unfinished(Folder::begin(dir.path(), 7, what), Undertaking::Restore));
        }
        assert!(unfinished(Folder::open(dir.path(), 7), Undertaking::Restore));
        assert_eq!(Folder::owner(dir.path()).unwrap(), Some(7));
    }

    #[test]
    fn someone_elses_folder_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("letters.txt"), "dear diary").unwrap();
        let error = Folder::open(dir.path(), 1).unwrap_err();
        assert!(error.to_string().contains("letters.txt"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_cut_or_changed_header_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        ready(dir.path());
        let path = dir.path().join(HEADER);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(Folder::open(dir.path(), 1).is_err(), "cut to {length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(Folder::open(dir.path(), 1).is_err(), "changed at {at}");
        }
        fs::write(&path, &whole).unwrap();
        Folder::open(dir.path(), 1).unwrap();
    }
}
