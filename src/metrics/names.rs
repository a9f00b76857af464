//! All names on the page but those of HTTP, with what they mean: a table of contents for dashboards.
//!
//! Counters get `_total` behind their names, and [`BUILD`] gets `_info`.

use super::page::Name;

pub(super) const BUILD: Name = ("serverv2_build", "The program that runs");
pub(super) const READY: Name = ("serverv2_ready", "1 if traffic should come to this node");
pub(super) const STATE: Name = ("serverv2_state", "1 for the state that this node is in");

// Consensus.
pub(super) const IS_LEADER: Name = ("serverv2_raft_is_leader", "1 if this node leads");
pub(super) const HAS_LEADER: Name = ("serverv2_raft_has_leader", "1 if this node knows a leader");
pub(super) const TERM: Name = ("serverv2_raft_term", "The current term");
pub(super) const MEMBERS: Name = ("serverv2_raft_members", "Members of the cluster");
pub(super) const INDEX: Name = (
    "serverv2_raft_index",
    "Index up to which the log is written, committed, applied, in a snapshot, purged",
);
pub(super) const ELECTIONS: Name =
    ("serverv2_raft_elections", "Leaders that this node has seen elected");
pub(super) const ENTRIES: Name = ("serverv2_raft_entries_applied", "Log entries applied here");
pub(super) const COMMANDS: Name =
    ("serverv2_raft_commands_applied", "Commands applied here, whichever node proposed them");
pub(super) const PROPOSALS: Name = (
    "serverv2_raft_proposals",
    "Proposals of this node by what its caller was told; unknown means that it may have happened",
);
pub(super) const ANSWERS: Name =
    ("serverv2_raft_proposal_duration_seconds", "From a proposal to its answer, applied here");
pub(super) const SYNCS: Name = (
    "serverv2_log_sync_duration_seconds",
    "Time that the log waited for the disk, for each commit",
);
pub(super) const SIZES: Name =
    ("serverv2_log_entry_size_bytes", "Size of each entry that this node made durable in its log");

// The cluster, as this node's replica knows it.
pub(super) const NODES: Name = ("serverv2_cluster_nodes", "Nodes that were ever up, by state");
pub(super) const PLAYERS: Name = ("serverv2_cluster_players", "Players with a session, by state");
pub(super) const ROOMS: Name = ("serverv2_cluster_rooms", "Rooms of the cluster by state");
pub(super) const QUEUE: Name = ("serverv2_cluster_queue_size", "Tickets in the cluster's queue");
pub(super) const QUEUE_WAIT: Name =
    ("serverv2_cluster_queue_wait_seconds", "How long those in the queue have waited on average");

// This node.
pub(super) const CONNECTIONS: Name = ("serverv2_connections", "Open connections of clients");
pub(super) const CONNECTIONS_MAX: Name = ("serverv2_connections_max", "How many there may be");
pub(super) const CONNECTIONS_REFUSED: Name =
    ("serverv2_connections_refused", "Connections closed at once since there were too many");
pub(super) const CONNECTIONS_STALLED: Name =
    ("serverv2_connections_stalled", "Connections cut since their clients took nothing");
pub(super) const SOCKETS: Name = ("serverv2_sockets", "Socket.IO sockets held by this node");
pub(super) const SESSIONS: Name = ("serverv2_sessions", "Sessions whose current socket is here");
pub(super) const SOCKETS_CUT: Name =
    ("serverv2_sockets_cut", "Sockets cut by this node, by reason");
pub(super) const HANDSHAKES_REFUSED: Name =
    ("serverv2_handshakes_refused", "Clients that were not let in, by what they were told");
pub(super) const EVENTS: Name = ("serverv2_socket_events", "Events received, by name");
pub(super) const RATE_LIMITED: Name =
    ("serverv2_rate_limited", "What was refused because there was too much of it");
pub(super) const HOME_ROOMS: Name = ("serverv2_home_rooms", "Live rooms whose home is this node");
pub(super) const REPORTS: Name = (
    "serverv2_battle_reports",
    "Battles whose home was this node by what became of their messages: stored, or why there are none; no_report: no place for one",
);
pub(super) const REPORTS_PENDING: Name = (
    "serverv2_cluster_battle_reports_pending",
    "Ended battles of the cluster that wait to be rendered, or to be written in the database",
);
pub(super) const DATABASE_AWAY: Name = (
    "serverv2_database_away",
    "1 if the database that keeps players and reports has not answered this node's last question",
);
pub(super) const REDIS_AWAY: Name = ("serverv2_redis_away", "1 if Redis does not answer");
pub(super) const REDIS_REFUSES: Name = (
    "serverv2_redis_refuses_writes",
    "1 if Redis answers and takes no writes, as one whose memory is full",
);
pub(super) const REDIS_FAILURES: Name = (
    "serverv2_redis_failures",
    "Calls of Redis without success: away and busy were not sent, lost may have happened, refused had an error for an answer",
);
pub(super) const REDIS_CONNECTS: Name =
    ("serverv2_redis_connects", "Tries to connect to Redis, by what became of them");
pub(super) const NOTICES: Name = (
    "serverv2_notices",
    "What nodes tell each other about sockets, by what became of it here; lost ones once for each node that may not have heard",
);
pub(super) const ASSIGNMENTS: Name = (
    "serverv2_assignments",
    "Clients that have asked this node where to connect: an instance was named, or there was none",
);
pub(super) const MIRROR_WRITES: Name = (
    "serverv2_mirror_writes",
    "Keys of the mirror in Redis, by what became of them; refused: a newer one was there",
);
pub(super) const MIRROR_LEADS: Name =
    ("serverv2_mirror_is_writer", "1 if this node writes the mirror");
pub(super) const MIRROR_LAG_ENTRIES: Name = (
    "serverv2_mirror_lag_entries",
    "Entries applied here that are not in the mirror; 0 where another node writes it",
);
pub(super) const MIRROR_LAG: Name =
    ("serverv2_mirror_lag_seconds", "Age of the oldest change that is not in the mirror");
pub(super) const MIRROR_PROJECTIONS: Name =
    ("serverv2_mirror_projections", "How often the whole mirror was written");
pub(super) const REPLICAS: Name =
    ("serverv2_battle_replicas", "Battles that this node plays along");
pub(super) const REPLICA_FAULTS: Name = (
    "serverv2_battle_replica_faults",
    "What went wrong with battles played here: the engine failed, another node differed, rebuilt, given up",
);

// This process, under the names that all exporters use.
pub(super) const CPU_SECONDS: Name =
    ("process_cpu_seconds", "Processor time used by this process, in user and system mode");
pub(super) const MEMORY: Name = ("process_resident_memory_bytes", "Resident memory");
pub(super) const OPEN_FILES: Name = ("process_open_fds", "Open files");
pub(super) const FILES_MAX: Name = ("process_max_fds", "Soft limit of open files");
pub(super) const STARTED: Name =
    ("process_start_time_seconds", "When this process began to serve, seconds since 1970");

/// Names of the existing server (contract 8.6).
pub(super) mod contract {
    use super::Name;

    pub(crate) const SOCKETS: Name = ("socket_connections_active", "As serverv2_sockets");
    pub(crate) const ROOMS: Name = ("battle_rooms_active", "As serverv2_home_rooms");
    pub(crate) const QUEUE: Name = ("matchmaking_queue_size", "As serverv2_cluster_queue_size");
    pub(crate) const REDIS: Name = (
        "redis_operation_duration_seconds",
        "From a call to its answer, by what it was for; nothing where no Redis is used",
    );
    pub(crate) const MEMORY: Name = (
        "memory_usage_bytes",
        "Resident memory: all of it is rss, heap is what belongs to no file, external is the rest",
    );
    pub(crate) const CPU: Name =
        ("cpu_usage_percent", "Processor time since the page before, of one core");
    pub(crate) const ERRORS: Name = ("errors", "What went wrong, by type and component");
    pub(crate) const CPU_SECONDS: Name = ("nodejs_process_cpu_seconds", "As process_cpu_seconds");
    pub(crate) const RESIDENT: Name =
        ("nodejs_process_resident_memory_bytes", "As process_resident_memory_bytes");
    pub(crate) const OPEN_FILES: Name = ("nodejs_process_open_fds", "As process_open_fds");
    pub(crate) const FILES_MAX: Name = ("nodejs_process_max_fds", "As process_max_fds");
    pub(crate) const STARTED: Name =
        ("nodejs_process_start_time_seconds", "As process_start_time_seconds");
}
