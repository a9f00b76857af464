//! Settings: where they come from, what they may be, and when the server refuses to start.
//!
//! Each setting is one row of `config/table.rs`: its name, flag, default, range and explanation stand there
//! and nowhere else, so `--help`, the refusals and the values can't disagree. A flag wins over the
//! environment, the environment over the file named by `--config`, the file over the default.
//!
//! Everything is checked before anything is opened. All bad settings are reported at once, each with
//! its name, its value, where it was read and what is allowed; the value of a secret is never shown.
//! Keys of the file that are no setting are refused: a misspelt limit must not be silently absent.
//! An empty environment variable counts as not set, because compose files pass those.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

mod announce;
mod auth;
mod database;
mod file;
mod mail;
mod peers;
mod redis;
mod reports;
mod setting;
mod table;
mod value;

pub use announce::AnnounceSettings;
pub use auth::{AuthSettings, Lifetime, Network};
pub use database::DatabaseSettings;
pub use mail::{MailProvider, MailSettings};
pub use redis::RedisSettings;
pub use reports::ReportSettings;
pub use setting::Setting;
pub use table::SETTINGS;
pub use value::{LogFormat, Secret};

use file::FileSettings;

/// What the program was started as; it picks the defaults and the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `serverv2 dev`: on loopback, needing nothing.
    Dev,
    /// `serverv2 run`: production.
    Run,
}

/// Every setting, parsed and in range.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the program was started as.
    pub mode: Mode,

    /// Address on which HTTP and Socket.IO are served.
    pub bind_host: IpAddr,
    /// Port of HTTP and Socket.IO; 0 takes any free one.
    pub port: u16,
    /// Origins that browsers may call from, without a slash at the end.
    pub cors_origins: Vec<String>,
    /// Connections served at once, if it was said; one more is closed as soon as it is accepted.
    pub connections_max: Option<usize>,
    /// Largest request body, bytes.
    pub body_bytes_max: usize,

    /// This node's place in the cluster.
    pub node_id: u64,
    /// Where this node keeps its log, snapshots and records.
    pub data_dir: PathBuf,
    /// Whether other nodes may join and the cluster routes answer in full.
    pub cluster_enabled: bool,
    /// Which cluster this is, among several in one network.
    pub cluster_name: String,
    /// What nodes prove to each other.
    pub cluster_secret: Option<Secret>,
    /// The nodes that form the cluster; empty for a cluster of one.
    pub peers: BTreeMap<u64, String>,
    /// Where this node listens for its peers, if it was said.
    pub peer_bind: Option<SocketAddr>,
    /// Silence after which a node is counted out.
    pub node_gone_after: Duration,
    /// From when a stopping node says that it is not ready until it cuts its first client.
    pub drain_notice: Duration,
    /// Over which time it cuts its clients.
    pub drain_period: Duration,
    /// Name of this node in answers to operators.
    pub instance_id: String,
    /// Host name of this node in answers to operators.
    pub instance_host: String,
    /// Where HAProxy's agent checks are answered, if at all.
    pub agent_bind: Option<SocketAddr>,
    /// Key under which access tokens are signed.
    pub jwt_secret: Option<Secret>,
    /// Tokens, and how often a client may ask.
    pub auth: AuthSettings,

    /// Pause between two heartbeats of the Raft leader.
    pub raft_heartbeat: Duration,
    /// Shortest wait before a follower stands for election.
    pub raft_election_min: Duration,
    /// Longest wait before a follower stands for election.
    pub raft_election_max: Duration,
    /// Log entries after which a snapshot is made.
    pub raft_snapshot_entries: u64,
    /// Log entries kept behind a snapshot.
    pub raft_keep_entries: u64,
    /// Proposals of this node waiting for commit; one more is refused as busy.
    pub proposals_waiting_max: usize,

    /// Folder of packs to load beside the built-in one.
    pub packs_dir: Option<PathBuf>,
    /// Time for the choices of one turn.
    pub turn_time_limit: Duration,
    /// Time of one player for all his choices.
    pub total_time_limit: Duration,
    /// Time to come back to a battle after a lost connection; zero loses it at once.
    pub disconnect_grace: Duration,
    /// Events per second of one socket, in the long run.
    pub socket_events_per_second: u32,
    /// Events of one socket that may come at once.
    pub socket_events_burst: u32,
    /// Overruns after which a socket is cut.
    pub socket_overruns_max: u32,
    /// Largest Socket.IO message, bytes.
    pub socket_payload_bytes_max: usize,

    /// A database of the operator's own.
    pub database: DatabaseSettings,

    /// A Redis that other services share.
    pub redis: RedisSettings,
    /// What is told to sockets beside the game.
    pub announce: AnnounceSettings,

    /// E-mail and verification codes.
    pub mail: MailSettings,

    /// Battle reports.
    pub reports: ReportSettings,

    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: String,
}

impl Settings {
    /// Refuses what only makes sense for one node, where so many on this machine are to share it.
    pub fn check_for_several(&self, nodes: u16) -> Result<(), BadSettings> {
        let mut problems = Vec::new();
        let mut must = |right: bool, text: String| {
            if !right {
                problems.push(Problem(format!("several nodes are to be started: {text}")));
            }
        };
        let last = peers::MAX_PORT_WITH_PEER - (nodes - 1);
        must(self.port <= last, format!("PORT is \"{}\": allowed is at most {last}", self.port));
        must(self.node_id == 1, "NODE_ID must not be set, they are numbered from 1".into());
        must(self.peers.is_empty(), "PEERS must not be set".into());
        must(self.peer_bind.is_none(), "PEER_BIND must not be set".into());
        must(self.agent_bind.is_none(), "AGENT_BIND must not be set".into());
        must(self.instance_id == "node-1", "CLUSTER_INSTANCE_ID must not be set".into());
        must(self.cluster_enabled, "CLUSTER_ENABLED must not be \"false\"".into());
        if problems.is_empty() { Ok(()) } else { Err(BadSettings(problems)) }
    }

    /// Every field at a value that the defaults of the table replace.
    fn blank(mode: Mode) -> Self {
        Self {
            mode,
            bind_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            cors_origins: Vec::new(),
            connections_max: None,
            body_bytes_max: 0,
            node_id: 0,
            data_dir: PathBuf::new(),
            cluster_enabled: false,
            cluster_name: String::new(),
            cluster_secret: None,
            peers: BTreeMap::new(),
            peer_bind: None,
            node_gone_after: Duration::ZERO,
            drain_notice: Duration::ZERO,
            drain_period: Duration::ZERO,
            instance_id: String::new(),
            instance_host: String::new(),
            agent_bind: None,
            jwt_secret: None,
            auth: AuthSettings::default(),
            raft_heartbeat: Duration::ZERO,
            raft_election_min: Duration::ZERO,
            raft_election_max: Duration::ZERO,
            raft_snapshot_entries: 0,
            raft_keep_entries: 0,
            proposals_waiting_max: 0,
            packs_dir: None,
            turn_time_limit: Duration::ZERO,
            total_time_limit: Duration::ZERO,
            disconnect_grace: Duration::ZERO,
            socket_events_per_second: 0,
            socket_events_burst: 0,
            socket_overruns_max: 0,
            socket_payload_bytes_max: 0,
            database: DatabaseSettings::default(),
            redis: RedisSettings::default(),
            announce: AnnounceSettings::default(),
            mail: MailSettings::default(),
            reports: ReportSettings::default(),
            log_format: LogFormat::Pretty,
            log_level: String::new(),
        }
    }
}

/// Where values are looked for. Tests hand in their own.
pub struct Sources<'a> {
    /// Flags as given, by the setting's name.
    pub flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
}

/// The settings of this start, or everything that is wrong with them.
pub fn load(mode: Mode, sources: &Sources<'_>) -> Result<Settings, BadSettings> {
    let mut problems = Vec::new();
    let file = match &sources.file {
        None => FileSettings::default(),
        Some(path) => file::read(path, &mut problems),
    };
    let mut settings = Settings::blank(mode);
    for setting in SETTINGS {
        let found = match find(setting, sources, &file) {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let (value, origin) = match (&found, setting.default.of(mode)) {
            (Some((value, origin)), _) => (value.as_str(), *origin),
            (None, Some(default)) => (default, Origin::Default),
            (None, None) => continue,
        };
        if !setting.set(&mut settings, value) {
            problems.push(Problem::value(setting, value, origin));
        }
    }
    if settings.instance_id.is_empty() {
        settings.instance_id = format!("node-{}", settings.node_id);
    }
    settings.database.unite(&mut problems);
    settings.redis.unite(&mut problems);
    settings.announce.check(settings.redis.url().is_some(), &mut problems);
    // Relations between settings say little while one of them is no value at all.
    if problems.is_empty() {
        check_together(&settings, &mut problems);
    }
    if problems.is_empty() { Ok(settings) } else { Err(BadSettings(problems)) }
}

/// The data folder alone: what else a server was started with, a command to it need not know.
pub fn data_dir(sources: &Sources<'_>) -> Result<PathBuf, BadSettings> {
    let mut problems = Vec::new();
    let file = match &sources.file {
        None => FileSettings::default(),
        Some(path) => file::read(path, &mut problems),
    };
    let mut settings = Settings::blank(Mode::Run);
    for setting in SETTINGS.iter().filter(|setting| setting.name == "DATA_DIR") {
        match find(setting, sources, &file) {
            Ok(found) => {
                let default = setting.default.of(Mode::Run).unwrap_or_default();
                let (value, origin) =
                    found.unwrap_or_else(|| (default.to_owned(), Origin::Default));
                if !setting.set(&mut settings, &value) {
                    problems.push(Problem::value(setting, &value, origin));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(settings.data_dir) } else { Err(BadSettings(problems)) }
}

type Found = Option<(String, Origin)>;

fn find(setting: &Setting, sources: &Sources<'_>, file: &FileSettings) -> Result<Found, Problem> {
    if let Some(value) = sources.flags.get(setting.name) {
        return Ok(Some((value.clone(), Origin::Flag)));
    }
    if let Some(value) = (sources.env)(setting.name).filter(|value| !value.is_empty()) {
        return match value.into_string() {
            Ok(value) => Ok(Some((value, Origin::Environment))),
            Err(value) => {
                Err(Problem::value(setting, &value.to_string_lossy(), Origin::Environment))
            }
        };
    }
    Ok(file.get(setting.name).map(|value| (value.to_owned(), Origin::File)))
}

/// What no single value can show.
fn check_together(settings: &Settings, problems: &mut Vec<Problem>) {
    let loopback = settings.bind_host.is_loopback();
    let host = settings.bind_host;
    match settings.mode {
        Mode::Dev if !loopback => problems.push(Problem::text(format!(
            "BIND_HOST is \"{host}\": `dev` serves loopback addresses only (127.0.0.1, ::1), because it \
             needs no secrets; use `run` to serve others"
        ))),
        Mode::Run if settings.cluster_enabled => {
            if settings.jwt_secret.is_none() {
                problems.push(Problem::text(
                    "JWT_SECRET is not set: in cluster mode all nodes must sign tokens with the same \
                     secret; set it, or set CLUSTER_ENABLED to \"false\" for a single node"
                        .into(),
                ));
            }
            if !loopback && settings.cluster_secret.is_none() {
                problems.push(Problem::text(format!(
                    "CLUSTER_SECRET is not set and BIND_HOST is \"{host}\": off loopback, nodes must \
                     prove to each other that they belong together; set it, or bind to 127.0.0.1, or \
                     set CLUSTER_ENABLED to \"false\" for a single node"
                )));
            }
        }
        Mode::Dev | Mode::Run => {}
    }
    if let (Mode::Dev, Some(agent)) = (settings.mode, settings.agent_bind)
        && !agent.ip().is_loopback()
    {
        problems.push(Problem::text(format!(
            "AGENT_BIND is \"{agent}\": `dev` serves loopback addresses only (127.0.0.1, ::1)"
        )));
    }
    peers::check(settings, problems);
    mail::check(&settings.mail, problems);
    let (min, max) = (settings.raft_election_min, settings.raft_election_max);
    if min >= max {
        problems.push(Problem::text(format!(
            "RAFT_ELECTION_MIN_MS is \"{}\": allowed is less than RAFT_ELECTION_MAX_MS (\"{}\")",
            min.as_millis(),
            max.as_millis()
        )));
    }
    if settings.raft_heartbeat * 2 > min {
        problems.push(Problem::text(format!(
            "RAFT_HEARTBEAT_MS is \"{}\": allowed is at most half of RAFT_ELECTION_MIN_MS (\"{}\"), so \
             that one lost heartbeat starts no election",
            settings.raft_heartbeat.as_millis(),
            min.as_millis()
        )));
    }
    if settings.turn_time_limit > settings.total_time_limit {
        problems.push(Problem::text(format!(
            "TURN_TIME_LIMIT is \"{}\": allowed is at most TOTAL_TIME_LIMIT (\"{}\")",
            settings.turn_time_limit.as_secs(),
            settings.total_time_limit.as_secs()
        )));
    }
}

/// Where a value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "from the command line",
            Self::Environment => "from the environment",
            Self::File => "from the file",
            Self::Default => "the default",
        })
    }
}

/// One thing that is wrong, as a sentence for the operator.
#[derive(Debug, PartialEq, Eq)]
struct Problem(String);

impl Problem {
    fn value(setting: &Setting, value: &str, origin: Origin) -> Self {
        let shown = if setting.secret { "(hidden)".to_owned() } else { format!("{value:?}") };
        Self(format!("{} is {shown} ({origin}): allowed is {}", setting.name, setting.allowed()))
    }

    fn text(text: String) -> Self {
        Self(text)
    }
}

/// Why the server does not start: every bad setting, a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct BadSettings(Vec<Problem>);

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad settings, nothing was started:")?;
        for Problem(text) in &self.0 {
            write!(f, "\n  {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadSettings {}

#[cfg(test)]
mod tests;
