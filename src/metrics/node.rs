//! A started node: consensus, what the replica counts, sockets and battles.

use std::fmt;

use serverv2_machine::ReportsView;
use serverv2_raft::{Figures, HistogramCounts, Status};

use super::names::{self, contract};
use super::page::Page;
use crate::app::App;
use crate::redis::Redis;
use crate::redis::mirror::Reading;
use crate::rest::Stats;

/// The numbers of one page.
#[derive(Debug)]
pub(super) struct NodeSample {
    status: Status,
    figures: Figures,
    /// Counted at intervals: the one thing that walks collections.
    stats: Stats,
    gateway: GatewaySample,
    replicas: usize,
    replica_faults: [(&'static str, u64); 4],
    reports: [(&'static str, u64); 5],
    reports_pending: u64,
    database_away: Option<bool>,
    notices: Vec<(&'static str, u64)>,
    assigned: [(&'static str, u64); 2],
    redis: Option<RedisSample>,
    mirror: Option<(bool, Reading)>,
    redis_answers: Vec<(&'static str, HistogramCounts)>,
    /// Requests that were answered with a 5xx.
    failed_requests: u64,
}

#[derive(Debug)]
struct RedisSample {
    away: bool,
    refuses: bool,
    failures: Vec<(&'static str, u64)>,
    probes: [(&'static str, u64); 2],
}

impl RedisSample {
    fn take(redis: &Redis) -> Self {
        let figures = redis.figures();
        Self {
            away: !redis.presence().up,
            refuses: !redis.takes_writes(),
            failures: figures.failures().collect(),
            probes: figures.probes(),
        }
    }
}

#[derive(Debug)]
struct GatewaySample {
    connections: usize,
    connections_max: usize,
    refused: u64,
    stalled: u64,
    sockets: usize,
    sessions: usize,
    events: Vec<(&'static str, u64)>,
    events_refused: u64,
    cuts: Vec<(&'static str, u64)>,
    handshakes_refused: Vec<(&'static str, u64)>,
    http_refused: u64,
}

impl NodeSample {
    /// Asks the parts.
    pub(super) fn take(app: &App, failed_requests: u64) -> Self {
        let (connections, gateway) = (&app.connections, &app.gateway);
        Self {
            status: app.cluster.status(),
            figures: app.cluster.figures(),
            stats: app.stats.now(app),
            gateway: GatewaySample {
                connections: connections.count(),
                connections_max: connections.max(),
                refused: connections.refused(),
                stalled: connections.stalled(),
                sockets: gateway.socket_count(),
                sessions: gateway.sessions.sessions(),
                events: gateway.counters.events().collect(),
                events_refused: gateway.counters.events_refused(),
                cuts: gateway.counters.cuts().collect(),
                handshakes_refused: gateway.counters.handshakes_refused().collect(),
                http_refused: app.rates.refused(),
            },
            replicas: gateway.host.replicas(),
            replica_faults: gateway.host.faults(),
            reports: app.reports.counters.read(),
            reports_pending: app
                .cluster
                .read(|_, records| ReportsView::of(records).pending_count().0)
                .value,
            database_away: app.reports.database.as_ref().map(|it| it.is_away()),
            notices: app.announcer.figures().read().collect(),
            assigned: app.balance.assigned(),
            redis: app.redis.as_ref().map(RedisSample::take),
            mirror: app.mirror.as_ref().map(|mirror| mirror.reading()),
            redis_answers: app
                .redis
                .iter()
                .flat_map(|redis| redis.figures().answers().collect::<Vec<_>>())
                .collect(),
            failed_requests,
        }
    }

    /// Writes them under our names and under those of the existing server.
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.consensus(page)?;
        self.cluster(page)?;
        self.gateway(page)?;
        page.gauge(names::HOME_ROOMS, self.stats.home_rooms)?;
        page.gauge(contract::ROOMS, self.stats.home_rooms)?;
        page.gauge(names::REPLICAS, self.replicas)?;
        page.counters(names::REPLICA_FAULTS, "fault", self.replica_faults)?;
        page.counters(names::REPORTS, "outcome", self.reports)?;
        page.gauge(names::REPORTS_PENDING, self.reports_pending)?;
        page.counters(names::NOTICES, "outcome", self.notices.iter().copied())?;
        page.counters(names::ASSIGNMENTS, "outcome", self.assigned)?;
        if let Some(away) = self.database_away {
            page.gauge(names::DATABASE_AWAY, u64::from(away))?;
        }
        page.durations_by(contract::REDIS, "operation", self.redis_answers.iter().cloned())?;
        if let Some(redis) = &self.redis {
            page.gauge(names::REDIS_AWAY, u64::from(redis.away))?;
            page.gauge(names::REDIS_REFUSES, u64::from(redis.refuses))?;
            page.counters(names::REDIS_FAILURES, "outcome", redis.failures.iter().copied())?;
            page.counters(names::REDIS_CONNECTS, "outcome", redis.probes)?;
        }
        if let Some((writes, mirror)) = self.mirror {
            page.gauge(names::MIRROR_LEADS, u64::from(writes))?;
            let writes = [
                ("written", mirror.written),
                ("removed", mirror.removed),
                ("refused", mirror.refused),
                ("orphaned", mirror.orphans),
            ];
            page.counters(names::MIRROR_WRITES, "outcome", writes)?;
            page.gauge(names::MIRROR_LAG_ENTRIES, mirror.lag_entries)?;
            page.gauge(names::MIRROR_LAG, mirror.lag_ms as f64 / 1_000.0)?;
            page.counter(names::MIRROR_PROJECTIONS, mirror.projections)?;
        }
        let proposals = self.figures.proposals;
        let error = |kind, component| [("type", kind), ("component", component)];
        let errors = [
            (error("server_error", "http"), self.failed_requests),
            (error("busy", "raft"), proposals.busy),
            (error("unknown", "raft"), proposals.unknown),
        ];
        page.counters_by(contract::ERRORS, errors)
    }

    fn consensus(&self, page: &mut Page<'_>) -> fmt::Result {
        let Self { status, figures, .. } = self;
        page.gauge(names::IS_LEADER, u64::from(status.is_leader))?;
        page.gauge(names::HAS_LEADER, u64::from(status.leader.is_some()))?;
        page.gauge(names::TERM, status.term)?;
        page.gauge(names::MEMBERS, status.members.len())?;
        let indexes = [
            ("written", status.last_log),
            ("committed", status.committed),
            ("applied", status.applied),
            ("snapshot", status.snapshot),
            ("purged", status.purged),
        ];
        page.gauges(names::INDEX, "upto", indexes)?;
        page.counter(names::ELECTIONS, figures.elections)?;
        page.counter(names::ENTRIES, figures.entries_applied)?;
        page.counter(names::COMMANDS, figures.commands_applied)?;
        let outcomes = [
            ("acknowledged", figures.proposals.acknowledged),
            ("refused", figures.proposals.refused),
            ("busy", figures.proposals.busy),
            ("unknown", figures.proposals.unknown),
        ];
        page.counters(names::PROPOSALS, "outcome", outcomes)?;
        page.durations(names::ANSWERS, &figures.answers)?;
        page.durations(names::SYNCS, &figures.syncs)?;
        page.sizes(names::SIZES, &figures.sizes)
    }

    fn cluster(&self, page: &mut Page<'_>) -> fmt::Result {
        let Stats { instances, players, rooms, matchmaking, .. } = &self.stats;
        let nodes = [("healthy", instances.healthy), ("unhealthy", instances.unhealthy)];
        page.gauges(names::NODES, "state", nodes)?;
        let players = [("connected", players.connected), ("disconnected", players.disconnected)];
        page.gauges(names::PLAYERS, "state", players)?;
        let rooms = [("waiting", rooms.waiting), ("active", rooms.active), ("ended", rooms.ended)];
        page.gauges(names::ROOMS, "state", rooms)?;
        page.gauge(names::QUEUE, matchmaking.queue_size)?;
        page.gauge(contract::QUEUE, matchmaking.queue_size)?;
        page.gauge(names::QUEUE_WAIT, matchmaking.average_wait_time as f64 / 1000.0)
    }

    fn gateway(&self, page: &mut Page<'_>) -> fmt::Result {
        let it = &self.gateway;
        page.gauge(names::CONNECTIONS, it.connections)?;
        page.gauge(names::CONNECTIONS_MAX, it.connections_max)?;
        page.counter(names::CONNECTIONS_REFUSED, it.refused)?;
        page.counter(names::CONNECTIONS_STALLED, it.stalled)?;
        page.gauge(names::SOCKETS, it.sockets)?;
        page.gauge(contract::SOCKETS, it.sockets)?;
        page.gauge(names::SESSIONS, it.sessions)?;
        page.counters(names::SOCKETS_CUT, "reason", it.cuts.iter().copied())?;
        page.counters(names::EVENTS, "event", it.events.iter().copied())?;
        let refused = it.handshakes_refused.iter().copied();
        page.counters(names::HANDSHAKES_REFUSED, "reason", refused)?;
        let limited = [("socket_events", it.events_refused), ("http_requests", it.http_refused)];
        page.counters(names::RATE_LIMITED, "what", limited)
    }
}
