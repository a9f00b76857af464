//! openraft's own suite for storages, run against ours on a real disk.

use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{RaftSnapshotBuilder, StorageError};
use serverv2_machine::{Incarnation, NodeId};
use tempfile::TempDir;

use crate::applier::{Applier, Replica};
use crate::disk::Disk;
use crate::feed::FeedSender;
use crate::log_adapter::{LogAdapter, Stores};
use crate::log_clock::LogClock;
use crate::records::OverlayRecords;
use crate::requests::Requests;
use crate::state_machine::StateMachine;
use crate::types::TypeConfig;

struct Folders;

impl StoreBuilder<TypeConfig, LogAdapter, StateMachine, TempDir> for Folders {
    async fn build(&self) -> Result<(TempDir, LogAdapter, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine) = stores(&dir);
        Ok((dir, log, machine))
    }
}

fn stores(dir: &TempDir) -> (LogAdapter, StateMachine) {
    let (stores, _) = Stores::open(dir.path(), 1).unwrap();
    let records = OverlayRecords::on(stores.records.valid(), Arc::default());
    let replica = Replica::on(records);
    let applier = Applier {
        replica: replica.clone(),
        feed: FeedSender::default(),
        requests: Arc::new(Requests::new(NodeId(1), Incarnation(1))),
        clock: Arc::<LogClock>::default(),
        counted_out: Arc::default(),
        checkpoint: Arc::default(),
        counters: Arc::default(),
    };
    let state_machine =
        StateMachine::new(replica, applier.start().unwrap(), Disk::Folder(Arc::clone(&stores)));
    (LogAdapter(stores), state_machine)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_of_openraft_passes() {
    Suite::test_all(Folders).await.unwrap();
}

#[tokio::test]
async fn the_newest_snapshot_is_current_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut machine) = stores(&dir);
    let built = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    drop((log, machine));
    let (_log, mut machine) = stores(&dir);
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, built.meta);
}
