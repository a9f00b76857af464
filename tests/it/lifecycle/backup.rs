//! A live cluster is backed up to one file, and a new one starts from it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use hyper::Method;

use super::{on_folder, settled};
use crate::control::{operate, refused, said};
use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::jwt::{SECRET, access};
use crate::harness::ports::Port;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server, eventually, guest};
use crate::members::{cluster, listens};
use crate::reports::surrender;
use crate::tokens::{by, verify};

fn path(file: &Path) -> &str {
    file.to_str().expect("a temporary folder has a plain path")
}

/// A node that stands alone and signs as the three did.
fn lone(node: u64) -> Options {
    Options::default()
        .production()
        .env("NODE_ID", &node.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("LOG_FORMAT", "pretty")
        .env("JWT_SECRET", SECRET)
        .env("RATE_LIMIT_AUTH", "0")
}

/// A server on a folder made of this backup, not started.
async fn restored(file: &Path, node: u64, options: Options) -> Server {
    let folder = tempfile::tempdir().expect("make a folder");
    let id = node.to_string();
    let text =
        said(&on_folder(folder.path(), &["restore", "--from", path(file), "--node-id", &id]).await);
    assert!(text.contains(&format!("the data folder of node {node}")), "{text}");
    options.on(folder)
}

#[tokio::test]
async fn a_backup_of_a_live_cluster_starts_a_new_one_and_its_battles_go_on() {
    let trio = Trio::start().await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel.attack_once(-1).await;
    duel.a.attack().await;
    let mut waiting = Fighter::new(&trio.nodes[2], 2).await;
    waiting.join().await;
    let before = duel.b.state().await;
    settled(&trio.nodes).await;

    // Under load, through any node; what was acknowledged before it began is in it.
    let callers = Callers::on(&trio.nodes, 1);
    callers.more(100).await;
    let early = callers.stop().await;
    let callers = Callers::on(&trio.nodes, 4);
    callers.more(50).await;
    let place = tempfile::tempdir().expect("make a folder");
    let file = place.path().join("one.backup");
    let backup = ["backup", "--to", path(&file)];
    let node = (trio.leader(0).await + 1) % 3;
    let text = said(&operate(&trio.nodes[node], &backup).await);
    assert!(text.contains("cluster \"serverv2\" as of"), "{text}");
    callers.more(50).await;
    let told = callers.stop().await;
    assert_eq!(missing(&trio.nodes, &told).await, Vec::<String>::new(), "nothing was held up");
    assert_eq!(fs::metadata(&file).expect("it is there").mode() & 0o777, 0o600);
    let size = fs::metadata(&file).expect("it is there").len();
    let again = refused(&operate(&trio.nodes[0], &backup).await);
    assert!(again.contains("it is there already"), "{again}");
    assert_eq!(fs::metadata(&file).expect("it is there").len(), size, "and was left alone");
    assert_eq!(fs::read_dir(place.path()).expect("list it").count(), 1, "nothing is left over");

    // Under the id of a node that was in it, and beside the cluster, which goes on.
    let mut server = restored(&file, 2, lone(2)).await;
    server.restart().await;
    duel.a.reconnect(&server).await;
    duel.b.reconnect(&server).await;
    assert_eq!(duel.b.client.resume().await, before, "the battle as it was");
    duel.a.client.resume().await;
    duel.b.attack().await;
    let turn = duel.b.message("TURN_END").await.sequence;
    let asked = duel.b.wait_until_asked(turn).await;
    duel.a.wait_until_asked(turn).await;
    waiting.reconnect(&server).await;
    waiting.join().await;
    let late = Fighter::new(&server, 3).await;
    late.join().await;
    assert_eq!(waiting.matched().await, late.matched().await, "the ticket is there");
    assert_eq!(missing(std::slice::from_ref(&server), &early).await, Vec::<String>::new());

    server.kill9();
    server.restart().await;
    duel.a.reconnect(&server).await;
    duel.b.reconnect(&server).await;
    duel.a.client.resume().await;
    duel.b.client.resume().await;
    duel.a.attack().await;
    duel.b.attack().await;
    duel.a.message_after(asked, "TURN_END").await;
    Duel::paired(&trio.nodes[0]).await.ready().await;
}

#[tokio::test]
async fn a_restored_cluster_knows_who_logged_out_and_what_was_fought_and_grows() {
    let trio = Trio::start().await;
    let id = guest(&trio.nodes[0]).await;
    let [left, stayed] = ["left", "stayed"].map(|token| access(&id, token));
    let logout = by(&left, &trio.nodes[0], Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    let duel = Duel::paired(&trio.nodes[1]).await;
    duel.ready().await;
    duel.attack_once(-1).await;
    surrender(&duel.a, &duel.b).await;
    settled(&trio.nodes).await;
    let battles = format!("/api/v1/players/{}/battles", duel.a.id);
    let report = Http::get(&trio.nodes[0], &battles).send().await.json()["data"][0].clone();
    assert_eq!(report["battle_result"], "player_b_wins", "{report}");

    let place = tempfile::tempdir().expect("make a folder");
    let file = place.path().join("one.backup");
    said(&operate(&trio.nodes[0], &["backup", "--to", path(&file)]).await);
    drop(trio);
    let ports = [Port::take(), Port::take(), Port::take()];
    // The ids of the old nodes are used up, but for the one that the folder is made for.
    let at = |id: usize| format!("127.0.0.1:{}", ports[id % 3].number);
    let node = |id: usize| lone(id as u64).env("PEER_BIND", &at(id));
    let mut first = restored(&file, 1, node(1)).await;
    first.restart().await;
    let peers = |id: usize| format!("1={},{id}={}", at(1), at(id));
    let mut nodes = [5, 6].map(|id| node(id).env("PEERS", &peers(id)).launch());
    for (joining, id) in nodes.iter_mut().zip(5..) {
        let place = format!("{id}={}", at(id));
        listens(&place).await;
        cluster(&first, &["add", &place]).await;
        joining.until_ready().await;
        cluster(&first, &["promote", &id.to_string()]).await;
    }
    first.kill9();
    for node in &nodes {
        let counts = || async { (verify(&left, node).await, verify(&stayed, node).await) };
        eventually("what tokens count", counts, |counts| *counts == (401, 200)).await;
        assert_eq!(Http::get(node, &battles).send().await.json()["data"][0], report);
    }
    Duel::paired(&nodes[0]).await.ready().await;
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_not_restored_into() {
    let node = Server::start().await;
    let place = tempfile::tempdir().expect("make a folder");
    let file = place.path().join("one.backup");
    said(&operate(&node, &["backup", "--to", path(&file)]).await);
    let restore = ["restore", "--from", path(&file)];
    let text = refused(&on_folder(node.folder(), &restore).await);
    assert!(text.contains("is not empty") || text.contains("in use"), "{text}");
    let text = refused(&on_folder(place.path(), &restore).await);
    assert!(text.contains("holds one.backup"), "{text}");
    let server = restored(&file, 1, Options::default()).await;
    let text = refused(&on_folder(server.folder(), &restore).await);
    assert!(text.contains("is not empty"), "{text}");
}

#[tokio::test]
async fn a_backup_that_is_cut_or_changed_makes_no_folder() {
    let node = Server::start().await;
    let callers = Callers::on(std::slice::from_ref(&node), 2);
    callers.more(100).await;
    callers.stop().await;
    let place = tempfile::tempdir().expect("make a folder");
    let (file, broken) = (place.path().join("one.backup"), place.path().join("broken.backup"));
    said(&operate(&node, &["backup", "--to", path(&file)]).await);
    let whole = fs::read(&file).expect("read it");
    let new = place.path().join("new");
    let restore = ["restore", "--from", path(&broken)];
    for twentieth in 0..20 {
        let at = whole.len() * twentieth / 20;
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        for bytes in [&whole[..at], &flipped] {
            fs::write(&broken, bytes).expect("write it");
            let text = refused(&on_folder(&new, &restore).await);
            assert!(text.contains("broken.backup can't be restored"), "{text}");
            assert!(!new.exists(), "nothing was made");
        }
    }
}

#[tokio::test]
async fn new_behaviour_waits_for_the_operator_and_then_forgets_nodes_that_left() {
    let old = |_, options: Options| options.env("SERVERV2_PRETEND_LEVEL", "1");
    let trio = Trio::start_with(old).await;
    let place = tempfile::tempdir().expect("make a folder");
    let file = place.path().join("one.backup");
    said(&operate(&trio.nodes[0], &["backup", "--to", path(&file)]).await);
    let options = lone(7).env("NODE_GONE_AFTER_MS", "1500").env("FAILPOINTS", "crowded=return");
    let mut server = restored(&file, 7, options).await;
    server.restart().await;
    let due = || async { server.says("switches it on") };
    eventually("a word that an upgrade is due", due, |said| *said).await;
    let gone = || async { server.says("is counted out") };
    eventually("nodes that are counted out", gone, |said| *said).await;
    assert!(!server.says("is forgotten"), "an older build could not read that");
    let text = said(&operate(&server, &["cluster", "upgrade"]).await);
    assert!(text.contains("was 1 and is 2"), "{text}");
    let forgotten = || async { server.says("a node that has left is forgotten") };
    eventually("nodes that are forgotten", forgotten, |said| *said).await;
    let text = said(&operate(&server, &["cluster", "upgrade"]).await);
    assert!(text.contains("is 2 already"), "{text}");
}
