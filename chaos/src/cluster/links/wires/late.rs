//! Ways that take their time: the receiver's kernel hands each packet to a small process of this program, which lets it
//! go on when it is due. In the sender's kernel it would be in the way: of a stream that is held there, two packets go
//! at a time. `tc netem` would do the same, but many kernels come without it, and this works on those too.
//!
//! Packets of a way keep their order, as on a long wire.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use nfq::{Queue, Verdict};
use rand::Rng as _;

use super::laying::{Space, number};
use crate::broken::{Broken, Doing as _};
use crate::cluster::host::{Host, run, tool};
use crate::cluster::links::{Condition, End, Way};
use crate::cluster::process::Process;

/// Pause between two looks at what has come and what is due.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How much longer a process stays than what it still holds.
const MARGIN: Duration = Duration::from_millis(200);

impl Condition {
    pub(super) fn is_late(&self) -> bool {
        !(self.delay.is_zero() && self.jitter.is_zero())
    }
}

/// A way's process, and by how much it delays.
struct Holding {
    delay: Duration,
    jitter: Duration,
    process: Process,
}

/// Ways that take their time now.
#[derive(Default)]
pub(super) struct Late {
    holding: BTreeMap<Way, Holding>,
}

impl Late {
    pub(super) fn change(
        &mut self,
        conditions: &BTreeMap<Way, Condition>,
        spaces: &BTreeMap<End, Space>,
    ) -> Result<(), Broken> {
        let is_wanted = |way: &Way, it: &Holding| {
            conditions.get(way).is_some_and(|c| (c.delay, c.jitter) == (it.delay, it.jitter))
        };
        let over: Vec<Way> = self
            .holding
            .iter()
            .filter(|(way, it)| !is_wanted(way, it))
            .map(|(way, _)| *way)
            .collect();
        for way in over {
            let Some(holding) = self.holding.remove(&way) else { continue };
            rule("--delete", way, spaces)?;
            // It still has what came before.
            std::thread::spawn(move || {
                std::thread::sleep(holding.delay + holding.jitter + MARGIN);
                drop(holding.process);
            });
        }
        let is_new = |way: &Way, it: &Condition| it.is_late() && !self.holding.contains_key(way);
        let new: Vec<(Way, Condition)> = conditions
            .iter()
            .filter(|(way, it)| is_new(way, it))
            .map(|(w, it)| (*w, *it))
            .collect();
        for (way, condition) in new {
            let Some(space) = spaces.get(&way.to) else { continue };
            let Condition { delay, jitter, .. } = condition;
            let process = hold(&space.host(), way, delay, jitter)?;
            self.holding.insert(way, Holding { delay, jitter, process });
            rule("--append", way, spaces)?;
        }
        Ok(())
    }
}

/// Whether this kernel can hand out packets: to be asked in a namespace that is ours.
pub(crate) fn is_possible() -> bool {
    let rule = |order| {
        let mut iptables = tool("iptables");
        iptables.args(["--wait", order, "INPUT", "--source", "192.0.2.1"]);
        run(iptables.args(["--jump", "NFQUEUE"]), "").is_ok()
    };
    Queue::open().is_ok() && rule("--append") && rule("--delete")
}

fn rule(order: &str, way: Way, spaces: &BTreeMap<End, Space>) -> Result<(), Broken> {
    let (Some(from), Some(to)) = (spaces.get(&way.from), spaces.get(&way.to)) else {
        return Ok(());
    };
    let mut iptables = tool("iptables");
    iptables.args(["--wait", order, "INPUT", "--source", &from.address.to_string()]).args([
        "--jump",
        "NFQUEUE",
        "--queue-num",
        &number(way.from).to_string(),
    ]);
    run(&mut to.host().inside(iptables), "").map(drop)
}

/// Starts a way's process and waits until it takes packets.
fn hold(host: &Host, way: Way, delay: Duration, jitter: Duration) -> Result<Process, Broken> {
    let doing = format!("delay what {} sends to {}", way.from, way.to);
    let mut command = Command::new(program().doing(&doing)?);
    command
        .args(["hold-packets", "--queue", &number(way.from).to_string()])
        .args(["--delay-ms", &delay.as_millis().to_string()])
        .args(["--jitter-ms", &jitter.as_millis().to_string()]);
    let mut command = host.inside(command);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let (process, streams) = Process::start(command).doing(&doing)?;
    let mut said = String::new();
    if let Some(out) = streams.out {
        BufReader::new(out).read_line(&mut said).doing(&doing)?;
    }
    if said.trim() == READY { Ok(process) } else { Err(Broken::new(doing, "it did not start")) }
}

/// This program.
#[cfg(not(test))]
fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// The program that unit tests are of: they have no commands themselves.
#[cfg(test)]
fn program() -> std::io::Result<PathBuf> {
    std::env::var_os("CHAOS_BIN").map(PathBuf::from).ok_or_else(|| ErrorKind::NotFound.into())
}

const READY: &str = "ready";

/// What such a process is told.
#[derive(Args)]
pub(crate) struct HoldArgs {
    #[arg(long)]
    queue: u16,
    #[arg(long)]
    delay_ms: u64,
    #[arg(long)]
    jitter_ms: u64,
}

/// Lets each packet of a queue go on when it is due. Ends when it is killed.
pub(crate) fn hold_packets(args: &HoldArgs) -> Result<(), Broken> {
    let doing = "hold packets";
    let mut queue = Queue::open().doing(doing)?;
    queue.bind(args.queue).doing(doing)?;
    // Of the packets themselves nothing is needed.
    queue.set_copy_range(args.queue, 0).doing(doing)?;
    queue.set_nonblocking(true);
    println!("{READY}");
    let (delay, jitter) =
        (Duration::from_millis(args.delay_ms), Duration::from_millis(args.jitter_ms));
    let (mut held, mut last) = (VecDeque::new(), Instant::now());
    loop {
        match queue.recv() {
            Ok(mut packet) => {
                packet.set_verdict(Verdict::Accept);
                let due = Instant::now() + delay + jitter.mul_f64(rand::rng().random());
                // Nobody overtakes.
                last = last.max(due);
                held.push_back((last, packet));
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(Broken::new(doing, error)),
        }
        while held.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, packet)) = held.pop_front() {
                queue.verdict(packet).doing(doing)?;
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
