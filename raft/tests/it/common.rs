//! A node's settings for tests, and things to ask it.

use std::path::Path;
use std::time::Duration;

use serverv2_machine::{
    Clocks, CreatePlayer, Digest, JoinQueue, NanoId, NodeId, OpenSession, PackRef, PlayerId,
    SessionKey, SocketId,
};
use serverv2_raft::{Cluster, EffectFeed, NodeConfig, StartError};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn config(dir: &Path) -> NodeConfig {
    NodeConfig {
        packs: vec![PackRef { engine: "test/1".into(), digest: Digest([7; 32]) }],
        ..NodeConfig::new(NodeId(1), dir.to_path_buf())
    }
}

/// Starts on a folder whose last user may still be closing it.
pub(crate) async fn start(config: &NodeConfig) -> (Cluster, EffectFeed) {
    let open = async {
        loop {
            match Cluster::start(config.clone()).await {
                Ok(started) => return started,
                Err(StartError::Storage {
                    error: serverv2_storage::StorageError::InUse { .. },
                }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, open).await.expect("the folder is closed in time")
}

pub(crate) fn player_id(number: u8) -> PlayerId {
    PlayerId(NanoId::from_entropy(&[number; 32]))
}

pub(crate) fn create(number: u8) -> CreatePlayer {
    CreatePlayer { player: player_id(number), name: format!("player {number}").into() }
}

pub(crate) fn session(number: u8) -> SessionKey {
    SessionKey { player: player_id(number), session: "tab".parse().unwrap() }
}

pub(crate) fn socket(number: u8) -> SocketId {
    format!("socket-{number}").parse().unwrap()
}

pub(crate) fn connect(number: u8) -> OpenSession {
    OpenSession {
        session: session(number),
        socket: socket(number),
        address: "127.0.0.1".into(),
        chosen: true,
        authenticated: false,
    }
}

pub(crate) fn join(number: u8) -> JoinQueue {
    JoinQueue {
        session: session(number),
        socket: socket(number),
        team: "{}".into(),
        clocks: Clocks { turn_s: 30, total_s: 600, animation_max_ms: 5000 },
    }
}
