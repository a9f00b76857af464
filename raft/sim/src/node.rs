//! What a node does from its start to its end, and how all of them come together at the end.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serverv2_machine::{CreatePlayer, KeyScope, NanoId, PlayerId, ScopedKey, Tick};
use serverv2_raft_simulated::simulation::{self, Disk};
use serverv2_raft_simulated::{Cluster, NodeConfig};
use tokio::time::sleep;

use crate::chaos::HEALED_MS;
use crate::net::{Cuts, Door, Ways};
use crate::shared::Shared;
use crate::trace::{note, note_change};

/// How often a node is looked at, and what is due is proposed.
const LOOK: Duration = Duration::from_millis(25);
/// How often a node that has not settled is asked.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// What a node is made of, in each of its lives.
pub(crate) struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) disk: Disk,
    pub(crate) cuts: Cuts,
    pub(crate) shared: Shared,
}

impl Node {
    /// From its start to its end.
    pub(crate) async fn live(self: Rc<Self>) -> turmoil::Result {
        let node = self.config.node.0;
        let ways = Arc::new(Ways { node, cuts: self.cuts.clone() });
        let door = Door::open(node).await?;
        let starting = simulation::start(self.config.clone(), self.disk.clone(), ways, door);
        let (cluster, mut feed) = starting.await?;
        note_change!("n{node} has started");
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
pub(crate) async fn come_together(shared: &Shared, nodes: u64) {
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
        let (mut indexes, mut states) = (BTreeSet::new(), BTreeSet::new());
        for node in 1..=nodes {
            let look = |cluster: Cluster| async move {
                cluster.read(|machine, records| machine.digest(records))
            };
            match shared.on(node, look).await {
                Some(state) => {
                    indexes.insert(state.index);
                    states.insert(state.value);
                }
                None => drop(indexes.insert(0)),
            }
        }
        let last = shared.judge(|judge| judge.last_index());
        if indexes.iter().eq([&last]) {
            note_change!("all nodes are at {last}");
            shared.judge(|judge| judge.conclude(last, &states));
            return shared.settle();
        }
        sleep(SETTLE_LOOK).await;
    }
}
