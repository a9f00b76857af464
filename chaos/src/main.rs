//! `chaos`: breaks every promise of a ServerV2 cluster from outside, and says which one did not hold.
//!
//! It starts real servers, uses them as clients do, kills, pauses, cuts off and starves them by a plan that a
//! seed decides, and writes everything down. Afterwards one file for each promise reads what was written.
//! It depends on none of the server's crates.

mod broken;
mod client;
mod cluster;
mod faults;
mod history;
mod observe;
mod plan;
mod run;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rand::Rng as _;

use crate::broken::Broken;
use crate::faults::Kind;
use crate::run::Order;
use crate::workload::Crowd;

/// Breaks every promise of a ServerV2 cluster from outside, and says which one did not hold.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One run: a plan by the seed, then a verdict.
    Run(RunArgs),
}

#[derive(Args, Clone)]
struct RunArgs {
    /// Decides what breaks when, and what actors do; drawn if it is not given, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the cluster is broken, such as 90s, 10m, 1h.
    #[arg(long = "for", default_value = "120s", value_parser = duration)]
    length: Duration,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// The server binary.
    #[arg(long, env = "SERVERV2_BIN", default_value = "target/debug/serverv2")]
    server: PathBuf,
    /// The folder of evidence.
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
    /// Only these faults, by name, with commas between; `none` for none.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Players who fight.
    #[arg(long, default_value_t = Crowd::default().fighters)]
    fighters: u32,
}

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
    fn order(&self) -> Result<Order, Broken> {
        let seed = self.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
        let by_name = |name: &String| {
            Kind::from_name(name)
                .ok_or_else(|| Broken::new("read --faults", format!("no fault is called {name}")))
        };
        let kinds = match self.faults.as_slice() {
            [] => Kind::ALL.to_vec(),
            [none] if none == "none" => Vec::new(),
            names => names.iter().map(by_name).collect::<Result<_, _>>()?,
        };
        let evidence = self.out.join(format!("seed-{seed}"));
        Ok(Order {
            seed,
            length: self.length,
            nodes: usize::from(self.nodes),
            binary: self.server.clone(),
            kinds,
            crowd: Crowd { fighters: self.fighters, ..Crowd::default() },
            evidence,
            election_ms: (200, 400),
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(act(cli)),
        Err(error) => Err(Broken::new("start", error)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(3)
        }
    }
}

async fn act(cli: Cli) -> Result<ExitCode, Broken> {
    let Command::Run(args) = cli.command;
    let order = args.order()?;
    tokio::select! {
        done = run::run(&order) => done?,
        _ = tokio::signal::ctrl_c() => return Err(Broken::new("run", "interrupted")),
    }
    println!("evidence: {}", order.evidence.display());
    Ok(ExitCode::SUCCESS)
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
