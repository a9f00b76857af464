//! Compiles the libraries that are preloaded into processes whose disk is to misbehave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What they have in common.
const HEADER: &str = include_str!("watched.h");

/// The compiled library.
pub(crate) fn compiled(name: &str, code: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tempfile::tempdir_in(target).expect("make a folder for the source");
    let source = folder.path().join(format!("{name}.c"));
    let made = source.with_extension("so");
    fs::write(folder.path().join("watched.h"), HEADER).expect("write the header");
    fs::write(&source, code).expect("write the source");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&made).arg(&source);
    let status = compiler.args(["-ldl", "-lpthread"]).status();
    assert!(status.expect("cc is installed").success(), "{name}.c compiles");
    let library = target.join(format!("{name}.so"));
    // Another test may be using the one that is there.
    fs::rename(made, &library).expect("name the library");
    library
}
