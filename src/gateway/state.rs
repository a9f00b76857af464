//! Counts of the whole cluster (contract 3.5.1, `updateState`), from this node's own replica.

use std::sync::Weak;
use std::time::Duration;

use serverv2_raft::Cluster;

use super::Gateway;
use super::wire::{Push, ServerState};

/// Time between two announcements.
const PERIOD: Duration = Duration::from_secs(10);

/// The counts as this node has applied them.
pub(super) fn server_state(cluster: &Cluster) -> ServerState {
    let counts = cluster.read(|machine, _| machine.counts()).value;
    ServerState {
        online_players: counts.online_players as u64,
        matchmaking_queue: counts.tickets as u64,
        rooms: counts.rooms as u64,
        players_in_rooms: counts.players_in_rooms as u64,
    }
}

/// Tells all clients of this node; each node tells its own, so each client is told once a period.
pub(super) async fn announce(gateway: Weak<Gateway>) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        period.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        let state = server_state(&gateway.cluster);
        for socket in gateway.sessions.all_current() {
            socket.push(Push::UpdateState, &state);
        }
    }
}
