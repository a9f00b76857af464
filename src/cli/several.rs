//! `serverv2 dev --nodes 3`: a whole cluster on one machine, a process for each node.
//!
//! The parent plans who listens where, starts the nodes with the settings that it was given itself,
//! and starts those again that die, so that one may kill them to see what happens. The nodes write
//! their log lines through it. A node that ends before it is ready ends them all: it would do so again.
//! However the parent ends, the nodes end with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::child::{self, ChildServer, Stream};
use crate::config::{SETTINGS, Settings};
use crate::ports::ReservedPort;
use crate::random;
use crate::shutdown::StopSignal;

/// Pause before a node that died is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Why the nodes stopped otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeveralError {
    #[error("start its threads: {0}")]
    Runtime(std::io::Error),
    #[error("listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("find free ports: {0}")]
    Ports(std::io::Error),
    #[error("start node {0}: {1}")]
    Start(u64, std::io::Error),
    #[error("node {0} ended before it was ready: {1}")]
    NotReady(u64, String),
    #[error("the graceful stop was cut short")]
    Overdue,
}

/// Settings that the plan makes for each node; flags win over whatever else sets them.
const PLANNED: [&str; 6] =
    ["NODE_ID", "PORT", "PEER_BIND", "PEERS", "CLUSTER_INSTANCE_ID", "DATA_DIR"];

/// What the parent was started with.
pub(super) struct Given {
    /// Flags of the parent, by the setting's name.
    pub(super) flags: BTreeMap<&'static str, String>,
    /// The file of settings.
    pub(super) file: Option<PathBuf>,
}

/// Serves with so many nodes until told to stop.
pub(super) fn serve(settings: &Settings, given: &Given, nodes: u16) -> Result<(), SeveralError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SeveralError::Runtime)?;
    runtime.block_on(async {
        let mut signal = StopSignal::listen().map_err(SeveralError::Signals)?;
        let plan = Plan::make(settings, given, nodes).map_err(SeveralError::Ports)?;
        watch(Arc::new(plan), &mut signal).await
    })
}

/// Keeps all nodes running and says when they are a cluster.
async fn watch(plan: Arc<Plan>, signal: &mut StopSignal) -> Result<(), SeveralError> {
    let stop = CancellationToken::new();
    let (tell, mut told) = mpsc::channel(plan.places.len());
    let mut nodes = JoinSet::new();
    for node in plan.ids() {
        nodes.spawn(keep(plan.clone(), node, tell.clone(), stop.clone()));
    }
    let mut ready = BTreeMap::new();
    let failed = loop {
        tokio::select! {
            Some((node, news)) = told.recv() => {
                ready.insert(node, news);
                if ready.len() == plan.places.len() {
                    plan.announce(&ready);
                }
            }
            Some(ended) = nodes.join_next() => {
                match ended {
                    Ok(Err(error)) => break Some(error),
                    // None ends without being told to.
                    Ok(Ok(())) | Err(_) => break None,
                }
            }
            () = signal.next() => break None,
        }
    };
    stop.cancel();
    let ending = async { while nodes.join_next().await.is_some() {} };
    tokio::select! {
        () = ending => failed.map_or(Ok(()), Err),
        () = signal.overdue(&plan.settings) => Err(failed.unwrap_or(SeveralError::Overdue)),
    }
}

/// Where a node serves, and as which process.
struct Ready {
    url: String,
    pid: u64,
}

/// Starts a node, again whenever it died, until told to stop it.
async fn keep(
    plan: Arc<Plan>,
    node: u64,
    tell: mpsc::Sender<(u64, Ready)>,
    stop: CancellationToken,
) -> Result<(), SeveralError> {
    let start = || plan.start(node).map_err(|error| SeveralError::Start(node, error));
    let mut is_restart = false;
    loop {
        let mut child = start()?;
        let ready = tokio::select! {
            ready = child.ready() => ready,
            () = stop.cancelled() => return end(child).await,
        };
        let Some(ready) = ready else {
            let status = ended(&mut child).await;
            return Err(SeveralError::NotReady(node, status));
        };
        let url = ready["http"].as_str().unwrap_or_default().to_owned();
        let pid = ready["pid"].as_u64().unwrap_or_default();
        if is_restart {
            say(&format!("node {node} is ready again, now process {pid}"));
        } else {
            // Nobody listens any more once all are told to stop.
            let _ = tell.send((node, Ready { url, pid })).await;
        }
        let status = tokio::select! {
            status = ended(&mut child) => status,
            () = stop.cancelled() => return end(child).await,
        };
        say(&format!("node {node} ended ({status}): it is started again"));
        tokio::select! {
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            () = stop.cancelled() => return Ok(()),
        }
        is_restart = true;
    }
}

/// Lets a node stop gracefully.
async fn end(mut child: ChildServer) -> Result<(), SeveralError> {
    child.let_go();
    ended(&mut child).await;
    Ok(())
}

/// How a node ended, once it did and all that it wrote was heard.
async fn ended(child: &mut ChildServer) -> String {
    let status = child.ended().await;
    child.read_out().await;
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Who listens where, with which data.
struct Plan {
    settings: Settings,
    /// What each node gets as it is.
    passed: Vec<String>,
    folder: PathBuf,
    places: BTreeMap<u64, Place>,
    /// Given to the nodes if nobody set it: they must agree on it.
    jwt_secret: Option<String>,
}

/// Where a node listens, in all its lives.
struct Place {
    http: u16,
    peers: u16,
    /// Ports that the system chose must stay theirs.
    _reserved: Option<[ReservedPort; 2]>,
}

impl Plan {
    fn make(settings: &Settings, given: &Given, nodes: u16) -> std::io::Result<Self> {
        let mut places = BTreeMap::new();
        for (node, offset) in (1..).zip(0..nodes) {
            let place = if settings.port == 0 {
                let take = || ReservedPort::take(settings.bind_host);
                let reserved = [take()?, take()?];
                let [http, peers] = reserved.each_ref().map(ReservedPort::number);
                Place { http, peers, _reserved: Some(reserved) }
            } else {
                let of = Settings { port: settings.port + offset, ..settings.clone() };
                Place { http: of.port, peers: of.peer_address().port(), _reserved: None }
            };
            places.insert(node, place);
        }
        let shared = SETTINGS.iter().filter(|setting| !PLANNED.contains(&setting.name));
        let flags = shared.filter_map(|setting| {
            let value = given.flags.get(setting.name)?;
            Some(format!("--{}={value}", setting.flag))
        });
        let file = given.file.iter().map(|path| format!("--config={}", path.display()));
        let jwt_secret = match settings.jwt_secret {
            Some(_) => None,
            None => Some(random::nano_id().to_string()),
        };
        Ok(Self {
            settings: settings.clone(),
            passed: flags.chain(file).collect(),
            folder: folder_of(settings),
            places,
            jwt_secret,
        })
    }

    fn ids(&self) -> impl Iterator<Item = u64> {
        self.places.keys().copied()
    }

    fn start(&self, node: u64) -> std::io::Result<ChildServer> {
        let at = |port: u16| SocketAddr::new(self.settings.bind_host, port).to_string();
        let listed: Vec<String> =
            self.places.iter().map(|(id, place)| format!("{id}={}", at(place.peers))).collect();
        let place = &self.places[&node];
        let mut command = child::command("dev")?;
        command
            .args(&self.passed)
            .args(["--node-id", &node.to_string()])
            .args(["--port", &place.http.to_string()])
            .args(["--peer-bind", &at(place.peers)])
            .args(["--peers", &listed.join(",")])
            .args(["--cluster-instance-id", &format!("node-{node}")])
            .arg("--data-dir")
            .arg(self.folder.join(format!("node-{node}")));
        if let Some(secret) = &self.jwt_secret {
            command.env("JWT_SECRET", secret);
        }
        ChildServer::start(command, |stream, line| {
            // The parent tells where they are.
            if stream == Stream::Err {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
        })
    }

    /// Says who serves where: a few lines for people, the last one for programs.
    fn announce(&self, ready: &BTreeMap<u64, Ready>) {
        let version = env!("CARGO_PKG_VERSION");
        let folder = self.folder.display();
        let mut text = format!(
            "serverv2 {version} dev: {} nodes are one cluster, their data is in {folder}\n",
            ready.len()
        );
        for (node, Ready { url, pid }) in ready {
            text += &format!("\x20 node {node}     {url}  (process {pid})\n");
        }
        let nodes: Vec<_> = ready
            .iter()
            .map(|(node, Ready { url, pid })| json!({"node": node, "http": url, "pid": pid}))
            .collect();
        let first = ready.values().next().map(|it| it.url.as_str());
        let summary = json!({"http": first, "pid": std::process::id(), "nodes": nodes});
        say(&format!("{text}READY {summary}"));
    }
}

/// The default names the folder of a single node; several are kept beside it.
fn folder_of(settings: &Settings) -> PathBuf {
    let folder = settings.data_dir.as_path();
    let single = SETTINGS.iter().find(|setting| setting.name == "DATA_DIR");
    let default = single.and_then(|setting| setting.default.of(settings.mode)).map(Path::new);
    match folder.parent() {
        Some(parent) if default == Some(folder) => parent.to_owned(),
        _ => folder.to_owned(),
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
