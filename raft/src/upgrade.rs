//! Rolling upgrades: when new behaviour is switched on, and a new pack.
//!
//! Nodes are replaced one by one; the behaviour level stays what it was, so until it is raised any of them may
//! go back to the older build. Raising it is the operator's step ([`Cluster::upgrade`]): from then on an older
//! build is not let in. It wants every *member* to be there and to know the level, where the machine can only
//! look at live nodes: a member that is away with an older build could never come back.
//!
//! A cluster that is new has nothing to go back to: the node that put it to work raises the level as soon as
//! all members know it.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use serverv2_machine::limits::NODES_MAX;
use serverv2_machine::{ActivatePack, ForgetNode, NodeId, PackRef, RaiseLevel};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::error::ProposeError;
use crate::node::Node;
use crate::versions::own_level;

/// How often the leader looks.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// For how many looks an upgrade must be due before it is worth a warning: a new cluster takes it by itself.
const DUE_LOOKS: u32 = 6;

/// Which behaviour levels there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The one in force.
    pub in_force: u32,
    /// The highest one of this build.
    pub known_here: u32,
    /// What each member knows; `None`: it is not live.
    pub members: BTreeMap<NodeId, Option<u32>>,
}

impl Levels {
    /// The level that all members know, if it is above the one in force.
    pub fn due(&self) -> Option<u32> {
        let known = self.members.values().copied().min().flatten()?;
        (known > self.in_force).then_some(known)
    }
}

/// Why something was not switched on. Nothing has changed, unless [`Self::Propose`] says that it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// A member is not there; it may be of an older build.
    #[error("node {0} is a member and not live: start it, or remove it from the cluster")]
    Away(NodeId),
    /// A member is of an older build.
    #[error("node {node} knows behaviour level {knows}, not {wanted}: upgrade it first")]
    Older {
        /// Which.
        node: NodeId,
        /// Its level.
        knows: u32,
        /// The level that was asked for.
        wanted: u32,
    },
    /// A member has not loaded the pack.
    #[error("node {0} has not loaded the pack: start it with the pack in its PACKS_DIR first")]
    LacksPack(NodeId),
    /// The log did not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl Cluster {
    /// The behaviour levels, as this node knows them.
    pub fn levels(&self) -> Levels {
        let state = self.inner().replica.read();
        let live: BTreeMap<NodeId, u32> = state
            .machine
            .nodes()
            .filter(|node| node.live)
            .map(|node| (node.id, node.level))
            .collect();
        let members = state.members.membership().nodes().map(|(id, _)| NodeId(*id));
        Levels {
            in_force: state.machine.level(),
            known_here: own_level(),
            members: members.map(|id| (id, live.get(&id).copied())).collect(),
        }
    }

    /// Raises the behaviour level to the highest one of this build; gives the level in force then.
    pub async fn upgrade(&self) -> Result<u32, UpgradeError> {
        let levels = self.levels();
        let wanted = levels.known_here;
        for (node, knows) in levels.members {
            match knows {
                None => return Err(UpgradeError::Away(node)),
                Some(knows) if knows < wanted => {
                    return Err(UpgradeError::Older { node, knows, wanted });
                }
                Some(_) => {}
            }
        }
        self.propose(RaiseLevel { level: wanted }, None).await?;
        let in_force = self.levels().in_force;
        tracing::info!(level = in_force, "the behaviour level is raised");
        Ok(in_force)
    }

    /// From here on new battles are played with this pack.
    pub async fn activate_pack(&self, pack: PackRef) -> Result<(), UpgradeError> {
        let lacks = {
            let state = self.inner().replica.read();
            let members = state.members.membership();
            let mut members = members.nodes().map(|(id, _)| NodeId(*id));
            let nodes: BTreeMap<_, _> = state
                .machine
                .nodes()
                .filter(|node| node.live)
                .map(|node| (node.id, node))
                .collect();
            members.find_map(|id| match nodes.get(&id) {
                None => Some(UpgradeError::Away(id)),
                Some(node) if !node.packs.contains(&pack) => Some(UpgradeError::LacksPack(id)),
                Some(_) => None,
            })
        };
        if let Some(lacks) = lacks {
            return Err(lacks);
        }
        self.propose(ActivatePack { pack: pack.clone() }, None).await?;
        tracing::info!(%pack, "a pack is activated");
        Ok(())
    }
}

/// Raises the level of a new cluster, says once when an upgrade is due, and lets go of nodes that have left.
pub(crate) async fn keep_up(node: Weak<Node>) {
    // The level that is due, and for how many looks it has been.
    let mut seen = (0, 0);
    loop {
        sleep(LOOK_PERIOD).await;
        let Some(node) = node.upgrade() else { return };
        let is_leader = node.raft.metrics().borrow_watched().state == ServerState::Leader;
        let cluster = Cluster::of(node);
        let levels = cluster.levels();
        if cluster.inner().is_founder.load(Ordering::Acquire) && found(&cluster, &levels).await {
            cluster.inner().is_founder.store(false, Ordering::Release);
        }
        let due = levels.due().filter(|_| is_leader).unwrap_or(0);
        seen = if seen.0 == due { (due, seen.1 + 1) } else { (due, 0) };
        if due > 0 && seen.1 == DUE_LOOKS {
            tracing::warn!(
                in_force = levels.in_force,
                due,
                "all nodes know a higher behaviour level: `serverv2 cluster upgrade` switches it on"
            );
        }
        if !is_leader {
            continue;
        }
        if levels.in_force >= FORGETS {
            forget_one(&cluster, &levels).await;
        }
    }
}

/// The level of [`ForgetNode`].
const FORGETS: u32 = 2;

/// Places kept free for nodes that come.
const PLACES_FREE: usize = 8;

fn is_crowded(nodes: usize) -> bool {
    #[cfg(feature = "failpoints")]
    if crate::failpoints::nodes_are_crowded() {
        return true;
    }
    nodes + PLACES_FREE > NODES_MAX
}

/// Takes the newest level for a new cluster; true once that is decided, this way or the other.
async fn found(cluster: &Cluster, levels: &Levels) -> bool {
    if levels.members.values().any(|knows| knows.is_some_and(|knows| knows < own_level())) {
        return true;
    }
    let all_there = levels.members.values().all(Option::is_some);
    all_there && (levels.in_force >= own_level() || cluster.upgrade().await.is_ok())
}

/// A node that is neither a member nor live has left for ever. It is remembered, to be told so, until others need
/// its place; the lowest id goes first.
async fn forget_one(cluster: &Cluster, levels: &Levels) {
    let left = cluster.read(|machine, _| {
        if !is_crowded(machine.nodes().count()) {
            return None;
        }
        let mut nodes = machine.nodes().filter(|node| !node.live);
        nodes.find(|node| !levels.members.contains_key(&node.id)).map(|node| node.id)
    });
    if let Some(node) = left.value
        && cluster.propose(ForgetNode { node }, None).await.is_ok()
    {
        tracing::info!(%node, "a node that has left is forgotten");
    }
}
