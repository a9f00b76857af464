//! A real PostgreSQL of the tests' own, from Debian's package: a private folder, a port of 127.0.0.1.
//!
//! Promises: it is killed and its folder removed when its handle is dropped, and also when the test's own
//! process is killed (a small guard waits for the pipe to it to close). The shared one is there for as long
//! as the tests run, and gives each test a database of its own.
//!
//! PostgreSQL refuses to run as root: then it runs as the user `postgres`, whom the package has made.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::eventually;
use super::ports::Port;
use super::process::{Options, signal};

/// The password of the database's owner: a test looks for it in logs and answers.
pub(crate) const PASSWORD: &str = "nobody-may-read-this";
const OWNER: &str = "owner";

/// A started server.
pub(crate) struct Postgres {
    folder: PathBuf,
    port: Port,
    server: Option<Child>,
    guard: Child,
    databases: AtomicUsize,
}

impl Postgres {
    /// One of the caller's own, which may be killed.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with these settings of `postgresql.conf`.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let folder = made_folder();
        // Removes what is left once the pipe to it closes, which the kernel does when this process ends.
        let script = "read -r _; test -f \"$0/data/postmaster.pid\" && \
            kill -s QUIT \"$(head -n 1 \"$0/data/postmaster.pid\")\"; sleep 1; rm -rf -- \"$0\"";
        let guard = Command::new("/bin/sh")
            .args(["-c", script])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the guard");
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).expect("write the password");
        give(&password);
        let made = as_owner("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"])
            .args(["--username", OWNER, "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(folder.join("data"))
            .current_dir(&folder)
            .output()
            .expect("initdb is installed by `make setup`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for setting in settings {
            let path = folder.join("data/postgresql.conf");
            let text = std::fs::read_to_string(&path).expect("initdb has written it");
            std::fs::write(&path, format!("{text}\n{setting}\n")).expect("it can be changed");
        }
        let databases = AtomicUsize::new(0);
        let mut this = Self { folder, port: Port::take(), server: None, guard, databases };
        this.start_again().await;
        this
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    /// Starts it after [`Self::kill`].
    pub(crate) async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it is running");
        let log = std::fs::File::create(self.folder.join("log")).expect("make its log");
        let server = as_owner("postgres")
            .arg("-D")
            .arg(self.data())
            .args([
                "-p",
                &self.port.number.to_string(),
                "-k",
                "",
                "-c",
                "listen_addresses=127.0.0.1",
            ])
            .args(["-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=16MB"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("start postgres");
        self.server = Some(server);
        let answers = || async { self.psql("postgres", "select 1").is_ok() };
        eventually("an answer of PostgreSQL", answers, |answers| *answers).await;
    }

    /// Ends it at once, without a word to its clients but that they are cut.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().expect("it is running");
        signal("QUIT", server.id());
        server.wait().expect("it is our child");
    }

    /// A fresh database.
    pub(crate) fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("game{number}");
        self.psql("postgres", &format!("create database {name}")).expect("it is made");
        let url = format!("postgres://{OWNER}:{PASSWORD}@127.0.0.1:{}/{name}", self.port.number);
        Database { url, name, port: self.port.number }
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        psql(self.port.number, database, sql)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            signal("QUIT", server.id());
            let _ = server.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(20)..];
            eprintln!("--- end of PostgreSQL's log\n{}", end.join("\n"));
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A database of one test.
#[derive(Clone)]
pub(crate) struct Database {
    /// Its connection string, password included.
    pub(crate) url: String,
    name: String,
    port: u16,
}

impl Database {
    /// One in the server that all tests share.
    pub(crate) async fn fresh() -> Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = STARTING.lock().await;
        if SHARED.get().is_none() {
            let started = Postgres::start().await;
            assert!(SHARED.set(started).is_ok(), "nobody else starts it");
        }
        SHARED.get().expect("it was started").database()
    }

    /// A server's options, keeping its players here.
    pub(crate) fn used_by(&self, options: Options) -> Options {
        options.env("DATABASE_URL", &self.url)
    }

    /// What a statement gives: columns separated by `|`, rows by line breaks.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        psql(self.port, &self.name, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

fn psql(port: u16, database: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", OWNER])
        .args(["-p", &port.to_string(), "-d", database, "-c", sql])
        .env("PGPASSWORD", PASSWORD)
        .env("PGCONNECT_TIMEOUT", "5")
        .output()
        .expect("psql is installed by `make setup`");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A program of the newest PostgreSQL here, to be run by somebody who is not root.
fn as_owner(program: &str) -> Command {
    let mut command = Command::new(bin().join(program));
    if let Some((uid, gid)) = somebody() {
        command.uid(uid).gid(gid);
    }
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command
}

/// Debian keeps the programs out of the path, a folder for each version.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|entry| {
        entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()).unwrap_or_default()
    });
    newest.map(|entry| entry.path().join("bin")).expect("`make setup` installs PostgreSQL")
}

/// Whom the programs run as, where that is not who we are.
fn somebody() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> u32 {
        let output = Command::new("id").args(args).output().expect("run id");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse().unwrap_or_else(|_| panic!("id {args:?}: {text}"))
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

fn made_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("serverv2-postgres-").tempdir();
    let folder = folder.expect("make a temporary folder").keep();
    give(&folder);
    folder
}

/// Makes it theirs whom PostgreSQL runs as.
pub(crate) fn give(path: &Path) {
    if let Some((uid, gid)) = somebody() {
        chown(path, Some(uid), Some(gid)).expect("give it away");
    }
}
