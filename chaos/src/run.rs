//! One run: start, use and break the cluster, heal it, look at everything, kill it all once more, look again.

mod finale;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::broken::{Broken, Doing as _};
use crate::bugs::{self, Planting};
use crate::client::Npm;
use crate::cluster::{Cluster, Make, disk, redis};
use crate::faults::{self, Kind, Outcome};
use crate::history::{History, Line};
use crate::mode::Mode;
use crate::observe;
use crate::plan::{HEALTHY, Plan, Turns};
use crate::sweep::Sweeper;
use crate::workload::{self, Crowd, Temper, World};

/// Longest wait for actors where a bug is planted.
const PLANTED_PATIENCE: Duration = Duration::from_secs(8);
/// How long nothing is broken at first, where a bug is planted.
const PLANTED_HEALTHY: Duration = Duration::from_secs(2);

/// What a run is made of.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) nodes: usize,
    pub(crate) binary: PathBuf,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) turns: Turns,
    pub(crate) crowd: Crowd,
    /// Where the evidence goes.
    pub(crate) evidence: PathBuf,
    pub(crate) election_ms: (u64, u64),
    /// The nodes' disks only say that they sync.
    pub(crate) lying_disks: bool,
    /// The scenario that it is, if it is one.
    pub(crate) scenario: Option<&'static str>,
    /// The bug that the nodes have on purpose, if they have one.
    pub(crate) planted: Option<Planting>,
}

impl Order {
    /// The kinds that such a cluster can suffer here.
    fn fitting(&self) -> Vec<Kind> {
        let (redis, disks) = (redis::is_installed(), disk::is_possible());
        let fits = |kind: &Kind| kind.fits(self.nodes, redis, disks);
        let refused = |kind: &Kind| self.mode.refuses(*kind).is_some();
        self.kinds.iter().copied().filter(fits).filter(|kind| !refused(kind)).collect()
    }

    /// The command that runs it again.
    fn again(&self) -> String {
        if let Some(name) = self.scenario {
            return format!("chaos scenario {name}");
        }
        if let Some(Planting { bug, is_there }) = self.planted {
            let control = if is_there { "" } else { " --control" };
            return format!("chaos bugs --only {} --seed {}{control}", bug.name, self.seed);
        }
        let Self { seed, length, nodes, kinds, crowd, .. } = self;
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let faults = match names.len() {
            0 => " --faults none".to_owned(),
            all if all == Kind::ALL.len() => String::new(),
            _ => format!(" --faults {}", names.join(",")),
        };
        let Crowd { fighters, npm, tokens, .. } = crowd;
        let length = length.as_secs();
        let lies = if self.lying_disks { " --lying-disks" } else { "" };
        let mode = self.mode;
        let overlap = if self.turns == Turns::All { " --overlap" } else { "" };
        format!(
            "chaos run --mode {mode} --seed {seed} --for {length}s --nodes {nodes} --fighters {fighters} --npm {npm} --tokens {tokens}{faults}{lies}{overlap}"
        )
    }

    /// What breaks when.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan::of(self.seed, self.length, &self.fitting(), self.turns);
        if let Some(planting) = self.planted {
            let holds = Duration::from_millis(planting.bug.holds_ms);
            for step in &mut plan.steps {
                step.holds = holds;
                step.at -= HEALTHY - PLANTED_HEALTHY;
            }
        }
        plan
    }

    /// How fighters behave.
    fn temper(&self) -> Temper {
        self.planted.map_or_else(Temper::lively, |planting| planting.bug.temper())
    }

    /// How long nothing is broken at first.
    fn healthy(&self) -> Duration {
        if self.planted.is_some() { PLANTED_HEALTHY } else { HEALTHY }
    }
}

/// Runs it and leaves the evidence in its folder. Nothing is judged here. Gives the nodes' data, which is gone when
/// it is dropped.
pub(crate) async fn run(order: &Order) -> Result<TempDir, Broken> {
    let crowd = Crowd { npm: by_official_client(order.crowd), ..order.crowd };
    let order = &Order { crowd, ..order.clone() };
    std::fs::create_dir_all(&order.evidence).doing("make the folder of evidence")?;
    let plan = order.plan();
    println!("seed {}: {} faults in {:?}", plan.seed, plan.steps.len(), order.length);
    for step in &plan.steps {
        println!("  {step}");
    }
    let history = Arc::new(History::begin(&order.evidence)?);
    let make = Make {
        mode: order.mode,
        nodes: order.nodes,
        binary: kept_binary(order)?,
        redis: redis::is_installed(),
        faulty_disks: order.lying_disks || plan.steps.iter().any(|step| step.kind.wants_disks()),
        own_clocks: plan.steps.iter().any(|step| step.kind.wants_clocks()),
        lying_disks: order.lying_disks,
        planted: order.planted.filter(|it| it.is_there).map(|it| it.bug.name),
        election_ms: order.election_ms,
    };
    write_head(order, &plan, &make, &history);
    let data = tempfile::tempdir().doing("make the folder of data")?;
    let _sweeper = Sweeper::of(data.path())?;
    let cluster = Cluster::start(make, data.path(), &order.evidence, history.clone()).await?;
    let cluster = Arc::new(cluster);
    let watchers = observe::start(&cluster);
    let ended = show(order, &plan, &cluster).await;
    drop(watchers);
    history.flush()?;
    for at in cluster.all() {
        cluster.kill(at).await;
    }
    history.flush()?;
    // A copy of many megabytes that tells nothing.
    let _ = std::fs::remove_file(&cluster.make.binary);
    ended.map(|()| data)
}

fn write_head(order: &Order, plan: &Plan, make: &Make, history: &History) {
    let plan: Vec<String> = plan.steps.iter().map(|step| step.kind.name().to_owned()).collect();
    let (seed, nodes, redis) = (order.seed, order.nodes, make.redis);
    let seconds = order.length.as_secs_f64();
    let version = version_of(&make.binary);
    let (again, npm) = (order.again(), order.crowd.npm);
    history.write(|_| Line::Run { seed, nodes, seconds, version, plan, redis, again, npm });
}

/// What the binary says that it is.
fn version_of(binary: &Path) -> String {
    let said = std::process::Command::new(binary).arg("--version").output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    said.unwrap_or_default()
}

/// The binary as it is now: a build that goes on meanwhile changes nothing under a run.
fn kept_binary(order: &Order) -> Result<PathBuf, Broken> {
    let copy = order.evidence.join("server");
    let _ = std::fs::remove_file(&copy);
    let from = &order.binary;
    let linked = std::fs::hard_link(from, &copy).or_else(|_| std::fs::copy(from, &copy).map(drop));
    linked.doing(&format!("take the server binary {}", from.display()))?;
    copy.canonicalize().doing("find the server binary")
}

async fn show(order: &Order, plan: &Plan, cluster: &Arc<Cluster>) -> Result<(), Broken> {
    let history = &cluster.history;
    let (world, stop) = World::new(cluster.clone(), order.seed);
    history.phase("healthy");
    let npm = (order.crowd.npm > 0).then(Npm::start).transpose()?;
    let actors = workload::start(&world, order.crowd, order.temper(), npm.as_ref());
    let going_on = go_on(order, plan, cluster);
    if let Some(Planting { bug, is_there: true }) = order.planted {
        tokio::select! {
            () = bugs::until_noticed(history, bug) => return Ok(()),
            ended = going_on => ended?,
        }
    } else {
        going_on.await?;
    }
    cluster.links.heal_all()?;
    history.phase("healed");
    stop.send_replace(true);
    if order.planted.is_some() {
        // A bug may keep somebody in a battle for ever.
        let _ = tokio::time::timeout(PLANTED_PATIENCE, actors.join_all()).await;
        return finale::glance(&world).await;
    }
    actors.join_all().await;
    if npm.is_some_and(|npm| !npm.has_served()) {
        return Err(Broken::new(
            "play by the official client",
            "nobody was let in, or Node has ended",
        ));
    }
    finale::play(&world).await
}

/// How many fighters use the official client.
fn by_official_client(crowd: Crowd) -> u32 {
    let wanted = crowd.npm.min(crowd.fighters);
    if wanted > 0 && !Npm::is_installed() {
        println!("  the official client is not installed (make setup): nobody uses it");
        return 0;
    }
    wanted
}

/// Breaks things as it is planned, to the end of the time.
async fn go_on(order: &Order, plan: &Plan, cluster: &Arc<Cluster>) -> Result<(), Broken> {
    let began = tokio::time::Instant::now();
    let mut rows = JoinSet::new();
    for row in plan.rows() {
        rows.spawn(break_things(cluster.clone(), row, began));
    }
    tokio::time::sleep_until(began + order.healthy()).await;
    cluster.history.phase("faults");
    while let Some(row) = rows.join_next().await {
        row.doing("break things")?;
    }
    tokio::time::sleep_until(began + order.length).await;
    Ok(())
}

/// Goes through one row of the plan.
async fn break_things(
    cluster: Arc<Cluster>,
    steps: Vec<(u32, crate::plan::Step)>,
    began: tokio::time::Instant,
) {
    for (number, step) in steps {
        tokio::time::sleep_until(began + step.at).await;
        let outcome = faults::strike(&cluster, number, &step).await;
        let at = began.elapsed().as_secs_f64();
        let told = match &outcome {
            Outcome::Installed => "installed".to_owned(),
            Outcome::Skipped { reason } => format!("skipped: {reason}"),
            Outcome::Indeterminate { reason } => format!("indeterminate: {reason}"),
        };
        println!("  {at:6.1} s  {:<20} {told}", step.kind.name());
    }
}
