//! Processes without chance: each seed runs in a process of its own, in which the kernel's random numbers follow
//! from the seed (`entropy.c`, preloaded).
//!
//! So hash maps, the runtime's choices between branches that are ready together, election timeouts, nonces and
//! seeds of proposals are the same in each run of a seed, without a word about it in the code that draws them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const SOURCE: &str = include_str!("entropy.c");

/// Compiles the library beside this program, and says where it is.
pub(crate) fn library() -> io::Result<PathBuf> {
    let library = env::current_exe()?.with_file_name("sim-entropy.so");
    // Another process may be using the one that is there, or making it, too.
    let made = library.with_extension(format!("{}.so", std::process::id()));
    let source = made.with_extension("c");
    fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&made).arg(&source);
    let status = compiler.status();
    fs::remove_file(&source)?;
    if !status?.success() {
        return Err(io::Error::other("cc can't compile entropy.c"));
    }
    fs::rename(made, &library)?;
    Ok(library)
}

/// This program again, for one seed.
pub(crate) fn process(library: &Path, seed: u64) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.env("LD_PRELOAD", library).env("ENTROPY", seed.to_string());
    command.args(["--here", "--seed", &seed.to_string()]);
    Ok(command)
}

/// Whether this process is one of them.
pub(crate) fn is_without_chance() -> bool {
    env::var_os("ENTROPY").is_some()
}
