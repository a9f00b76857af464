//! Snapshots: taken, purged behind, restarted from, and refused when damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serverv2_machine::Tick;
use serverv2_raft::{Cluster, NodeConfig, Status};

use crate::common::{DEADLINE, config, connect, create, join, start};

fn eager(dir: &Path) -> NodeConfig {
    let mut config = config(dir);
    config.snapshot_entries = 40;
    config.keep_entries = 10;
    config
}

async fn wait_for(cluster: &Cluster, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let waited = tokio::time::timeout(DEADLINE, async {
        loop {
            let status = cluster.status();
            if holds(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: {:?}", cluster.status()))
}

/// Fills a node until it has taken a snapshot and purged behind it, and a tail after that.
async fn fill(cluster: &Cluster) {
    for number in 1..=3 {
        cluster.propose(create(number), None).await.unwrap();
        cluster.propose(connect(number), None).await.unwrap();
        cluster.propose(join(number), None).await.unwrap();
    }
    for _ in 0..60 {
        cluster.propose(Tick, None).await.unwrap();
    }
    wait_for(cluster, "a snapshot and a purge", |status| status.purged > 0).await;
    cluster.propose(create(9), None).await.unwrap();
}

fn snapshot_file(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("snapshots")).unwrap().map(|item| item.unwrap().path());
    let snapshots: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    let [only] = &snapshots[..] else { panic!("{snapshots:?}") };
    only.clone()
}

#[tokio::test]
async fn a_node_goes_on_from_a_snapshot_and_the_log_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, feed) = start(&eager(dir.path())).await;
    fill(&cluster).await;
    drop((cluster, feed));
    let (cluster, _feed) = start(&eager(dir.path())).await;
    let status = cluster.status();
    assert!(status.snapshot > 0 && status.purged > 0, "{status:?}");
    let read = cluster.read(|machine, records| (records.players().count(), machine.counts().rooms));
    assert_eq!(read.value, (4, 1));
}

#[tokio::test]
async fn a_damaged_snapshot_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&eager(dir.path())).await;
    fill(&cluster).await;
    cluster.shutdown().await;
    let path = snapshot_file(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = Cluster::start(eager(dir.path())).await.err().unwrap();
    assert!(error.to_string().contains("snapshot"), "{error}");
}
