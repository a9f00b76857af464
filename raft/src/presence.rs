//! Who is there: the leader counts out nodes that it has not heard for too long, and a process that was
//! counted out although it lives comes back under its next incarnation.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use serverv2_machine::{Incarnation, NodeGone, NodeId, NodeUp};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::error::ProposeError;
use crate::node::{Node, NodeConfig};
use crate::versions::own_level;

/// How often the leader looks.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// Proposes `NodeGone` for nodes that are silent, as long as this node leads.
pub(crate) async fn watch_others(node: Weak<Node>, config: NodeConfig) {
    let patience = Duration::from_millis(config.node_gone_after_ms);
    // When each process was last heard, or first missed by this leader.
    let mut heard: BTreeMap<(u64, Incarnation), Instant> = BTreeMap::new();
    loop {
        sleep(LOOK_PERIOD).await;
        let Some(node) = node.upgrade() else { return };
        let Some(acked) = acknowledged(&node) else {
            heard.clear();
            continue;
        };
        let now = Instant::now();
        let cluster = Cluster::of(node);
        let live = cluster.read(|machine, _| {
            let live = machine.nodes().filter(|node| node.live);
            live.map(|node| (node.id, node.incarnation)).collect::<Vec<_>>()
        });
        heard.retain(|(id, incarnation), _| live.value.contains(&(NodeId(*id), *incarnation)));
        for (id, incarnation) in live.value {
            // What its former life did not say must not be held against a new one.
            let at = heard.entry((id.0, incarnation)).or_insert(now);
            let age = acked.get(&id.0).copied().flatten();
            *at = age.and_then(|age| now.checked_sub(age)).map_or(*at, |acked| acked.max(*at));
            if id != cluster.node() && now.duration_since(*at) > patience {
                let gone = NodeGone { node: id, incarnation, grace_ms: config.grace_ms };
                match cluster.propose(gone, None).await {
                    Ok(_) => tracing::warn!(node = id.0, "a node was silent and is counted out"),
                    Err(ProposeError::Stopped) => return,
                    Err(error) => tracing::debug!(%error, "it could not be counted out yet"),
                }
            }
        }
    }
}

/// How long ago each other member acknowledged this leader; `None`: this node does not lead.
fn acknowledged(node: &Node) -> Option<BTreeMap<u64, Option<Duration>>> {
    let metrics = node.raft.metrics();
    let metrics = metrics.borrow_watched();
    let heartbeat = metrics.heartbeat.as_ref()?;
    Some(heartbeat.iter().map(|(id, at)| (*id, at.as_ref().map(|at| at.elapsed()))).collect())
}

/// Each time this process is counted out, it starts over under its next incarnation. What it had
/// open is refused; the shell learns of it by the effect and connects its clients anew.
pub(crate) async fn come_back(node: Weak<Node>, config: NodeConfig) {
    loop {
        let Some(alive) = node.upgrade() else { return };
        let counted_out = alive.counted_out.clone();
        drop(alive);
        counted_out.notified().await;
        let Some(node) = node.upgrade() else { return };
        if node.leaving.load(Ordering::Acquire) {
            return;
        }
        let incarnation = node.requests.renew();
        tracing::warn!(incarnation = incarnation.0, "this process was counted out and comes back");
        let up =
            NodeUp { packs: config.packs.clone(), level: own_level(), grace_ms: config.grace_ms };
        if let Err(error) = Cluster::of(node).insist(up.into()).await {
            tracing::error!(node = %NodeId(config.node.0), %error, "it is not let back in");
        }
    }
}
