//! A real Redis of a test's own, from Debian's package: a private folder, a port of 127.0.0.1.
//!
//! Promises: it is killed when its handle is dropped, and also when the test's own process is killed (a small
//! guard waits for the pipe to it to close).

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, Cmd, FromRedisValue};

use super::eventually;
use super::ports::Port;
use super::process::signal;

/// The password that some have: a test looks for it in logs and answers.
pub(crate) const PASSWORD: &str = "nobody-may-read-that";
/// How long the tests' own client waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A started server.
pub(crate) struct Redis {
    folder: tempfile::TempDir,
    port: Port,
    args: Vec<String>,
    /// How the tests' own client reaches it.
    url: String,
    process: Option<(Child, Child)>,
}

impl Redis {
    /// One that keeps nothing over its death.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One that takes whoever knows [`PASSWORD`].
    pub(crate) async fn start_with_password() -> Self {
        let mut redis = Self::prepare(&["--requirepass", PASSWORD]);
        redis.url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port.number);
        redis.start_again().await;
        redis
    }

    /// One with these arguments more.
    pub(crate) async fn start_with(args: &[&str]) -> Self {
        let mut redis = Self::prepare(args);
        redis.start_again().await;
        redis
    }

    fn prepare(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let port = Port::take();
        let url = format!("redis://127.0.0.1:{}", port.number);
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { folder, port, args, url, process: None }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    /// What a node is given as `REDIS_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Starts it again, empty unless it has saved something.
    pub(crate) async fn start_again(&mut self) {
        self.launch();
        let answers = || async { self.try_ask::<String>(&redis::cmd("PING")).is_ok() };
        eventually("an answer of Redis", answers, |answers| *answers).await;
    }

    /// The same without waiting for its first answer.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("make its log");
        let child = Command::new("redis-server")
            .args(["--port", &self.port.number.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("redis-server is installed by `make setup`");
        let guard = Command::new("/bin/sh")
            .args(["-c", "read -r _; kill -s KILL -- \"-$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("start the guard");
        self.process = Some((child, guard));
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let (mut child, mut guard) = self.process.take().expect("it is running");
        // The guard first: it must not outlive the process id it would kill.
        let _ = guard.kill();
        let _ = guard.wait();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Stops it in its tracks: it accepts connections, and never answers.
    pub(crate) fn pause(&self) {
        signal("STOP", self.process.as_ref().expect("it is running").0.id());
    }

    /// Lets it go on after [`Self::pause`].
    pub(crate) fn unpause(&self) {
        signal("CONT", self.process.as_ref().expect("it is running").0.id());
    }

    /// From now on it takes no writes if it has more bytes than that; 0 means no limit.
    pub(crate) fn limit_memory(&self, bytes: usize) {
        let () = self.ask(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes));
    }

    /// What it says to a command, as nobody's server.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, where it may not be there.
    pub(crate) fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        let mut connection =
            Client::open(self.url.as_str())?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        command.query(&mut connection)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- Redis's log\n{log}");
        }
    }
}

/// Three servers that are one Redis Cluster, without replicas.
pub(crate) struct ThreeMasters {
    pub(crate) masters: Vec<Redis>,
    _buses: Vec<Port>,
}

impl ThreeMasters {
    /// Starts them and makes them one.
    pub(crate) async fn start() -> Self {
        let mut masters = Vec::new();
        for _ in 0..3 {
            let bus = Port::take();
            let args = ["--cluster-enabled", "yes", "--cluster-port", &bus.number.to_string()];
            masters.push((Redis::start_with(&args).await, bus));
        }
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(
                masters
                    .iter()
                    .map(|(master, bus)| format!("127.0.0.1:{}@{}", master.port(), bus.number)),
            )
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .expect("redis-cli is installed by `make setup`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let (masters, buses) = masters.into_iter().unzip();
        let cluster = Self { masters, _buses: buses };
        let mut state = redis::cmd("CLUSTER");
        state.arg("INFO");
        for master in &cluster.masters {
            let said = || async { master.ask::<String>(&state) };
            eventually("a whole cluster", said, |said| said.contains("cluster_state:ok")).await;
        }
        cluster
    }

    /// What a node is given as `REDIS_URL`.
    pub(crate) fn url(&self) -> String {
        self.url_from(0)
    }

    /// The same, with this master first.
    pub(crate) fn url_from(&self, first: usize) -> String {
        let masters = self.masters.iter().cycle().skip(first).take(self.masters.len());
        let hosts: Vec<_> = masters.map(|master| format!("127.0.0.1:{}", master.port())).collect();
        format!("redis://{}", hosts.join(","))
    }

    /// The one that has this key.
    pub(crate) fn of(&self, key: &str) -> &Redis {
        let asks = redis::cmd("EXISTS").arg(key).to_owned();
        let mut masters = self.masters.iter();
        masters.find(|master| master.try_ask::<u64>(&asks).is_ok()).expect("a master has its slot")
    }
}
