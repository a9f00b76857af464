//! What is not done, and the codes that say why.

use super::{cluster, join, listens, voters};
use crate::control::{operate, refused};
use crate::harness::Server;
use crate::harness::cluster::Trio;
use crate::harness::jwt::SECRET;
use crate::harness::ports::Port;
use crate::harness::process::Options;

/// A command of `cluster` is refused with this code, and with this text.
async fn refuses(server: &Server, command: &[&str], code: &str, text: &str) {
    let why = refused(&operate(server, &[&["cluster"], command].concat()).await);
    assert!(why.contains(&format!("({code})")) && why.contains(text), "{command:?}: {why}");
}

#[tokio::test]
async fn no_majority_of_live_voters_is_given_away() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let [dead, other] = [(leader + 1) % 3, (leader + 2) % 3];
    let [leads, lives] = [leader, other].map(|at| (at + 1).to_string());
    trio.nodes[dead].kill9();
    let asked = &trio.nodes[other];
    for change in ["remove", "demote"] {
        let text = "there would be 2 voters, and 1 of them live";
        refuses(asked, &[change, &lives], "QUORUM_LOST", text).await;
        refuses(asked, &[change, &leads], "QUORUM_LOST", text).await;
    }
    assert_eq!(voters(asked).await, [1, 2, 3]);
    // The dead one may go.
    cluster(asked, &["remove", &(dead + 1).to_string()]).await;
    cluster(asked, &["demote", &lives]).await;
    refuses(asked, &["remove", &leads], "LAST_VOTER", "is the only voter").await;
    refuses(asked, &["transfer-leader"], "LAST_VOTER", "is the only voter").await;
    refuses(asked, &["transfer-leader", &lives], "NOT_A_VOTER", "promote it").await;
    assert!(cluster(asked, &["demote", &lives]).await.contains("nothing to do"));
}

#[tokio::test]
async fn strangers_are_not_taken_in_and_absent_nodes_get_no_vote() {
    let mut trio = Trio::start().await;
    let asked = &trio.nodes[0];
    for change in ["promote", "demote", "remove", "transfer-leader"] {
        refuses(asked, &[change, "9"], "NODE_UNKNOWN", "which has [1, 2, 3]").await;
    }
    let nobody = Port::take();
    let place = format!("9=127.0.0.1:{}", nobody.number);
    refuses(asked, &["add", &place], "NODE_UNREACHABLE", "can't be reached").await;
    let place = format!("9=127.0.0.1:{}", trio.peer_port(1));
    refuses(asked, &["add", &place], "NODE_FOREIGN", "node 2 answers where node 9").await;
    let member = format!("2=127.0.0.1:{}", trio.peer_port(1));
    assert!(cluster(asked, &["add", &member]).await.contains("nothing to do"));

    let lone = trio.newcomer(7);
    let _other = lone.options.env("PEERS", "").start().await;
    refuses(&trio.nodes[0], &["add", &lone.place], "NODE_FOREIGN", "belongs to another cluster")
        .await;
    let other_secret = trio.newcomer(8);
    let _stranger = other_secret.options.env("CLUSTER_SECRET", "somebody else's secret").launch();
    listens(&other_secret.place).await;
    let text = "the secret does not match";
    refuses(&trio.nodes[0], &["add", &other_secret.place], "NODE_FOREIGN", text).await;

    let mut four = join(&mut trio, 4, 0).await;
    four.kill9();
    refuses(&trio.nodes[1], &["promote", "4"], "NODE_UNREACHABLE", "is it running").await;
    assert_eq!(voters(&trio.nodes[0]).await, [1, 2, 3]);
}

#[tokio::test]
async fn without_a_majority_a_change_is_unknown_or_not_done_and_says_so() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    for dead in [(leader + 1) % 3, (leader + 2) % 3] {
        trio.nodes[dead].kill9();
    }
    let dead = ((leader + 1) % 3 + 1).to_string();
    let why = refused(
        &operate(&trio.nodes[leader], &["cluster", "remove", &dead, "--timeout", "3"]).await,
    );
    assert!(why.contains("(UNKNOWN)") || why.contains("(QUORUM_LOST)"), "{why}");
    trio.restart_dead().await;
    assert_eq!(voters(&trio.nodes[leader]).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_node_that_does_not_know_where_it_is_reached_takes_nobody_in() {
    let port = Port::take();
    let options = Options::default()
        .production()
        .env("JWT_SECRET", SECRET)
        .env("CLUSTER_SECRET", "a secret of three nodes");
    // On all addresses, of which none is better than another.
    let lone = options
        .env("BIND_HOST", "0.0.0.0")
        .env("PEER_BIND", &format!("0.0.0.0:{}", port.number))
        .start()
        .await;
    let mut trio = Trio::start().await;
    let newcomer = trio.newcomer(4);
    let _joining = newcomer.options.launch();
    listens(&newcomer.place).await;
    refuses(&lone, &["add", &newcomer.place], "NO_ADDRESS", "give it PEERS").await;
}

#[tokio::test]
async fn a_node_for_development_stands_alone() {
    let server = Server::start().await;
    refuses(&server, &["add", "2=127.0.0.1:1"], "ALONE", "listens to no peers").await;
    let table = cluster(&server, &["status"]).await;
    assert!(table.contains("node 1 leads"), "{table}");
}
