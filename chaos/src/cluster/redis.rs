//! A real Redis of the run's own: a port of this machine, nothing kept over its death.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue};
use rustix::process::Signal;

use super::host::Host;
use super::ports::Port;
use super::process::Process;
use crate::broken::{Broken, Doing as _};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait for a start.
const START_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const PROGRAM: &str = "redis-server";
/// Without one it would take nobody from elsewhere.
pub(crate) const PASSWORD: &str = "letters4AND5digits";
/// Where it listens in a container.
const INSIDE_PORT: u16 = 6379;

/// Whether it is installed here.
pub(crate) fn is_installed() -> bool {
    let asked = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

pub(crate) struct Redis {
    host: Host,
    port: Port,
    log: std::path::PathBuf,
    process: Option<Process>,
}

impl Redis {
    /// Starts one whose log is in this folder.
    pub(crate) async fn start(folder: &Path, port: Port, host: Host) -> Result<Self, Broken> {
        let log = folder.join("redis.log");
        let mut redis = Self { host, port, log, process: None };
        redis.start_again().await?;
        Ok(redis)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let port = self.host.as_container().map_or(self.port.number, |_| INSIDE_PORT);
        SocketAddr::from((self.host.address, port))
    }

    /// Starts it, empty, and waits until it answers.
    pub(crate) async fn start_again(&mut self) -> Result<(), Broken> {
        let log = File::options().create(true).append(true).open(&self.log);
        let mut command = Command::new(PROGRAM);
        command
            .args(["--port", &self.port.number.to_string(), "--bind"])
            .args([&self.host.address.to_string(), "--requirepass", PASSWORD, "--save", ""])
            .args(["--appendonly", "no", "--maxmemory-policy", "noeviction"]);
        let mut command = self.host.inside(command);
        command.stdout(log.doing("make the log of Redis")?).stderr(Stdio::null());
        let process = Process::start(command).doing("start redis-server")?.0;
        self.process = Some(process.within(self.host.as_container()));
        let answers = async {
            while self.ask::<String>(&redis::cmd("PING")).await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(START_PATIENCE, answers).await.doing("wait for Redis")
    }

    /// Ends it at once; false if it did not run.
    pub(crate) fn kill(&mut self) -> bool {
        self.process.take().is_some_and(|mut process| process.kill().is_ok())
    }

    /// Stops it in its tracks: it accepts connections and never answers.
    pub(crate) fn pause(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.signal(Signal::STOP).is_ok())
    }

    pub(crate) fn unpause(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.signal(Signal::CONT).is_ok())
    }

    /// What it says to a command, asked from beside the cluster.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Broken> {
        ask(self.address(), command).await
    }
}

/// What the Redis at this address says to a command.
pub(crate) async fn ask<T: FromRedisValue>(
    address: SocketAddr,
    command: &Cmd,
) -> Result<T, Broken> {
    let asking = async {
        let client = Client::open(format!("redis://:{PASSWORD}@{address}"))?;
        let mut connection: MultiplexedConnection =
            client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    };
    let answer: redis::RedisResult<T> =
        tokio::time::timeout(PATIENCE, asking).await.doing("ask Redis")?;
    answer.doing("ask Redis")
}
