//! Counts of the whole cluster (contract 3.5.1, `updateState`), from this node's own replica.

use serverv2_raft::Cluster;

use super::wire::ServerState;

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
