//! A disk that fails when a test says so: `disk.c` is preloaded into the process that uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const SOURCE: &str = include_str!("disk.c");

/// What the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// What it should.
    Healthy,
    /// No sync succeeds.
    Broken,
    /// Each sync takes so many milliseconds.
    Slow(u32),
    /// There is no room for anything new.
    Full,
}

/// The disk of one folder.
pub(crate) struct FaultyDisk {
    control: tempfile::TempDir,
}

impl FaultyDisk {
    pub(crate) fn new() -> Self {
        let disk = Self { control: tempfile::tempdir().expect("make a folder for the control") };
        disk.becomes(Disk::Healthy);
        disk
    }

    /// Changes it in one step, for calls that begin from now on.
    pub(crate) fn becomes(&self, disk: Disk) {
        let text = match disk {
            Disk::Healthy => "ok".to_owned(),
            Disk::Broken => "eio".to_owned(),
            Disk::Slow(ms) => format!("slow {ms}"),
            Disk::Full => "enospc".to_owned(),
        };
        let new = self.control.path().join("new");
        fs::write(&new, text).expect("write the control");
        fs::rename(new, self.file()).expect("put the control in its place");
    }

    /// What the process must find in its environment.
    pub(crate) fn env(&self, folder: &Path) -> [(&'static str, PathBuf); 3] {
        static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| super::library::compiled("disk", SOURCE));
        // As the kernel names it.
        let folder = folder.canonicalize().expect("the folder is there");
        [("LD_PRELOAD", library.clone()), ("DISK_DIR", folder), ("DISK_CONTROL", self.file())]
    }

    fn file(&self) -> PathBuf {
        self.control.path().join("control")
    }
}
