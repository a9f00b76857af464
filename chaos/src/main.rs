//! `chaos`: breaks every promise of a `ServerV2` cluster from outside, and says which one did not hold.
//!
//! It starts real servers, uses them as clients do, kills, pauses, cuts off and starves them by a plan that a
//! seed decides, and writes everything down. Afterwards one file for each promise reads what was written.
//! It depends on none of the server's crates.

mod broken;
mod bugs;
mod check;
mod client;
mod cluster;
mod evidence;
mod faults;
mod history;
mod measures;
mod mode;
mod observe;
mod orders;
mod plan;
mod report;
mod run;
mod scenarios;
mod sweep;
mod times;
mod track;
mod verdict;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use crate::broken::Broken;
use crate::cluster::disk;
use crate::cluster::links::wires::hold_packets;
use crate::mode::Mode;
use crate::orders::{Cli, Command};
use crate::verdict::Verdict;

/// What the exit code says.
fn code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Valid => ExitCode::SUCCESS,
        Verdict::Invalid => ExitCode::from(1),
        Verdict::Unknown => ExitCode::from(2),
    }
}

/// This program itself has failed: nothing is said about the server.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before there are threads: this program may have to become itself again elsewhere.
    let mode = match &cli.command {
        Command::Run(args) => args.mode,
        Command::Long(args) => args.run.mode,
        _ => Mode::Proxy,
    };
    if let Err(error) = mode.enter() {
        eprintln!("chaos: {error}");
        return ExitCode::from(FAILED);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(act(cli)),
        Err(error) => Err(Broken::new("start", error)),
    };
    // Compiled once for all runs.
    disk::forget_libraries();
    match done {
        Ok(verdict) => code(verdict),
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(FAILED)
        }
    }
}

async fn act(cli: Cli) -> Result<Verdict, Broken> {
    let acting = async {
        match cli.command {
            Command::Run(args) => Ok(orders::run(&args.order(None)?).await?.0),
            Command::Scenario { name, place } => match orders::scenario(name.as_deref(), &place)? {
                Some(order) => Ok(orders::run(&order).await?.0),
                None => Ok(Verdict::Valid),
            },
            Command::Long(args) => orders::long(&args).await,
            Command::Bugs(args) => bugs::hunt(&args).await,
            Command::HoldPackets(args) => hold_packets(&args).map(|()| Verdict::Valid),
            Command::Replay { folder } => Ok(orders::judge(&folder)?.0),
        }
    };
    tokio::select! {
        done = acting => done,
        _ = tokio::signal::ctrl_c() => Err(Broken::new("run", "interrupted")),
    }
}
