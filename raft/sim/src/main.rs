//! Whole clusters in one thread, with chaos, played again by their seed.
//!
//! A run has three or five nodes: the code that runs in earnest (the sources of `serverv2-raft` down to its
//! messages, `serverv2-machine`), on simulated disks, networks and clocks (turmoil). Players use them while nodes
//! are killed, lose power and what they had not synced, are cut off in one or both directions, and get messages
//! late. A judge sees every entry that any node applies and every answer that a player gets.
//!
//! Equal seeds give equal runs, down to the bytes between nodes: each line of output has the digest of its run.
//!
//! ```console
//! $ make sim                     # seeds 1 to 100
//! $ make sim SEEDS=500..600      # these, without the last
//! $ make sim SEEDS=1000 FOR=1h   # from 1 on, for an hour
//! $ make sim SEED=20             # one, with what went wrong in it; with SHOW=1 everything
//! ```
//!
//! Exit code 1 where something was violated, with the command that shows it again; 2 where nothing could be run.

mod chaos;
mod entropy;
mod judge;
mod logs;
mod net;
mod node;
mod players;
mod seeds;
mod shared;
mod trace;
mod world;

use std::io;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serverv2_raft_simulated::simulation::Planted;

use crate::trace::Shown;

/// The exit code where nothing could be run.
const FAILED: u8 = 2;

/// Runs clusters with chaos, each by its seed.
#[derive(Clone, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// A..B are all seeds from A on, without B; a number is how many from 1 on.
    #[arg(long, value_name = "A..B", default_value = "100", value_parser = range)]
    seeds: Range<u64>,
    /// One seed alone, with a line for each fault in it.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Takes seed after seed from the first one on, until so much time has passed: 90s, 10m, 1h.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// How many run at once; else as many as there are processors.
    #[arg(long)]
    jobs: Option<usize>,
    /// A defect that must be found: the run fails if it is not.
    #[arg(long)]
    planted: Option<Defect>,
    /// Writes everything that happens to standard error.
    #[arg(long)]
    show: bool,
    /// This very process is the run of `--seed`.
    #[arg(long, hide = true)]
    here: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Defect {
    /// Entries count as durable before they are.
    AppendUnsynced,
    /// Votes count as durable before they are.
    VoteUnsynced,
    /// Requests that come again are new ones.
    RepeatedAsNew,
}

impl Defect {
    /// That of the disks, if it is one.
    fn of_disks(self) -> Option<Planted> {
        match self {
            Self::AppendUnsynced => Some(Planted::AppendUnsynced),
            Self::VoteUnsynced => Some(Planted::VoteUnsynced),
            Self::RepeatedAsNew => None,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    let seeds = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 1..number(text)?.saturating_add(1),
    };
    if seeds.is_empty() { Err("these are no seeds".into()) } else { Ok(seeds) }
}

fn time(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().filter(char::is_ascii_lowercase);
    let number = text.trim_end_matches(|last| Some(last) == unit);
    let seconds = match unit {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        _ => return Err("a time is 90s, 10m or 1h".into()),
    };
    let number: u32 = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Ok(Duration::from_secs(seconds * u64::from(number)))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match arguments.seed {
        Some(seed) if arguments.here && entropy::is_without_chance() => run(seed, &arguments),
        _ => seeds::run(&arguments),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Runs one seed here; true if nothing was violated.
fn run(seed: u64, arguments: &Arguments) -> io::Result<bool> {
    let shown = if arguments.show { Shown::Everything } else { Shown::Changes };
    let run = world::Run { seed, planted: arguments.planted, shown };
    // A thread of its own, so that nothing depends on what this one did before.
    let running = std::thread::Builder::new().name("simulation".into());
    let report = running.spawn(move || world::run(run))?.join();
    let report = report.map_err(|_| io::Error::other("the simulation itself panicked"))?;
    println!("seed {seed}: {:016x}, {} lines, {}", report.digest, report.lines, report.summary);
    match report.violation {
        None => Ok(true),
        Some(violation) => {
            println!("seed {seed}: VIOLATION: {violation}");
            Ok(false)
        }
    }
}
