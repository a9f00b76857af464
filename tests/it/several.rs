//! `serverv2 dev --nodes 3`: a cluster on one machine, for whoever wants to see one.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::process::{Options, address_of, run_to_end, signal};
use crate::harness::{Duel, Fighter, Http, Server, eventually, guest};

async fn three() -> Server {
    Options::default().arg("--nodes").arg("3").start().await
}

/// Where its nodes serve, and as which processes.
fn nodes(server: &Server) -> Vec<(SocketAddr, u32)> {
    let nodes = server.ready()["nodes"].as_array().expect("it says where its nodes are");
    let node = |node: &Value| {
        let pid = node["pid"].as_u64().and_then(|pid| pid.try_into().ok());
        (address_of(&node["http"]), pid.expect("a node is a process"))
    };
    nodes.iter().map(node).collect()
}

async fn nobody_serves(addresses: &[(SocketAddr, u32)]) {
    let serving = || async {
        let mut serving = Vec::new();
        for (address, _) in addresses {
            if TcpStream::connect(address).await.is_ok() {
                serving.push(*address);
            }
        }
        serving
    };
    eventually("end of all nodes", serving, Vec::is_empty).await;
}

#[tokio::test]
async fn one_command_starts_a_cluster_and_another_signal_ends_it() {
    let mut server = three().await;
    let nodes = nodes(&server);
    assert_eq!(nodes.len(), 3);
    let player = guest(&server).await;
    for (address, _) in &nodes {
        let path = format!("/api/v1/auth/check-player/{player}");
        let known = || Http::to(*address, hyper::Method::GET, &path).send();
        eventually("the guest on each node", known, |answer| answer.status == 200).await;
    }
    assert!(server.terminate().await.success());
    nobody_serves(&nodes).await;
}

#[tokio::test]
async fn a_node_that_is_killed_is_started_again_while_the_others_go_on() {
    let mut server = three().await;
    let (_, pid) = nodes(&server)[1];
    let duel = Duel::started(&server).await;
    signal("KILL", pid);
    duel.attack_once(-1).await;
    let again = || async { server.says("node 2 is ready again") };
    eventually("the second life of node 2", again, |again| *again).await;
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn its_nodes_end_with_it_even_when_it_is_killed_and_come_back_with_all_they_knew() {
    let mut server = three().await;
    let before = nodes(&server);
    let mut waiting = Fighter::new(&server, 0).await;
    waiting.join().await;
    server.kill9();
    nobody_serves(&before).await;
    server.restart().await;
    waiting.reconnect(&server).await;
    waiting.join().await;
    let other = Fighter::new(&server, 1).await;
    other.join().await;
    assert_eq!(waiting.matched().await, other.matched().await, "the place in the queue was kept");
}

#[tokio::test]
async fn a_node_that_cannot_start_ends_them_all() {
    let taken = Server::start().await;
    let port = taken.address().port().to_string();
    let output = run_to_end(&["dev", "--nodes", "2", "--port", &port], &[]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    // The next port may be taken, too: by a server of another test.
    assert!(text.contains("ended before it was ready") && text.contains(&port), "{text}");
}

#[tokio::test]
async fn what_only_makes_sense_for_one_node_is_refused() {
    for (args, wanted) in [
        (&["--nodes", "0"][..], "0 is not in 1..=7"),
        (&["--nodes", "8"], "8 is not in 1..=7"),
        (&["--nodes", "three"], "three"),
        (&["--nodes", "3", "--node-id", "2"], "NODE_ID"),
        (&["--nodes", "3", "--port", "65535"], "PORT"),
        (&["--nodes", "3", "--cluster-enabled", "false"], "CLUSTER_ENABLED"),
    ] {
        let output = run_to_end(&[&["dev"], args].concat(), &[]).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(wanted), "{args:?}: {text}");
    }
}
