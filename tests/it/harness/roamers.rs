//! Players who go on at another node whenever their connection is lost, battle after battle.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::light::{Ledger, Light, Manner};
use super::{Server, guest};

/// Pause before the next node is tried.
const PAUSE: Duration = Duration::from_millis(30);

/// Where the nodes are; none while one is down.
#[derive(Default)]
pub(crate) struct Places([Mutex<Option<SocketAddr>>; 3]);

impl Places {
    /// From now on this node is there, or is not.
    pub(crate) fn set(&self, at: usize, address: Option<SocketAddr>) {
        *self.0[at].lock() = address;
    }
}

/// Two players for each battle, over all nodes; dropping them ends them.
pub(crate) struct Roamers {
    pub(crate) places: Arc<Places>,
    pub(crate) ledger: Arc<Ledger>,
    /// How often each has connected.
    pub(crate) connections: Vec<Arc<AtomicU64>>,
    players: Vec<JoinHandle<()>>,
}

impl Roamers {
    /// Lets so many battles begin.
    pub(crate) async fn fight(nodes: &[Server], battles: usize, manner: Manner) -> Self {
        let places = Arc::<Places>::default();
        for (at, node) in nodes.iter().enumerate() {
            places.set(at, Some(node.address()));
        }
        let mut roamers =
            Self { places, ledger: Arc::default(), connections: Vec::new(), players: Vec::new() };
        for home in 0..2 * battles {
            let id = guest(&nodes[home % nodes.len()]).await;
            let connections = Arc::<AtomicU64>::default();
            roamers.connections.push(connections.clone());
            let (places, ledger) = (roamers.places.clone(), roamers.ledger.clone());
            let roaming = roam(places, home, id, manner, ledger, connections);
            roamers.players.push(tokio::spawn(roaming));
        }
        roamers
    }

    /// How often each has connected so far.
    pub(crate) fn connected(&self) -> Vec<u64> {
        self.connections.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Roamers {
    fn drop(&mut self) {
        self.players.iter().for_each(JoinHandle::abort);
    }
}

async fn roam(
    places: Arc<Places>,
    home: usize,
    id: String,
    manner: Manner,
    ledger: Arc<Ledger>,
    connections: Arc<AtomicU64>,
) {
    for at in home.. {
        let address = *places.0[at % places.0.len()].lock();
        if let Some(address) = address
            && let Ok(mut player) = Light::reach(address, &id, Ipv4Addr::LOCALHOST).await
        {
            connections.fetch_add(1, Ordering::Relaxed);
            let Err(_gone) = player.play_on(home, manner, &ledger).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
