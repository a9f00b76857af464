//! A node that is asked to stop makes way: balancers are told, its clients go elsewhere a few at a time, and
//! nothing waits for its silence to be noticed.

use futures::future::join_all;
use hyper::Method;

use crate::harness::cluster::Trio;
use crate::harness::light::Manner;
use crate::harness::process::Options;
use crate::harness::roamers::Roamers;
use crate::harness::{Client, Duel, Fighter, Http, connected_guest, eventually};
use crate::tokens::is_cut;

const CLIENTS: usize = 24;

fn unhurried(options: Options) -> Options {
    options
        .env("DRAIN_NOTICE", "1")
        .env("DRAIN_PERIOD", "2")
        // Its silence is not what tells the others.
        .env("NODE_GONE_AFTER_MS", "600000")
        .env("DISCONNECT_GRACE_PERIOD_TTL", "0")
}

#[tokio::test]
async fn a_node_that_is_asked_to_stop_makes_way_and_costs_nobody_a_battle() {
    let mut trio = Trio::start_with(|_, options| unhurried(options)).await;
    let going = trio.leader(0).await;
    let [second, third] = [(going + 1) % 3, (going + 2) % 3];
    let a = Fighter::new(&trio.nodes[going], 0).await;
    let b = Fighter::new(&trio.nodes[second], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let asked = duel.attack_once(-1).await;
    let clients: Vec<Client> = join_all((0..CLIENTS).map(|_| connected_guest(&trio.nodes[going])))
        .await
        .into_iter()
        .map(|(_, client)| client)
        .collect();

    let address = trio.nodes[going].address();
    let closed = || async { clients.iter().filter(|client| client.is_closed()).count() };
    let watching = async {
        let ready = || async { Http::to(address, Method::GET, "/ready").send().await };
        let draining = eventually("not ready", ready, |ready| ready.status == 503).await;
        assert_eq!(draining.json()["state"], "draining");
        assert_eq!(closed().await, 0, "balancers come first");
        let first = eventually("a first client that is cut", closed, |closed| *closed > 0).await;
        assert!(first < CLIENTS, "one after the other");
        let poll = "/socket.io/?EIO=4&transport=polling&playerId=x";
        let refused = Http::to(address, Method::GET, poll).send().await;
        assert_eq!(refused.status, 503, "nobody new is let in");
    };
    let (status, ()) = tokio::join!(trio.nodes[going].terminate(), watching);
    assert!(status.success());
    for client in &clients {
        is_cut(client).await;
    }

    let healthy = || async { trio.stats(third).await["instances"]["healthy"].as_u64() };
    eventually("two nodes", healthy, |healthy| *healthy == Some(2)).await;
    duel.a.reconnect(&trio.nodes[third]).await;
    duel.a.client.resume().await;
    duel.attack_once(asked).await;
    trio.nodes[going].restart().await;
    eventually(
        "three nodes",
        || async { trio.stats(third).await["instances"]["healthy"].as_u64() },
        |healthy| *healthy == Some(3),
    )
    .await;
}

const BATTLES: usize = 8;

#[tokio::test]
async fn all_nodes_are_restarted_one_by_one_and_each_costs_a_player_one_reconnect_at_most() {
    let mut trio = Trio::start_with(|_, options| unhurried(options)).await;
    let manner = Manner { think_ms: (20, 120), animates: 6, dreams: 0 };
    let roamers = Roamers::fight(&trio.nodes, BATTLES, manner).await;
    let ended = || async { roamers.ledger.ended("all_pet_fainted") };
    for at in 0..3 {
        let enough = ended().await + BATTLES as u64 / 2;
        eventually("some battles to their ends", ended, |ended| *ended >= enough).await;
        let before = roamers.connected();
        // As a balancer does: what is not ready gets nobody new.
        roamers.places.set(at, None);
        assert!(trio.nodes[at].terminate().await.success());
        trio.nodes[at].restart().await;
        let healthy = || async { trio.stats(at).await["instances"]["healthy"].as_u64() };
        eventually("three nodes", healthy, |healthy| *healthy == Some(3)).await;
        roamers.places.set(at, Some(trio.nodes[at].address()));
        let again = roamers.connected().iter().zip(before).map(|(now, before)| now - before).max();
        assert!(again <= Some(1), "node {} cost somebody {again:?} reconnects", at + 1);
    }
    let enough = ended().await + BATTLES as u64 / 2;
    eventually("battles to their ends afterwards", ended, |ended| *ended >= enough).await;
    assert_eq!(roamers.ledger.ended_otherwise_than("all_pet_fainted"), 0, "none was lost");
}
