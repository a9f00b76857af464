//! Where the battles seen by this node are played: replicas on worker threads, away from sockets and Raft.
//!
//! Each room belongs to one worker, which takes orders from its mailbox (`host/mailbox.rs`). Nobody
//! waits for a worker, and what the log decided is never dropped on the way to it: orders that wait are
//! gathered room by room. So a slow engine delays its own worker's battles and nothing else. After a gap
//! in the effect feed the workers compare their replicas with the replicated state.
//!
//! A replica is kept where sockets watch it and where its room has its home; elsewhere it is dropped
//! some seconds after the last socket went (`host/room.rs`), and built again from set-up and inputs when
//! one comes. So a node keeps at most one for each room of the cluster, of which there are at most
//! [`ROOMS_MAX`](serverv2_machine::limits::ROOMS_MAX): there is no bound of its own, since a node that
//! refused a battle to a socket would stick it. One that fails or differs is repaired (`host/repair.rs`).

mod mailbox;
mod repair;
mod room;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serverv2_machine::{NodeId, NumberedInput, RoomId, Seat, SocketId};
use serverv2_raft::Cluster;

use self::mailbox::{LETTERS_MAX, Mailbox};
use self::repair::Faults;
use self::worker::Worker;
use super::engines::Engines;
use super::replica::{OnInput, Replica};

pub use self::mailbox::{Cause, Ending, Opening, Watcher};
pub use self::repair::Statement;
pub use super::replica::Audience;

struct WorkerHandle {
    mailbox: Arc<Mailbox>,
    replicas: Arc<AtomicUsize>,
}

/// See the module's text.
pub struct BattleHost {
    workers: Vec<WorkerHandle>,
    faults: Arc<Faults>,
}

impl BattleHost {
    /// Starts the workers: cores less one, at least one. They end when the host is dropped.
    pub fn start(cluster: &Cluster, engines: &Engines) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let faults = Arc::<Faults>::default();
        let workers = (0..cores.saturating_sub(1).max(1))
            .map(|number| {
                let mailbox = Arc::new(Mailbox::new(LETTERS_MAX));
                let replicas = Arc::<AtomicUsize>::default();
                let (mail, count) = (mailbox.clone(), replicas.clone());
                let worker = Worker::new(cluster, engines, mail, count, faults.clone());
                std::thread::Builder::new()
                    .name(format!("battles-{number}"))
                    .spawn(move || worker.run())?;
                Ok(WorkerHandle { mailbox, replicas })
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { workers, faults })
    }

    /// Builds a replica, unless there is one; then its sockets join.
    pub fn open(&self, room: RoomId, opening: Opening) {
        self.mailbox(room).write(room, |letter| letter.open(opening));
    }

    /// The battle got an input.
    pub fn input(&self, room: RoomId, input: NumberedInput, cause: Cause) {
        self.mailbox(room).write(room, |letter| {
            letter.causes.push((input.number, cause));
            letter.input(input);
        });
    }

    /// Calls back with what an input came to, as soon as the replica has consumed it. Dropped if too
    /// many wait for the worker.
    pub fn on_input(&self, room: RoomId, number: u32, waiter: OnInput) {
        // Dropped here, behind the mailbox's lock.
        let _refused = self.mailbox(room).write(room, |letter| letter.wait(number, waiter));
    }

    /// The end is recorded: what it sent comes before the closing of the room.
    pub fn ended(&self, room: RoomId, ending: Ending) {
        self.mailbox(room).write(room, |letter| letter.end(ending));
    }

    /// What another node's replica makes of the battle; this node's is compared with it.
    pub fn stated(&self, room: RoomId, statement: Statement) {
        self.mailbox(room).write(room, |letter| letter.state(statement));
    }

    /// The room can't be asked for any more.
    pub fn removed(&self, room: RoomId) {
        self.mailbox(room).write(room, |letter| letter.removed = true);
    }

    /// Another node proposes first from now on.
    pub fn home_moved(&self, room: RoomId, home: NodeId) {
        self.mailbox(room).write(room, |letter| letter.home = Some(home));
    }

    /// A socket no longer watches.
    pub fn detach(&self, room: RoomId, seat: Seat, socket: SocketId) {
        self.mailbox(room).write(room, |letter| letter.leave(seat, socket));
    }

    /// Asks on the room's worker, behind everything ordered before; `None` if there is no such replica.
    /// Dropped if too many questions wait for the worker.
    pub fn visit(&self, room: RoomId, visit: impl FnOnce(Option<&mut Replica>) + Send + 'static) {
        // Dropped here, behind the mailbox's lock.
        let _refused = self.mailbox(room).write(room, |letter| letter.ask(Box::new(visit)));
    }

    /// Runs on the room's worker once its sockets have heard everything ordered before.
    pub fn after(&self, room: RoomId, sequel: impl FnOnce() + Send + 'static) {
        self.mailbox(room).write(room, |letter| letter.sequels.push(Box::new(sequel)));
    }

    /// Compares all replicas with the replicated state: after a gap in the effect feed.
    pub fn compare_all(&self) {
        self.workers.iter().for_each(|worker| worker.mailbox.compare());
    }

    /// How many replicas are kept here, those of battles that have just ended among them.
    pub fn replicas(&self) -> usize {
        self.workers.iter().map(|worker| worker.replicas.load(Ordering::Relaxed)).sum()
    }

    /// What went wrong with replicas here since the start, by name.
    pub fn faults(&self) -> [(&'static str, u64); 4] {
        self.faults.read()
    }

    fn mailbox(&self, room: RoomId) -> &Mailbox {
        let spread = room
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        &self.workers[spread % self.workers.len()].mailbox
    }
}

impl Drop for BattleHost {
    fn drop(&mut self) {
        self.workers.iter().for_each(|worker| worker.mailbox.close());
    }
}
