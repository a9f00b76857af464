//! Many seeds, some at once, each in a process of its own: they share nothing, so none changes another one's run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use crate::{Arguments, FAILED, entropy};

/// How often running seeds are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A seed that takes longer hangs.
const SEED_PATIENCE: Duration = Duration::from_secs(600);

/// Runs all seeds that were asked for; true if that is how it should be.
pub(crate) fn run(arguments: &Arguments) -> io::Result<bool> {
    let library = entropy::library()?;
    let began = Instant::now();
    let mut waiting = match arguments.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None if arguments.time.is_some() => arguments.seeds.start..u64::MAX,
        None => arguments.seeds.clone(),
    };
    let from = waiting.start;
    let jobs =
        arguments.jobs.or_else(|| available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let mut running: BTreeMap<u64, (Child, Instant)> = BTreeMap::new();
    let (mut ran, mut violated) = (0_u64, Vec::new());
    loop {
        let is_found = arguments.planted.is_some() && !violated.is_empty();
        let is_over = arguments.time.is_some_and(|time| began.elapsed() >= time);
        while running.len() < jobs.max(1) && !is_found && !is_over {
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
            // Not a word about what was simulated.
            if output.status.code() == Some(i32::from(FAILED)) {
                return Err(io::Error::other(format!("seed {seed} could not be run")));
            }
            if !output.status.success() {
                violated.push(seed);
                let seconds = since.elapsed().as_secs_f64();
                println!(
                    "seed {seed}: failed after {seconds:.1} s; again: {}",
                    again(seed, arguments)
                );
            }
        }
        sleep(LOOK);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{ran} seeds from {from} in {seconds:.1} s, {} violated", violated.len());
    if !violated.is_empty() {
        println!("violated: {violated:?}");
    }
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
    // Of one seed one wants to read more than that it went well.
    let told = if arguments.seed.is_some() { Stdio::inherit() } else { Stdio::null() };
    let told = if arguments.show { Stdio::inherit() } else { told };
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(told).spawn()
}

/// How to run a seed again and read what happens.
fn again(seed: u64, arguments: &Arguments) -> String {
    let planted =
        arguments.planted.map(|defect| format!(" PLANTED={}", defect.name())).unwrap_or_default();
    format!("make sim SEED={seed}{planted}")
}
