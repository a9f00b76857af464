//! The three server processes of the demo, killed without mercy.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use super::DemoError;
use super::client::get;
use super::transcript::Transcript;
use crate::child::{self, ChildServer, Stream};
use crate::config::SETTINGS;
use crate::ports::ReservedPort;

/// The nodes, by their ids.
pub(super) const NODES: [u64; 3] = [1, 2, 3];
/// Longest wait for anything that comes soon.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A folder that goes when the demo does, unless it is kept.
pub(super) struct DataFolder(Option<PathBuf>);

impl DataFolder {
    pub(super) fn make() -> Result<Self, DemoError> {
        let path = std::env::temp_dir().join(format!("serverv2-demo-{}", crate::random::nano_id()));
        std::fs::create_dir(&path).map_err(|e| DemoError::failed("make a temporary folder")(&e))?;
        Ok(Self(Some(path)))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or_else(|| Path::new(""))
    }

    /// Leaves it where it is: somebody will want to look.
    pub(super) fn keep(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // A folder left behind in the temporary directory does no harm.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// Where a node listens, in all its lives.
struct Place {
    http: ReservedPort,
    peers: ReservedPort,
}

/// How a node sees the cluster, `raft` in `/cluster/status`.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) leader: Option<u64>,
    pub(super) term: u64,
    pub(super) committed_index: u64,
    pub(super) applied_index: u64,
}

/// Three nodes that are one cluster.
pub(super) struct Cluster {
    folder: PathBuf,
    places: BTreeMap<u64, Place>,
    running: BTreeMap<u64, ChildServer>,
    secrets: [(&'static str, String); 2],
    transcript: Transcript,
}

impl Cluster {
    /// Starts all nodes on empty folders and waits until each says that it is ready.
    pub(super) async fn start(folder: &Path, transcript: &Transcript) -> Result<Self, DemoError> {
        let failed = DemoError::failed("find free ports");
        let take = || ReservedPort::take(Ipv4Addr::LOCALHOST.into()).map_err(|e| failed(&e));
        let mut places = BTreeMap::new();
        for node in NODES {
            places.insert(node, Place { http: take()?, peers: take()? });
        }
        let secrets = ["JWT_SECRET", "CLUSTER_SECRET"]
            .map(|name| (name, crate::random::nano_id().to_string()));
        let mut cluster = Self {
            folder: folder.to_owned(),
            places,
            running: BTreeMap::new(),
            secrets,
            transcript: transcript.clone(),
        };
        for node in NODES {
            cluster.spawn(node)?;
        }
        for node in NODES {
            cluster.ready(node).await?;
        }
        Ok(cluster)
    }

    /// Where a node serves.
    pub(super) fn url(&self, node: u64) -> String {
        format!("http://127.0.0.1:{}", self.places[&node].http.number())
    }

    /// How a node sees the cluster.
    pub(super) async fn status(&self, node: u64) -> Result<Status, DemoError> {
        let mut answer = get(&format!("{}/cluster/status", self.url(node))).await?;
        serde_json::from_value(answer["raft"].take())
            .map_err(|e| DemoError::failed("read the cluster's status")(&e))
    }

    /// The leader that a node knows.
    pub(super) async fn leader(&self, asked: u64) -> Result<u64, DemoError> {
        eventually("a leader", async || Ok(self.status(asked).await?.leader)).await
    }

    /// `kill -9`, without waiting for anything.
    pub(super) fn kill(&mut self, node: u64) {
        if let Some(process) = self.running.get_mut(&node) {
            process.kill();
        }
    }

    /// Starts a killed node again on its folder.
    pub(super) async fn restart(&mut self, node: u64) -> Result<(), DemoError> {
        self.bury(node).await;
        self.transcript.begins(node);
        self.spawn(node)?;
        self.ready(node).await
    }

    /// Kills all nodes and waits for their ends.
    pub(super) async fn end(&mut self) {
        for node in NODES {
            self.kill(node);
            self.bury(node).await;
        }
    }

    async fn bury(&mut self, node: u64) {
        if let Some(mut process) = self.running.remove(&node) {
            // Killed, it has nothing to say for itself.
            let _ = process.ended().await;
            process.read_out().await;
        }
    }

    fn spawn(&mut self, node: u64) -> Result<(), DemoError> {
        let failed = DemoError::failed("start a node");
        let listed =
            self.places.iter().map(|(id, at)| format!("{id}=127.0.0.1:{}", at.peers.number()));
        let listed: Vec<String> = listed.collect();
        let place = &self.places[&node];
        let mut command = child::command("run").map_err(|e| failed(&e))?;
        // The show is the same whatever the environment sets.
        for setting in SETTINGS {
            command.env_remove(setting.name);
        }
        command
            .envs(self.secrets.iter().map(|(name, value)| (name, value)))
            .args(["--node-id", &node.to_string(), "--bind-host", "127.0.0.1"])
            .args(["--port", &place.http.number().to_string()])
            .args(["--peer-bind", &format!("127.0.0.1:{}", place.peers.number())])
            .args(["--peers", &listed.join(",")])
            .args(["--log-format", "json", "--log-level", "info,transcript=debug"])
            .arg("--data-dir")
            .arg(self.folder.join(format!("node-{node}")));
        let log = self.folder.join(format!("node-{node}.log"));
        let log = File::options().append(true).create(true).open(log).map_err(|e| failed(&e))?;
        let log = Mutex::new(log);
        let transcript = self.transcript.clone();
        let process = ChildServer::start(command, move |stream, line| {
            // A log that can't be written is no reason to end the show.
            let _ = writeln!(log.lock(), "{line}");
            if stream == Stream::Err {
                transcript.node_line(node, line);
            }
        });
        self.running.insert(node, process.map_err(|e| failed(&e))?);
        Ok(())
    }

    async fn ready(&mut self, node: u64) -> Result<(), DemoError> {
        let failed = DemoError::failed("wait for a node to be ready");
        let Some(process) = self.running.get_mut(&node) else {
            return Err(failed(&"it was killed"));
        };
        match tokio::time::timeout(PATIENCE, process.ready()).await {
            Ok(Some(_)) => {
                let url = self.url(node);
                self.transcript.note(&format!("node {node} serves {url}"));
                Ok(())
            }
            Ok(None) => Err(failed(&format!("node {node} ended before"))),
            Err(_) => Err(failed(&format!("node {node} is not after {} s", PATIENCE.as_secs()))),
        }
    }
}

/// Looks again and again until there is what was looked for.
pub(super) async fn eventually<T>(
    what: &'static str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let found = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let late = || DemoError::Failed {
        doing: "wait",
        reason: format!("no {what} within {} s", PATIENCE.as_secs()),
    };
    tokio::time::timeout(PATIENCE, found).await.map_err(|_| late())?
}
