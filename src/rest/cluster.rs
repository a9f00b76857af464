//! `/cluster/status` (contract 1.3): what the cluster counts, read from this node's replica.
//!
//! Counting walks the rooms and the queue, and the route needs no token. So the numbers are at most
//! [`STATS_AGE_MAX`] old, and asking more often costs nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use parking_lot::Mutex;
use serde::Serialize;
use serverv2_machine::{Input, Machine, NodeId, RoomView, Seat, WallTime};
use utoipa::ToSchema;

use super::error::json;
use super::{answers, time};
use crate::app::App;

/// How old counted numbers may be.
const STATS_AGE_MAX: Duration = Duration::from_millis(200);

/// Counts of the cluster, and how this node stands in it.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two answers")]
enum ClusterStatus {
    On(Box<Enabled<'static>>),
    Off(Disabled),
}

/// In cluster mode.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClusterEnabled)]
struct Enabled<'a> {
    #[schema(schema_with = answers::always_true)]
    enabled: bool,
    instance_id: &'a str,
    stats: Stats,
    cluster_name: &'a str,
    raft: RaftStatus,
}

/// Out of cluster mode.
#[derive(Serialize, ToSchema)]
#[schema(as = ClusterDisabled)]
struct Disabled {
    #[schema(schema_with = answers::always_false)]
    enabled: bool,
    message: &'static str,
}

/// Counts of the whole cluster, read from this node's replica.
#[utoipa::path(
    get, path = "/cluster/status", operation_id = "cluster_status", tag = "Operation",
    responses((status = 200, description = "The counts.", body = ClusterStatus), answers::Starting),
)]
pub(super) async fn status(State(app): State<Arc<App>>) -> Response {
    let settings = &app.settings;
    if !settings.cluster_enabled {
        let off = Disabled { enabled: false, message: "Cluster mode is disabled" };
        return json(StatusCode::OK, &off);
    }
    let on = Enabled {
        enabled: true,
        instance_id: &settings.instance_id,
        stats: app.stats.now(&app),
        cluster_name: &settings.cluster_name,
        raft: RaftStatus::of(&app),
    };
    json(StatusCode::OK, &on)
}

/// How this node stands in its Raft group: an addition of ours that older clients ignore.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RaftStatus {
    /// Whether this node can serve.
    pub(super) ready: bool,
    node_id: u64,
    #[schema(required = true)]
    leader: Option<u64>,
    term: u64,
    vote: VoteStatus,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    members: Vec<u64>,
}

/// The last vote that this node has on its disk.
#[derive(Serialize, ToSchema)]
struct VoteStatus {
    term: u64,
    node: u64,
}

impl RaftStatus {
    /// As this node knows it now.
    pub(super) fn of(app: &App) -> Self {
        let status = app.cluster.status();
        Self {
            ready: status.ready,
            node_id: app.settings.node_id,
            leader: status.leader.map(|node| node.0),
            term: status.term,
            vote: VoteStatus { term: status.vote.term, node: status.vote.node.0 },
            committed_index: status.committed,
            applied_index: status.applied,
            snapshot_index: status.snapshot,
            members: status.members.iter().map(|node| node.0).collect(),
        }
    }
}

/// Contract 1.3, `stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ClusterStats)]
pub struct Stats {
    pub(crate) instances: Instances,
    pub(crate) players: Players,
    pub(crate) rooms: Rooms,
    pub(crate) matchmaking: Matchmaking,
    /// Live rooms whose home is this node.
    #[serde(skip)]
    pub(crate) home_rooms: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = InstanceCounts)]
pub(crate) struct Instances {
    pub(crate) total: usize,
    pub(crate) healthy: usize,
    pub(crate) unhealthy: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = PlayerCounts)]
pub(crate) struct Players {
    pub(crate) total: usize,
    pub(crate) connected: usize,
    /// Those that a battle waits for.
    pub(crate) disconnected: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = RoomCounts)]
pub(crate) struct Rooms {
    pub(crate) total: usize,
    /// Not both players are ready.
    pub(crate) waiting: usize,
    pub(crate) active: usize,
    pub(crate) ended: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QueueCounts)]
pub(crate) struct Matchmaking {
    pub(crate) queue_size: usize,
    /// Milliseconds.
    pub(crate) average_wait_time: u64,
}

impl Stats {
    fn count(machine: &Machine, now: WallTime, me: NodeId) -> Self {
        let counts = machine.counts();
        let (mut instances, mut rooms) = (Instances::default(), Rooms::default());
        for node in machine.nodes() {
            instances.total += 1;
            *(if node.live { &mut instances.healthy } else { &mut instances.unhealthy }) += 1;
        }
        let (mut lost, mut home_rooms) = (0, 0);
        for room in machine.rooms() {
            rooms.total += 1;
            home_rooms += usize::from(room.is_live() && room.home == me);
            lost += room.seats.iter().filter(|seat| seat.lost_until.is_some()).count();
            *(match (room.is_live(), has_started(&room)) {
                (false, _) => &mut rooms.ended,
                (true, true) => &mut rooms.active,
                (true, false) => &mut rooms.waiting,
            }) += 1;
        }
        let waited: u64 = machine
            .queue()
            .map(|ticket| now.0.saturating_sub(ticket.wall.0))
            .fold(0, u64::saturating_add);
        Self {
            instances,
            players: Players {
                total: counts.online_players + lost,
                connected: counts.online_players,
                disconnected: lost,
            },
            rooms,
            matchmaking: Matchmaking {
                queue_size: counts.tickets,
                average_wait_time: waited / (counts.tickets as u64).max(1),
            },
            home_rooms,
        }
    }
}

/// Ready comes first in every battle, so this looks at a handful of inputs.
fn has_started(room: &RoomView<'_>) -> bool {
    Seat::BOTH.iter().all(|seat| {
        room.inputs.iter().any(|input| matches!(&input.input, Input::Ready(s) if s == seat))
    })
}

/// The numbers counted last by this process.
#[derive(Default)]
pub struct LocalStats {
    // A lock, held while counting: the second of two askers gets the first one's numbers.
    last: Mutex<Option<(Instant, Stats)>>,
}

impl LocalStats {
    /// Numbers that are a fifth of a second old at most.
    pub fn now(&self, app: &App) -> Stats {
        let mut last = self.last.lock();
        match *last {
            Some((at, stats)) if at.elapsed() < STATS_AGE_MAX => stats,
            _ => {
                let now = time::wall(SystemTime::now());
                let me = app.cluster.node();
                let stats = app.cluster.read(|machine, _| Stats::count(machine, now, me)).value;
                *last = Some((Instant::now(), stats));
                stats
            }
        }
    }
}
