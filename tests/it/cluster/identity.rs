//! Who is let in: nodes of this cluster on the folders they have always had, and nobody else.

use crate::harness::cluster::Trio;
use crate::harness::{Duel, Server, eventually};

/// A follower is started again as the test wants; both sides must say why it is not let in.
async fn refused(change: impl FnOnce(&mut Server, usize), why: &str) {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    // The lowest id forms clusters, where there is none.
    let stranger = if leader == 0 { 1 } else { 0 };
    trio.nodes[stranger].kill9();
    change(&mut trio.nodes[stranger], stranger);
    let says = || async { [leader, stranger].map(|node| trio.nodes[node].says(why)) };
    eventually("the refusal in both logs", says, |says| *says == [true, true]).await;
    let duel = Duel::paired(&trio.nodes[leader]).await;
    duel.ready().await;
    assert!(!trio.nodes[stranger].says("READY"), "it never serves");
}

#[tokio::test]
async fn a_node_with_another_secret_is_refused_and_both_sides_say_so() {
    let change = |node: &mut Server, _| {
        node.change("CLUSTER_SECRET", "a secret of somebody else");
        node.start_again();
    };
    refused(change, "the secret does not match").await;
}

#[tokio::test]
async fn a_node_of_a_cluster_with_another_name_is_refused_and_both_sides_say_so() {
    let change = |node: &mut Server, _| {
        node.change("CLUSTER_NAME", "staging");
        node.start_again();
    };
    refused(change, "the cluster's name is").await;
}

#[tokio::test]
async fn a_member_on_an_empty_folder_is_refused_and_both_sides_say_so() {
    refused(|node, _| node.start_afresh(), "has another data folder").await;
}

#[tokio::test]
async fn a_folder_of_another_cluster_of_the_same_name_and_secret_is_refused_and_both_sides_say_so()
{
    let mut other = Trio::start().await;
    let change = |node: &mut Server, at: usize| {
        // The id belongs to the folder, so it is that of the same place.
        other.nodes[at].kill9();
        node.swap_folders(&mut other.nodes[at]);
        node.start_again();
    };
    refused(change, "it belongs to another cluster").await;
}

#[tokio::test]
async fn a_second_cluster_on_the_same_ports_is_refused_and_the_first_goes_on() {
    let trio = Trio::start().await;
    let duel = Duel::paired(&trio.nodes[0]).await;
    for at in 0..3 {
        let second = trio.options(at).run_to_end().await;
        let text = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1), "{text}");
        assert!(
            text.contains("listen for peers") && text.contains(&trio.peer_port(at).to_string()),
            "{text}"
        );
    }
    duel.ready().await;
}

#[tokio::test]
async fn a_second_cluster_in_the_place_of_dead_nodes_is_refused_and_the_first_comes_back() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let dead = [(leader + 1) % 3, (leader + 2) % 3];
    for node in dead {
        trio.nodes[node].kill9();
    }
    // Two of three are a majority: of another cluster, if they were let in.
    let strangers = dead.map(|node| trio.options(node).launch());
    let why = "has another data folder";
    let says = || async { [strangers[0].says(why), strangers[1].says(why)] };
    eventually("the refusal of both", says, |says| *says == [true, true]).await;
    assert!(strangers.iter().all(|stranger| !stranger.says("READY")));
    drop(strangers);
    trio.restart_dead().await;
    let duel = Duel::paired(&trio.nodes[leader]).await;
    duel.ready().await;
}

#[tokio::test]
async fn a_cluster_forms_whichever_node_starts_first() {
    for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
        let trio = Trio::start_in_order(order).await;
        let formed = trio.nodes.iter().filter(|node| node.says("the cluster is formed"));
        assert_eq!(formed.count(), 1, "one forms it");
        let leader = trio.leader(0).await;
        assert_eq!((trio.leader(1).await, trio.leader(2).await), (leader, leader));
    }
}
