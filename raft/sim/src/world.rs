//! One run: nodes, players and what goes wrong, on one thread and by one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serverv2_machine::{Digest, NodeId, PackRef, WallTime};
use serverv2_raft_simulated::simulation::{self, Crash, Disk};
use serverv2_raft_simulated::{ClusterSecret, NodeConfig};
use turmoil::Sim;

use crate::Defect;
use crate::chaos::{self, Change, HEALED_MS};
use crate::logs;
use crate::net::{self, Cuts};
use crate::node::{Node, come_together};
use crate::players::Player;
use crate::shared::Shared;
use crate::trace::{self, Shown, note_change};

const PLAYERS: RangeInclusive<u64> = 4..=8;
/// A cluster of five now and then.
const FIVE_NODES: f64 = 0.2;
/// The longest that nodes may take to come together when nothing goes wrong any more, milliseconds.
const SETTLE_MS: u64 = 30_000;
/// From a vote to the power cut that waited for it, milliseconds: whoever could tell of it has done so.
const VOTED_MS: u64 = 40;
/// When the simulated world begins, milliseconds of Unix time.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// The longest sync of a disk that nothing is wrong with, milliseconds: another one in each run.
const SYNC_MS: Range<u64> = 2..30;
/// The longest way of a message at the beginning of a run, milliseconds.
const LATENCY_MS: Range<u64> = 2..12;
/// The same from the end of all faults on.
const HEALED_LATENCY: Duration = Duration::from_millis(5);
/// From one snapshot to the next, and behind one, entries.
const SNAPSHOT_ENTRIES: Range<u64> = 20..300;
const KEEP_ENTRIES: Range<u64> = 10..200;
/// Bytes on their way in one direction of a connection, in writes.
const TCP_WRITES_MAX: usize = 1 << 16;
/// More than any run takes.
const RUN_MAX: Duration = Duration::from_secs(3_600);
const GRACE_MS: u64 = 1_000;
const NODE_GONE_AFTER_MS: u64 = 1_000;
const PROPOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What a run shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) planted: Option<Defect>,
    pub(crate) shown: Shown,
}

/// What came of it.
pub(crate) struct Report {
    pub(crate) digest: u64,
    pub(crate) lines: u64,
    /// What ran, in figures.
    pub(crate) summary: String,
    pub(crate) violation: Option<String>,
}

/// The state of the world outside the nodes.
struct World<'a> {
    sim: Sim<'a>,
    nodes: u64,
    disks: BTreeMap<u64, Disk>,
    shared: Shared,
    cuts: Cuts,
    down: BTreeMap<u64, Crash>,
    /// Machines that lose power when their node votes.
    armed: BTreeMap<u64, Armed>,
    /// How often each directed way is cut, and each pair held.
    cut: BTreeMap<(u64, u64), u32>,
    held: BTreeMap<(u64, u64), u32>,
    is_held: BTreeSet<(u64, u64)>,
    /// Of a disk that nothing is wrong with.
    sync_ms: Range<u64>,
    counts: Counts,
}

/// A machine that is to lose power.
struct Armed {
    down_ms: u64,
    /// When its node's vote was first seen, milliseconds.
    voted_at: Option<u64>,
}

#[derive(Default)]
struct Counts {
    kills: u32,
    power_cuts: u32,
    lost_writes: usize,
    cuts: u32,
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Runs a seed to its end.
pub(crate) fn run(run: Run) -> Report {
    trace::show(run.shown);
    if run.shown == Shown::Everything {
        logs::show();
    }
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{panic}");
    }));
    if let Some(defect) = run.planted.and_then(Defect::of_disks) {
        simulation::plant(defect);
    }
    simulation::set_wall(|| {
        let passed = turmoil::sim_elapsed().unwrap_or_default();
        WallTime(EPOCH_MS + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    });
    let mut rng = StdRng::seed_from_u64(run.seed);
    let nodes = if rng.random_bool(FIVE_NODES) { 5 } else { 3 };
    let shared = Shared::new(run.planted == Some(Defect::RepeatedAsNew));
    let judging = shared.clone();
    simulation::observe(move |seen| judging.judge(|judge| judge.applied(seen)));
    let mut world = World::new(run.seed, nodes, shared, &mut rng);
    let players = rng.random_range(PLAYERS);
    note_change!("seed {}: {nodes} nodes, {players} players", run.seed);
    world.let_in(run.seed, players);
    let plan = chaos::plan(&mut rng, nodes);
    world.pass(&plan);
    world.report()
}

impl World<'_> {
    fn new(seed: u64, nodes: u64, shared: Shared, rng: &mut StdRng) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .simulation_duration(RUN_MAX)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(rng.random_range(LATENCY_MS)))
            .tcp_capacity(TCP_WRITES_MAX)
            .enable_random_order()
            .build();
        let snapshot_entries = rng.random_range(SNAPSHOT_ENTRIES);
        let keep_entries = rng.random_range(KEEP_ENTRIES);
        let sync_ms = 1..rng.random_range(SYNC_MS);
        let cuts = Cuts::default();
        let mut disks = BTreeMap::new();
        for node in 1..=nodes {
            let disk = Disk::new(rng.random());
            disk.set_sync_ms(sync_ms.clone());
            disks.insert(node, disk.clone());
            let peers = (1..=nodes).map(|peer| (NodeId(peer), net::address(peer))).collect();
            let config = NodeConfig {
                peers,
                packs: vec![PackRef { engine: "test/1".into(), digest: Digest([7; 32]) }],
                cluster_secret: ClusterSecret("a secret of the simulation".into()),
                snapshot_entries,
                keep_entries,
                grace_ms: GRACE_MS,
                propose_deadline: PROPOSE_DEADLINE,
                node_gone_after_ms: NODE_GONE_AFTER_MS,
                ..NodeConfig::new(NodeId(node), "nowhere".into())
            };
            let node = Node { config, disk, cuts: cuts.clone(), shared: shared.clone() };
            let node = Rc::new(node);
            sim.host(net::name(node.config.node.0), move || node.clone().live());
        }
        let (down, cut, held) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (armed, is_held, counts) = (BTreeMap::new(), BTreeSet::new(), Counts::default());
        Self { sim, nodes, disks, shared, cuts, down, armed, cut, held, is_held, sync_ms, counts }
    }

    /// Lets the players in, and whoever waits for the end.
    fn let_in(&mut self, seed: u64, players: u64) {
        let (shared, nodes) = (self.shared.clone(), self.nodes);
        self.sim.client("players", async move {
            for number in 1..=players {
                let player = Player::new(seed, number, nodes, shared.clone());
                tokio::task::spawn_local(player.play());
            }
            come_together(&shared, nodes).await;
            Ok(())
        });
    }

    /// Lets time pass, with everything that happens in it.
    fn pass(&mut self, plan: &[(u64, Change)]) {
        let mut plan = plan.iter().peekable();
        let mut starts: BTreeMap<u64, u64> = BTreeMap::new();
        let mut is_healed = false;
        loop {
            let now = u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX);
            trace::set_now(now.into());
            while let Some((_, change)) = plan.next_if(|(at, _)| *at <= now) {
                self.change(*change);
            }
            starts.extend(self.cut_at_votes(now));
            starts.retain(|node, due| {
                let is_due = *due <= now;
                if is_due && self.down.contains_key(node) {
                    self.change(Change::Start(*node));
                }
                !is_due
            });
            if now >= HEALED_MS && !is_healed {
                is_healed = true;
                self.heal();
            }
            let over = self.shared.is_settled() || self.shared.judge(|j| j.violation().is_some());
            if over {
                return;
            }
            if PANICS.load(Ordering::Relaxed) > 0 {
                return self.shared.judge(|judge| judge.violated("something panicked".into()));
            }
            if now > HEALED_MS + SETTLE_MS {
                let what = "the nodes did not come together after everything was healed";
                return self.shared.judge(|judge| judge.violated(what.into()));
            }
            if let Err(error) = self.sim.step() {
                return self.shared.judge(|judge| judge.violated(format!("a node ended: {error}")));
            }
        }
    }

    fn change(&mut self, change: Change) {
        let count = |counts: &mut BTreeMap<_, u32>, way, more: bool| {
            let count = counts.entry(way).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
        };
        let ordered = |a: u64, b: u64| (a.min(b), a.max(b));
        match change {
            Change::Crash(node, how) if !self.down.contains_key(&node) => self.crash(node, how),
            Change::Start(node) if self.down.contains_key(&node) => self.start(node),
            Change::Crash(..) | Change::Start(_) => return,
            Change::Arm { node, down_ms } => {
                self.armed.insert(node, Armed { down_ms, voted_at: None });
            }
            Change::Disarm(node) => drop(self.armed.remove(&node)),
            Change::Cut { from, to } => {
                self.counts.cuts += 1;
                count(&mut self.cut, (from, to), true);
            }
            Change::Mend { from, to } => count(&mut self.cut, (from, to), false),
            Change::Hold(a, b) => count(&mut self.held, ordered(a, b), true),
            Change::Release(a, b) => count(&mut self.held, ordered(a, b), false),
            Change::Slow(node, ms) => self.disks[&node].set_sync_ms(ms / 2..ms + 1),
            Change::Quick(node) => self.disks[&node].set_sync_ms(self.sync_ms.clone()),
            Change::Latency(ms) => {
                self.sim.set_max_message_latency(Duration::from_millis(ms));
            }
        }
        note_change!("{change}");
        self.arrange_ways();
    }

    /// Cuts the power where a vote was waited for. Gives when these nodes start again.
    fn cut_at_votes(&mut self, now: u64) -> Vec<(u64, u64)> {
        let (disks, mut struck) = (&self.disks, Vec::new());
        self.armed.retain(|node, armed| {
            if !disks[node].has_unsynced_vote() {
                armed.voted_at = None;
                return true;
            }
            let voted_at = *armed.voted_at.get_or_insert(now);
            if now < voted_at + VOTED_MS {
                return true;
            }
            struck.push((*node, now + armed.down_ms));
            false
        });
        for (node, _) in &struck {
            self.change(Change::Crash(*node, Crash::PowerCut));
        }
        struck
    }

    /// A dead process's sockets are closed by its kernel; a machine without power says nothing.
    fn crash(&mut self, node: u64, how: Crash) {
        self.down.insert(node, how);
        self.arrange_ways();
        self.shared.close(node);
        self.sim.crash(net::name(node));
        let disk = &self.disks[&node];
        let lost = disk.crash(how);
        self.shared.judge(|judge| judge.kept(NodeId(node), disk.vote()));
        match how {
            Crash::Kill => self.counts.kills += 1,
            Crash::PowerCut => self.counts.power_cuts += 1,
        }
        self.counts.lost_writes += lost;
        note_change!("n{node} is down, {lost} writes are lost");
    }

    fn start(&mut self, node: u64) {
        self.down.remove(&node);
        self.arrange_ways();
        self.sim.bounce(net::name(node));
    }

    fn heal(&mut self) {
        note_change!("everything is healed");
        self.cut.clear();
        self.held.clear();
        self.armed.clear();
        for node in 1..=self.nodes {
            self.disks[&node].set_sync_ms(self.sync_ms.clone());
            if self.down.contains_key(&node) {
                self.start(node);
            }
        }
        self.sim.set_max_message_latency(HEALED_LATENCY);
        self.arrange_ways();
        self.shared.end();
    }

    /// Brings the simulated network to what is cut, held and without power.
    fn arrange_ways(&mut self) {
        let without_power = |node: u64| self.down.get(&node) == Some(&Crash::PowerCut);
        let mut cuts = BTreeSet::new();
        for a in 1..=self.nodes {
            for b in a + 1..=self.nodes {
                let (one, other) = (net::name(a), net::name(b));
                if self.held.get(&(a, b)).is_some_and(|count| *count > 0) {
                    if self.is_held.insert((a, b)) {
                        self.sim.hold(one, other);
                    }
                    cuts.extend([(a, b), (b, a)]);
                    continue;
                }
                if self.is_held.remove(&(a, b)) {
                    self.sim.release(one, other);
                }
                for (from, to) in [(a, b), (b, a)] {
                    let is_cut = self.cut.get(&(from, to)).is_some_and(|count| *count > 0);
                    if is_cut || without_power(from) || without_power(to) {
                        cuts.insert((from, to));
                        self.sim.partition_oneway(net::name(from), net::name(to));
                    } else {
                        self.sim.repair_oneway(net::name(from), net::name(to));
                    }
                }
            }
        }
        self.cuts.set(cuts);
    }

    fn report(self) -> Report {
        let (digest, lines) = trace::digest();
        let [entries, acknowledged, inputs, rooms] = self.shared.judge(|judge| judge.figures());
        let Counts { kills, power_cuts, lost_writes, cuts } = self.counts;
        let summary = format!(
            "{} nodes, {entries} entries, {acknowledged} answers, {rooms} rooms, {inputs} choices; \
             {kills} kills, {power_cuts} power cuts, {lost_writes} lost writes, {cuts} cut ways; \
             {} ms",
            self.nodes,
            trace::now_ms(),
        );
        let violation = self.shared.judge(|judge| judge.violation().map(str::to_owned));
        Report { digest, lines, summary, violation }
    }
}
