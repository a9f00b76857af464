//! Commands to a node that runs: they find it by its data folder and talk to it over its control socket.
//!
//! What they print is for people, on standard output; why something was not done stands on standard error,
//! and the exit code is 1 then.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{CONFIG, FAILED, refused};
use crate::config::{self, BadSettings, SETTINGS, Sources};
use crate::control::client::{ControlError, Node};

const DATA_DIR: &str = "DATA_DIR";
const TIMEOUT: &str = "TIMEOUT";

/// Which node is meant.
pub(super) struct Target {
    folder: PathBuf,
    /// How long the command may take.
    pub(super) timeout: Duration,
}

impl Target {
    /// Connects to it.
    pub(super) async fn node(&self) -> Result<Node, ControlError> {
        Node::of(&self.folder).await
    }
}

/// Adds the flags that say which node is meant.
pub(super) fn with_target(command: Command) -> Command {
    let timeout = Arg::new(TIMEOUT)
        .long("timeout")
        .value_name("SECONDS")
        .value_parser(value_parser!(u64).range(1..=3600))
        .default_value("30")
        .help("How long to wait for the effect.");
    with_folder(command).arg(timeout)
}

/// Adds the flags that say which folder is meant.
pub(super) fn with_folder(command: Command) -> Command {
    let flag = SETTINGS.iter().find(|setting| setting.name == DATA_DIR).map_or("", |it| it.flag);
    let folder = Arg::new(DATA_DIR).long(flag).value_name("FOLDER").help(
        "The data folder of the node, as it was started with. With `dev --nodes 3`: ./data/node-1 and \
         so on.\n[env: DATA_DIR] [default: ./data]",
    );
    let config = Arg::new(CONFIG)
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The TOML file of settings that the node was started with.");
    command.args([folder, config]).next_line_help(true)
}

/// The folder that is meant.
pub(super) fn folder(flags: &ArgMatches) -> Result<PathBuf, BadSettings> {
    let given = flags.get_one::<String>(DATA_DIR).map(|value| (DATA_DIR, value.clone()));
    config::data_dir(&Sources {
        flags: given.into_iter().collect(),
        env: &|name| -> Option<OsString> { std::env::var_os(name) },
        file: flags.get_one(CONFIG).cloned(),
    })
}

/// Runs a command to its end.
pub(super) fn command(
    name: &str,
    flags: &ArgMatches,
    run: impl AsyncFnOnce(&Target, &ArgMatches) -> Result<(), ControlError>,
) -> ExitCode {
    let folder = match folder(flags) {
        Ok(folder) => folder,
        Err(bad) => return refused(&bad),
    };
    let timeout = Duration::from_secs(flags.get_one(TIMEOUT).copied().unwrap_or(30));
    let failed = |why: &dyn std::fmt::Display| {
        let _ = writeln!(std::io::stderr(), "serverv2 {name}: {why}");
        ExitCode::from(FAILED)
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("start its threads: {error}")),
    };
    match runtime.block_on(run(&Target { folder, timeout }, flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Says something to whoever called.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
