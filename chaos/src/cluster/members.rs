//! Nodes go for ever and others come in their place, as an operator does it: with the server's own commands, each
//! given to a node by its data folder.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::links::End;
use super::{Cluster, Life};
use crate::broken::{Broken, Doing as _};

/// How long a command may take, as it is told.
const COMMAND_SECONDS: &str = "20";
/// And how long it is waited for.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait until a change is possible: a new node has to listen first, and a way may be cut.
const INSISTENCE: Duration = Duration::from_secs(60);
/// Refusals that say that the same command may succeed later. What was done already is a success.
const FOR_NOW: [&str; 4] = ["(QUORUM_LOST)", "(NODE_UNREACHABLE)", "(NODE_BEHIND)", "(UNKNOWN)"];
const AGAIN: Duration = Duration::from_millis(100);

impl Cluster {
    /// The id of the node at a place.
    pub(crate) fn id(&self, at: usize) -> u64 {
        self.ids.lock()[at]
    }

    /// Where the node with this id is.
    pub(crate) fn place_of(&self, id: u64) -> Option<usize> {
        self.ids.lock().iter().position(|known| *known == id)
    }

    /// Gives a command to the node at a place, such as `cluster remove 2`.
    pub(crate) async fn command(&self, at: usize, words: &[&str]) -> Result<(), Broken> {
        let folder = self.node(at).await.folder().to_owned();
        let mut command = tokio::process::Command::new(&self.make.binary);
        command.args(words).args(["--timeout", COMMAND_SECONDS, "--data-dir"]).arg(folder);
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        let doing = format!("serverv2 {}, at node {}", words.join(" "), self.id(at));
        let output = tokio::time::timeout(COMMAND_PATIENCE, command.output()).await;
        let output = output.doing(&doing)?.doing(&doing)?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Broken::new(doing, why))
    }

    /// The same, again and again for as long as it is refused only for now.
    pub(crate) async fn insist(&self, at: usize, words: &[&str]) -> Result<(), Broken> {
        let began = Instant::now();
        loop {
            let Err(error) = self.command(at, words).await else { return Ok(()) };
            let why = error.to_string();
            let may_succeed = FOR_NOW.iter().any(|code| why.contains(code));
            if !may_succeed || began.elapsed() > INSISTENCE {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What does not run at this place any more is gone: the folder is wiped, and a new node starts on it, under an
    /// id that nobody had. By `by` it is taken in as a learner, and gets its vote. Gives its id.
    pub(crate) async fn replace(&self, at: usize, by: usize) -> Result<u64, Broken> {
        let id = {
            let mut ids = self.ids.lock();
            let id = ids.iter().max().map_or(1, |highest| highest + 1);
            ids[at] = id;
            id
        };
        let place = format!("{id}={}", self.links.shared_address(End::Node(at))?);
        let mut peers = vec![place.clone()];
        for other in self.all().into_iter().filter(|other| *other != at) {
            let address = self.links.address(End::Node(at), End::Node(other))?;
            peers.push(format!("{}={address}", self.id(other)));
        }
        let settings = [("NODE_ID", id.to_string()), ("PEERS", peers.join(","))];
        self.node(at).await.is_wiped(&settings)?;
        self.tell(at, Life::Replaced { id });
        self.launch(at).await?;
        self.insist(by, &["cluster", "add", &place]).await?;
        self.start_nodes(&[at]).await?;
        self.insist(by, &["cluster", "promote", &id.to_string()]).await?;
        Ok(id)
    }
}
