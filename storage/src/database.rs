//! A sled database whose writes reach the disk when we say so.
//!
//! sled's own flush does not: each is followed by `fdatasync` of its file, through a handle of our
//! own. sled orders all writes of one database in that file, so what a crash leaves is a prefix of
//! what was written. It puts large values into files of their own, which it never syncs: whoever
//! writes cuts them (`pieces.rs`), and a file that is there all the same is an error.
//!
//! What belongs together is never a batch or a transaction of sled's, but written in an order in which each
//! beginning of it is a state that is known when it is found. sled has one lock for all databases of the
//! *process*: whoever reads, writes or flushes shares it, a flush keeps it until the disk has answered, and a
//! batch wants it alone. One batch behind one flush of a slow disk is in front of every reader. Without any
//! batch nobody takes the lock at all, and what is in memory is read and written while a flush waits.
//! `clippy.toml` refuses whatever would take it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use sled::Db;

use crate::error::StorageError;
use crate::files;
use crate::header::{Folder, LOCK_PATIENCE, LOCK_PAUSE};
use crate::table::{self, Of, Table};

/// Memory that one database may use for its pages.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// sled's file in its folder.
const FILE: &str = "db";
/// sled's settings of that file, which it does not sync.
const SETTINGS: &str = "conf";

/// An open database. Clones share it.
#[derive(Clone)]
pub(crate) struct Database {
    db: Db,
    of: Of,
    file: Arc<File>,
    path: PathBuf,
}

impl Database {
    /// Whether there is one in this folder.
    pub(crate) fn is_at(path: &Path) -> bool {
        path.join(FILE).is_file()
    }

    /// Opens the database in a folder, or makes it.
    pub(crate) fn open(path: &Path, of: Of) -> Result<Self, StorageError> {
        let db = open_sled(path)?;
        let file_path = path.join(FILE);
        let file = File::open(&file_path).map_err(StorageError::io("open", &file_path))?;
        // sled has just written a snapshot of its own and syncs the file, but not its name. Without it
        // a log whose older segments were used again can't be recovered: all of it would be gone.
        let settings = path.join(SETTINGS);
        let synced = File::open(&settings).and_then(|file| file.sync_all());
        synced.map_err(StorageError::io("sync", &settings))?;
        files::sync_folder(path)?;
        Ok(Self { db, of, file: Arc::new(file), path: path.into() })
    }

    /// Makes the names of a new database durable.
    pub(crate) fn sync_names(&self, folder: &Folder) -> Result<(), StorageError> {
        files::sync_folder(&self.path)?;
        files::sync_folder(folder.path())
    }

    /// Opens a table, or makes it.
    pub(crate) fn table(&self, name: impl AsRef<[u8]>) -> Result<Table, StorageError> {
        let tree = table::asked_to_read("open a table", || self.db.open_tree(name))?;
        Ok(Table::new(tree, self.of))
    }

    /// The names of all tables.
    pub(crate) fn table_names(&self) -> Vec<sled::IVec> {
        self.db.tree_names()
    }

    /// Removes a table and all that is in it.
    pub(crate) fn drop_table(&self, name: impl AsRef<[u8]>) -> Result<(), StorageError> {
        table::asked_to_write("drop a table", || self.db.drop_tree(name))?;
        Ok(())
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        table::asked_to_write("flush", || self.db.flush())?;
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))?;
        self.refuse_blobs()
    }

    /// sled's files for large values are never synced: nothing may be in them.
    pub(crate) fn refuse_blobs(&self) -> Result<(), StorageError> {
        let path = self.path.join("blobs");
        match fs::read_dir(&path).map(|mut files| files.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StorageError::Unsynced { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StorageError::io("list", &path)(error)),
        }
    }
}

/// A panic is damage, as where [`crate::table`] reads.
fn open_sled(path: &Path) -> Result<Db, StorageError> {
    let open = || {
        // No flush by itself: only the writer decides when, and it syncs afterwards.
        sled::Config::new().path(path).flush_every_ms(None).cache_capacity(CACHE_BYTES).open()
    };
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match std::panic::catch_unwind(open) {
            Ok(Ok(db)) => return Ok(db),
            // The folder's own lock is held here: a former owner is letting go.
            Ok(Err(source)) if is_locked(&source) && Instant::now() < deadline => {
                thread::sleep(LOCK_PAUSE);
            }
            Ok(Err(source)) => {
                let error = StorageError::database("open the database")(source);
                return Err(error.in_database(path));
            }
            Err(_) => {
                let text = format!("{} can't be recovered", path.display());
                return Err(StorageError::Corrupt(text));
            }
        }
    }
}

/// sled says so in words only.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}
