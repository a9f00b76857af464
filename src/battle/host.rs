//! Where the battles seen by this node are played: replicas on worker threads, away from sockets and Raft.
//!
//! Each room belongs to one worker, which takes orders from a bounded mailbox. The dispatcher never
//! waits for a worker: an order that finds the mailbox full is dropped and the worker told to
//! compare all its replicas with the replicated state as soon as it gets there. The same comparison
//! serves after a gap in the effect feed. So a slow engine delays its own battles and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serverv2_machine::{
    AbortBattle, BattleSetup, Command, Digest, EndBattle, LogTime, NodeId, NumberedInput, RoomId,
    Seat, SocketId, TickBattle,
};
use serverv2_raft::Cluster;
use tracing::{debug, error, info, warn};

use super::engines::Engines;
use super::replica::{OnInput, Replica};

pub use super::replica::Audience;

/// Orders one worker may have waiting.
const MAILBOX_MAX: usize = 16_384;
/// How much battles stand back behind sockets and consensus, in steps of `nice`.
const WORKER_NICENESS: i32 = 5;
/// How often the same thing is proposed again while the log does not show it.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);
/// Head start of a room's home; each further node waits this much longer before it proposes the same.
const HEAD_START: Duration = Duration::from_secs(1);
/// Longest sleep of a worker that waits for nothing.
const IDLE: Duration = Duration::from_secs(5);

/// Something to do with a replica, in its place among the room's inputs.
pub type Visit = Box<dyn FnOnce(Option<&mut Replica>) + Send>;

enum Order {
    Open { room: RoomId, opening: Opening },
    Input { room: RoomId, input: NumberedInput },
    Ended { room: RoomId, digest: Option<Digest> },
    Removed { room: RoomId },
    HomeMoved { room: RoomId, home: NodeId },
    Visit { room: RoomId, visit: Visit },
    Compare,
}

/// What a replica starts from.
pub struct Opening {
    /// The room's set-up.
    pub setup: Arc<BattleSetup>,
    /// All inputs so far.
    pub inputs: Vec<NumberedInput>,
    /// The node that proposes first.
    pub home: NodeId,
    /// The sockets of this node that sit in the room.
    pub audience: Vec<(Seat, Arc<dyn Audience>)>,
}

struct WorkerHandle {
    mailbox: SyncSender<Order>,
    lagging: Arc<AtomicBool>,
    replicas: Arc<AtomicUsize>,
}

/// See the module's text.
pub struct BattleHost {
    workers: Vec<WorkerHandle>,
}

impl BattleHost {
    /// Starts the workers: cores less one, at least one. They end when the host is dropped.
    pub fn start(cluster: &Cluster, engines: &Engines) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Handle::current();
        let workers = (0..cores.saturating_sub(1).max(1))
            .map(|number| {
                let (mailbox, orders) = sync_channel(MAILBOX_MAX);
                let lagging = Arc::new(AtomicBool::new(false));
                let replicas = Arc::<AtomicUsize>::default();
                let worker = Worker {
                    cluster: cluster.clone(),
                    engines: engines.clone(),
                    runtime: runtime.clone(),
                    lagging: lagging.clone(),
                    replicas: replicas.clone(),
                    rooms: HashMap::new(),
                };
                std::thread::Builder::new()
                    .name(format!("battles-{number}"))
                    .spawn(move || worker.run(&orders))?;
                Ok(WorkerHandle { mailbox, lagging, replicas })
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Builds a replica, unless there is one; then its sockets join.
    pub fn open(&self, room: RoomId, opening: Opening) {
        self.order(room, Order::Open { room, opening });
    }

    /// The battle got an input.
    pub fn input(&self, room: RoomId, input: NumberedInput) {
        self.order(room, Order::Input { room, input });
    }

    /// Calls back with what an input came to, as soon as the replica has consumed it.
    pub fn on_input(&self, room: RoomId, number: u32, waiter: OnInput) {
        self.visit(room, move |replica| match replica {
            Some(replica) => replica.on_input(number, waiter),
            None => waiter(None),
        });
    }

    /// The end is recorded: what it sent comes before the closing of the room.
    pub fn ended(&self, room: RoomId, digest: Option<Digest>) {
        self.order(room, Order::Ended { room, digest });
    }

    /// The room can't be asked for any more.
    pub fn removed(&self, room: RoomId) {
        self.order(room, Order::Removed { room });
    }

    /// Another node proposes first from now on.
    pub fn home_moved(&self, room: RoomId, home: NodeId) {
        self.order(room, Order::HomeMoved { room, home });
    }

    /// A socket watches from this seat from now on.
    pub fn attach(&self, room: RoomId, seat: Seat, audience: Arc<dyn Audience>) {
        self.visit(room, move |replica| {
            if let Some(replica) = replica {
                replica.attach(seat, audience);
            }
        });
    }

    /// A socket no longer watches.
    pub fn detach(&self, room: RoomId, seat: Seat, socket: SocketId) {
        self.visit(room, move |replica| {
            if let Some(replica) = replica {
                replica.detach(seat, &socket);
            }
        });
    }

    /// Runs on the room's worker after everything ordered before; `None` if there is no such replica.
    pub fn visit(&self, room: RoomId, visit: impl FnOnce(Option<&mut Replica>) + Send + 'static) {
        self.order(room, Order::Visit { room, visit: Box::new(visit) });
    }

    /// Compares all replicas with the replicated state: after a gap in the effect feed.
    pub fn compare_all(&self) {
        for worker in &self.workers {
            worker.lagging.store(true, Ordering::Release);
            // A full mailbox wakes the worker by itself.
            let _ = worker.mailbox.try_send(Order::Compare);
        }
    }

    /// How many replicas are kept here, those of battles that have just ended among them.
    pub fn replicas(&self) -> usize {
        self.workers.iter().map(|worker| worker.replicas.load(Ordering::Relaxed)).sum()
    }

    fn order(&self, room: RoomId, order: Order) {
        let spread = room
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let worker = &self.workers[spread % self.workers.len()];
        if worker.mailbox.try_send(order).is_err() {
            worker.lagging.store(true, Ordering::Release);
        }
    }
}

struct Room {
    replica: Replica,
    home: NodeId,
    /// After which input something was first seen to be due, and when.
    noticed: Option<(u32, Instant)>,
    /// After which input it was last proposed, and when.
    proposed: Option<(u32, Instant)>,
    ended: bool,
}

impl Room {
    /// How long until something is to be proposed; `None` if nothing will be.
    fn wait(&mut self, now: LogTime, rank: u32) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let after = self.replica.last_input();
        let due = self.replica.is_broken() || self.replica.end().is_some();
        let until_due = if due { 0 } else { self.replica.progress().wake_at?.ms_since(now) };
        if until_due > 0 {
            return Some(Duration::from_millis(until_due) + HEAD_START * rank);
        }
        let noticed =
            self.noticed.filter(|(at, _)| *at == after).unwrap_or_else(|| (after, Instant::now()));
        self.noticed = Some(noticed);
        let turn = (HEAD_START * rank).saturating_sub(noticed.1.elapsed());
        let again = self.proposed.filter(|(at, _)| *at == after);
        Some(turn.max(
            again.map_or(Duration::ZERO, |(_, when)| PROPOSE_AGAIN.saturating_sub(when.elapsed())),
        ))
    }

    fn due(&self, id: RoomId) -> Command {
        let after = self.replica.last_input();
        match self.replica.end() {
            // The input it broke on is in the log, though not in the replica.
            _ if self.replica.is_broken() => {
                Command::AbortBattle(AbortBattle { room: id, after: after + 1 })
            }
            Some((outcome, digest)) => {
                Command::EndBattle(EndBattle { room: id, after, outcome, digest })
            }
            None => Command::TickBattle(TickBattle { room: id, after }),
        }
    }
}

struct Worker {
    cluster: Cluster,
    engines: Engines,
    runtime: tokio::runtime::Handle,
    lagging: Arc<AtomicBool>,
    /// How many rooms there are, for others to read.
    replicas: Arc<AtomicUsize>,
    rooms: HashMap<RoomId, Room>,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        // On Linux the priority of this thread alone: sockets and consensus come first.
        if let Err(error) = rustix::process::setpriority_process(None, WORKER_NICENESS) {
            debug!(%error, "battle workers run at normal priority");
        }
        loop {
            self.replicas.store(self.rooms.len(), Ordering::Relaxed);
            let patience = self.propose_what_is_due();
            match orders.recv_timeout(patience) {
                Ok(order) => self.follow(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(order) = orders.try_recv() {
                self.follow(order);
            }
            if self.lagging.swap(false, Ordering::AcqRel) {
                self.compare();
            }
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Open { room, opening } => self.open(room, opening),
            Order::Input { room, input } => self.consume(room, &[input]),
            Order::Ended { room, digest } => self.end(room, digest),
            Order::Removed { room } => {
                if let Some(mut room) = self.rooms.remove(&room) {
                    room.replica.close();
                }
            }
            Order::HomeMoved { room, home } => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.home = home;
                }
            }
            Order::Visit { room, visit } => {
                visit(self.rooms.get_mut(&room).map(|room| &mut room.replica));
            }
            Order::Compare => {}
        }
    }

    fn open(&mut self, room: RoomId, opening: Opening) {
        if !self.rooms.contains_key(&room) {
            let Some(replica) = self.build(room, &opening) else { return };
            let home = opening.home;
            self.rooms
                .insert(room, Room { replica, home, noticed: None, proposed: None, ended: false });
        }
        self.consume(room, &opening.inputs);
        if let Some(room) = self.rooms.get_mut(&room) {
            for (seat, audience) in opening.audience {
                room.replica.attach(seat, audience);
            }
        }
    }

    fn build(&self, room: RoomId, opening: &Opening) -> Option<Replica> {
        let built = match self.engines.get(&opening.setup.pack) {
            Some(engine) => Replica::new(room, opening.setup.clone(), engine.as_ref())
                .map_err(|e| e.to_string()),
            None => Err(format!("this node has not loaded {}", opening.setup.pack)),
        };
        match built {
            Ok(replica) => Some(replica),
            Err(reason) => {
                error!(room.id = %room, %reason, "a battle can't be played here");
                let after = opening.inputs.last().map_or(0, |input| input.number);
                self.propose(Command::AbortBattle(AbortBattle { room, after }));
                None
            }
        }
    }

    /// Feeds inputs to a replica. A panic of the engine breaks that battle, not the worker.
    fn consume(&mut self, id: RoomId, inputs: &[NumberedInput]) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        for input in inputs {
            if room.replica.is_broken() {
                return;
            }
            let replica = &mut room.replica;
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replica.consume(input)))
            {
                Ok(Ok(())) => {}
                Ok(Err(_gap)) => {
                    debug!(room.id = %id, input = input.number, "inputs are missing: compare with the state");
                    self.lagging.store(true, Ordering::Release);
                    return;
                }
                Err(_panic) => {
                    error!(room.id = %id, input = input.number, "the engine failed: the battle is aborted");
                    room.replica.mark_broken();
                }
            }
        }
    }

    fn end(&mut self, id: RoomId, recorded: Option<Digest>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if std::mem::replace(&mut room.ended, true) {
            return;
        }
        if let (Some(recorded), Some((_, own))) = (recorded, room.replica.end())
            && recorded != own
        {
            error!(room.id = %id, %recorded, %own, "replicas of a battle differ: the recorded result counts");
        }
        room.replica.close();
    }

    /// Proposes ticks, ends and aborts that are due; returns how long to sleep at most.
    fn propose_what_is_due(&mut self) -> Duration {
        let now = self.cluster.log_time();
        let me = self.cluster.node();
        let mut patience = IDLE;
        let mut due = Vec::new();
        let mut rank = None;
        for (id, room) in &mut self.rooms {
            let rank = if room.home == me {
                0
            } else {
                *rank.get_or_insert_with(|| rank_of(&self.cluster))
            };
            match room.wait(now, rank) {
                None => {}
                Some(wait) if wait.is_zero() => {
                    room.proposed = Some((room.replica.last_input(), Instant::now()));
                    patience = patience.min(PROPOSE_AGAIN);
                    due.push(room.due(*id));
                }
                Some(wait) => patience = patience.min(wait),
            }
        }
        for command in due {
            self.propose(command);
        }
        patience
    }

    /// Proposes without waiting; what does not come through is proposed again while it is still due.
    fn propose(&self, command: Command) {
        let cluster = self.cluster.clone();
        self.runtime.spawn(async move {
            let request = cluster.next_request();
            if let Err(error) = cluster.submit(request, command, None).await {
                debug!(%error, "a battle's proposal did not come through");
            }
        });
    }

    /// Brings every replica up to the replicated state: feeds what it missed, closes what is over.
    fn compare(&mut self) {
        info!(rooms = self.rooms.len(), "compare battles with the replicated state");
        let ids: Vec<RoomId> = self.rooms.keys().copied().collect();
        for id in ids {
            let last = self.rooms.get(&id).map_or(0, |room| room.replica.last_input()) as usize;
            let state = self.cluster.read(|machine, _| {
                machine.room(id).map(|room| {
                    let missed: Vec<_> = room.inputs.iter().skip(last).cloned().collect();
                    (
                        missed,
                        room.home,
                        room.is_live(),
                        room.end.and_then(|end| end.result).map(|(_, digest)| digest),
                    )
                })
            });
            match state.value {
                None => {
                    warn!(room.id = %id, "a room was removed unseen");
                    self.follow(Order::Removed { room: id });
                }
                Some((missed, home, live, digest)) => {
                    self.follow(Order::HomeMoved { room: id, home });
                    self.consume(id, &missed);
                    if !live {
                        self.end(id, digest);
                    }
                }
            }
        }
    }
}

/// This node's turn among the live ones, from 1, where it is not the home.
fn rank_of(cluster: &Cluster) -> u32 {
    let me = cluster.node();
    let before =
        cluster.read(|machine, _| machine.nodes().filter(|node| node.live && node.id < me).count());
    u32::try_from(before.value).unwrap_or(u32::MAX).saturating_add(1)
}
