//! Disks that fail, are slow or full, and that forget what was not synced: the libraries of `tests/faults`,
//! preloaded into the server. A C compiler makes them; where there is none, such faults are skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand_chacha::ChaCha8Rng;

use self::faulty::FaultyDisk;
use self::powercut::PowerCut;
use crate::broken::{Broken, Doing as _};

pub(crate) use self::faulty::Disk as Condition;

mod torn;

#[path = "../../../tests/faults/disk.rs"]
mod faulty;
#[path = "../../../tests/faults/powercut.rs"]
mod powercut;

/// Compiles what is preloaded.
pub(super) mod library {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    const HEADER: &str = include_str!("../../../tests/faults/watched.h");

    pub(in crate::cluster) fn compiled(name: &str, code: &str) -> PathBuf {
        let folder = folder();
        fs::create_dir_all(&folder).expect("make a folder for the library");
        let source = folder.join(format!("{name}.c"));
        let library = source.with_extension("so");
        fs::write(folder.join("watched.h"), HEADER).expect("write the header");
        fs::write(&source, code).expect("write the source");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let status = compiler.args(["-ldl", "-lpthread"]).status();
        assert!(status.expect("cc is there").success(), "{name}.c compiles");
        library
    }

    /// Removes what was compiled.
    pub(super) fn forget() {
        let _ = fs::remove_dir_all(folder());
    }

    /// Where they are.
    pub(super) fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("serverv2-chaos-{}", std::process::id()))
    }
}

/// Whether such disks can be made here.
pub(crate) fn is_possible() -> bool {
    let asked = Command::new("cc").arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// To be called when no server runs any more.
pub(crate) fn forget_libraries() {
    library::forget();
}

/// Removes all that is in a folder.
pub(super) fn empty(folder: &Path) -> std::io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let path = item?.path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }?;
    }
    Ok(())
}

/// Where the libraries are that were compiled.
pub(crate) fn libraries() -> PathBuf {
    library::folder()
}

/// The disk of one node.
pub(crate) struct Disk {
    faulty: FaultyDisk,
    mortal: PowerCut,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { faulty: FaultyDisk::new(), mortal: PowerCut::new() }
    }

    /// What the server must find in its environment; a name may come twice.
    pub(crate) fn env(&self, folder: &Path) -> Vec<(&'static str, PathBuf)> {
        // The faults come first: what failed does not reach the disk.
        self.faulty.env(folder).into_iter().chain(self.mortal.env(folder)).collect()
    }

    /// Changes it for calls that begin from now on.
    pub(crate) fn becomes(&self, condition: Condition) {
        self.faulty.becomes(condition);
    }

    /// Makes a power cut of a death: what was not synced is gone. Gives how many names and files are not what
    /// they were.
    pub(crate) fn roll_back(&self, folder: &Path) -> usize {
        self.mortal.roll_back(folder)
    }

    /// The folder was wiped: there is nothing to roll back to.
    pub(crate) fn forget(&self, folder: &Path) -> Result<(), Broken> {
        empty(&self.image(folder)).doing("forget what a disk had")
    }

    fn image(&self, folder: &Path) -> PathBuf {
        let env = self.mortal.env(folder);
        env.into_iter()
            .find(|(name, _)| *name == "POWERCUT_IMAGE")
            .map_or_else(PathBuf::new, |it| it.1)
    }

    /// Whether the process has written what a power cut would take back.
    pub(crate) fn has_unsynced(&self, folder: &Path) -> bool {
        torn::unsynced(&self.image(folder), folder).is_ok_and(|writes| !writes.is_empty())
    }

    /// A power cut, but one write that was not synced is torn: its beginning is on the disk. Gives what was torn, or
    /// nothing if there was no such write.
    pub(crate) fn tear(
        &self,
        folder: &Path,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<String>, Broken> {
        let written = torn::unsynced(&self.image(folder), folder).doing("read what was written")?;
        self.roll_back(folder);
        torn::tear(folder, &written, rng).doing("tear a write")
    }
}
