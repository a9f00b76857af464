//! Nodes on a simulated disk and network, for `raft/sim`.
//!
//! Everything between is what runs in earnest: forming a cluster, consensus, batching, forwarding, answers
//! by request id, presence, succession, snapshots and what nodes say to each other. What is simulated is
//! below that: the bytes on a disk ([`Disk`]), the way to peers ([`Net`]), and time, which is that of the
//! runtime's paused timers. All nodes of a simulation run on one thread.
//!
//! What consensus decided is shown to one observer of the thread ([`observe`]), on each node, before anybody
//! is answered. And disks can lie ([`Planted`]), so that a simulation can prove that it notices.
//!
//! Compiled in by the feature `simulation` alone, which no build of `serverv2-raft` asks for: `raft/sim` compiles
//! these sources as a library of its own.

mod disk;
mod log;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serverv2_machine::{Applied, Entry, Machine, NodeId, Records, WallTime};

pub(crate) use self::disk::Image;
pub use self::disk::{Crash, Disk};
use crate::applier::State;
use crate::cluster::Cluster;
use crate::disk::Disk as AnyDisk;
use crate::error::StartError;
use crate::feed::EffectFeed;
pub use crate::ground::{Duplex, Listener, Net, Stream};
use crate::node::{Node, NodeConfig};

/// A defect of all disks, for as long as the simulation lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Entries count as durable before they are.
    AppendUnsynced,
    /// So does a vote.
    VoteUnsynced,
}

/// An entry that a node has just applied.
pub struct Seen<'a> {
    /// Where.
    pub node: NodeId,
    /// Index of the entry.
    pub index: u64,
    /// Term of the entry.
    pub term: u64,
    /// The leader who appended it.
    pub leader: NodeId,
    /// What it says; `None` where it is consensus's own.
    pub entry: Option<&'a Entry>,
    /// What became of its proposals.
    pub applied: &'a [Applied],
    /// The state behind it.
    pub machine: &'a Machine,
    /// The records behind it.
    pub records: &'a dyn Records,
}

type Observer = Box<dyn FnMut(&Seen<'_>)>;

thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    static WALL: Cell<Option<fn() -> WallTime>> = const { Cell::new(None) };
    static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
}

/// Shows every entry that a node of this thread applies from here on.
pub fn observe(observer: impl FnMut(&Seen<'_>) + 'static) {
    OBSERVER.set(Some(Box::new(observer)));
}

/// Sets the wall clock of this thread's nodes.
pub fn set_wall(wall: fn() -> WallTime) {
    WALL.set(Some(wall));
}

/// Plants a defect into this thread's nodes.
pub fn plant(defect: Planted) {
    PLANTED.set(Some(defect));
}

/// Starts a node on the caller's runtime. The disk must not be in use.
pub async fn start(
    config: NodeConfig,
    disk: Disk,
    net: Arc<dyn Net>,
    listener: Box<dyn Listener>,
) -> Result<(Cluster, EffectFeed), StartError> {
    disk.open();
    let disk = AnyDisk::Simulated(disk);
    let (node, gate) = Node::start_simulated(&config, disk, net, listener).await?;
    Cluster::join_in(config, node, &gate).await
}

pub(crate) fn wall() -> Option<WallTime> {
    WALL.get().map(|wall| wall())
}

pub(crate) fn is_planted(defect: Planted) -> bool {
    PLANTED.get() == Some(defect)
}

/// The applier's hook.
pub(crate) fn applied(node: NodeId, entry: Option<&Entry>, applied: &[Applied], state: &State) {
    let Some(id) = state.applied else { return };
    OBSERVER.with_borrow_mut(|observer| {
        if let Some(observer) = observer {
            let (term, leader) = (id.leader_id.term, NodeId(id.leader_id.node_id));
            let (machine, records) = (&state.machine, &state.records);
            observer(&Seen {
                node,
                index: id.index,
                term,
                leader,
                entry,
                applied,
                machine,
                records,
            });
        }
    });
}
