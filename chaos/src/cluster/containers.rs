//! The containers of `docker-compose.yml`, in an engine of this program's own.
//!
//! The engine lives in namespaces for processes and mounts of its own, and in the network namespace of this program
//! (`mode.rs`): with its first process all that it started dies, and so does that process with this program.
//! Images are made of the given server and of Debian's packages (`tests/compose/engine.sh`): no registry is asked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::host::{CLIENTS, Host, run, tool};
use super::links::{Condition, End, Fabric, Way};
use super::process::Process;
use super::redis::PASSWORD;
use super::{Make, SECRET};
use crate::broken::{Broken, Doing as _};

const COMPOSE: &str = "docker-compose.yml";
const SCRIPT: &str = "tests/compose/engine.sh";
const NETWORK: &str = "chaos_cluster";
const PROJECT: &str = "chaos";
const SUBNET: &str = "10.79.0.0/24";
/// Longest wait for the engine.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for the end of all that was in the containers.
const GROUPS_PATIENCE: Duration = Duration::from_secs(5);
/// What the file itself says, and what must stay as it says it.
const OF_THE_FILE: [&str; 5] = ["NODE_ID", "PEERS", "JWT_SECRET", "CLUSTER_SECRET", "REDIS_URL"];

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    name: String,
    socket: PathBuf,
    pub(crate) address: Ipv4Addr,
}

impl Container {
    fn docker(&self) -> Command {
        docker(&self.socket)
    }

    /// Starts it and stays with it until it ends.
    pub(super) fn start(&self) -> Command {
        let mut command = self.docker();
        command.args(["start", "--attach", &self.name]);
        command
    }

    /// Sends a signal to its first process.
    pub(super) fn signal(&self, name: &str) -> Result<(), Broken> {
        run(self.docker().args(["kill", "--signal", name, &self.name]), "").map(drop)
    }

    pub(super) fn pause(&self, is_to_stop: bool) -> Result<(), Broken> {
        let order = if is_to_stop { "pause" } else { "unpause" };
        run(self.docker().args([order, &self.name]), "").map(drop)
    }

    pub(super) fn is_paused(&self) -> bool {
        let format = "{{.State.Paused}}";
        let said = run(self.docker().args(["inspect", "--format", format, &self.name]), "");
        said.is_ok_and(|said| said.trim() == "true")
    }

    /// Takes it off its network, with all that it is connected to.
    pub(crate) fn disconnect(&self) -> Result<(), Broken> {
        run(self.docker().args(["network", "disconnect", NETWORK, &self.name]), "").map(drop)
    }

    /// Puts it back where it was.
    pub(crate) fn connect(&self) -> Result<(), Broken> {
        let address = self.address.to_string();
        let mut docker = self.docker();
        docker.args(["network", "connect", "--ip", &address, "--alias", &self.name]);
        run(docker.args([NETWORK, &self.name]), "").map(drop)
    }
}

fn docker(socket: &Path) -> Command {
    let mut command = tool("docker");
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    command
}

/// All containers of a cluster, and the engine under them. Dropped, they are gone.
pub(crate) struct Containers {
    containers: BTreeMap<End, Container>,
    /// A change that can't be made here was asked for.
    refused: Mutex<Option<Broken>>,
    // In this order: groups can go when nobody is in them any more.
    _engine: Process,
    _groups: Groups,
}

impl Containers {
    /// Starts an engine whose files are below this folder, and makes the containers; `settings` are those of each node.
    pub(super) fn make(
        make: &Make,
        folder: &Path,
        settings: &[Vec<(String, String)>],
    ) -> Result<Self, Broken> {
        run(tool("ip").args(["route", "replace", "local", CLIENTS, "dev", "lo"]), "")?;
        let folder = folder.join("engine");
        std::fs::create_dir(&folder).doing("make the engine's folder")?;
        let socket = folder.join("docker.sock");
        let engine = engine(&folder, &socket)?;
        let mut images = tool("bash");
        images.args([SCRIPT, "images"]).arg(&folder).env("SERVERV2_BIN", &make.binary);
        run(&mut images, "")?;
        let (mut containers, mut services) = (BTreeMap::new(), serde_json::Map::new());
        for (at, settings) in settings.iter().enumerate() {
            let (name, address) = (format!("game{}", at + 1), address(at));
            services.insert(name.clone(), service(&name, address, settings));
            let container = Container { name, socket: socket.clone(), address };
            containers.insert(End::Node(at), container);
        }
        if make.redis {
            let (name, address) = ("redis".to_owned(), address(settings.len()));
            services.insert(name.clone(), redis(&name, address));
            containers.insert(End::Redis, Container { name, socket: socket.clone(), address });
        }
        let names: Vec<String> = services.keys().cloned().collect();
        let more = json!({
            "services": services,
            "networks": { "cluster": { "ipam": { "config": [{ "subnet": SUBNET }] } } },
        });
        let more_at = folder.join("more.yml");
        std::fs::write(&more_at, more.to_string()).doing("write what compose is told")?;
        let mut compose = tool("docker-compose");
        compose
            .args(["--project-name", PROJECT, "--file", COMPOSE, "--file"])
            .arg(&more_at)
            .args(["up", "--no-start", "--no-build"])
            .args(names)
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .envs([("JWT_SECRET", SECRET), ("CLUSTER_SECRET", SECRET)])
            .envs([("REDIS_PASSWORD", PASSWORD), ("NODE_CPUS", "1"), ("NODE_FILES", "4096")])
            .envs([("SERVERV2_IMAGE", "serverv2:test"), ("REDIS_IMAGE", "redis:test")]);
        run(&mut compose, "")?;
        Ok(Self { containers, refused: Mutex::default(), _engine: engine, _groups: Groups })
    }

    fn refuse(&self, way: &[Way]) {
        let why = Broken::new(format!("change {way:?}"), "containers have no ways of their own");
        self.refused.lock().get_or_insert(why);
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 79, 0, 11_u8.saturating_add(u8::try_from(number).unwrap_or(u8::MAX)))
}

fn engine(folder: &Path, socket: &Path) -> Result<Process, Broken> {
    let doing = "start a container engine";
    let log = std::fs::File::create(folder.join("engine.log")).doing(doing)?;
    let mut command = tool("unshare");
    command
        .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL"])
        .args(["--mount-proc", "dockerd", "--data-root"])
        .arg(folder.join("data"))
        .arg("--exec-root")
        .arg(folder.join("exec"))
        .arg("--pidfile")
        .arg(folder.join("docker.pid"))
        .arg("--host")
        .arg(format!("unix://{}", socket.display()))
        .arg("--cgroup-parent")
        .arg(cgroup())
        .stdout(Stdio::null())
        .stderr(log);
    let (mut engine, _) = Process::start(command).doing(doing)?;
    let began = Instant::now();
    while run(docker(socket).args(["info", "--format", "{{.ID}}"]), "").is_err() {
        if engine.has_ended().is_some() || began.elapsed() > ENGINE_PATIENCE {
            let log = std::fs::read_to_string(folder.join("engine.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            return Err(Broken::new(doing, last.join("; ")));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(engine)
}

/// Where the containers' control groups are: the only thing of theirs that outlives them.
pub(crate) fn cgroup() -> String {
    format!("serverv2-chaos-{}", std::process::id())
}

/// Removes them once they are empty, when it is dropped.
struct Groups;

impl Drop for Groups {
    fn drop(&mut self) {
        let began = Instant::now();
        let pattern = format!("*/{}*", cgroup());
        let is_left = || {
            let found = ["/sys/fs/cgroup", "-depth", "-type", "d", "-path", &pattern, "-print"];
            let mut find = tool("find");
            find.args(found).args(["-exec", "rmdir", "{}", ";"]);
            run(&mut find, "").is_ok_and(|said| !said.is_empty())
        };
        while is_left() && began.elapsed() < GROUPS_PATIENCE {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn service(name: &str, address: Ipv4Addr, settings: &[(String, String)]) -> Value {
    let own = settings.iter().filter(|(name, _)| !OF_THE_FILE.contains(&name.as_str()));
    let environment: BTreeMap<&String, &String> = own.map(|(name, value)| (name, value)).collect();
    json!({
        "container_name": name,
        // Who ends by himself is to be seen to.
        "restart": "no",
        "environment": environment,
        "networks": { "cluster": { "ipv4_address": address } },
    })
}

fn redis(name: &str, address: Ipv4Addr) -> Value {
    json!({
        "container_name": name,
        "restart": "no",
        // It comes back empty, as in the other modes.
        "command": ["redis-server", "--requirepass", PASSWORD, "--maxmemory-policy", "noeviction", "--save", ""],
        "networks": { "cluster": { "ipv4_address": address } },
    })
}

impl Fabric for Containers {
    fn host(&self, end: End) -> Host {
        self.containers.get(&end).map_or_else(Host::this_machine, Host::container)
    }

    fn address(&self, _: End, to: End) -> Result<String, Broken> {
        Err(Broken::new(format!("find a way to {to}"), "the compose file says it"))
    }

    fn set(&self, ways: &[Way], _: Condition) {
        self.refuse(ways);
    }

    fn heal(&self, ways: &[Way]) {
        self.refuse(ways);
    }

    fn heal_all(&self) -> Result<(), Broken> {
        self.refused.lock().take().map_or(Ok(()), Err)
    }

    fn shut(&self, _: End, _: bool) {}

    fn hindered(&self, _: &[Way]) -> u64 {
        0
    }
}
