//! Two of three nodes are lost for ever: the survivor goes on alone.

use super::{kill_all, on_folder, settled};
use crate::control::said;
use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server, eventually};

const RECOVER: [&str; 3] = ["cluster", "recover", "--lose-the-others"];

#[tokio::test]
async fn a_survivor_goes_on_alone_with_everything_and_the_others_are_shut_out() {
    let mut trio = Trio::start().await;
    let survivor = (trio.leader(0).await + 1) % 3;
    let other = (survivor + 1) % 3;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel.attack_once(-1).await;
    duel.a.attack().await;
    let mut waiting = Fighter::new(&trio.nodes[2], 2).await;
    waiting.join().await;
    let callers = Callers::on(&trio.nodes, 2);
    callers.more(60).await;
    let told = callers.stop().await;
    let before = duel.b.state().await;
    settled(&trio.nodes).await;
    kill_all(&mut trio);

    let folder = trio.nodes[survivor].folder().to_owned();
    let asked = on_folder(&folder, &RECOVER[..2]).await;
    assert_eq!(asked.status.code(), Some(2));
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(text.contains("members 1 2 3") && text.contains("Nothing was done"), "{text}");
    let text = said(&on_folder(&folder, &RECOVER).await);
    assert!(text.contains(&format!("members {}; last index", survivor + 1)), "{text}");

    // Its settings still list the others.
    trio.nodes[survivor].restart().await;
    let alone = &trio.nodes[survivor];
    duel.a.reconnect(alone).await;
    duel.b.reconnect(alone).await;
    assert_eq!(duel.b.client.resume().await, before, "the battle as it was");
    duel.a.client.resume().await;
    duel.b.attack().await;
    let turn = duel.b.message("TURN_END").await.sequence;
    let asked = duel.b.wait_until_asked(turn).await;
    duel.a.wait_until_asked(turn).await;
    waiting.reconnect(alone).await;
    waiting.join().await;
    let late = Fighter::new(alone, 3).await;
    late.join().await;
    assert_eq!(waiting.matched().await, late.matched().await, "the ticket is there");
    assert_eq!(missing(std::slice::from_ref(alone), &told).await, Vec::<String>::new());

    trio.nodes[other].start_again();
    let shut_out = || async { trio.nodes[other].says("it belongs to another cluster") };
    eventually("a refusal", shut_out, |said| *said).await;
    duel.attack_once(asked).await;
    let status = Http::get(&trio.nodes[survivor], "/cluster/status").send().await.json();
    assert_eq!(status["raft"]["leader"], survivor as u64 + 1);
}

#[tokio::test]
async fn a_recovery_that_is_killed_in_its_middle_keeps_the_node_off_and_is_done_again() {
    let mut node = Server::start().await;
    let callers = Callers::on(std::slice::from_ref(&node), 1);
    callers.more(20).await;
    let told = callers.stop().await;
    node.kill9();
    for step in ["begun", "voted", "appended", "committed"] {
        let doomed = format!("recovery=return({step})");
        let folder = node.folder().to_str().expect("a plain path").to_owned();
        let args = [&RECOVER[..], &["--data-dir", &folder]].concat();
        let killed = crate::harness::process::run_to_end(&args, &[("FAILPOINTS", &doomed)]).await;
        assert_eq!(killed.status.code(), None, "it was killed: {killed:?}");
        node.start_again();
        let log = node.log();
        assert_eq!(node.died().await.code(), Some(1), "{}", log.tail());
        let line = log.find(|line| line.contains("was begun and not finished"));
        assert!(line.is_some_and(|line| line.contains("recover` on it again")), "{}", log.tail());
    }
    said(&on_folder(node.folder(), &RECOVER).await);
    node.restart().await;
    assert_eq!(missing(std::slice::from_ref(&node), &told).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_in_use_or_of_nobody_is_not_recovered() {
    let node = Server::start().await;
    let refused = on_folder(node.folder(), &RECOVER).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("in use by another process"));
    let empty = tempfile::tempdir().expect("make a folder");
    let refused = on_folder(empty.path(), &RECOVER).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no data folder"));
    assert_eq!(std::fs::read_dir(empty.path()).expect("list it").count(), 0, "nothing was made");
    let _still_serves = Fighter::new(&node, 0).await;
}

#[tokio::test]
async fn a_recovered_node_takes_the_records_of_a_purged_log_along() {
    let eager = |_, options: Options| {
        options.env("RAFT_SNAPSHOT_ENTRIES", "100").env("RAFT_KEEP_ENTRIES", "100")
    };
    let mut trio = Trio::start_with(eager).await;
    let callers = Callers::on(&trio.nodes, 1);
    callers.more(300).await;
    let told = callers.stop().await;
    settled(&trio.nodes).await;
    kill_all(&mut trio);
    said(&on_folder(trio.nodes[0].folder(), &RECOVER).await);
    trio.nodes[0].restart().await;
    assert_eq!(missing(&trio.nodes[..1], &told).await, Vec::<String>::new());
    // Once more, by its own log.
    trio.nodes[0].kill9();
    trio.nodes[0].restart().await;
    let duel = Duel::paired(&trio.nodes[0]).await;
    duel.ready().await;
}
