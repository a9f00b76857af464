//! Three servers that are one cluster.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::jwt::SECRET;
use super::links::Links;
use super::ports::Port;
use super::process::Options;
use super::{DEADLINE, Http, Server, eventually};

fn three_ports() -> Vec<Port> {
    (0..3).map(|_| Port::take()).collect()
}

/// How the node at this place is started; `address` says where one reaches another.
fn node(at: usize, ports: &[Port], address: impl Fn(usize, usize) -> String) -> Options {
    let listed: Vec<String> =
        (0..ports.len()).map(|other| format!("{}={}", other + 1, address(at, other))).collect();
    Options::default()
        .production()
        .env("NODE_ID", &(at + 1).to_string())
        .env("PEERS", &listed.join(","))
        .env("PEER_BIND", &format!("127.0.0.1:{}", ports[at].number))
        .env("BIND_HOST", "127.0.0.1")
        .env("LOG_FORMAT", "pretty")
        .env("JWT_SECRET", SECRET)
        // All clients of a test have one address.
        .env("RATE_LIMIT_AUTH", "0")
        .env("RATE_LIMIT_EMAIL", "0")
        .env("RATE_LIMIT_ASSIGN", "0")
        .env("CLUSTER_SECRET", "a secret of three nodes")
}

async fn all(starting: Vec<JoinHandle<Server>>) -> Vec<Server> {
    let mut nodes = Vec::new();
    for node in starting {
        nodes.push(node.await.expect("the node starts"));
    }
    nodes
}

/// Three nodes of one cluster, started with `run`.
pub(crate) struct Trio {
    pub(crate) nodes: Vec<Server>,
    ports: Vec<Port>,
    /// Of nodes that joined later.
    joined: Vec<Port>,
}

/// A node that may join: how it is started, and how it is added.
pub(crate) struct Newcomer {
    pub(crate) options: Options,
    pub(crate) place: String,
}

impl Trio {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, options| options).await
    }

    /// Each node's options may be changed by its place.
    pub(crate) async fn start_with(change: impl Fn(usize, Options) -> Options) -> Self {
        let ports = three_ports();
        let address = |_, to: usize| format!("127.0.0.1:{}", ports[to].number);
        let starting = (0..3).map(|at| tokio::spawn(change(at, node(at, &ports, address)).start()));
        let nodes = all(starting.collect()).await;
        Self { nodes, ports, joined: Vec::new() }
    }

    /// The same, with ways between the nodes that can be cut.
    pub(crate) async fn start_apart(change: impl Fn(usize, Options) -> Options) -> (Self, Links) {
        let ports = three_ports();
        let numbers: Vec<u16> = ports.iter().map(|port| port.number).collect();
        let links = Links::to(&numbers).await;
        let address = |from, to| links.address(from, to).to_owned();
        let starting = (0..3).map(|at| tokio::spawn(change(at, node(at, &ports, address)).start()));
        let nodes = all(starting.collect()).await;
        (Self { nodes, ports, joined: Vec::new() }, links)
    }

    /// Starts the nodes in this order, each when the one before can be reached.
    pub(crate) async fn start_in_order(order: [usize; 3]) -> Self {
        let ports = three_ports();
        let address = |_, to: usize| format!("127.0.0.1:{}", ports[to].number);
        let mut nodes = BTreeMap::new();
        for at in order {
            nodes.insert(at, node(at, &ports, address).launch());
            let reach = || TcpStream::connect(("127.0.0.1", ports[at].number));
            eventually("the node's peer port", reach, Result::is_ok).await.expect("reached");
        }
        let mut nodes: Vec<_> = nodes.into_values().collect();
        for node in &mut nodes {
            node.until_ready().await;
        }
        Self { nodes, ports, joined: Vec::new() }
    }

    /// How a node of this cluster is started: for one on another folder.
    pub(crate) fn options(&self, at: usize) -> Options {
        node(at, &self.ports, |_, to| format!("127.0.0.1:{}", self.ports[to].number))
    }

    /// A node that may join under this id. It lists itself and the second node only.
    pub(crate) fn newcomer(&mut self, id: usize) -> Newcomer {
        let port = Port::take();
        let address = format!("127.0.0.1:{}", port.number);
        let place = format!("{id}={address}");
        let peers = format!("2=127.0.0.1:{},{place}", self.ports[1].number);
        let options = self.options(0).env("NODE_ID", &id.to_string()).env("PEERS", &peers);
        self.joined.push(port);
        Newcomer { options: options.env("PEER_BIND", &address), place }
    }

    /// Where a node listens for its peers.
    pub(crate) fn peer_port(&self, at: usize) -> u16 {
        self.ports[at].number
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

    /// The term as each node sees it: it grows with every election.
    pub(crate) async fn terms(&self) -> Vec<u64> {
        let mut terms = Vec::new();
        for node in &self.nodes {
            let status = Http::get(node, "/cluster/status").send().await.json();
            terms.push(status["raft"]["term"].as_u64().expect("a node knows its term"));
        }
        terms
    }

    /// What a node counted lately: the numbers may be a moment old.
    pub(crate) async fn stats(&self, seen_from: usize) -> Value {
        Http::get(&self.nodes[seen_from], "/cluster/status").send().await.json()["stats"].clone()
    }

    /// Starts all nodes that were killed, at once: alone they would wait for each other.
    pub(crate) async fn restart_dead(&mut self) {
        let dead = self.nodes.iter_mut().filter(|node| !node.is_running());
        let restarting = dead.map(Server::restart);
        tokio::time::timeout(DEADLINE, futures::future::join_all(restarting))
            .await
            .expect("all nodes are ready again in time");
    }
}
