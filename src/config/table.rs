//! The table of all settings. To add one: a field in [`Settings`], a row here, nothing else.

use std::path::PathBuf;
use std::time::Duration;

use super::announce::events;
use super::auth::{emails, networks};
use super::setting::Preset::{Always, ByMode, Unset};
use super::setting::{Kind, Setting, number, row, text};
use super::value::{is_label, origins, peers};
use super::{Lifetime, LogFormat, MailProvider, Secret};
use crate::records::is_database_url;
use crate::redis;

const HTTP: &str = "HTTP and Socket.IO";
const CLUSTER: &str = "Node and cluster";
const RAFT: &str = "Raft";
const GAME: &str = "Game";
const REPORTS: &str = "Battle reports";
const AUTH: &str = "Tokens and rates";
const MAIL: &str = "E-mail";
const DATABASE: &str = "Database";
const REDIS: &str = "Redis";
const LOG: &str = "Log";

const MS: &str = " (milliseconds)";
const SECONDS: &str = " (seconds)";
const BYTES: &str = " (bytes)";
const PER_MINUTE: &str = " (in 60 s; 0 is no limit)";
const DATABASE_URL: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE, with ?sslmode=disable, prefer, \
    require, verify-ca or verify-full";
const REDIS_URL: &str = "redis://USER:PASSWORD@HOST:PORT/DB, rediss:// for TLS; several of one Redis Cluster \
    as redis://HOST:PORT,HOST:PORT";
const EVENTS: &str = "a comma-separated list of 1 to 64 names that are none of the game's events";
const LIFETIME: &str = "a number with s, m, h, d, w or y, or of milliseconds; 1s to 100y";

/// All settings, in the order in which `--help` lists them.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    Setting {
        short: Some('p'),
        ..row("PORT", "port", HTTP, Always("8102"),
            number("; 0 takes any free one", 0, 65_535, |s, n| s.port = n as u16),
            "Port of the REST API and of Socket.IO.")
    },
    row("BIND_HOST", "bind-host", HTTP, ByMode { dev: "127.0.0.1", run: "0.0.0.0" },
        text("an IP address", |s, v| v.parse().ok().map(|v| s.bind_host = v)),
        "Address to listen on. `dev` takes loopback addresses only."),
    row("CORS_ORIGIN", "cors-origin", HTTP, Always("http://localhost:3000,http://localhost:5173"),
        text("a comma-separated list of origins like https://game.example (no path, no wildcard)",
            |s, v| origins(v).map(|v| s.cors_origins = v)),
        "Web pages from these origins may call the server."),
    row("CONNECTIONS_MAX", "connections-max", HTTP,
        Unset("20000, or 256 less than the hard limit of open files where that is fewer"),
        number("", 1, 1_000_000, |s, n| s.connections_max = Some(n as usize)),
        "Connections served at once. One more is closed as soon as it is accepted. Each needs an open \
         file: the limit is raised to the hard one at start, which must be this and 256 more."),
    row("BODY_BYTES_MAX", "body-bytes-max", HTTP, Always("10485760"),
        number(BYTES, 1_024, 104_857_600, |s, n| s.body_bytes_max = n as usize),
        "Largest request body; a larger one is answered with 413."),
    row("SOCKET_PAYLOAD_BYTES_MAX", "socket-payload-bytes-max", HTTP, Always("4000000"),
        number(BYTES, 1_024, 100_000_000, |s, n| s.socket_payload_bytes_max = n as usize),
        "Largest Socket.IO message; a larger one cuts the connection."),
    row("SOCKET_EVENTS_PER_SECOND", "socket-events-per-second", HTTP, Always("20"),
        number("", 1, 10_000, |s, n| s.socket_events_per_second = n as u32),
        "Events that one socket may send per second in the long run."),
    row("SOCKET_EVENTS_BURST", "socket-events-burst", HTTP, Always("60"),
        number("", 1, 10_000, |s, n| s.socket_events_burst = n as u32),
        "Events that one socket may send at once."),
    row("SOCKET_OVERRUNS_MAX", "socket-overruns-max", HTTP, Always("3"),
        number("", 1, 1_000, |s, n| s.socket_overruns_max = n as u32),
        "A socket that sends too many events this often is cut."),

    row("NODE_ID", "node-id", CLUSTER, Always("1"),
        number("", 1, u32::MAX as u64, |s, n| s.node_id = n),
        "Number of this node. It belongs to one data folder for ever."),
    row("DATA_DIR", "data-dir", CLUSTER, ByMode { dev: "./data/single", run: "./data" },
        text("the path of a folder", |s, v| {
            (!v.is_empty()).then(|| s.data_dir = PathBuf::from(v))
        }),
        "Folder of this node's log and snapshots; made if it is missing."),
    row("CLUSTER_ENABLED", "cluster-enabled", CLUSTER, Always("true"),
        Kind::Switch { put: |s, v| s.cluster_enabled = v },
        "Whether this node is a cluster, if only of one, that needs its secrets, or stands alone."),
    row("CLUSTER_NAME", "cluster-name", CLUSTER, Always("serverv2"),
        text("1 to 64 characters out of a-z A-Z 0-9 . _ -", |s, v| {
            is_label(v).then(|| s.cluster_name = v.to_owned())
        }),
        "Tells clusters apart that share a network."),
    Setting {
        secret: true,
        ..row("CLUSTER_SECRET", "cluster-secret", CLUSTER, Unset("none"),
            text("16 or more characters", |s, v| {
                (v.chars().count() >= 16).then(|| s.cluster_secret = Some(Secret::new(v)))
            }),
            "What nodes prove to each other. Needed in cluster mode when BIND_HOST is no loopback \
             address. Better given in the environment or the file than as a flag.")
    },
    row("PEERS", "peers", CLUSTER, Unset("none: a cluster of one"),
        text("1 to 7 nodes as 1=host:port,2=host:port,... with different ids", |s, v| {
            peers(v).map(|v| s.peers = v)
        }),
        "The nodes that form the cluster, this one included, and where they reach each other. All of \
         them must be given the same ids; the cluster forms once all are up. A node that joins later lists \
         itself and some members. Without it, `run` is a cluster of one that others may join."),
    row("PEER_BIND", "peer-bind", CLUSTER, Unset("BIND_HOST, PORT + 10000"),
        text("an IP address and a port, like 0.0.0.0:18102", |s, v| {
            v.parse().ok().map(|v| s.peer_bind = Some(v))
        }),
        "Where this node listens for its peers: with PEERS, and in `run` for nodes that may join."),
    row("NODE_GONE_AFTER_MS", "node-gone-after-ms", CLUSTER, Always("3000"),
        number(" milliseconds", 1_500, 600_000, |s, n| s.node_gone_after = Duration::from_millis(n)),
        "Silence after which the leader counts a node out; its players have their grace then. A node that hears \
         nobody is sure of itself for up to a second."),
    row("DRAIN_NOTICE", "drain-notice", CLUSTER, ByMode { dev: "0", run: "2" },
        number(SECONDS, 0, 60, |s, n| s.drain_notice = Duration::from_secs(n)),
        "When a node of several is asked to stop, it says at /ready that it is draining, and goes on \
         for so long: for balancers to notice."),
    row("DRAIN_PERIOD", "drain-period", CLUSTER, ByMode { dev: "0", run: "3" },
        number(SECONDS, 0, 60, |s, n| s.drain_period = Duration::from_secs(n)),
        "Then it cuts its clients one after the other over so long, and they come back to other nodes."),
    row("CLUSTER_INSTANCE_ID", "cluster-instance-id", CLUSTER, Unset("node-<NODE_ID>"),
        text("1 to 64 characters out of a-z A-Z 0-9 . _ -", |s, v| {
            is_label(v).then(|| s.instance_id = v.to_owned())
        }),
        "Name of this node in /health and /cluster/status."),
    row("CLUSTER_INSTANCE_HOST", "cluster-instance-host", CLUSTER, Always("localhost"),
        text("a host name or address of 1 to 255 characters", |s, v| {
            ((1..=255).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_graphic()))
                .then(|| s.instance_host = v.to_owned())
        }),
        "Host name of this node in /health and for clients that ask /api/v1/cluster/assign, and for peers where \
         neither PEERS nor PEER_BIND tells an address of it."),
    row("AGENT_BIND", "agent-bind", CLUSTER, Unset("none: nobody listens"),
        text("an IP address and a port, like 0.0.0.0:9102", |s, v| {
            v.parse().ok().map(|v| s.agent_bind = Some(v))
        }),
        "Where HAProxy's agent checks are answered: how much this node takes, and whether it is about to go. \
         Whoever connects is told, and nothing is read."),
    row("ANNOUNCE_EVENTS", "announce-events", CLUSTER, Always("announcement"),
        text(EVENTS, |s, v| events(v).map(|v| s.announce.events = v)),
        "Events that admins may announce to sockets of all nodes."),
    Setting {
        secret: true,
        ..row("JWT_SECRET", "jwt-secret", CLUSTER, Unset("none"),
            text("a text that is not empty", |s, v| {
                (!v.is_empty()).then(|| s.jwt_secret = Some(Secret::new(v)))
            }),
            "Key of the tokens; the same on all nodes. Needed by `run` in cluster mode. A node that \
             stands alone without it makes one and keeps it in DATA_DIR. Better given in the environment \
             or the file than as a flag.")
    },

    Setting {
        secret: true,
        ..row("JWT_SECRET_PREVIOUS", "jwt-secret-previous", AUTH, Unset("none"),
            text("a text that is not empty", |s, v| {
                (!v.is_empty()).then(|| s.auth.previous_secret = Some(Secret::new(v)))
            }),
            "A key whose tokens are accepted too, but no longer given: for exchanging JWT_SECRET.")
    },
    row("JWT_EXPIRES_IN", "jwt-expires-in", AUTH, Always("180d"),
        text(LIFETIME, |s, v| Lifetime::parse(v).map(|v| s.auth.access_lifetime = v)),
        "How long an access token is valid."),
    row("REFRESH_TOKEN_EXPIRES_IN", "refresh-token-expires-in", AUTH, Always("365d"),
        text(LIFETIME, |s, v| Lifetime::parse(v).map(|v| s.auth.refresh_lifetime = v)),
        "How long a refresh token is valid."),
    row("GUEST_AUTH", "guest-auth", AUTH, Always("open"),
        text("open or token", |s, v| {
            s.auth.guests_need_tokens = match v {
                "open" => false,
                "token" => true,
                _ => return None,
            };
            Some(())
        }),
        "Whether a guest's id is enough to act as him, as at the existing server, or he is given tokens \
         and needs them. An opponent is told the id."),
    row("ADMIN_EMAILS", "admin-emails", AUTH, Unset("nobody"),
        text("a comma-separated list of e-mail addresses", |s, v| {
            emails(v).map(|v| s.auth.admin_emails = v)
        }),
        "Players with one of these bound addresses are admins."),
    row("RATE_LIMIT_AUTH", "rate-limit-auth", AUTH, ByMode { dev: "0", run: "50" },
        number(PER_MINUTE, 0, 1_000_000, |s, n| s.auth.rate_auth = n as u32),
        "Requests that one client may send to /api/v1/auth."),
    row("RATE_LIMIT_EMAIL", "rate-limit-email", AUTH, ByMode { dev: "0", run: "20" },
        number(PER_MINUTE, 0, 1_000_000, |s, n| s.auth.rate_email = n as u32),
        "Requests that one client may send to /api/v1/email."),
    row("RATE_LIMIT_ASSIGN", "rate-limit-assign", AUTH, ByMode { dev: "0", run: "60" },
        number(PER_MINUTE, 0, 1_000_000, |s, n| s.auth.rate_assign = n as u32),
        "Requests that one client may send to /api/v1/cluster/assign."),
    row("TRUST_PROXY", "trust-proxy", AUTH, Unset("none"),
        text("a comma-separated list of addresses and networks like 10.0.0.0/8", |s, v| {
            networks(v).map(|v| s.auth.trusted_proxies = v)
        }),
        "Proxies whose X-Forwarded-For says which client it is; others are taken for the client."),

    Setting {
        secret: true,
        ..row("DATABASE_URL", "database-url", DATABASE, Unset("none: players are kept in the cluster's own records"),
            text(DATABASE_URL, |s, v| {
                is_database_url(v).then(|| s.database.url = Some(Secret::new(v)))
            }),
            "PostgreSQL database in which players, their addresses and codes are kept; missing tables are \
             made, existing ones adopted. The same on all nodes, from the cluster's first start on. Better \
             given in the environment or the file than as a flag.")
    },
    Setting {
        secret: true,
        ..row("SUPABASE_DB_URL", "supabase-db-url", DATABASE, Unset("none"),
            text(DATABASE_URL, |s, v| {
                is_database_url(v).then(|| s.database.supabase_url = Some(Secret::new(v)))
            }),
            "Another name for DATABASE_URL.")
    },
    row("SUPABASE_URL", "supabase-url", DATABASE, Unset("none"),
        text("a URL, which is not used", |s, _| {
            s.database.api_named = true;
            Some(())
        }),
        "A setting of the existing server, which speaks HTTP to its database. Here DATABASE_URL is needed: \
         with this one alone the server does not start, and says where to find that."),
    row("DATABASE_CONNECTIONS_MAX", "database-connections-max", DATABASE, Always("10"),
        number("", 1, 1_000, |s, n| s.database.connections_max = n as u32),
        "Connections to the database that this node may have open."),

    Setting {
        secret: true,
        ..row("REDIS_URL", "redis-url", REDIS, Unset("none: no Redis is used"),
            text(REDIS_URL, |s, v| {
                redis::Address::parse(v).is_ok().then(|| s.redis.url = Some(Secret::new(v)))
            }),
            "A Redis in which other services see this cluster. The same on all nodes. Nothing of the game waits \
             for it. Better given in the environment or the file than as a flag.")
    },
    row("REDIS_HOST", "redis-host", REDIS, Unset("none"),
        text("a host name or an IP address", |s, v| {
            redis::Address::parse(&format!("redis://{v}:6379")).ok()?;
            s.redis.host = Some(v.to_owned());
            Some(())
        }),
        "The same in parts, instead of REDIS_URL."),
    row("REDIS_PORT", "redis-port", REDIS, Always("6379"),
        number("", 1, 65_535, |s, n| s.redis.port = n as u16),
        "Used with REDIS_HOST."),
    row("REDIS_USER", "redis-user", REDIS, Unset("the default user"),
        text("a name", |s, v| (!v.is_empty()).then(|| s.redis.user = Some(v.to_owned()))),
        "Used with REDIS_HOST and REDIS_PASSWORD."),
    Setting {
        secret: true,
        ..row("REDIS_PASSWORD", "redis-password", REDIS, Unset("none"),
            text("any text", |s, v| (!v.is_empty()).then(|| s.redis.password = Some(Secret::new(v)))),
            "Used with REDIS_HOST.")
    },
    row("REDIS_DB", "redis-db", REDIS, Always("0"),
        number("", 0, 1_000_000, |s, n| s.redis.db = n),
        "Number of the database; used with REDIS_HOST. A Redis Cluster has only 0."),
    row("REDIS_TLS", "redis-tls", REDIS, Always("false"),
        Kind::Switch { put: |s, v| s.redis.tls = v },
        "Whether to speak TLS; used with REDIS_HOST."),
    row("REDIS_KEY_PREFIX", "redis-key-prefix", REDIS, Always("arcadia:"),
        text("at most 64 printable characters without space, {, } and *", |s, v| {
            redis::keys::is_prefix(v).then(|| s.redis.key_prefix = v.to_owned())
        }),
        "What stands before all keys."),
    row("REDIS_TIMEOUT_MS", "redis-timeout-ms", REDIS, Always("200"),
        number(MS, 10, 10_000, |s, n| s.redis.timeout = Duration::from_millis(n)),
        "Who has not answered after so long is taken for dead."),
    row("REDIS_RETRY_DELAY", "redis-retry-delay", REDIS, Always("100"),
        number(MS, 0, 86_400_000, |s, n| s.redis.retry_delay = Duration::from_millis(n)),
        "Pause after the first failed try to connect. It grows to a second, or is a second from the beginning if this \
         is more."),
    row("REDIS_MAX_RETRIES", "redis-max-retries", REDIS, Unset("none"),
        text("any text, which is not used", |s, _| {
            s.redis.retries_given = true;
            Some(())
        }),
        "A setting of the existing server, ignored with a warning: no call is repeated."),
    row("REDIS_ENABLE_READY_CHECK", "redis-enable-ready-check", REDIS, Always("true"),
        text("false or anything else", |s, v| {
            s.redis.ready_check = v != "false";
            Some(())
        }),
        "A setting of the existing server; `false` is ignored with a warning: it is always asked whether Redis is ready."),
    row("REDIS_LAZY_CONNECT", "redis-lazy-connect", REDIS, Always("false"),
        text("false or anything else", |s, v| {
            s.redis.lazy_connect = v != "false";
            Some(())
        }),
        "A setting of the existing server; all but `false` is ignored with a warning: Redis is connected to at once."),
    row("REDIS_SESSION_TOKENS", "redis-session-tokens", REDIS, Always("false"),
        Kind::Switch { put: |s, v| s.redis.session_tokens = v },
        "Whether session:* has the tokens themselves, as at the existing server, and not only their ids. Whoever can \
         read that Redis, its replicas or its backups can then act as any player who is logged in."),
    row("NODE_INTEROP", "node-interop", REDIS, Always("false"),
        Kind::Switch { put: |s, v| s.announce.node_interop = v },
        "Whether Node processes with @socket.io/redis-emitter or @socket.io/redis-adapter at this Redis are \
         heard, and hear what is announced here. Whoever reaches the Redis can then emit to players."),
    row("NODE_INTEROP_EVENTS", "node-interop-events", REDIS, Always("announcement"),
        text(EVENTS, |s, v| events(v).map(|v| s.announce.node_events = v)),
        "Events that pass between Node processes and players, in both directions."),
    row("NODE_INTEROP_KEY", "node-interop-key", REDIS, Always("socket.io"),
        text("1 to 64 printable characters without space, {, }, *, ?, [, ] and \\", |s, v| {
            (!v.is_empty() && redis::keys::is_prefix(v)).then(|| s.announce.node_key = v.to_owned())
        }),
        "What the channels of the Node processes begin with: their option `key`."),
    row("MIRROR_TAKEOVER", "mirror-takeover", REDIS, Always("false"),
        Kind::Switch { put: |s, v| s.redis.mirror_takeover = v },
        "Whether to overwrite what another cluster has written of its rooms, queue and connections: for when that \
         cluster is gone for good."),
    row("MIRROR_SWEEP", "mirror-sweep", REDIS, Always("5m"),
        text(LIFETIME, |s, v| {
            Lifetime::parse(v).map(|v| s.redis.mirror_sweep = Duration::from_millis(v.ms))
        }),
        "How often all rooms, players and the queue are written to Redis again, and what does not belong there is \
         removed."),

    row("RAFT_HEARTBEAT_MS", "raft-heartbeat-ms", RAFT, Always("60"),
        number(MS, 5, 10_000, |s, n| s.raft_heartbeat = Duration::from_millis(n)),
        "Pause between two heartbeats of the leader; at most half of RAFT_ELECTION_MIN_MS."),
    row("RAFT_ELECTION_MIN_MS", "raft-election-min-ms", RAFT, Always("200"),
        number(MS, 10, 60_000, |s, n| s.raft_election_min = Duration::from_millis(n)),
        "Shortest silence after which a node stands for election."),
    row("RAFT_ELECTION_MAX_MS", "raft-election-max-ms", RAFT, Always("400"),
        number(MS, 11, 120_000, |s, n| s.raft_election_max = Duration::from_millis(n)),
        "Longest silence after which a node stands for election. Above 450, a leader that hangs \
         costs more than a second; one whose process died is succeeded at once."),
    row("RAFT_SNAPSHOT_ENTRIES", "raft-snapshot-entries", RAFT, Always("50000"),
        number("", 100, 10_000_000, |s, n| s.raft_snapshot_entries = n),
        "Log entries after which a snapshot is made."),
    row("RAFT_KEEP_ENTRIES", "raft-keep-entries", RAFT, Always("100000"),
        number("", 100, 100_000_000, |s, n| s.raft_keep_entries = n),
        "Log entries kept behind a snapshot, for nodes that lag."),
    row("WAITING_PROPOSALS_MAX", "waiting-proposals-max", RAFT, Always("4096"),
        number("", 16, 16_384, |s, n| s.proposals_waiting_max = n as usize),
        "Requests of this node that may wait for commit at once. One more is refused as busy."),

    row("PACKS_DIR", "packs-dir", GAME, Unset("the built-in starter pack alone"),
        text("the path of a folder", |s, v| {
            (!v.is_empty()).then(|| s.packs_dir = Some(PathBuf::from(v)))
        }),
        "Folder of packs: each a folder with a pack.json."),
    row("TURN_TIME_LIMIT", "turn-time-limit", GAME, Always("30"),
        number(SECONDS, 1, 3_600, |s, n| s.turn_time_limit = Duration::from_secs(n)),
        "Time for the choices of one turn; then the first legal one is made."),
    row("TOTAL_TIME_LIMIT", "total-time-limit", GAME, Always("1500"),
        number(SECONDS, 1, 14_400, |s, n| s.total_time_limit = Duration::from_secs(n)),
        "Time of one player for all choices of a battle; then the battle is lost."),
    row("DISCONNECT_GRACE_PERIOD_TTL", "disconnect-grace-period-ttl", GAME, Always("60"),
        number(SECONDS, 0, 3_600, |s, n| s.disconnect_grace = Duration::from_secs(n)),
        "Time to come back to a battle after a lost connection. 0 loses it at once."),

    row("ENABLE_BATTLE_REPORTS", "enable-battle-reports", REPORTS, Always("true"),
        Kind::Switch { put: |s, v| s.reports.enabled = v },
        "Whether battles are reported and players' statistics kept, and /api/v1/battles, /players and \
         /statistics are served. The same on all nodes; the leader's word counts."),
    row("BATTLE_REPORT_RETENTION", "battle-report-retention", REPORTS, Always("7d"),
        text(LIFETIME, |s, v| Lifetime::parse(v).map(|v| s.reports.kept = Duration::from_millis(v.ms))),
        "How long a battle's report is kept, from its beginning. Statistics of players stay."),
    row("BATTLE_ABANDONED_AFTER", "battle-abandoned-after", REPORTS, Always("24h"),
        text(LIFETIME, |s, v| {
            Lifetime::parse(v).map(|v| s.reports.open_at_most = Duration::from_millis(v.ms))
        }),
        "Age at which an open report whose battle does not run any more is closed as abandoned."),

    row("EMAIL_PROVIDER", "email-provider", MAIL, Always("console"),
        text("console or smtp (SendGrid and Amazon SES have SMTP relays: use them through smtp)",
            |s, v| {
                s.mail.provider = match v {
                    "console" => MailProvider::Console,
                    "smtp" => MailProvider::Smtp,
                    _ => return None,
                };
                Some(())
            }),
        "Who sends verification codes. `console` writes the mails to the log and sends nothing."),
    row("EMAIL_FROM", "email-from", MAIL, Always("noreply@yuuinih.com"),
        text("an e-mail address", |s, v| {
            crate::mail::is_address(v).then(|| s.mail.from = v.to_owned())
        }),
        "The address that mails come from."),
    row("EMAIL_FROM_NAME", "email-from-name", MAIL, Always("阿卡迪亚永恒"),
        text("1 to 64 characters", |s, v| {
            let fine = (1..=64).contains(&v.chars().count()) && !v.chars().any(char::is_control);
            fine.then(|| s.mail.from_name = v.to_owned())
        }),
        "The name beside EMAIL_FROM."),
    row("SMTP_HOST", "smtp-host", MAIL, Unset("none"),
        text("a host name or an IP address", |s, v| {
            ((1..=255).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_graphic()))
                .then(|| s.mail.smtp_host = Some(v.to_owned()))
        }),
        "The SMTP relay. Needed with EMAIL_PROVIDER \"smtp\"."),
    row("SMTP_PORT", "smtp-port", MAIL, Always("587"),
        number("", 1, 65_535, |s, n| s.mail.smtp_port = n as u16),
        "Port of the SMTP relay."),
    row("SMTP_SECURE", "smtp-secure", MAIL, Always("false"),
        Kind::Switch { put: |s, v| s.mail.smtp_secure = v },
        "Whether the relay speaks TLS from the first byte (port 465). If not, STARTTLS is used where \
         the relay offers it, and must be offered before a password is sent to another machine."),
    row("SMTP_USER", "smtp-user", MAIL, Unset("none: no login"),
        text("a text that is not empty", |s, v| {
            (!v.is_empty()).then(|| s.mail.smtp_user = Some(v.to_owned()))
        }),
        "User name at the SMTP relay; goes with SMTP_PASS."),
    Setting {
        secret: true,
        ..row("SMTP_PASS", "smtp-pass", MAIL, Unset("none: no login"),
            text("a text that is not empty", |s, v| {
                (!v.is_empty()).then(|| s.mail.smtp_pass = Some(Secret::new(v)))
            }),
            "Password at the SMTP relay. Better given in the environment or the file than as a flag.")
    },
    row("EMAIL_CODES_PER_ADDRESS", "email-codes-per-address", MAIL, Always("5"),
        number("; 0: no limit", 0, 1_000, |s, n| s.mail.codes_per_address = n as u32),
        "Verification codes that one e-mail address is sent in an hour, over all nodes."),
    row("EMAIL_CODES_PER_IP", "email-codes-per-ip", MAIL, Always("20"),
        number("; 0: no limit", 0, 100_000, |s, n| s.mail.codes_per_ip = n as u32),
        "Verification codes that one client's IP address (IPv6: its /64) is let ask for in an hour, \
         over all nodes."),

    row("LOG_FORMAT", "log-format", LOG, ByMode { dev: "pretty", run: "json" },
        text("pretty or json", |s, v| {
            s.log_format = match v {
                "pretty" => LogFormat::Pretty,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        }),
        "How log lines look. They go to standard error."),
    row("LOG_LEVEL", "log-level", LOG, Always("info"),
        text("off, error, warn, info, debug, trace, or directives like info,serverv2_raft=debug",
            |s, v| {
                crate::telemetry::is_filter(v).then(|| s.log_level = v.to_owned())
            }),
        "Which log lines are written."),
];
