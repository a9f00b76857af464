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

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn refused(config: &NodeConfig, why: &str) {
    // A second start is no way around it.
    for _ in 0..2 {
        let error = Cluster::start(config.clone()).await.err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("restore the whole folder from a backup"), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_or_missing_snapshot_stops_the_start_once_the_log_is_purged() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&eager(dir.path())).await;
    fill(&cluster).await;
    cluster.shutdown().await;
    flip_a_bit(&snapshot_file(dir.path()));
    refused(&eager(dir.path()), ".snap can't be read: a checksum does not hold").await;
    fs::remove_file(dir.path().join("snapshots/current")).unwrap();
    refused(&eager(dir.path()), "the snapshot that led there is gone").await;
}

#[tokio::test]
async fn records_that_are_older_than_both_ends_of_the_checkpoint_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&eager(dir.path())).await;
    fill(&cluster).await;
    cluster.shutdown().await;
    let old = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for item in fs::read_dir(from).unwrap().map(|item| item.unwrap()) {
            if item.file_type().unwrap().is_file() {
                fs::copy(item.path(), to.join(item.file_name())).unwrap();
            }
        }
    };
    copy(&dir.path().join("records"), old.path());
    for number in 10..12 {
        let (cluster, _feed) = start(&eager(dir.path())).await;
        let before = cluster.status().snapshot;
        cluster.propose(create(number), None).await.unwrap();
        for _ in 0..60 {
            cluster.propose(Tick, None).await.unwrap();
        }
        wait_for(&cluster, "the next snapshot", |status| status.snapshot > before).await;
        cluster.shutdown().await;
    }
    fs::remove_dir_all(dir.path().join("records")).unwrap();
    fs::create_dir(dir.path().join("records")).unwrap();
    copy(old.path(), &dir.path().join("records"));
    refused(&eager(dir.path()), "the records are those of position").await;
}

#[tokio::test]
async fn a_damaged_state_is_made_anew_while_the_log_has_all_of_it() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |dir| flip_a_bit(&snapshot_file(dir)),
        |dir| fs::remove_dir_all(dir.join("snapshots")).unwrap(),
        |dir| {
            let file = fs::File::options().write(true).open(dir.join("records/db"));
            file.unwrap().set_len(99).unwrap();
        },
        |dir| fs::remove_dir_all(dir.join("records")).unwrap(),
    ];
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig { keep_entries: 100_000, ..eager(dir.path()) };
    let (cluster, _feed) = start(&config).await;
    cluster.propose(create(1), None).await.unwrap();
    for _ in 0..60 {
        cluster.propose(Tick, None).await.unwrap();
    }
    wait_for(&cluster, "a snapshot", |status| status.snapshot > 0).await;
    cluster.propose(create(2), None).await.unwrap();
    cluster.shutdown().await;
    for damage in damages {
        damage(dir.path());
        let (cluster, _feed) = start(&config).await;
        assert_eq!(cluster.read(|_, records| records.players().count()).value, 2);
        // The next damage needs something to damage.
        let before = cluster.status().snapshot;
        for _ in 0..60 {
            cluster.propose(Tick, None).await.unwrap();
        }
        wait_for(&cluster, "a snapshot", |status| status.snapshot > before).await;
        cluster.shutdown().await;
    }
}
