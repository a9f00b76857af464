//! Small files that are either the old or the new ones, whenever the power goes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::StorageError;

/// Replaces a small file: a temporary one is written and synced, takes the name, and the folder's
/// list of names is synced too.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(StorageError::io("create", &temporary))?;
    file.write_all(bytes).map_err(StorageError::io("write", &temporary))?;
    file.sync_all().map_err(StorageError::io("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(StorageError::io("rename", &temporary))?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Makes creations, renames and removals inside a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StorageError> {
    let folder = File::open(path).map_err(StorageError::io("open", path))?;
    folder.sync_all().map_err(StorageError::io("sync", path))
}

/// Creates a folder, and the ones above it, so that it survives a power cut.
pub(crate) fn create_folder(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    create_folder(parent)?;
    match fs::create_dir(path) {
        Ok(()) => sync_folder(parent),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(StorageError::io("create", path)(error)),
    }
}

/// Reads a file that is expected to be small; `None` if there is none. A larger one is cut, which
/// its checksum will tell.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(StorageError::io("read", path))?;
    Ok(Some(bytes))
}
