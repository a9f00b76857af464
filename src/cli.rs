//! The command line. Exit codes: 0 after a graceful stop, 1 after a failure, 2 for bad settings or usage.
//!
//! Flags are built from the table of settings, so each is explained in `--help` with its default and
//! what it may be, and an unknown one is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::child::LIFELINE;
use crate::config::{self, Mode, SETTINGS, Settings, Sources};
use crate::telemetry;

mod cluster;
mod drain;
mod lifecycle;
mod operate;
mod ready;
mod serve;
mod several;

/// The server failed.
const FAILED: u8 = 1;
/// It was not started, because of its settings.
const BAD_SETTINGS: u8 = 2;

const CONFIG: &str = "CONFIG";
const NODES: &str = "NODES";
/// Most nodes of `dev`; PEERS takes no more.
const NODES_MAX: i64 = 7;

/// The program.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(answer) => {
            // Help and version are answers, not errors; a closed pipe is nobody's problem.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(FAILED));
        }
    };
    match matches.subcommand() {
        Some(("dev", flags)) => match flags.get_one::<u16>(NODES) {
            None | Some(1) => serve(Mode::Dev, flags),
            Some(nodes) => serve_several(flags, *nodes),
        },
        Some(("run", flags)) => serve(Mode::Run, flags),
        Some(("demo", _)) => demo(),
        Some(("cluster", flags)) => flags
            .subcommand()
            .and_then(|(name, of)| lifecycle::cluster(name, of))
            .unwrap_or_else(|| cluster::run(flags)),
        Some(("drain", flags)) => operate::command("drain", flags, drain::drain),
        Some(("ready", flags)) => operate::command("ready", flags, ready::ready),
        Some(("backup", flags)) => operate::command("backup", flags, lifecycle::backup),
        Some(("restore", flags)) => lifecycle::restore(flags),
        _ => unreachable!("a subcommand is required, and these are all"),
    }
}

fn command() -> Command {
    let nodes = Arg::new(NODES)
        .long("nodes")
        .value_name("NUMBER")
        .value_parser(value_parser!(u16).range(1..=NODES_MAX))
        .help(
            "Start so many nodes as one cluster, a process each: on PORT and the ports after it, with \
             data in DATA_DIR (./data) under node-1, node-2, ... One that dies is started again.\n\
             [default: 1] [allowed: a whole number from 1 to 7]",
        );
    Command::new("serverv2")
        .about("A battle server: players queue, are paired and fight, and no acknowledged turn is lost.")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(
            Mode::Dev,
            Command::new("dev")
                .about("Serve on loopback, needing nothing else: for development and tests")
                .arg(nodes),
        ))
        .subcommand(with_settings(
            Mode::Run,
            Command::new("run").about("Serve in production: as one of several nodes with PEERS, else as a cluster of one"),
        ))
        .subcommand(cluster::command().subcommands(lifecycle::cluster_commands()))
        .subcommand(operate::with_target(drain::command()))
        .subcommand(operate::with_target(ready::command()))
        .subcommand(lifecycle::backup_command())
        .subcommand(lifecycle::restore_command())
        .subcommand(Command::new("demo").about(
            "Show a battle between two guests on a cluster of three nodes, with the leader killed in its middle",
        ))
}

fn demo() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "serverv2 demo: start its threads: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(crate::demo::run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "serverv2 demo: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Adds a flag for each setting.
fn with_settings(mode: Mode, command: Command) -> Command {
    let config = Arg::new(CONFIG)
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(std::path::PathBuf))
        .help(
            "A TOML file of settings, named as in the environment but in lower case. Flags win over \
             the environment, the environment over the file.",
        );
    let flags = SETTINGS.iter().map(|setting| {
        let flag = Arg::new(setting.name)
            .long(setting.flag)
            .value_name("VALUE")
            .allow_negative_numbers(true)
            .help(setting.explain(mode))
            .help_heading(setting.section);
        let flag = match setting.short {
            Some(letter) => flag.short(letter),
            None => flag,
        };
        if setting.is_switch() { flag.num_args(0..=1).default_missing_value("true") } else { flag }
    });
    let lifeline = Arg::new(LIFELINE)
        .long(LIFELINE)
        .hide(true)
        .action(ArgAction::SetTrue)
        .help("Stop once standard input is closed: for servers that another process starts.");
    command.arg(config).arg(lifeline).args(flags).next_line_help(true)
}

fn serve(mode: Mode, flags: &ArgMatches) -> ExitCode {
    let settings = match settings(mode, flags) {
        Ok(settings) => settings,
        Err(bad) => return refused(&bad),
    };
    telemetry::init(&settings);
    #[cfg(feature = "planted")]
    if let Err(refused) = plant() {
        return refused;
    }
    match serve::serve(settings, flags.get_flag(LIFELINE)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "the server failed");
            ExitCode::from(FAILED)
        }
    }
}

/// Plants the bug that the environment names.
#[cfg(feature = "planted")]
fn plant() -> Result<(), ExitCode> {
    let mut out = std::io::stderr();
    let Some(name) = std::env::var_os("PLANTED").filter(|name| !name.is_empty()) else {
        let _ = writeln!(out, "serverv2: THIS BUILD CAN HAVE BUGS PLANTED: it is for tests alone");
        return Ok(());
    };
    let name = name.to_string_lossy();
    if !serverv2_machine::planted::plant(&name) {
        let names: Vec<_> = serverv2_machine::planted::Bug::ALL.iter().map(|(it, _)| *it).collect();
        let _ = writeln!(
            out,
            "serverv2: PLANTED: no bug is called {name}; there are {}",
            names.join(", ")
        );
        return Err(ExitCode::from(BAD_SETTINGS));
    }
    let _ = writeln!(
        out,
        "serverv2: A BUG IS PLANTED: {name}. NOTHING THAT THIS PROCESS SAYS CAN BE TRUSTED"
    );
    tracing::error!(planted = %name, "a bug is planted: nothing that this process says can be trusted");
    Ok(())
}

fn serve_several(flags: &ArgMatches, nodes: u16) -> ExitCode {
    let checked = settings(Mode::Dev, flags)
        .and_then(|settings| settings.check_for_several(nodes).map(|()| settings));
    let settings = match checked {
        Ok(settings) => settings,
        Err(bad) => return refused(&bad),
    };
    let given = several::Given { flags: given(flags), file: flags.get_one(CONFIG).cloned() };
    match several::serve(&settings, &given, nodes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "serverv2 dev: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn refused(bad: &config::BadSettings) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "serverv2: {bad}");
    ExitCode::from(BAD_SETTINGS)
}

fn given(flags: &ArgMatches) -> BTreeMap<&'static str, String> {
    SETTINGS
        .iter()
        .filter_map(|setting| Some((setting.name, flags.get_one::<String>(setting.name)?.clone())))
        .collect()
}

fn settings(mode: Mode, flags: &ArgMatches) -> Result<Settings, config::BadSettings> {
    config::load(
        mode,
        &Sources {
            flags: given(flags),
            env: &|name| -> Option<OsString> { std::env::var_os(name) },
            file: flags.get_one(CONFIG).cloned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_explains_every_setting_with_its_name_default_and_range() {
        for name in ["dev", "run"] {
            let mut all = command();
            let help = all.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            for setting in SETTINGS {
                assert!(help.contains(&format!("--{} ", setting.flag)), "{}", setting.flag);
                assert!(help.contains(&format!("[env: {}] [default: ", setting.name)));
            }
            assert!(help.contains("[default: 8102] [allowed: a whole number from 0 to 65535"));
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn a_switch_may_stand_alone_or_with_its_value() {
        for (line, expected) in [
            (&["serverv2", "dev", "--cluster-enabled"][..], Some("true")),
            (&["serverv2", "dev", "--cluster-enabled", "false"][..], Some("false")),
            (&["serverv2", "dev"][..], None),
        ] {
            let matches = command().try_get_matches_from(line).unwrap();
            let (_, flags) = matches.subcommand().unwrap();
            let given = flags.get_one::<String>("CLUSTER_ENABLED").map(String::as_str);
            assert_eq!(given, expected);
        }
    }
}
