//! One server process after another on one data folder, at ports that stay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::clock::Clock;
use super::containers::Container;
use super::disk::{Disk, empty};
use super::host::Host;
use super::log::Log;
use super::ports::Port;
use super::process::{Process, footprint};
use crate::broken::{Broken, Doing as _};

/// Where a node in a container serves clients.
const INSIDE_PORT: u16 = 8102;
/// Longest wait until a started node is ready; alone it waits for others.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// How a node is started, whichever of its lives it is.
pub(crate) struct Place {
    pub(crate) binary: PathBuf,
    pub(crate) host: Host,
    pub(crate) http: Port,
    pub(crate) peers: Port,
    pub(crate) folder: PathBuf,
    pub(crate) env: Vec<(String, String)>,
}

/// A node of the cluster under test.
pub(crate) struct Node {
    place: Place,
    log: Log,
    disk: Option<Disk>,
    clock: Option<Clock>,
    life: u32,
    process: Option<Process>,
    readers: Vec<JoinHandle<()>>,
}

impl Node {
    pub(crate) fn new(place: Place, log: Log, disk: Option<Disk>, clock: Option<Clock>) -> Self {
        Self { place, log, disk, clock, life: 0, process: None, readers: Vec::new() }
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        let port = self.place.host.as_container().map_or(self.place.http.number, |_| INSIDE_PORT);
        SocketAddr::from((self.place.host.address, port))
    }

    /// Its container, if it is in one.
    pub(crate) fn container(&self) -> Option<Container> {
        self.place.host.as_container().cloned()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Its folder is wiped, and it is started with these settings instead of those of the same names.
    pub(crate) fn is_wiped(&mut self, settings: &[(&str, String)]) -> Result<(), Broken> {
        empty(&self.place.folder).doing("wipe a node's folder")?;
        if let Some(disk) = &self.disk {
            disk.forget(&self.place.folder)?;
        }
        for (name, value) in &mut self.place.env {
            if let Some((_, new)) = settings.iter().find(|(of, _)| of == name) {
                value.clone_from(new);
            }
        }
        Ok(())
    }

    /// Which of its lives this is; the first is 1.
    pub(crate) fn life(&self) -> u32 {
        self.life
    }

    /// Whether it has said this in its present or last life.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.log.says(self.life, words)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Starts it. It may take a while until it is ready.
    pub(crate) fn launch(&mut self) -> Result<(), Broken> {
        if self.process.is_some() {
            return Err(Broken::new("start a node", "it is running"));
        }
        let Place { binary, host, http, peers, folder, env } = &self.place;
        let mut command = Command::new(binary);
        command
            .args(["run", "--port", &http.number.to_string(), "--bind-host"])
            .args([host.address.to_string(), "--peer-bind".to_owned()])
            .args([format!("{}:{}", host.address, peers.number), "--data-dir".to_owned()])
            .arg(folder)
            .current_dir(folder)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)));
        let disk = self.disk.iter().flat_map(|disk| disk.env(folder));
        let clock = self.clock.iter().flat_map(Clock::env);
        command.envs(joined(disk.chain(clock).chain(host.env())));
        let mut command = host.inside(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (process, streams) = Process::start(command).doing("start the server")?;
        let process = process.within(host.as_container());
        self.life += 1;
        let (log, life) = (&self.log, self.life);
        self.readers = streams.out.map(|out| log.follow(life, "out", out)).into_iter().collect();
        self.readers.extend(streams.err.map(|err| log.follow(life, "err", err)));
        self.process = Some(process);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) -> Result<(), Broken> {
        let doing = format!("wait for node {}", self.place.folder.display());
        let ready = tokio::time::timeout(READY_PATIENCE, self.log.ready(self.life));
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| Broken::new(&doing, "it was not started"))?;
        tokio::select! {
            ready = ready => ready.doing(&doing),
            Some(status) = process.end_within(READY_PATIENCE) => {
                Err(Broken::new(doing, format!("it ended: {status}")))
            }
        }
    }

    /// Ends it at once (SIGKILL), reaps it, and reads the rest of what it wrote. `None`: it was not running.
    pub(crate) fn kill(&mut self) -> Option<ExitStatus> {
        let mut process = self.process.take()?;
        let status = process.kill().ok();
        self.read_out();
        status
    }

    /// Asks it to stop (SIGTERM) and waits for its end; kills it if it does not come.
    pub(crate) async fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        let asked = process.signal(Signal::TERM).is_ok();
        let status = if asked { process.end_within(patience).await } else { process.has_ended() };
        self.kill();
        status
    }

    /// Waits for an end that it comes to by itself; `None` if it goes on.
    pub(crate) async fn dies_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.end_within(patience).await?;
        self.bury();
        Some(status)
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn has_died(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.has_ended()?;
        self.bury();
        Some(status)
    }

    /// Stops it in its tracks; true once the kernel says so.
    pub(crate) async fn pause(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        if process.signal(Signal::STOP).is_err() {
            return false;
        }
        for _ in 0..50 {
            if process.is_stopped() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    /// Lets it go on.
    pub(crate) fn unpause(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.signal(Signal::CONT).is_ok())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its disk, where it has one that can fail.
    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Its clock, where it has one that can be set.
    pub(crate) fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// Resident memory in KiB and open files.
    pub(crate) fn footprint(&self) -> Option<(u64, u64)> {
        if self.container().is_some() {
            // Only the engine's namespace knows its process.
            return None;
        }
        footprint(self.pid()?)
    }

    fn bury(&mut self) {
        self.process = None;
        self.read_out();
    }

    fn read_out(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// What is preloaded by several is a list.
fn joined(parts: impl Iterator<Item = (&'static str, PathBuf)>) -> BTreeMap<&'static str, PathBuf> {
    let mut env: BTreeMap<_, PathBuf> = BTreeMap::new();
    for (name, value) in parts {
        let before = env.get(name);
        let both = before.map(|first| format!("{}:{}", first.display(), value.display()));
        env.insert(name, both.map_or(value, PathBuf::from));
    }
    env
}
