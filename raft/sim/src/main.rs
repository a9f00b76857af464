//! Whole clusters in one thread, with chaos, played again by their seed.
//!
//! A run has three or five nodes: the code that runs in earnest (`serverv2-raft` down to its messages,
//! `serverv2-machine`), on simulated disks, networks and clocks (turmoil). Players use them while nodes are
//! killed, lose power and what they had not synced, are cut off in one or both directions, and get messages
//! late. A judge sees every entry that any node applies and every answer that a player gets.
//!
//! Equal seeds give equal runs, down to the bytes between nodes: each line of output has the digest of its run.

mod chaos;
mod entropy;
mod judge;
mod logs;
mod net;
mod players;
mod shared;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serverv2_raft::simulation::Planted;

/// How often running seeds are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A seed that takes longer hangs.
const SEED_PATIENCE: Duration = Duration::from_secs(600);

/// Runs clusters with chaos, each by its seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A defect that must be found: the run fails if it is not.
    #[arg(long)]
    planted: Option<Defect>,
    /// Writes what happens to standard error.
    #[arg(long)]
    show: bool,
    /// One seed in this very process.
    #[arg(long, hide = true)]
    only: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Defect {
    /// Entries count as durable before they are.
    AppendUnsynced,
    /// Votes count as durable before they are.
    VoteUnsynced,
    /// Requests that come again are done again.
    NoAnswers,
    /// Snapshots are without the answers that were given.
    SnapshotWithoutAnswers,
}

impl From<Defect> for Planted {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::AppendUnsynced => Self::AppendUnsynced,
            Defect::VoteUnsynced => Self::VoteUnsynced,
            Defect::NoAnswers => Self::NoAnswers,
            Defect::SnapshotWithoutAnswers => Self::SnapshotWithoutAnswers,
        }
    }
}

impl Defect {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match arguments.only {
        Some(seed) if entropy::is_without_chance() => run_one(seed, &arguments),
        Some(_) => Err(io::Error::other("this is for the program itself: use --from and --seeds 1")),
        None => run_all(&arguments),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed here; true if nothing was violated.
fn run_one(seed: u64, arguments: &Arguments) -> io::Result<bool> {
    let planted = arguments.planted.map(Planted::from);
    let run = world::Run { seed, planted, shown: arguments.show };
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

/// Runs all seeds, each in a process of its own; true if that is how it should be.
fn run_all(arguments: &Arguments) -> io::Result<bool> {
    let library = entropy::library()?;
    let began = Instant::now();
    let mut waiting = arguments.from..arguments.from.saturating_add(arguments.seeds);
    let mut running: BTreeMap<u64, (Child, Instant)> = BTreeMap::new();
    let (mut ran, mut violated) = (0_u64, Vec::new());
    loop {
        let is_found = arguments.planted.is_some() && !violated.is_empty();
        while running.len() < arguments.jobs.max(1) && !is_found {
            let Some(seed) = waiting.next() else { break };
            running.insert(seed, (begin(&library, seed, arguments)?, Instant::now()));
        }
        if running.is_empty() {
            break;
        }
        let mut ended = Vec::new();
        for (seed, (child, since)) in &mut running {
            if child.try_wait()?.is_some() {
                ended.push(*seed);
            } else if since.elapsed() > SEED_PATIENCE {
                println!("seed {seed}: VIOLATION: it hangs");
                child.kill()?;
            }
        }
        for seed in ended {
            let Some((child, since)) = running.remove(&seed) else { continue };
            let output = child.wait_with_output()?;
            print!("{}", String::from_utf8_lossy(&output.stdout));
            ran += 1;
            if !output.status.success() {
                violated.push(seed);
                let seconds = since.elapsed().as_secs_f64();
                println!("seed {seed}: failed after {seconds:.1} s; again: {}", again(seed, arguments));
            }
        }
        std::thread::sleep(LOOK);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{ran} seeds from {} in {seconds:.1} s, {} violated", arguments.from, violated.len());
    match arguments.planted {
        None => Ok(violated.is_empty()),
        Some(defect) if violated.is_empty() => {
            println!("the planted defect {} was not found", defect.name());
            Ok(false)
        }
        Some(defect) => {
            println!("the planted defect {} was found by seed {}", defect.name(), violated[0]);
            Ok(true)
        }
    }
}

fn begin(library: &Path, seed: u64, arguments: &Arguments) -> io::Result<Child> {
    let mut process = entropy::process(library, seed)?;
    if let Some(defect) = arguments.planted {
        process.args(["--planted", &defect.name()]);
    }
    if arguments.show {
        process.arg("--show");
    }
    process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// How to run a seed again and read what happens.
fn again(seed: u64, arguments: &Arguments) -> String {
    let planted =
        arguments.planted.map(|defect| format!(" --planted {}", defect.name())).unwrap_or_default();
    format!("cargo run --locked -p serverv2-sim -- --from {seed} --seeds 1 --show{planted}")
}
