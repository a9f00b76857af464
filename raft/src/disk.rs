//! Where a node keeps what must survive it: a data folder, or in a simulation something that forgets on
//! command.

use std::io;
use std::sync::{Arc, Weak};

use openraft::Config;
use openraft::errors::Fatal;
use serverv2_storage::{SnapshotFile, StorageError};
use tokio::sync::mpsc;

use crate::applier::{Applier, Replica, Work};
use crate::figures::Counters;
use crate::log_adapter::{LogAdapter, Stores};
use crate::network::Peers;
use crate::records::{Broken, OverlayRecords};
#[cfg(feature = "simulation")]
use crate::simulation;
use crate::state_machine::StateMachine;
use crate::types::{Raft, TypeConfig};

/// A node's disk; clones share it.
#[derive(Clone)]
pub(crate) enum Disk {
    Folder(Arc<Stores>),
    #[cfg(feature = "simulation")]
    Simulated(simulation::Disk),
}

/// A snapshot on a disk.
pub(crate) enum Shot {
    File(SnapshotFile),
    #[cfg(feature = "simulation")]
    Simulated(simulation::Image),
}

impl Disk {
    /// How often it was opened.
    pub(crate) fn boots(&self) -> u64 {
        match self {
            Self::Folder(stores) => stores.boots(),
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => disk.boots(),
        }
    }

    /// What tells it from all others.
    pub(crate) fn id(&self) -> [u8; 16] {
        match self {
            Self::Folder(stores) => stores.folder_id().0,
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => disk.id(),
        }
    }

    /// The records as they are there.
    pub(crate) fn records(&self, broken: Arc<Broken>) -> OverlayRecords {
        match self {
            Self::Folder(stores) => OverlayRecords::on(stores.records.valid(), broken),
            // They come with the snapshot.
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => OverlayRecords::default(),
        }
    }

    /// What a process counts, with what the disk counts itself.
    pub(crate) fn counters(&self) -> Counters {
        match self {
            Self::Folder(stores) => {
                let log = &stores.log;
                Counters::with(Arc::clone(log.syncs()), Arc::clone(log.sizes()))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Counters::default(),
        }
    }

    /// The folder's stores, for whoever must not keep it open.
    pub(crate) fn stores(&self) -> Weak<Stores> {
        match self {
            Self::Folder(stores) => Arc::downgrade(stores),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Weak::new(),
        }
    }

    /// Starts what applies entries: a thread, or in a simulation, which has but one, a task.
    pub(crate) fn start_applier(&self, applier: Applier) -> io::Result<mpsc::Sender<Work>> {
        match self {
            Self::Folder(_) => applier.start(),
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => Ok(disk.start_applier(applier)),
        }
    }

    /// Starts openraft on it.
    pub(crate) async fn start_consensus(
        &self,
        node: u64,
        config: Config,
        network: Peers,
        replica: Replica,
        applier: mpsc::Sender<Work>,
    ) -> Result<Raft, Fatal<TypeConfig>> {
        let config = Arc::new(config);
        let state_machine = StateMachine::new(replica, applier, self.clone());
        match self {
            Self::Folder(stores) => {
                let log = LogAdapter(Arc::clone(stores));
                // All of consensus is compiled for each kind of log, and a simulation has no folder.
                #[cfg(feature = "simulation")]
                return {
                    drop(log);
                    Err(Fatal::Stopped)
                };
                #[cfg(not(feature = "simulation"))]
                Raft::new(node, config, network, log, state_machine).await
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => {
                Raft::new(node, config, network, disk.log(), state_machine).await
            }
        }
    }
}

impl Shot {
    /// The file that it is.
    pub(crate) fn into_file(self) -> Result<SnapshotFile, StorageError> {
        match self {
            Self::File(file) => Ok(file),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => {
                Err(StorageError::Corrupt("a snapshot of another disk".to_owned()))
            }
        }
    }
}
