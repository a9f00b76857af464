//! The commands, and what each one does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use rand::Rng as _;

use crate::broken::{Broken, Doing as _};
use crate::bugs::BugsArgs;
use crate::cluster::links::wires::HoldArgs;
use crate::evidence::Evidence;
use crate::faults::Kind;
use crate::measures::Measures;
use crate::mode::Mode;
use crate::plan::Turns;
use crate::run::{self, Order};
use crate::track::Track;
use crate::verdict::{Judgement, Verdict, judge as judge_by};
use crate::workload::Crowd;
use crate::{check, report, scenarios};

/// Breaks every promise of a cluster from outside, and says which one did not hold.
///
/// Exit codes: 0 valid, 1 a promise did not hold, 2 nobody can say, 3 this program itself has failed.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// One run: a plan by the seed, then a verdict and a report.
    Run(RunArgs),
    /// Run after run, each with the next seed; only the evidence of those that are not valid is kept.
    Long(LongArgs),
    /// A plan that once broke a promise, by its name; without one they are listed.
    Scenario {
        name: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Hunts the bugs that a server built for it has on purpose; each must be noticed.
    Bugs(BugsArgs),
    /// Not for people: a process of a way that takes its time.
    #[command(hide = true)]
    HoldPackets(HoldArgs),
    /// Judges a kept folder of evidence again.
    Replay {
        /// The folder of a run.
        folder: PathBuf,
    },
}

#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    /// How the nodes are joined, and so what can be broken.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: Mode,
    /// Decides what breaks when, and what actors do; drawn if it is not given, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the cluster is broken, such as 90s, 10m, 1h.
    #[arg(long = "for", default_value = "120s", value_parser = duration)]
    length: Duration,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    #[command(flatten)]
    place: Place,
    /// Only these faults, by name, with commas between; `none` for none.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Gives the nodes disks that only say that they sync. A run with a power cut must then be invalid: the proof that
    /// a loss is noticed.
    #[arg(long)]
    lying_disks: bool,
    /// Breaks processes, the network, and Redis at the same time, instead of processes or the network.
    #[arg(long)]
    overlap: bool,
    /// Players who fight.
    #[arg(long, default_value_t = Crowd::default().fighters)]
    fighters: u32,
    /// So many of them use the official Socket.IO client, where Node and the packages of `tests/js` are installed.
    #[arg(long, default_value_t = Crowd::default().npm)]
    npm: u32,
    /// Who logs in and out.
    #[arg(long, default_value_t = Crowd::default().tokens)]
    tokens: u32,
}

/// What is run, and where the evidence goes.
#[derive(Args, Clone)]
pub(crate) struct Place {
    /// The server binary.
    #[arg(long, env = "SERVERV2_BIN", default_value = "target/debug/serverv2")]
    server: PathBuf,
    /// The folder of evidence; each run has a folder in it.
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
}

#[derive(Args, Clone)]
pub(crate) struct LongArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// How long in all.
    #[arg(long, default_value = "1h", value_parser = duration)]
    total: Duration,
    /// One fault of nodes or their network at a time, as in a single run.
    #[arg(long)]
    in_turn: bool,
}

/// Runs of a row that this program may fail to do, such as on a machine too busy to start nodes.
const FAILURES_MAX: usize = 10;
/// The election time-outs that nodes have by default, milliseconds.
pub(crate) const ELECTION_MS: (u64, u64) = (200, 400);
/// Seeds that are drawn are short enough to be said aloud.
const SEEDS: std::ops::Range<u64> = 0..1_000_000;

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no time"))?;
    let seconds = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        unit => return Err(format!("{unit} is no unit: s, m or h")),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

impl RunArgs {
    /// What is to be run; with another seed, if one is given.
    pub(crate) fn order(&self, seed: Option<u64>) -> Result<Order, Broken> {
        let seed = seed.or(self.seed).unwrap_or_else(|| rand::rng().random_range(SEEDS));
        let by_name = |name: &String| {
            let unknown = || Broken::new("read --faults", format!("no fault is called {name}"));
            Kind::from_name(name).ok_or_else(unknown)
        };
        let kinds = match self.faults.as_slice() {
            [] => Kind::ALL.to_vec(),
            [none] if none == "none" => Vec::new(),
            names => names.iter().map(by_name).collect::<Result<_, _>>()?,
        };
        Ok(Order {
            mode: self.mode,
            seed,
            length: self.length,
            nodes: usize::from(self.nodes),
            binary: self.place.server.clone(),
            kinds,
            turns: if self.overlap { Turns::All } else { Turns::One },
            crowd: Crowd {
                fighters: self.fighters,
                npm: self.npm,
                tokens: self.tokens,
                ..Crowd::default()
            },
            evidence: self.place.out.join(format!("seed-{seed}")),
            election_ms: ELECTION_MS,
            lying_disks: self.lying_disks,
            scenario: None,
            planted: None,
        })
    }
}

/// The order of a scenario; without a name they are listed.
pub(crate) fn scenario(name: Option<&str>, place: &Place) -> Result<Option<Order>, Broken> {
    let Some(name) = name else {
        for scenario in scenarios::ALL {
            println!("{}\n    {}", scenario.name, scenario.story);
        }
        return Ok(None);
    };
    let unknown = || Broken::new("find the scenario", format!("none is called {name}"));
    let scenario = scenarios::by_name(name).ok_or_else(unknown)?;
    println!("{name}: {}", scenario.story);
    Ok(Some(Order {
        mode: Mode::Proxy,
        seed: scenario.seed,
        length: scenario.length,
        nodes: 3,
        binary: place.server.clone(),
        kinds: scenario.kinds.to_vec(),
        turns: Turns::One,
        crowd: scenario.crowd,
        evidence: place.out.join(name),
        election_ms: ELECTION_MS,
        lying_disks: false,
        planted: None,
        scenario: Some(scenario.name),
    }))
}

/// Runs and judges.
pub(crate) async fn run(order: &Order) -> Result<(Verdict, Measures), Broken> {
    let data = run::run(order).await?;
    let (verdict, measures) = judge(&order.evidence)?;
    if verdict != Verdict::Valid {
        // What the nodes had on their disks belongs to the evidence.
        copy(data.path(), &order.evidence.join("data"))?;
    }
    Ok((verdict, measures))
}

/// Runs again and again, each time with the next seed.
pub(crate) async fn long(args: &LongArgs) -> Result<Verdict, Broken> {
    let (began, mut track) = (Instant::now(), Track::default());
    let first = args.run.order(None)?.seed;
    while began.elapsed() < args.total {
        let order = args.run.order(Some(first.wrapping_add(track.runs as u64)))?;
        let order = Order { turns: if args.in_turn { order.turns } else { Turns::All }, ..order };
        match run(&order).await {
            Ok((verdict, measures)) => {
                if verdict == Verdict::Valid {
                    std::fs::remove_dir_all(&order.evidence)
                        .doing("remove the evidence of a valid run")?;
                }
                track.add(order.seed, verdict, &measures);
            }
            Err(error) if track.failed < FAILURES_MAX => {
                println!("seed {}: chaos itself has failed: {error}", order.seed);
                track.failed += 1;
                track.runs += 1;
            }
            Err(error) => return Err(error),
        }
        track.write(&args.run.place.out)?;
        let (Track { valid, runs, others, .. }, at) = (&track, began.elapsed().as_secs());
        println!("after {at} s: {valid} of {runs} runs are valid; others: {others:?}\n");
    }
    let worst = |wanted| track.others.iter().any(|(_, verdict)| *verdict == wanted);
    Ok(match (worst(Verdict::Invalid), worst(Verdict::Unknown)) {
        (true, _) => Verdict::Invalid,
        (false, true) => Verdict::Unknown,
        (false, false) => Verdict::Valid,
    })
}

/// Judges what a run has left, and writes the report.
pub(crate) fn judge(folder: &Path) -> Result<(Verdict, Measures), Broken> {
    let began = Instant::now();
    let evidence = Evidence::read(folder)?;
    let said = check::all(&evidence);
    let (measures, judgement) = (Measures::of(&evidence), judge_by(&evidence, &said));
    let page = report::write(folder, &evidence, &said, &measures, &judgement)?;
    for said in &said {
        let state = match (said.violations.len(), said.items, said.wanted) {
            (0, _, false) => "not asked".to_owned(),
            (0, 0, true) => "nothing to look at".to_owned(),
            (0, ..) => "kept".to_owned(),
            (broken, ..) => format!("BROKEN {broken} times"),
        };
        println!("  {:<4} {:<18} {:>7} looked at   {}", said.id, state, said.items, said.promise);
    }
    let Judgement { verdict, reasons } = judgement;
    for reason in &reasons {
        println!("  - {reason}");
    }
    let took = began.elapsed().as_secs_f64();
    println!("{verdict}: seed {}, judged in {took:.1} s", evidence.head.seed);
    println!("  {}\n  again: {}", page.display(), evidence.head.again);
    Ok((verdict, measures))
}

fn copy(from: &Path, to: &Path) -> Result<(), Broken> {
    std::fs::create_dir_all(to).doing("keep the nodes' data")?;
    for item in std::fs::read_dir(from).doing("keep the nodes' data")?.flatten() {
        let (path, to) = (item.path(), to.join(item.file_name()));
        let kind = item.file_type().doing("keep the nodes' data")?;
        if kind.is_dir() {
            copy(&path, &to)?;
        } else if kind.is_file() {
            std::fs::copy(&path, &to).doing("keep the nodes' data")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        assert!(duration("x").is_err() && duration("5y").is_err());
    }
}
