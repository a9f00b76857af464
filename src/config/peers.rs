//! Where peers are listened to, and what PEERS asks of other settings.

use std::net::SocketAddr;

use super::{Mode, Problem, Settings};

/// Distance from PORT to the port for peers.
const PEER_PORT_DISTANCE: u16 = 10_000;
/// Largest PORT that leaves room for it.
pub(super) const MAX_PORT_WITH_PEER: u16 = u16::MAX - PEER_PORT_DISTANCE;

impl Settings {
    /// Where this node listens for its peers.
    pub fn peer_address(&self) -> SocketAddr {
        let port = self.port.saturating_add(PEER_PORT_DISTANCE);
        self.peer_bind.unwrap_or_else(|| SocketAddr::new(self.bind_host, port))
    }

    /// Whether others may join where no peers are listed.
    pub fn is_joinable(&self) -> bool {
        let has_port = self.peer_bind.is_some() || self.port <= MAX_PORT_WITH_PEER;
        self.mode == Mode::Run && self.cluster_enabled && has_port
    }

    /// Where others reach this node, if PEERS does not say so; empty if nothing says so.
    pub fn advertised_peer_address(&self) -> String {
        let bound = self.peer_address();
        match (bound.ip().is_unspecified(), self.instance_host.as_str()) {
            (false, _) => bound.to_string(),
            (true, "localhost") => String::new(),
            (true, host) => format!("{host}:{}", bound.port()),
        }
    }
}

/// What PEERS asks of the others.
pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    if settings.peers.is_empty() {
        return;
    }
    let mut must = |right: bool, text: &str| {
        if !right {
            problems.push(Problem::text(format!("PEERS is set: {text}")));
        }
    };
    must(settings.cluster_enabled, "CLUSTER_ENABLED must not be \"false\"");
    must(settings.peers.contains_key(&settings.node_id), "it must list NODE_ID, this node, too");
    let bound = settings.peer_bind.is_some() || (1..=MAX_PORT_WITH_PEER).contains(&settings.port);
    must(bound, "PEER_BIND must be set where PORT is 0 or above 55535");
    let peers_on_loopback = match settings.peer_bind {
        Some(bind) => bind.ip().is_loopback(),
        None => settings.bind_host.is_loopback(),
    };
    // In `run`, this is asked of every cluster.
    must(
        settings.mode == Mode::Run || settings.jwt_secret.is_some(),
        "JWT_SECRET must be set: all nodes must sign tokens with the same secret",
    );
    must(
        peers_on_loopback || settings.cluster_secret.is_some(),
        "CLUSTER_SECRET must be set where peers are listened to off loopback",
    );
}
