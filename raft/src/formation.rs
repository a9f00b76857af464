//! How a cluster comes to be, once: the listed node with the lowest id forms it when it has spoken with
//! all listed nodes and all of them are empty.
//!
//! A node whose folder belongs to a cluster never forms another, so whichever starts first, there is
//! one. The first membership keeps each node's data folder and a random cluster id; from then on
//! nobody else gets in under these names.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::network::Peers;
use crate::transport::link::Link;
use crate::types::{Member, Raft};

/// Pause between two rounds of asking who is there.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// Forms the cluster if it falls to this node, and waits until the node is in one.
pub(crate) async fn form(raft: &Raft, peers: &Peers) -> Result<(), String> {
    let own = &peers.own;
    let mine = own.listed.first() == Some(&own.node);
    loop {
        if raft.is_initialized().await.map_err(|error| error.to_string())? {
            return Ok(());
        }
        if mine && let Some(members) = gather(peers).await {
            match raft.initialize(members).await {
                Ok(()) => tracing::info!(nodes = ?own.listed, "the cluster is formed"),
                Err(error) => tracing::warn!(%error, "the cluster could not be formed"),
            }
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// All listed nodes, if all can be reached and none is in a cluster.
async fn gather(peers: &Peers) -> Option<BTreeMap<u64, Member>> {
    let own = &peers.own;
    let cluster = rand::random();
    let mut members = BTreeMap::new();
    for id in &own.listed {
        let address = peers.addresses.get(id)?.clone();
        let folder = if *id == own.node {
            own.folder
        } else {
            let greeted = Link::new(own.clone(), *id, address.clone()).greet().await;
            let card = match greeted {
                Ok(card) => card,
                Err(error) => {
                    tracing::debug!(%error, "not everybody is there yet");
                    return None;
                }
            };
            if card.formed {
                tracing::warn!(node = id, "it is in a cluster already, this node is not");
                return None;
            }
            card.folder
        };
        members.insert(*id, Member { address, folder, cluster });
    }
    Some(members)
}
