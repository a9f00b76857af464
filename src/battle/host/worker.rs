//! The thread that plays the battles of its rooms: one delivery of its mailbox after the other, and
//! between them proposes what is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serverv2_machine::{
    BattleSetup, Command, Digest, NodeId, NumberedInput, RoomId, Seat, StateDigest, WallTime,
};
use serverv2_raft::Cluster;
use tracing::{debug, error, info, warn};

use super::super::engines::Engines;
use super::mailbox::{Cause, Ending, Letter, Mailbox, Newcomer, Watcher};
use super::repair::{Faults, count};
use super::room::{PROPOSE_AGAIN, Room, abort};

/// How much battles stand back behind sockets and consensus, in steps of `nice`.
const WORKER_NICENESS: i32 = 5;
/// Longest sleep of a worker that waits for nothing.
const IDLE: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    pub(super) cluster: Cluster,
    pub(super) engines: Engines,
    runtime: tokio::runtime::Handle,
    mailbox: Arc<Mailbox>,
    /// How many rooms there are, for others to read.
    replicas: Arc<AtomicUsize>,
    pub(super) faults: Arc<Faults>,
    pub(super) rooms: HashMap<RoomId, Room>,
}

impl Worker {
    /// One without rooms; proposes through the runtime it is made in.
    pub(super) fn new(
        cluster: &Cluster,
        engines: &Engines,
        mailbox: Arc<Mailbox>,
        replicas: Arc<AtomicUsize>,
        faults: Arc<Faults>,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            engines: engines.clone(),
            runtime: tokio::runtime::Handle::current(),
            mailbox,
            replicas,
            faults,
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
        for statement in letter.statements {
            self.compare_with(id, statement);
        }
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
        match self.build(id, setup) {
            Ok(replica) => {
                self.rooms.insert(id, Room::new(replica, home));
            }
            Err(reason) => {
                error!(room.id = %id, %reason, "a battle can't be played here");
                self.propose(abort(id, inputs.last().map_or(0, |input| input.number)));
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
            count(&self.faults.differed);
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
        let alone = !self.cluster.has_peers();
        let mut due = Vec::new();
        let mut broken = Vec::new();
        let mut rank = None;
        self.rooms.retain(|_, room| !room.is_idle(me));
        for (id, room) in &mut self.rooms {
            if room.home == me
                && !alone
                && !room.ended
                && let Some((number, digest)) = room.replica.last_digest()
                && number > room.stated
            {
                room.stated = number;
                due.push(StateDigest { room: *id, number, digest, rebuilt: room.rebuilt }.into());
            }
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
                    match room.due(*id) {
                        Some(command) => due.push(command),
                        None => broken.push(*id),
                    }
                }
                Some(wait) => patience = patience.min(wait),
            }
        }
        due.extend(broken.into_iter().filter_map(|id| Some(abort(id, self.last_number(id)?))));
        for command in due {
            self.propose(command);
        }
        patience
    }

    /// Proposes without waiting; what does not come through is proposed again while it is still due.
    pub(super) fn propose(&self, command: Command) {
        let cluster = self.cluster.clone();
        self.runtime.spawn(async move {
            let request = cluster.next_request();
            if let Err(error) = cluster.submit(request, command, None).await {
                debug!(%error, "a battle's proposal did not come through");
            }
        });
    }

    /// Number of the last input in the state; `None` if the room is gone.
    fn last_number(&self, id: RoomId) -> Option<u32> {
        self.cluster.read(|machine, _| machine.room(id).map(|room| room.last_number())).value
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
    pub(super) fn catch_up(&mut self, id: RoomId) -> bool {
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
    pub(super) fn missed(&self, id: RoomId) -> Option<Missed> {
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
pub(super) struct Missed {
    pub(super) inputs: Vec<NumberedInput>,
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
