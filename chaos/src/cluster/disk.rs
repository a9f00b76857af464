//! Disks that fail, are slow or full, and that forget what was not synced: the libraries of `tests/faults`,
//! preloaded into the server. A C compiler makes them; where there is none, such faults are skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::faulty::FaultyDisk;
use self::powercut::PowerCut;

pub(crate) use self::faulty::Disk as Condition;

#[path = "../../../tests/faults/disk.rs"]
mod faulty;
#[path = "../../../tests/faults/powercut.rs"]
mod powercut;

/// Compiles what is preloaded.
mod library {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    const HEADER: &str = include_str!("../../../tests/faults/watched.h");

    pub(super) fn compiled(name: &str, code: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("serverv2-chaos-{}", std::process::id()));
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
        let folder = std::env::temp_dir().join(format!("serverv2-chaos-{}", std::process::id()));
        let _ = fs::remove_dir_all(folder);
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

/// The disk of one node.
pub(crate) struct Disk {
    faulty: FaultyDisk,
    mortal: PowerCut,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { faulty: FaultyDisk::new(), mortal: PowerCut::new() }
    }

    /// What the server must find in its environment.
    pub(crate) fn env(&self, folder: &Path) -> BTreeMap<&'static str, PathBuf> {
        let mut env: BTreeMap<_, PathBuf> = BTreeMap::new();
        // The faults come first: what failed does not reach the disk.
        for (name, value) in self.faulty.env(folder).into_iter().chain(self.mortal.env(folder)) {
            let before = env.get(name);
            let both = before.map(|first| format!("{}:{}", first.display(), value.display()));
            env.insert(name, both.map_or(value, PathBuf::from));
        }
        env
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
}
