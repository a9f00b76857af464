//! Who was removed knows it, disturbs nobody, and does not come back.

use super::{cluster, join, listens, status, voters};
use crate::control::{operate, refused};
use crate::harness::cluster::Trio;
use crate::harness::{Duel, Fighter, Http, Server, connected_guest, eventually};
use crate::tokens::is_cut;

const WHY: &str = "was removed from the cluster";

async fn says_removed(node: &Server) {
    let state = || async { Http::get(node, "/ready").send().await };
    let ready = eventually("removed", state, |it| it.json()["state"] == "removed").await;
    assert_eq!(ready.status, 503);
    assert!(node.says(WHY));
}

#[tokio::test]
async fn a_node_that_slept_through_its_removal_disturbs_nobody() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let [gone, other] = [(leader + 1) % 3, (leader + 2) % 3];
    let (_, client) = connected_guest(&trio.nodes[gone]).await;
    let a = Fighter::new(&trio.nodes[leader], 0).await;
    let duel = Duel::pair(a, Fighter::new(&trio.nodes[other], 1).await).await;
    duel.ready().await;
    let asked = duel.attack_once(-1).await;
    let term = status(&trio.nodes[leader]).await["term"].clone();

    trio.nodes[gone].pause();
    cluster(&trio.nodes[other], &["remove", &(gone + 1).to_string()]).await;
    trio.nodes[gone].unpause();
    says_removed(&trio.nodes[gone]).await;
    is_cut(&client).await;
    let poll = "/socket.io/?EIO=4&transport=polling&playerId=x";
    assert_eq!(Http::get(&trio.nodes[gone], poll).send().await.status, 503, "nobody is let in");
    let asked = duel.attack_once(asked).await;
    assert!(trio.nodes[gone].terminate().await.success());

    trio.nodes[gone].start_again();
    let says = || async { trio.nodes[gone].says(WHY) };
    eventually("the same after a restart", says, |says| *says).await;
    assert!(!trio.nodes[gone].says("READY"));
    duel.attack_once(asked).await;
    assert_eq!(status(&trio.nodes[leader]).await["term"], term, "nobody stood for election");
    assert!(trio.nodes[gone].terminate().await.success(), "it waits, and can be stopped");
    let healthy = || async { trio.stats(leader).await["instances"]["healthy"].as_u64() };
    eventually("two nodes", healthy, |healthy| *healthy == Some(2)).await;
}

#[tokio::test]
async fn a_learner_that_is_removed_says_so_and_its_id_is_not_used_again() {
    let mut trio = Trio::start().await;
    let four = join(&mut trio, 4, 0).await;
    // Asked of itself.
    cluster(&four, &["remove", "4"]).await;
    says_removed(&four).await;
    drop(four);
    let again = trio.newcomer(4);
    let _fresh = again.options.launch();
    listens(&again.place).await;
    let output = operate(&trio.nodes[0], &["cluster", "add", &again.place]).await;
    assert!(refused(&output).contains("NODE_REMOVED"));
    assert!(cluster(&trio.nodes[1], &["remove", "4"]).await.contains("nothing to do"));
}

#[tokio::test]
async fn a_node_whose_disk_was_wiped_is_replaced_under_a_new_id() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let lost = (leader + 1) % 3;
    trio.nodes[lost].kill9();
    trio.nodes[lost].start_afresh();
    let why = "Start the new folder under a new node id";
    let says = || async { trio.nodes[lost].says(why) };
    eventually("the way out", says, |says| *says).await;
    let place = format!("{}=127.0.0.1:{}", lost + 1, trio.peer_port(lost));
    let why = refused(&operate(&trio.nodes[leader], &["cluster", "add", &place]).await);
    assert!(why.contains("NODE_FOREIGN") && why.contains("has another data folder"), "{why}");
    trio.nodes[lost].kill9();

    let four = join(&mut trio, 4, leader).await;
    cluster(&four, &["promote", "4"]).await;
    cluster(&four, &["remove", &(lost + 1).to_string()]).await;
    let voters = voters(&trio.nodes[leader]).await;
    assert!(voters.len() == 3 && voters.contains(&4), "{voters:?}");
    // Any one may die again.
    trio.nodes[leader].kill9();
    let duel = Duel::paired(&four).await;
    duel.ready().await;
}
