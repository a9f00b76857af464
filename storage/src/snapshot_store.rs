//! The snapshots of one node: at most one is valid, and a small file names it.
//!
//! Saving writes a temporary file, syncs it, gives it its name, syncs the folder, and only then
//! points `current` to it; the one before is removed last. So whenever the power goes, `current`
//! names a complete file. Files that it does not name are leftovers and are removed at the start.
//!
//! Positions only grow: of two that are saved at the same time (one built here, one received), the
//! later one stays, whichever finishes last.

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::error::StorageError;
use crate::files;
use crate::header::{Folder, FolderId};
use crate::snapshot_file::{self, SnapshotFile};

const CURRENT: &str = "current";
const CURRENT_BYTES_MAX: u64 = 4096;

struct Current {
    file: Option<SnapshotFile>,
    position: u64,
    /// Goes into the next file's name, so that no name is used twice.
    number: u64,
}

/// The folder of snapshots.
pub struct SnapshotStore {
    path: PathBuf,
    folder: FolderId,
    /// Held while a snapshot gets its name; not while its bytes are written.
    naming: Mutex<()>,
    /// Never held while a disk is waited for: consensus asks what is current.
    current: Mutex<Current>,
}

impl SnapshotStore {
    /// Opens the snapshots of a folder and removes leftovers.
    pub fn open(folder: &Folder) -> Result<Self, StorageError> {
        let path = folder.snapshots_path();
        files::create_folder(&path)?;
        let current = match files::read_small(&path.join(CURRENT), CURRENT_BYTES_MAX)? {
            None => Current { file: None, position: 0, number: 1 },
            Some(bytes) => {
                let (name, position, number) = parse_current(&bytes).ok_or_else(|| {
                    StorageError::Corrupt("the name of the current snapshot can't be read".into())
                })?;
                let file = open_file(folder.id(), &path, &name)?;
                Current { file: Some(file), position, number: number + 1 }
            }
        };
        let (naming, current) = (Mutex::default(), Mutex::new(current));
        let store = Self { path, folder: folder.id(), naming, current };
        store.remove_others()?;
        Ok(store)
    }

    /// The newest snapshot.
    pub fn current(&self) -> Option<SnapshotFile> {
        self.current.lock().file.clone()
    }

    /// Saves a snapshot durably and makes it the current one, unless a later one got there first;
    /// returns the one that is current then. Blocks on the disk.
    pub fn save(
        &self,
        position: u64,
        meta: &[u8],
        body: impl Read,
    ) -> Result<SnapshotFile, StorageError> {
        self.publish(&self.prepare(meta, body)?, position)
    }

    /// Saves a snapshot durably without making it the current one: that is for [`Self::publish`].
    /// Forgotten, it is gone at the next start. Blocks on the disk.
    pub fn prepare(&self, meta: &[u8], body: impl Read) -> Result<SnapshotFile, StorageError> {
        let number = {
            let mut current = self.current.lock();
            current.number += 1;
            current.number - 1
        };
        let name = format!("{number}.tmp");
        let temporary = self.path.join(&name);
        let written = File::create(&temporary)
            .map_err(StorageError::io("create", &temporary))
            .and_then(|file| {
                let mut writer = BufWriter::new(file);
                snapshot_file::write(&mut writer, self.folder, meta, body)
                    .map_err(StorageError::io("write", &temporary))?;
                let file = writer
                    .into_inner()
                    .map_err(|error| StorageError::io("write", &temporary)(error.into_error()))?;
                file.sync_all().map_err(StorageError::io("sync", &temporary))?;
                open_file(self.folder, &self.path, &name)
            });
        if written.is_err() {
            // Whatever went wrong, the next start removes it at the latest.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Makes a prepared snapshot the current one, unless a later one got there first; returns the one
    /// that is current then. Blocks on the disk.
    pub fn publish(
        &self,
        prepared: &SnapshotFile,
        position: u64,
    ) -> Result<SnapshotFile, StorageError> {
        let temporary = self.path.join(&*prepared.name);
        let number = prepared.name.strip_suffix(".tmp").and_then(|number| number.parse().ok());
        let number: u64 = number
            .ok_or_else(|| StorageError::Stopped(format!("{} is published", prepared.name)))?;
        let _naming = self.naming.lock();
        if let Some(file) = self.current().filter(|_| self.position() > position) {
            fs::remove_file(&temporary).map_err(StorageError::io("remove", &temporary))?;
            return Ok(file);
        }
        let name = file_name(position, number);
        let path = self.path.join(&name);
        fs::rename(&temporary, &path).map_err(StorageError::io("rename", &temporary))?;
        files::sync_folder(&self.path)?;
        files::replace(&self.path.join(CURRENT), print_current(&name).as_bytes())?;
        let file = SnapshotFile { name: name.into(), ..prepared.clone() };
        let before = {
            let mut current = self.current.lock();
            current.position = position;
            current.file.replace(file.clone())
        };
        if let Some(before) = before {
            let path = self.path.join(&*before.name);
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
        }
        Ok(file)
    }

    /// Whether a file was prepared here and not published yet.
    pub fn is_prepared(&self, file: &SnapshotFile) -> bool {
        *file.folder == *self.path && file.name.ends_with(".tmp")
    }

    /// The newest snapshot's position; 0 without one.
    pub fn position(&self) -> u64 {
        self.current.lock().position
    }

    fn remove_others(&self) -> Result<(), StorageError> {
        let current = self.current.lock();
        let kept = current.file.as_ref().map(|file| &*file.name);
        for item in fs::read_dir(&self.path).map_err(StorageError::io("list", &self.path))? {
            let item = item.map_err(StorageError::io("list", &self.path))?;
            let name = item.file_name();
            if name.to_str().is_none_or(|name| name != CURRENT && Some(name) != kept) {
                let path = item.path();
                fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn open_file(id: FolderId, folder: &Path, name: &str) -> Result<SnapshotFile, StorageError> {
    let path = folder.join(name);
    let file = File::open(&path).map_err(StorageError::io("open", &path))?;
    SnapshotFile::open(file, id, folder, name.into())
}

fn file_name(position: u64, number: u64) -> String {
    format!("{position}-{number}.snap")
}

fn print_current(name: &str) -> String {
    format!("{name} {:08x}\n", crc32fast::hash(name.as_bytes()))
}

fn parse_current(bytes: &[u8]) -> Option<(String, u64, u64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (name, _) = text.split_once(' ')?;
    let (position, number) = name.strip_suffix(".snap")?.split_once('-')?;
    let (position, number) = (position.parse().ok()?, number.parse().ok()?);
    let printed = print_current(&file_name(position, number));
    (printed == text).then(|| (name.into(), position, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 253) as u8).collect()
    }

    fn names(store: &SnapshotStore) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&store.path)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_snapshot_of_any_size_comes_back_after_reopening() {
        for length in [0, 1, 256 * 1024, 256 * 1024 + 1, 1_000_000] {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::open(dir.path(), 1).unwrap();
            let store = SnapshotStore::open(&folder).unwrap();
            assert!(store.current().is_none());
            store.save(7, b"about it", &body(length)[..]).unwrap();
            let store = SnapshotStore::open(&folder).unwrap();
            let current = store.current().unwrap();
            assert_eq!(current.meta(), b"about it");
            assert_eq!(current.read().unwrap(), body(length));
        }
    }

    #[test]
    fn the_one_before_is_removed_but_stays_readable_for_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), 1).unwrap();
        let store = SnapshotStore::open(&folder).unwrap();
        let old = store.save(7, b"old", &body(300_000)[..]).unwrap();
        store.save(9, b"new", &body(10)[..]).unwrap();
        assert_eq!(names(&store), ["9-2.snap", "current"]);
        assert_eq!(old.read().unwrap(), body(300_000));
    }

    #[test]
    fn an_earlier_position_never_replaces_a_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), 1).unwrap();
        let store = SnapshotStore::open(&folder).unwrap();
        store.save(9, b"late", &body(10)[..]).unwrap();
        let current = store.save(7, b"early", &body(20)[..]).unwrap();
        assert_eq!(current.meta(), b"late");
        assert_eq!(names(&store), ["9-1.snap", "current"]);
    }

    #[test]
    fn leftovers_of_an_interrupted_save_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), 1).unwrap();
        let store = SnapshotStore::open(&folder).unwrap();
        store.save(7, b"", &body(10)[..]).unwrap();
        fs::write(store.path.join("2.tmp"), "half").unwrap();
        fs::write(store.path.join("9-2.snap"), "not pointed to").unwrap();
        let store = SnapshotStore::open(&folder).unwrap();
        assert_eq!(names(&store), ["7-1.snap", "current"]);
    }

    #[test]
    fn no_changed_or_cut_snapshot_is_ever_served() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), 1).unwrap();
        let store = SnapshotStore::open(&folder).unwrap();
        store.save(7, b"about", &body(600)[..]).unwrap();
        let path = store.path.join("7-1.snap");
        let whole = fs::read(&path).unwrap();
        let served =
            || SnapshotStore::open(&folder).and_then(|store| store.current().unwrap().read());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            fs::write(&path, &changed).unwrap();
            assert!(matches!(served(), Err(StorageError::Corrupt(_))), "changed at {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(served(), Err(StorageError::Corrupt(_))), "cut at {at}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(matches!(served(), Err(StorageError::Corrupt(_))), "continued");
        fs::write(&path, &whole).unwrap();
        assert_eq!(served().unwrap(), body(600));
    }
}
