//! Recovery, seen before a new process announces itself: nothing was added, so nothing may differ.

use std::path::Path;
use std::time::Instant;

use openraft::async_runtime::WatchReceiver as _;
use serverv2_machine::{CreatePlayer, Digest, NanoId, NodeId, PackRef, PlayerId, Tick};

use super::*;

fn config(dir: &Path) -> NodeConfig {
    NodeConfig {
        snapshot_entries: 40,
        keep_entries: 10,
        packs: vec![PackRef { engine: "test/1".into(), digest: Digest([7; 32]) }],
        waiting_proposals_max: 100,
        ..NodeConfig::new(NodeId(1), dir.to_path_buf())
    }
}

fn digest(replica: &Replica) -> Digest {
    let state = replica.read();
    state.machine.digest(&state.records)
}

#[tokio::test]
async fn a_restart_from_a_snapshot_and_a_purged_log_gives_an_equal_digest() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = Cluster::start(config(dir.path())).await.unwrap();
    for number in 0..100 {
        let player = PlayerId(NanoId::from_entropy(&[number; 32]));
        let _ = cluster.propose(CreatePlayer { player, name: "someone".into() }, None).await;
    }
    let deadline = Instant::now() + START_DEADLINE;
    while cluster.status().purged == 0 {
        assert!(Instant::now() < deadline, "nothing is purged: {:?}", cluster.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.propose(Tick, None).await.unwrap();
    let before = cluster.read(|machine, records| machine.digest(records)).value;
    cluster.shutdown().await;

    let (node, _gate) = Node::start(&config(dir.path())).await.unwrap();
    assert_eq!(digest(&node.replica), before);
    let metrics = node.raft.metrics();
    let (snapshot, purged) = {
        let metrics = metrics.borrow_watched();
        (metrics.snapshot, metrics.purged)
    };
    assert!(snapshot.is_some() && purged.is_some(), "it did not come from the log alone");
    assert!(purged < snapshot);
}

#[tokio::test]
async fn a_restart_from_the_log_alone_gives_an_equal_digest() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = Cluster::start(config(dir.path())).await.unwrap();
    cluster.propose(Tick, None).await.unwrap();
    let before = cluster.read(|machine, records| machine.digest(records)).value;
    cluster.shutdown().await;
    let (node, _gate) = Node::start(&config(dir.path())).await.unwrap();
    assert_eq!(digest(&node.replica), before);
}
