//! Knowing that a node was removed.
//!
//! It follows from the replicated state alone: a node that announced itself in the log was a member then, and
//! ids never come back, so one that is known to the machine and not in the membership was removed. Whoever
//! has that state says so to the removed node, which may never have heard of it: consensus stops sending to
//! a node the moment it is out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::network::Peers;
use crate::transport::handshake::Identity;

/// Pause between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// A member is asked on each of so many looks.
const ASK_EACH: u32 = 5;

/// The state of a node's own removal.
#[derive(Default)]
pub(crate) struct Removal(AtomicBool);

impl Removal {
    /// It is certain.
    pub(crate) fn told(&self) {
        if !self.0.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "this node was removed from the cluster: it serves nobody any more and does not come back. \
                 Stop it; to use the machine again, start an empty data folder under a new node id"
            );
        }
    }

    /// Whether that is known.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Identity {
    /// Whether the state here says that this node was removed.
    pub(crate) fn has_removed(&self, node: u64) -> bool {
        let state = self.replica.read();
        let members = state.members.membership();
        members.nodes().next().is_some()
            && members.get_node(&node).is_none()
            && state.machine.nodes().any(|known| known.id.0 == node)
    }

    /// Whether this very node was removed, by its own state or by a member's word.
    pub(crate) fn has_removed_me(&self) -> bool {
        if !self.removal.is_known() && self.has_removed(self.node) {
            self.removal.told();
        }
        self.removal.is_known()
    }
}

/// Waits until this node is known to be removed; meanwhile, as nobody talks to it then, it asks the others
/// in turn.
pub(crate) async fn removed(peers: &Peers) {
    let own = &peers.own;
    let mut asked = 0;
    for look in 1_u32.. {
        if own.has_removed_me() {
            return;
        }
        sleep(LOOK_PERIOD).await;
        if look % ASK_EACH == 0 {
            let others: Vec<u64> = {
                let state = own.replica.read();
                let nodes = state.members.membership().nodes();
                nodes.map(|(id, _)| *id).filter(|id| *id != own.node).collect()
            };
            let next = others.get(asked % others.len().max(1));
            asked += 1;
            if let Some(mut link) = next.and_then(|next| peers.link(*next)) {
                // What it says is noted where it is heard.
                let _ = link.greet().await;
            }
        }
    }
}
