//! The settings of a node, and what openraft makes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use serverv2_machine::{NodeId, PackRef};

use crate::error::StartError;

/// Entries in one message to a follower.
const PAYLOAD_ENTRIES_MAX: u64 = 4096;
const INSTALL_SNAPSHOT_TIMEOUT_MS: u64 = 30_000;

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its id; belongs to the data folder for ever.
    pub node: NodeId,
    /// Its data folder; made if it is not there.
    pub data_dir: PathBuf,
    /// How often a leader is heard, milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader before an election, milliseconds.
    pub election_min_ms: u64,
    /// Longest time without a leader before an election, milliseconds.
    pub election_max_ms: u64,
    /// Entries after which a snapshot is taken.
    pub snapshot_entries: u64,
    /// Entries kept in the log behind a snapshot, for followers that are behind.
    pub keep_entries: u64,
    /// Packs this node has loaded; the first is activated in a cluster that has none.
    pub packs: Vec<PackRef>,
    /// Grace for players who were connected to a former process of this node, milliseconds.
    pub grace_ms: u64,
    /// Proposals that may wait here; one more is refused as *busy*.
    pub waiting_proposals_max: usize,
    /// How long a caller waits for an answer.
    pub propose_deadline: Duration,
    /// The nodes that form the cluster, this one included, and where they are reached; empty for a
    /// cluster of one.
    pub peers: BTreeMap<NodeId, String>,
    /// Where peers reach this node.
    pub peer_bind: SocketAddr,
    /// A listener for peers that is bound already; used instead of `peer_bind`.
    pub peer_listener: Option<Arc<std::net::TcpListener>>,
    /// Whether others may join a cluster of one.
    pub is_joinable: bool,
    /// Where others reach this node, if `peers` does not say so.
    pub peer_address: String,
    /// Whether the start fails where `peer_bind` can't be had; else a cluster of one goes on alone.
    pub must_listen: bool,
    /// Which cluster this is; nodes of others are refused.
    pub cluster_name: String,
    /// What nodes prove to each other; never logged.
    pub cluster_secret: ClusterSecret,
    /// Silence after which the leader counts a node out, milliseconds.
    pub node_gone_after_ms: u64,
}

/// What nodes prove to each other. Does not show itself.
#[derive(Clone, Default)]
pub struct ClusterSecret(pub String);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

impl NodeConfig {
    /// A cluster of one on this folder, with everything else as it is by default.
    pub fn new(node: NodeId, data_dir: PathBuf) -> Self {
        Self {
            node,
            data_dir,
            heartbeat_ms: 60,
            election_min_ms: 200,
            election_max_ms: 400,
            snapshot_entries: 50_000,
            keep_entries: 100_000,
            packs: Vec::new(),
            grace_ms: 60_000,
            waiting_proposals_max: 4_096,
            propose_deadline: Duration::from_secs(5),
            peers: BTreeMap::new(),
            peer_bind: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            peer_listener: None,
            is_joinable: false,
            peer_address: String::new(),
            must_listen: false,
            cluster_name: "serverv2".to_owned(),
            cluster_secret: ClusterSecret::default(),
            node_gone_after_ms: 3_000,
        }
    }

    pub(super) fn openraft(&self) -> Result<Config, StartError> {
        if self.waiting_proposals_max == 0 || self.snapshot_entries == 0 {
            let text = "waiting proposals and snapshot entries must be at least 1";
            return Err(StartError::Setting(text.into()));
        }
        let config = Config {
            cluster_name: "serverv2".into(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            enable_pre_vote: Some(true),
            // A restarted leader would serve with what it remembers; an election proves it current.
            enable_leader_restore: Some(false),
            max_payload_entries: PAYLOAD_ENTRIES_MAX,
            install_snapshot_timeout: INSTALL_SNAPSHOT_TIMEOUT_MS,
            // Ours decides (`snapshots.rs`).
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.keep_entries,
            replication_lag_threshold: self.keep_entries.max(self.snapshot_entries + 1),
            ..Config::default()
        };
        config.validate().map_err(|error| StartError::Setting(error.to_string()))
    }
}
