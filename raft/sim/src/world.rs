//! One run: nodes, players and what goes wrong, on one thread and by one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serverv2_machine::{CreatePlayer, Digest, KeyScope, NanoId, NodeId, PackRef, PlayerId, Tick, WallTime};
use serverv2_machine::ScopedKey;
use serverv2_raft::simulation::{self, Crash, Disk, Planted};
use serverv2_raft::{Cluster, ClusterSecret, NodeConfig};
use tokio::time::sleep;
use turmoil::Sim;

use crate::chaos::{self, Change, HEALED_MS};
use crate::logs;
use crate::net::{self, Cuts, Door, Ways};
use crate::players::Player;
use crate::shared::Shared;
use crate::trace::{self, note};

const PLAYERS: RangeInclusive<u64> = 4..=8;
/// A cluster of five now and then.
const FIVE_NODES: f64 = 0.2;
/// The longest that nodes may take to come together when nothing goes wrong any more, milliseconds.
const SETTLE_MS: u64 = 30_000;
/// How often a node is looked at, and what is due is proposed.
const LOOK: Duration = Duration::from_millis(25);
/// How often a node that has not settled is asked.
const SETTLE_LOOK: Duration = Duration::from_millis(50);
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
    pub(crate) planted: Option<Planted>,
    pub(crate) shown: bool,
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
    /// How often each directed way is cut, and each pair held.
    cut: BTreeMap<(u64, u64), u32>,
    held: BTreeMap<(u64, u64), u32>,
    is_held: BTreeSet<(u64, u64)>,
    /// Of a disk that nothing is wrong with.
    sync_ms: Range<u64>,
    counts: Counts,
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
    if run.shown {
        trace::show();
        logs::show();
    }
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{panic}");
    }));
    if let Some(defect) = run.planted {
        simulation::plant(defect);
    }
    simulation::set_wall(|| {
        let passed = turmoil::sim_elapsed().unwrap_or_default();
        WallTime(EPOCH_MS + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    });
    let mut rng = StdRng::seed_from_u64(run.seed);
    let nodes = if rng.random_bool(FIVE_NODES) { 5 } else { 3 };
    let shared = Shared::default();
    let judging = shared.clone();
    simulation::observe(move |seen| judging.judge(|judge| judge.applied(seen)));
    let mut world = World::new(run.seed, nodes, shared, &mut rng);
    let players = rng.random_range(PLAYERS);
    note!("seed {}: {nodes} nodes, {players} players", run.seed);
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
        let (is_held, counts) = (BTreeSet::new(), Counts::default());
        Self { sim, nodes, disks, shared, cuts, down, cut, held, is_held, sync_ms, counts }
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
        let mut is_healed = false;
        loop {
            let now = u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX);
            trace::set_now(now.into());
            while let Some((_, change)) = plan.next_if(|(at, _)| *at <= now) {
                self.change(*change);
            }
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
        note!("{change}");
        self.arrange_ways();
    }

    /// A dead process's sockets are closed by its kernel; a machine without power says nothing.
    fn crash(&mut self, node: u64, how: Crash) {
        self.down.insert(node, how);
        self.arrange_ways();
        self.shared.close(node);
        self.sim.crash(net::name(node));
        let lost = self.disks[&node].crash(how);
        match how {
            Crash::Kill => self.counts.kills += 1,
            Crash::PowerCut => self.counts.power_cuts += 1,
        }
        self.counts.lost_writes += lost;
        note!("n{node} is down, {lost} writes are lost");
    }

    fn start(&mut self, node: u64) {
        self.down.remove(&node);
        self.arrange_ways();
        self.sim.bounce(net::name(node));
    }

    fn heal(&mut self) {
        note!("everything is healed");
        self.cut.clear();
        self.held.clear();
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

/// What a node is made of, in each of its lives.
struct Node {
    config: NodeConfig,
    disk: Disk,
    cuts: Cuts,
    shared: Shared,
}

impl Node {
    /// From its start to its end.
    async fn live(self: Rc<Self>) -> turmoil::Result {
        let node = self.config.node.0;
        let ways = Arc::new(Ways { node, cuts: self.cuts.clone() });
        let door = Door::open(node).await?;
        let starting = simulation::start(self.config.clone(), self.disk.clone(), ways, door);
        let (cluster, mut feed) = starting.await?;
        note!("n{node} has started");
        tokio::spawn(async move { while feed.recv().await.is_some() {} });
        tokio::task::spawn_local(watch(cluster.clone(), self.shared.clone()));
        let mut errands = self.shared.open(node);
        loop {
            tokio::select! {
                biased;
                why = cluster.stopped() => return Err(why.to_string().into()),
                errand = errands.recv() => match errand {
                    Some(errand) => drop(tokio::task::spawn_local(errand(cluster.clone()))),
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Tells the judge what a node says of itself, and proposes what is due if it leads.
async fn watch(cluster: Cluster, shared: Shared) {
    let mut ticking = None;
    loop {
        let status = cluster.status();
        shared.judge(|judge| judge.votes(status.node, status.vote));
        let due = cluster.read(|machine, _| machine.next_deadline()).value;
        let is_due = status.is_leader && due.is_some_and(|due| due <= cluster.log_time());
        if is_due && ticking.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            let cluster = cluster.clone();
            ticking = Some(tokio::task::spawn_local(async move {
                // Whoever leads then proposes it again.
                let _ = cluster.propose(Tick, None).await;
            }));
        }
        sleep(LOOK).await;
    }
}

/// Waits for the end of all faults; then a command must succeed through each node, and all of them must come
/// to the same index.
async fn come_together(shared: &Shared, nodes: u64) {
    sleep(Duration::from_millis(HEALED_MS)).await;
    for node in 1..=nodes {
        let player = PlayerId(NanoId::from_entropy(&[u8::try_from(node).unwrap_or(0); 32]));
        let scope = KeyScope::Player(player);
        let key = ScopedKey { scope, key: "probe".parse().expect("it is short and plain") };
        loop {
            let (probe, under) = (CreatePlayer { player, name: "probe".into() }, key.clone());
            let asked = shared.on(node, move |cluster| async move {
                cluster.submit(cluster.next_request(), probe.into(), Some(under)).await
            });
            if let Some(Ok(answer)) = asked.await {
                note!("n{node} takes a command at {}", answer.index);
                shared.judge(|judge| judge.acknowledged(&key, &answer));
                if answer.outcome.is_ok() {
                    break;
                }
            }
            sleep(SETTLE_LOOK).await;
        }
    }
    loop {
        let mut indexes = BTreeSet::new();
        for node in 1..=nodes {
            let applied = shared.on(node, |cluster| async move { cluster.status().applied }).await;
            indexes.insert(applied.unwrap_or_default());
        }
        let last = shared.judge(|judge| judge.last_index());
        if indexes.iter().eq([&last]) {
            note!("all nodes are at {last}");
            shared.judge(|judge| judge.conclude(last));
            return shared.settle();
        }
        sleep(SETTLE_LOOK).await;
    }
}
