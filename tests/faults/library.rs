//! Compiles the libraries that are preloaded into processes whose disk is to misbehave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiled library.
pub(crate) fn compiled(name: &str, code: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = folder.join(format!("{name}-{}.so", std::process::id()));
    let library = folder.join(format!("{name}.so"));
    let source = made.with_extension("c");
    fs::write(&source, code).expect("write the source");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&made).arg(&source);
    let status = compiler.args(["-ldl", "-lpthread"]).status();
    assert!(status.expect("cc is installed").success(), "{name}.c compiles");
    fs::remove_file(&source).expect("remove the source");
    // Another test may be using the one that is there.
    fs::rename(&made, &library).expect("name the library");
    library
}
