//! Three servers that are one cluster.

use std::fs::File;
use std::net::TcpListener;

use serde_json::Value;

use super::process::Options;
use super::{DEADLINE, Http, Server, eventually};

/// Ports that must be known before anybody listens on them.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port of ours for as long as this lives: other tests see the lock.
struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    fn take() -> Self {
        let folder = std::env::temp_dir().join("serverv2-test-ports");
        std::fs::create_dir_all(&folder).expect("make the folder of port locks");
        let first = PORTS.start + u16::try_from(std::process::id() % 10_000).expect("it is small");
        let mut candidates = (first..PORTS.end).chain(PORTS.start..first);
        let free = candidates.find_map(|number| {
            let lock = File::create(folder.join(number.to_string())).ok()?;
            lock.try_lock().ok()?;
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self { number, _lock: lock })
        });
        free.expect("a port is free")
    }
}

/// Three nodes of one cluster, started with `run`.
pub(crate) struct Trio {
    pub(crate) nodes: Vec<Server>,
    _ports: Vec<Port>,
}

impl Trio {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, options| options).await
    }

    /// Each node's options may be changed by its place.
    pub(crate) async fn start_with(change: impl Fn(usize, Options) -> Options) -> Self {
        let ports: Vec<Port> = (0..3).map(|_| Port::take()).collect();
        let listed: Vec<String> =
            (1..).zip(&ports).map(|(id, port)| format!("{id}=127.0.0.1:{}", port.number)).collect();
        let starting: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(at, port)| {
                let options = Options::default()
                    .production()
                    .env("NODE_ID", &(at + 1).to_string())
                    .env("PEERS", &listed.join(","))
                    .env("PEER_BIND", &format!("127.0.0.1:{}", port.number))
                    .env("BIND_HOST", "127.0.0.1")
                    .env("LOG_FORMAT", "pretty")
                    .env("JWT_SECRET", "a secret for tokens")
                    .env("CLUSTER_SECRET", "a secret of three nodes");
                tokio::spawn(change(at, options).start())
            })
            .collect();
        let mut nodes = Vec::new();
        for node in starting {
            nodes.push(node.await.expect("the node starts"));
        }
        Self { nodes, _ports: ports }
    }

    /// The place of the leader, as a node that runs sees it.
    pub(crate) async fn leader(&self, seen_from: usize) -> usize {
        let status = || async {
            Http::get(&self.nodes[seen_from], "/cluster/status").send().await.json()["raft"]["leader"]
                .as_u64()
        };
        let leader = eventually("a leader", status, Option::is_some).await;
        usize::try_from(leader.expect("waited for")).expect("it is small") - 1
    }

    /// What a node counts.
    pub(crate) async fn stats(&self, seen_from: usize) -> Value {
        Http::get(&self.nodes[seen_from], "/cluster/status").send().await.json()["stats"].clone()
    }

    /// Starts all nodes that were killed, at once: alone they would wait for each other.
    pub(crate) async fn restart_all(&mut self) {
        let restarting = self.nodes.iter_mut().map(Server::restart);
        tokio::time::timeout(DEADLINE, futures::future::join_all(restarting))
            .await
            .expect("all nodes are ready again in time");
    }
}
