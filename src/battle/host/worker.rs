//! The thread that plays the battles of its rooms: one delivery of its mailbox after the other, and
//! between them proposes what is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serverv2_machine::{
    AbortBattle, BattleSetup, Command, Digest, EndBattle, LogTime, NodeId, NumberedInput, RoomId,
    Seat, SocketId, TickBattle, WallTime,
};
use serverv2_raft::Cluster;
use tracing::field::display;
use tracing::{Span, debug, error, info, warn};

use super::super::engines::Engines;
use super::super::replica::Replica;
use super::mailbox::{Cause, Ending, Letter, Mailbox, Newcomer, Watcher};

/// How much battles stand back behind sockets and consensus, in steps of `nice`.
const WORKER_NICENESS: i32 = 5;
/// How often the same thing is proposed again while the log does not show it.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);
/// Head start of a room's home; each further node waits this much longer before it proposes the same.
const HEAD_START: Duration = Duration::from_secs(1);
/// Longest sleep of a worker that waits for nothing.
const IDLE: Duration = Duration::from_secs(5);

struct Room {
    replica: Replica,
    home: NodeId,
    /// After which input something was first seen to be due, and when.
    noticed: Option<(u32, Instant)>,
    /// After which input it was last proposed, and when.
    proposed: Option<(u32, Instant)>,
    ended: bool,
    /// Who has been told that the room is closed.
    told: Vec<SocketId>,
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

pub(super) struct Worker {
    cluster: Cluster,
    engines: Engines,
    runtime: tokio::runtime::Handle,
    mailbox: Arc<Mailbox>,
    /// How many rooms there are, for others to read.
    replicas: Arc<AtomicUsize>,
    rooms: HashMap<RoomId, Room>,
}

impl Worker {
    /// One without rooms; proposes through the runtime it is made in.
    pub(super) fn new(
        cluster: &Cluster,
        engines: &Engines,
        mailbox: Arc<Mailbox>,
        replicas: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            engines: engines.clone(),
            runtime: tokio::runtime::Handle::current(),
            mailbox,
            replicas,
            rooms: HashMap::new(),
        }
    }

    /// Works until the mailbox is closed.
    pub(super) fn run(mut self) {
        // On Linux the priority of this thread alone: sockets and consensus come first.
        if let Err(error) = rustix::process::setpriority_process(None, WORKER_NICENESS) {
            debug!(%error, "battle workers run at normal priority");
        }
        loop {
            self.replicas.store(self.rooms.len(), Ordering::Relaxed);
            let patience = self.propose_what_is_due();
            self.mailbox.wait(patience);
            #[cfg(feature = "failpoints")]
            fail::fail_point!("battles");
            let Some(delivery) = self.mailbox.take() else { return };
            for (room, letter) in delivery.letters {
                self.follow(room, letter, delivery.compare);
            }
            if delivery.compare {
                self.compare();
            }
        }
    }

    /// Does what a letter says. If replicas are to be compared, this one is before anything is said
    /// behind its last word.
    fn follow(&mut self, id: RoomId, letter: Letter, compare: bool) {
        if let (Some(setup), Some(home)) = (&letter.setup, letter.home) {
            self.open(id, setup, home, &letter.inputs);
        }
        match self.rooms.get_mut(&id) {
            Some(room) => {
                room.home = letter.home.unwrap_or(room.home);
                for (number, waiter) in letter.waiters {
                    room.replica.on_input(number, waiter);
                }
            }
            None => letter.waiters.into_iter().for_each(|(_, waiter)| waiter(None)),
        }
        self.attach(id, letter.newcomers, &letter.inputs, &letter.causes);
        for (seat, socket) in Seat::BOTH.into_iter().zip(letter.left) {
            if let (Some(room), Some(socket)) = (self.rooms.get_mut(&id), socket) {
                room.replica.detach(seat, &socket);
            }
        }
        self.consume(id, &letter.inputs, &letter.causes);
        if compare && self.rooms.contains_key(&id) {
            self.catch_up(id);
        }
        if let Some(ending) = letter.ending {
            self.end(id, ending);
        }
        for question in letter.questions {
            question(self.rooms.get_mut(&id).map(|room| &mut room.replica));
        }
        letter.sequels.into_iter().for_each(|sequel| sequel());
        if letter.removed {
            self.remove(id);
        }
    }

    fn open(
        &mut self,
        id: RoomId,
        setup: &Arc<BattleSetup>,
        home: NodeId,
        inputs: &[NumberedInput],
    ) {
        if self.rooms.contains_key(&id) {
            return;
        }
        let built = match self.engines.get(&setup.pack) {
            Some(engine) => {
                Replica::new(id, setup.clone(), engine.as_ref()).map_err(|e| e.to_string())
            }
            None => Err(format!("this node has not loaded {}", setup.pack)),
        };
        match built {
            Ok(replica) => {
                let room = Room {
                    replica,
                    home,
                    noticed: None,
                    proposed: None,
                    ended: false,
                    told: Vec::new(),
                };
                self.rooms.insert(id, room);
            }
            Err(reason) => {
                error!(room.id = %id, %reason, "a battle can't be played here");
                let after = inputs.last().map_or(0, |input| input.number);
                self.propose(Command::AbortBattle(AbortBattle { room: id, after }));
            }
        }
    }

    /// Lets each newcomer watch from behind the input at which it sat down.
    fn attach(
        &mut self,
        id: RoomId,
        newcomers: [Option<Newcomer>; 2],
        inputs: &[NumberedInput],
        causes: &[(u32, Cause)],
    ) {
        let seats = Seat::BOTH.into_iter().zip(newcomers);
        let mut newcomers: Vec<_> = seats.filter_map(|(seat, it)| Some((seat, it?))).collect();
        newcomers.sort_by_key(|(_, newcomer)| newcomer.after);
        for (seat, Newcomer { after, watcher: Watcher { audience, returned } }) in newcomers {
            let before = inputs.partition_point(|input| input.number <= after);
            self.consume(id, &inputs[..before], causes);
            let now = || (self.cluster.log_time(), WallTime(crate::random::wall_ms()));
            match self.rooms.get_mut(&id) {
                Some(room) if !room.ended => {
                    room.replica.attach(seat, audience, returned.then(now));
                }
                // The end was found in the state before it came by the feed.
                Some(room) if !room.told.contains(audience.id()) => {
                    audience.room_closed(id);
                    room.told.push(audience.id().clone());
                }
                _ => {}
            }
        }
    }

    /// Feeds inputs to a replica. A panic of the engine breaks that battle, not the worker.
    fn consume(&mut self, id: RoomId, inputs: &[NumberedInput], causes: &[(u32, Cause)]) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        for input in inputs {
            if room.replica.is_broken() {
                return;
            }
            let cause = causes.iter().find(|(number, _)| *number == input.number);
            let span = cause.map_or_else(Span::none, |(_, cause)| cause.span());
            let _cause = span.record("room.id", display(id)).clone().entered();
            let replica = &mut room.replica;
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replica.consume(input)))
            {
                Ok(Ok(())) => {}
                Ok(Err(_gap)) => {
                    debug!(room.id = %id, input = input.number, "inputs are missing: look at the state");
                    self.catch_up(id);
                    return;
                }
                Err(_panic) => {
                    error!(room.id = %id, input = input.number, "the engine failed: the battle is aborted");
                    room.replica.mark_broken();
                }
            }
        }
    }

    fn end(&mut self, id: RoomId, Ending { digest, audience }: Ending) {
        let Some(room) = self.rooms.get_mut(&id) else {
            audience.iter().for_each(|socket| socket.room_closed(id));
            return;
        };
        if std::mem::replace(&mut room.ended, true) {
            return;
        }
        // The feed may have left out inputs right before the end: they are told before the closing.
        if let Some(state) = self.missed(id) {
            self.consume(id, &state.inputs, &[]);
        }
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let (Some(recorded), Some((_, own))) = (digest, room.replica.end())
            && recorded != own
        {
            error!(room.id = %id, %recorded, %own, "replicas of a battle differ: the recorded result counts");
        }
        room.told = room.replica.close();
    }

    fn remove(&mut self, id: RoomId) {
        if let Some(mut room) = self.rooms.remove(&id) {
            room.replica.close();
        }
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

    /// Brings every replica up to the replicated state, and closes those of rooms that are gone.
    fn compare(&mut self) {
        info!(rooms = self.rooms.len(), "compare battles with the replicated state");
        let ids: Vec<RoomId> = self.rooms.keys().copied().collect();
        for id in ids {
            if !self.catch_up(id) {
                warn!(room.id = %id, "a room was removed unseen");
                self.remove(id);
            }
        }
    }

    /// Feeds a replica what it missed, and ends it if it is over. False if there is no such room any more.
    fn catch_up(&mut self, id: RoomId) -> bool {
        let Some(state) = self.missed(id) else { return false };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.home = state.home;
        }
        self.consume(id, &state.inputs, &[]);
        if !state.live {
            self.end(id, Ending { digest: state.digest, audience: Vec::new() });
        }
        true
    }

    /// What the state says of a room beyond what its replica has consumed; `None` if it is gone.
    fn missed(&self, id: RoomId) -> Option<Missed> {
        let last = self.rooms.get(&id).map_or(0, |room| room.replica.last_input()) as usize;
        let state = self.cluster.read(|machine, _| {
            machine.room(id).map(|room| Missed {
                inputs: room.inputs.iter().skip(last).cloned().collect(),
                home: room.home,
                live: room.is_live(),
                digest: room.end.and_then(|end| end.result).map(|(_, digest)| digest),
            })
        });
        state.value
    }
}

/// What the state says of a room.
struct Missed {
    inputs: Vec<NumberedInput>,
    home: NodeId,
    live: bool,
    digest: Option<Digest>,
}

/// This node's turn among the live ones, from 1, where it is not the home.
fn rank_of(cluster: &Cluster) -> u32 {
    let me = cluster.node();
    let before =
        cluster.read(|machine, _| machine.nodes().filter(|node| node.live && node.id < me).count());
    u32::try_from(before.value).unwrap_or(u32::MAX).saturating_add(1)
}
