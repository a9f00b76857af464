//! Is it noticed? A server built with `--features planted` has one bug on purpose, told by its environment. Each is
//! given the faults that bring it to light, run after run with the next seed, until a promise that it breaks is seen to be
//! broken. One that stays unseen is this suite's failure.

mod found;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use crate::broken::Broken;
use crate::check;
use crate::evidence::{Evidence, seconds};
use crate::faults::Kind;
use crate::mode::Mode;
use crate::orders::{ELECTION_MS, judge};
use crate::plan::Turns;
use crate::run::{self, Order};
use crate::verdict::Verdict;
use crate::workload::{Crowd, Temper};

use self::found::Hunted;
pub(crate) use self::watch::until_noticed;

/// The environment's variable that names a bug to the server.
pub(crate) const VARIABLE: &str = "PLANTED";
/// Runs of one bug.
const RUNS_MAX: u64 = 4;
/// Longest time for one run: a bug may keep it from its end.
const RUN_MAX: Duration = Duration::from_secs(150);
/// Who logs in and out: so many that a node which is cut off does not keep all of them waiting.
const TOKENS: u32 = 9;
/// How many of them `--rotate` takes.
const ROTATED: usize = 3;

/// A bug, and how it is brought to light.
#[derive(Debug)]
pub(crate) struct Planted {
    /// What the server calls it.
    pub(crate) name: &'static str,
    pub(crate) faults: &'static [Kind],
    /// How long each of them lasts, milliseconds.
    pub(crate) holds_ms: u64,
    /// Length of a run.
    pub(crate) seconds: u64,
    /// The promises that it breaks: one of them must be seen to be broken.
    pub(crate) breaks: &'static [&'static str],
}

/// A bug in a run, and whether it is really there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planting {
    pub(crate) bug: &'static Planted,
    /// If not, the run is the control.
    pub(crate) is_there: bool,
}

impl Planted {
    /// How fighters behave. What comes after a battle's end is refused only if it is sent: whoever can't decide sends
    /// it.
    pub(crate) fn temper(&self) -> Temper {
        if self.name == "no-fencing-on-input" { Temper::wavering() } else { Temper::lively() }
    }
}

macro_rules! planted {
    ($($name:literal [$($fault:ident),*] $holds_ms:literal ms, $seconds:literal s: $($breaks:literal)*;)*) => {
        /// All of them.
        pub(crate) const ALL: &[Planted] = &[$(Planted {
            name: $name,
            faults: &[$(Kind::$fault),*],
            holds_ms: $holds_ms,
            seconds: $seconds,
            breaks: &[$($breaks),*],
        },)*];
    };
}

planted! {
    "ack-before-commit" [Isolate] 4_000 ms, 14 s: "I8" "I4";
    "io-flushed-before-fsync" [PowerSlow] 2_000 ms, 14 s: "I4" "I7" "I15" "I12" "W";
    "vote-not-synced" [KillLeader, KillAny] 1_500 ms, 20 s: "I12";
    "local-read" [SlowLink] 4_000 ms, 14 s: "I10";
    "lease-read-without-lease" [LeaderInMinority] 7_000 ms, 18 s: "I8" "I10";
    "no-fencing-on-input" [PauseAny, SlowLink] 2_000 ms, 40 s: "I6" "I7";
    "dedup-off" [SlowLink] 3_000 ms, 12 s: "I13";
    "dedup-not-in-snapshot" [KillAny, KillLeader] 1_500 ms, 24 s: "I13" "I15";
    "match-in-two-entries" [KillAny] 1_500 ms, 16 s: "I1" "I2" "I5" "I15";
    "room-id-from-local-counter" [KillAny] 1_500 ms, 16 s: "I3" "I15" "I5";
    "mirror-without-index-guard" [LeaderInMinority] 5_000 ms, 18 s: "I9";
    "blacklist-fail-open" [RedisPause] 6_000 ms, 16 s: "I8";
    "hash-map-order-in-apply" [SlowLink] 2_000 ms, 12 s: "I15";
    "match-success-only-by-pub-sub" [RedisKill, RedisCut] 5_000 ms, 28 s: "I5";
}

#[derive(Args, Clone)]
pub(crate) struct BugsArgs {
    /// Only these bugs, by name, with commas between.
    #[arg(long, value_delimiter = ',', conflicts_with = "rotate")]
    only: Vec<String>,
    /// Three of them, which ones by this number; in a row of numbers all have their turn.
    #[arg(long)]
    rotate: Option<u64>,
    /// Plants nothing: the same runs must then break no promise, or the finds would prove nothing.
    #[arg(long)]
    control: bool,
    /// The seed of each bug's first run; later ones have the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server binary, built with `--features planted`.
    #[arg(long, env = "SERVERV2_BIN", default_value = "target/planted/serverv2")]
    server: PathBuf,
    /// The folder of the table, and of the evidence of each bug.
    #[arg(long, default_value = "target/chaos/bugs")]
    out: PathBuf,
}

/// Hunts them, one after the other, and says which were seen.
pub(crate) async fn hunt(args: &BugsArgs) -> Result<Verdict, Broken> {
    let mut hunted = Vec::new();
    for bug in chosen(args)? {
        let one = hunt_one(args, bug).await?;
        println!("{}", one.row());
        hunted.push(one);
        found::write(&args.out, &hunted)?;
    }
    let unseen = hunted.iter().filter(|one| one.seconds.is_none()).count();
    println!("\n{}", found::table(&hunted));
    println!("{} of {} bugs were noticed", hunted.len() - unseen, hunted.len());
    let is_well = if args.control { unseen == hunted.len() } else { unseen == 0 };
    Ok(if is_well { Verdict::Valid } else { Verdict::Invalid })
}

fn chosen(args: &BugsArgs) -> Result<Vec<&'static Planted>, Broken> {
    if let Some(number) = args.rotate {
        return Ok(rotated(number));
    }
    if args.only.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let by_name = |name: &String| {
        let unknown = || Broken::new("read --only", format!("no bug is called {name}"));
        ALL.iter().find(|bug| bug.name == name).ok_or_else(unknown)
    };
    args.only.iter().map(by_name).collect()
}

fn rotated(number: u64) -> Vec<&'static Planted> {
    let first = usize::try_from(number % ALL.len() as u64).unwrap_or_default() * ROTATED;
    ALL.iter().cycle().skip(first).take(ROTATED).collect()
}

async fn hunt_one(args: &BugsArgs, bug: &'static Planted) -> Result<Hunted, Broken> {
    let began = Instant::now();
    let mut last = Hunted {
        bug: bug.name,
        seed: args.seed,
        runs: 0,
        seconds: None,
        took: 0.0,
        seen_by: Vec::new(),
        what: "nobody noticed".to_owned(),
    };
    let runs_max = if args.control { 1 } else { RUNS_MAX };
    while last.runs < runs_max && last.seconds.is_none() {
        last.seed = args.seed.wrapping_add(last.runs);
        last.runs += 1;
        let order = order(args, bug, last.seed);
        println!("\n{} with seed {}", bug.name, last.seed);
        // Whatever keeps a run from its end, what was written until then is judged.
        match tokio::time::timeout(RUN_MAX, run::run(&order)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => println!("  the run ended early: {error}"),
            Err(_) => println!("  the run did not end in time"),
        }
        look(args, &order.evidence, bug, &mut last)?;
        if last.seconds.is_none() && !args.control {
            // Whoever asks why nobody noticed has all that there was to see.
            judge(&order.evidence)?;
        }
    }
    last.took = began.elapsed().as_secs_f64();
    Ok(last)
}

fn order(args: &BugsArgs, bug: &'static Planted, seed: u64) -> Order {
    Order {
        mode: Mode::Proxy,
        seed,
        length: Duration::from_secs(bug.seconds),
        nodes: 3,
        binary: args.server.clone(),
        kinds: bug.faults.to_vec(),
        turns: Turns::One,
        crowd: Crowd { npm: 0, tokens: TOKENS, ..Crowd::default() },
        evidence: args.out.join(bug.name).join(format!("seed-{seed}")),
        election_ms: ELECTION_MS,
        lying_disks: false,
        scenario: None,
        planted: Some(Planting { bug, is_there: !args.control }),
    }
}

/// Which promises were seen to be broken, and when for the first time.
fn look(args: &BugsArgs, folder: &Path, bug: &Planted, hunted: &mut Hunted) -> Result<(), Broken> {
    let evidence = Evidence::read(folder)?;
    let is_there = evidence.logs.iter().flatten().any(|line| is_told(&line.text, bug));
    if is_there == args.control {
        return Err(Broken::new(
            "plant a bug",
            "nodes do not say of it what they must: is the binary built with it?",
        ));
    }
    let mut seen: Vec<_> = check::all(&evidence)
        .into_iter()
        .filter_map(|said| {
            let first = said.violations.first()?.clone();
            Some((bug.breaks.contains(&said.id), first, said.id, said.file, said.violations.len()))
        })
        .collect();
    // Those that it was to break come first, and among them the earliest; an unknown time is late.
    seen.sort_by_key(|(is_its, first, ..)| (!is_its, first.at.unwrap_or(u64::MAX)));
    for (is_its, first, id, file, count) in &seen {
        println!("  {id}{} {count} times: {first}", if *is_its { "" } else { " (beside)" });
        hunted.seen_by.push(format!("{id} {}", file.rsplit('/').next().unwrap_or(file)));
    }
    // Of the control nothing may be seen at all.
    if let Some((_, first, ..)) = seen.first().filter(|(is_its, ..)| *is_its || args.control) {
        hunted.seconds = Some(seconds(first.at.unwrap_or_else(|| evidence.end())));
        hunted.what = first.what.chars().take(200).collect();
    }
    Ok(())
}

fn is_told(line: &str, bug: &Planted) -> bool {
    line.contains("A BUG IS PLANTED") && line.contains(bug.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_bug_breaks_promises_that_there_are_and_is_one_that_the_server_knows() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let server = std::fs::read_to_string(root.join("../raft/machine/src/planted.rs"));
        let server = server.expect("the server's bugs are there");
        let known = server.lines().filter(|line| line.trim().starts_with("(\"")).count();
        assert_eq!(known, ALL.len());
        for bug in ALL {
            assert!(server.contains(&format!("(\"{}\"", bug.name)), "{}", bug.name);
            for id in bug.breaks {
                assert!(check::ALL.iter().any(|check| check.id == *id), "{}: {id}", bug.name);
            }
        }
    }

    #[test]
    fn rotation_comes_to_every_bug() {
        let names = |number| rotated(number).into_iter().map(|bug| bug.name);
        let seen: BTreeSet<&str> = (0..ALL.len() as u64).flat_map(names).collect();
        assert_eq!(seen.len(), ALL.len());
        assert!((0..99).all(|number| rotated(number).len() == ROTATED));
    }

    #[test]
    fn the_page_lists_every_bug() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
        let page = page.expect("the crate has a page");
        for bug in ALL {
            assert!(page.contains(&format!("| `{}` |", bug.name)), "{}", bug.name);
        }
    }
}
