//! Nodes of two versions in one cluster, and the way from the old one to the new one.
//!
//! The older build is the same one that pretends (`SERVERV2_PRETEND_LEVEL`): it says nothing of versions, as
//! the first builds, and a command above its level is bytes it can't read. `SERVERV2_PREVIOUS` names a real
//! older build: `make mixed PREVIOUS=<commit>` makes one and runs the last test with it.

use std::path::PathBuf;

use crate::control::{operate, refused, said};
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, eventually};

const PRETEND: &str = "SERVERV2_PRETEND_LEVEL";

/// No node is counted out because this machine is busy: who goes says so.
fn present(options: Options) -> Options {
    options.env("NODE_GONE_AFTER_MS", "600000")
}

/// Two old nodes and a new one become three new ones under a battle, one by one.
async fn upgrade_one_by_one(old: impl Fn(Options) -> Options) -> Trio {
    let mixed = |at, options| if at < 2 { old(present(options)) } else { present(options) };
    let mut trio = Trio::start_with(mixed).await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[2], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let mut asked = duel.attack_once(-1).await;
    let text = refused(&operate(&trio.nodes[2], &["cluster", "upgrade"]).await);
    assert!(text.contains("knows behaviour level 1, not 2: upgrade it first"), "{text}");

    for at in 0..2 {
        let elsewhere = 1 - at;
        assert!(trio.nodes[at].terminate().await.success());
        trio.nodes[at].change(PRETEND, "");
        trio.nodes[at].upgrade();
        trio.nodes[at].restart().await;
        duel.a.reconnect(&trio.nodes[elsewhere]).await;
        duel.b.reconnect(&trio.nodes[2]).await;
        duel.a.client.resume().await;
        duel.b.client.resume().await;
        duel.a.attack().await;
        duel.b.attack().await;
        let turn = duel.b.message_after(asked, "TURN_END").await.sequence;
        asked = duel.b.wait_until_asked(turn).await;
        duel.a.wait_until_asked(turn).await;
    }
    let leader = trio.leader(2).await;
    let due = || async { trio.nodes[leader].says("switches it on") };
    eventually("a word that an upgrade is due", due, |said| *said).await;
    let (end, same) = duel.play(3, asked, true).await;
    assert_eq!(end.data, same.data);
    trio
}

/// After the level is raised, an old node gets in nowhere, and the others do without it.
async fn raised(trio: &mut Trio) {
    let text = said(&operate(&trio.nodes[0], &["cluster", "upgrade"]).await);
    assert!(text.contains("was 1 and is 2"), "{text}");
    // What it would say at its end, its older self could not read in its own log.
    trio.nodes[1].kill9();
    trio.nodes[1].change(PRETEND, "1");
    trio.nodes[1].start_again();
    let refused = || async {
        [0, 2].map(|at| trio.nodes[at].says("it knows behaviour level 1")).contains(&true)
    };
    eventually("a refusal", refused, |said| *said).await;
    assert!(trio.nodes[1].log().find(|line| line.starts_with("READY")).is_none());
    Duel::paired(&trio.nodes[0]).await.ready().await;
    trio.nodes[1].kill9();
    trio.nodes[1].change(PRETEND, "");
    trio.nodes[1].restart().await;
    Duel::paired(&trio.nodes[1]).await.ready().await;
}

#[tokio::test]
async fn old_nodes_become_new_ones_one_by_one_under_a_battle_and_then_none_gets_in() {
    let mut trio = upgrade_one_by_one(|options| options.env(PRETEND, "1")).await;
    raised(&mut trio).await;
}

#[tokio::test]
#[ignore = "needs another build of the server: `make mixed PREVIOUS=<commit>`"]
async fn a_real_older_build_becomes_this_one_node_by_node_under_a_battle() {
    let binary = std::env::var_os("SERVERV2_PREVIOUS").expect("SERVERV2_PREVIOUS names a binary");
    let binary = PathBuf::from(binary);
    let mut trio = upgrade_one_by_one(|options| options.binary(&binary)).await;
    raised(&mut trio).await;
}
