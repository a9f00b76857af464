//! Nodes join, get a vote, and go, while players play.

mod change;
mod refused;
mod removed;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::control::{operate, said};
use crate::harness::cluster::Trio;
use crate::harness::{Server, eventually};

/// What a node says of the cluster.
pub(crate) async fn status(server: &Server) -> Value {
    let text = said(&operate(server, &["cluster", "status", "--json"]).await);
    serde_json::from_str(&text).expect("it is JSON")
}

/// The ids of all voters, as a node tells them.
async fn voters(server: &Server) -> Vec<u64> {
    let status = status(server).await;
    let members = status["members"].as_array().expect("there are members");
    let voters = members.iter().filter(|member| member["isVoter"] == true);
    voters.map(|member| member["node"].as_u64().expect("it has an id")).collect()
}

/// Gives a command of `cluster` that must succeed.
pub(crate) async fn cluster(server: &Server, command: &[&str]) -> String {
    said(&operate(server, &[&["cluster"], command].concat()).await)
}

/// Waits until a node that was started listens for its peers, at a place like `4=127.0.0.1:20000`.
pub(crate) async fn listens(place: &str) {
    let (_, address) = place.split_once('=').expect("a place is an id and an address");
    let reach = || TcpStream::connect(address);
    eventually("its port for peers", reach, Result::is_ok).await.expect("reached");
}

/// Starts a node under this id and has it taken in as a learner.
async fn join(trio: &mut Trio, id: usize, by: usize) -> Server {
    let newcomer = trio.newcomer(id);
    let mut node = newcomer.options.launch();
    listens(&newcomer.place).await;
    let added = cluster(&trio.nodes[by], &["add", &newcomer.place]).await;
    assert!(added.contains(&format!("node {id} is a learner")), "{added}");
    node.until_ready().await;
    node
}
