//! One server as an operator starts it: the real binary, a process of its own, a temporary folder.
//!
//! Promises: the process is killed and reaped when its handle is dropped, also when the test fails,
//! and also when the test's own process is killed (a small guard waits for the pipe to it to
//! close). The environment is empty but for what a test sets, so a setting of the machine that runs
//! the tests changes nothing. A server that panics fails the test that started it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::DEADLINE;
use super::disk::FaultyDisk;
use super::log::Log;
use super::powercut::PowerCut;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_serverv2");
/// In every line that tells of a panic: the server's own, and those of the standard library before its log is there.
const PANIC: &str = "panicked";

/// How a server is started.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// `run` instead of `dev`.
    production: bool,
    env: Vec<(String, String)>,
    args: Vec<String>,
    /// On a disk that can lose what was not synced.
    mortal_disk: bool,
    /// Panics that tell of one of these are the caller's to count.
    may_panic: &'static [&'static str],
    /// On a disk that can be made to fail.
    faulty_disk: bool,
    /// Limits of open files at its start, as `ulimit` takes them.
    open_files: Option<String>,
    /// Another build of the server.
    binary: Option<PathBuf>,
}

impl Options {
    /// Puts its folder on a disk that [`Server::roll_back_disk`] can be used with.
    pub(crate) fn on_mortal_disk(mut self) -> Self {
        self.mortal_disk = true;
        self
    }

    /// A panic fails no test if its line has one of these words; whoever says so looks at [`Server::says`].
    pub(crate) fn may_panic(mut self, telling: &'static [&'static str]) -> Self {
        self.may_panic = telling;
        self
    }

    /// Puts its folder on a disk that [`Server::disk`] can make fail.
    pub(crate) fn on_faulty_disk(mut self) -> Self {
        self.faulty_disk = true;
        self
    }

    /// Starts with `run` instead of `dev`.
    pub(crate) fn production(mut self) -> Self {
        self.production = true;
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts with this soft limit of open files.
    pub(crate) fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(format!("-Sn {limit}"));
        self
    }

    /// Starts with this limit of open files, soft and hard.
    pub(crate) fn open_files_at_most(mut self, limit: u32) -> Self {
        self.open_files = Some(format!("-n {limit}"));
        self
    }

    /// Adds an argument after `dev`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A server that is not started yet, on a folder that somebody else has made.
    pub(crate) fn on(self, folder: tempfile::TempDir) -> Server {
        Server { options: self, folder, disk: None, faulty: None, process: None }
    }

    /// Runs another build of the server.
    pub(crate) fn binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// Starts the server and waits until it says where it listens.
    pub(crate) async fn start(self) -> Server {
        let mut server = self.launch();
        server.until_ready().await;
        server
    }

    /// Starts the server, which may never be ready.
    pub(crate) fn launch(self) -> Server {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let disk = self.mortal_disk.then(PowerCut::new);
        let faulty = self.faulty_disk.then(FaultyDisk::new);
        let mut server = Server { options: self, folder, disk, faulty, process: None };
        server.start_again();
        server
    }

    /// Runs to the end of a start that must fail.
    pub(crate) async fn run_to_end(self) -> Output {
        let command = if self.production { "run" } else { "dev" };
        let mut args = vec![command, "--port", "0", "--data-dir", "."];
        args.extend(self.args.iter().map(String::as_str));
        let env: Vec<_> = self.env.iter().map(|(name, value)| (&**name, &**value)).collect();
        run_to_end(&args, &env).await
    }
}

/// A started server and its folder.
pub(crate) struct Server {
    options: Options,
    folder: tempfile::TempDir,
    disk: Option<PowerCut>,
    faulty: Option<FaultyDisk>,
    process: Option<Process>,
}

impl Server {
    /// Starts `serverv2 dev` with no setting but a free port and a temporary folder.
    pub(crate) async fn start() -> Self {
        Options::default().start().await
    }

    /// A server with settings.
    pub(crate) fn with(name: &str, value: &str) -> Options {
        Options::default().env(name, value)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        address_of(&self.ready()["http"])
    }

    /// What it said when it was ready.
    pub(crate) fn ready(&self) -> &Value {
        &self.process().ready
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// Resident memory in KiB, as the kernel counts it.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the server runs");
        let line =
            status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("VmRSS is a number")
    }

    /// Soft limit of open files, as the kernel tells it.
    pub(crate) fn open_files_max(&self) -> String {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.pid()))
            .expect("the server runs");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        line.and_then(|line| line.split_whitespace().nth(3)).unwrap_or_default().to_owned()
    }

    /// Whether its log has a line with this text.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.process().log.find(|line| line.contains(text)).is_some()
    }

    /// Whether it has told of a panic since it was started.
    pub(crate) fn has_panicked(&self) -> bool {
        self.says(PANIC)
    }

    /// The end of its log.
    #[allow(dead_code, reason = "only the soak asks")]
    pub(crate) fn log_tail(&self) -> String {
        self.process().log.tail()
    }

    /// Whether its process has ended by itself.
    #[allow(dead_code, reason = "only the soak asks")]
    pub(crate) fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut().expect("it was started");
        process.child.try_wait().expect("it is our child").is_some()
    }

    /// What it wrote, which can be read after its end.
    pub(crate) fn log(&self) -> Log {
        self.process().log.clone()
    }

    /// Whether it was started and not ended since.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Ends it with `kill -9`, and reaps it.
    pub(crate) fn kill9(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Makes a power cut of its death: what it had not synced is gone. Gives how much was undone.
    pub(crate) fn roll_back_disk(&self) -> usize {
        assert!(self.process.is_none(), "it is still running");
        self.disk.as_ref().expect("it has a mortal disk").roll_back(self.folder.path())
    }

    /// The disk of its folder.
    pub(crate) fn disk(&self) -> &FaultyDisk {
        self.faulty.as_ref().expect("it is on a faulty disk")
    }

    /// Starts it again on the same folder; the port is another one.
    pub(crate) async fn restart(&mut self) {
        self.start_again();
        self.until_ready().await;
    }

    /// Waits until it says where it listens.
    pub(crate) async fn until_ready(&mut self) {
        let process = self.process.as_mut().expect("the server runs");
        process.ready = process.log.wait("the line that says where it listens", ready_in).await;
    }

    /// Changes a setting for its next start.
    pub(crate) fn change(&mut self, name: &str, value: &str) {
        self.options.env.push((name.to_owned(), value.to_owned()));
    }

    /// Runs this build from its next start on.
    pub(crate) fn upgrade(&mut self) {
        self.options.binary = None;
    }

    /// Starts it again without waiting until it is ready, which it may never be.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is still running");
        let folder = self.folder.path();
        let mortal = self.disk.iter().flat_map(|disk| disk.env(folder));
        let faulty = self.faulty.iter().flat_map(|disk| disk.env(folder));
        let mut disk: BTreeMap<_, PathBuf> = BTreeMap::new();
        for (name, value) in faulty.chain(mortal) {
            // The faults come first: what failed does not reach the disk.
            let both =
                disk.get(name).map(|first| format!("{}:{}", first.display(), value.display()));
            disk.insert(name, both.map_or(value, PathBuf::from));
        }
        self.process = Some(Process::launch(&self.options, folder, disk));
    }

    /// Starts another one in its place: the same settings, an empty folder. The old one must be dead.
    pub(crate) fn start_afresh(&mut self) {
        self.folder = tempfile::tempdir().expect("make a temporary folder");
        self.start_again();
    }

    /// Gives each the other's folder. Both must be dead.
    pub(crate) fn swap_folders(&mut self, other: &mut Self) {
        assert!(!self.is_running() && !other.is_running(), "somebody writes to a folder");
        std::mem::swap(&mut self.folder, &mut other.folder);
    }

    /// Asks it to stop (SIGTERM) and waits for its end, which must be an orderly one.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        signal("TERM", self.pid());
        let (process, status) = self.ended().await;
        let late = process.log.find(|line| line.contains("not closed in time"));
        assert_eq!(late, None, "nothing holds on to the data");
        status
    }

    /// Waits until it died by itself.
    pub(crate) async fn died(&mut self) -> ExitStatus {
        self.ended().await.1
    }

    async fn ended(&mut self) -> (Process, ExitStatus) {
        let mut process = self.process.take().expect("the server runs");
        let began = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait().expect("it is our child") {
                return (process, status);
            }
            assert!(began.elapsed() < DEADLINE, "still running\n{}", process.log.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay, and it does nothing.
    pub(crate) fn pause(&self) {
        signal("STOP", self.pid());
    }

    /// Lets it go on after [`Server::pause`].
    pub(crate) fn unpause(&self) {
        signal("CONT", self.pid());
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }
}

/// Runs the binary to its end, as someone with a mistake in the settings would see it.
pub(crate) async fn run_to_end(args: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let mut command = Command::new(BINARY);
    command.args(args).current_dir(folder.path()).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().expect("start the server binary");
    let pid = child.id();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    match tokio::time::timeout(DEADLINE, ended).await {
        Ok(output) => output.expect("the waiting task does not panic").expect("read its output"),
        Err(_) => {
            signal("KILL", pid);
            panic!("{args:?} with {env:?} was expected to end at once and is still running");
        }
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", name, &pid.to_string()])
        .status();
    assert!(status.expect("sh can be started").success(), "kill -{name} {pid}");
}

/// What a starting server prints for programs: `READY {"http": URL, …}`.
fn ready_in(line: &str) -> Option<Value> {
    serde_json::from_str(line.strip_prefix("READY ")?).ok()
}

/// The address in a URL without a path.
pub(crate) fn address_of(url: &Value) -> SocketAddr {
    let address = url.as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok());
    address.unwrap_or_else(|| panic!("{url} is no URL of a server"))
}

struct Process {
    child: Child,
    guard: Child,
    /// What it said when it was ready; `Null` before.
    ready: Value,
    log: Log,
    readers: Vec<thread::JoinHandle<()>>,
    may_panic: &'static [&'static str],
}

impl Process {
    fn launch(options: &Options, folder: &Path, disk: BTreeMap<&str, PathBuf>) -> Self {
        let binary = options.binary.as_deref().unwrap_or_else(|| Path::new(BINARY));
        let mut command = match &options.open_files {
            None => Command::new(binary),
            Some(limit) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(binary);
                shell
            }
        };
        command.arg(if options.production { "run" } else { "dev" });
        command.args(["--port", "0", "--data-dir"]).arg(folder).args(&options.args);
        // Nobody has to notice that it stops, unless a test says so.
        let hasty = [("DRAIN_NOTICE", "0"), ("DRAIN_PERIOD", "0")];
        command.current_dir(folder).env_clear().envs(hasty);
        command.envs(options.env.iter().cloned()).envs(disk);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("start the server binary");
        // Reads until the pipe to it closes, which the kernel does when this process ends.
        let guard = Command::new("/bin/sh")
            .args(["-c", "read -r _; kill -s KILL -- \"-$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("start the guard");
        let log = Log::default();
        let readers = vec![
            log.follow("out", child.stdout.take().expect("stdout is piped")),
            log.follow("err", child.stderr.take().expect("stderr is piped")),
        ];
        let may_panic = options.may_panic;
        Self { child, guard, ready: Value::Null, log, readers, may_panic }
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard first: it must not outlive the process id it would kill.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if thread::panicking() {
            eprintln!("--- end of the server's log\n{}", self.log.tail());
            return;
        }
        let is_expected = |line: &str| self.may_panic.iter().any(|telling| line.contains(telling));
        if let Some(line) = self.log.find(|line| line.contains(PANIC) && !is_expected(line)) {
            panic!("the server panicked: {line}\n{}", self.log.tail());
        }
    }
}
