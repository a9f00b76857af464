//! Whether Redis tells other services all that is: the mirror, logins, revoked tokens and the registry.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::Value;

use super::arena::Standing;
use crate::harness::redis::Redis;
use crate::harness::{Fighter, Server};
use crate::metrics::scrape;
use crate::redis::blacklist::revoked;
use crate::redis::registry::{instance, instances};
use crate::redis::seen::{Fields, Seen};
use crate::redis::several::Servers;

/// What is, as clients know it.
pub(super) struct Truth<'a> {
    /// Asked how far they are, if something is missing.
    pub(super) nodes: &'a [Server],
    /// The only one in the queue.
    pub(super) waiting: &'a Fighter,
    /// All battles that go on; everybody else is gone.
    pub(super) standing: Vec<Standing>,
    /// Players who are logged in.
    pub(super) logged_in: Vec<String>,
    /// Tokens that count no more, and whose they were.
    pub(super) revoked: Vec<(String, String)>,
    /// Instances have said how they are since then, milliseconds of wall time.
    pub(super) since_ms: u64,
}

impl Truth<'_> {
    /// What Redis tells otherwise.
    pub(super) async fn missing(&self, redis: &Redis) -> Vec<String> {
        let state = self.waiting.client.ok("getServerState", &[]).await;
        let rooms = state["rooms"].as_u64().expect("a count") as usize;
        let seen = Seen::of(redis);
        let mut missing = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                missing.push(what);
            }
        };
        let queued: BTreeSet<String> = seen.queued.keys().cloned().collect();
        let waiting = BTreeSet::from([self.waiting.id.clone()]);
        must(seen.queue == waiting && queued == waiting, format!("queue {:?}", seen.queue));
        must(seen.rooms.len() == rooms, format!("{} of {rooms} rooms", seen.rooms.len()));
        for (id, room) in &seen.rooms {
            let standing = self.standing.iter().find(|standing| standing.room == *id);
            let told = (room.get("status").map(String::as_str), turn(room));
            let is = standing.map_or(Some("ended"), |_| Some("active"));
            // A battle's last state is best effort.
            let turn = standing.map_or(told.1, |standing| Some(standing.turn));
            must(told == (is, turn), format!("room {id}: {told:?}, not {is:?} {turn:?}"));
        }
        for standing in &self.standing {
            let there = seen.rooms.contains_key(&standing.room);
            must(there, format!("no room {}", standing.room));
        }
        let players = self.standing.iter().flat_map(|standing| standing.players.clone());
        let me = (self.waiting.id.clone(), self.waiting.client.socket_id());
        let sockets: BTreeMap<String, String> = players.chain([me]).collect();
        let told = seen.connections.iter();
        let told: BTreeMap<String, String> =
            told.map(|(id, fields)| (id.clone(), fields["socketId"].clone())).collect();
        must(told == sockets, format!("sockets {told:?}, not {sockets:?}"));

        for player in &self.logged_in {
            must(logins(redis, player) > 0, format!("no login of {player}"));
        }
        for (token, player) in &self.revoked {
            must(!revoked(redis, token).is_empty(), format!("no revocation of {player}"));
            must(logins(redis, player) == 0, format!("a login of {player}, who is gone"));
        }
        let all = instances(redis);
        must(all == ["node-1", "node-2", "node-3"], format!("instances {all:?}"));
        for id in all {
            let told = instance(redis, &id);
            let at = told.get("lastHeartbeat").and_then(|at| at.parse().ok()).unwrap_or(0_u64);
            let healthy = told.get("status").is_some_and(|status| status == "healthy");
            must(healthy && at >= self.since_ms, format!("{id}: {told:?}"));
        }
        if !missing.is_empty() {
            let told = self.nodes.iter().map(how_it_is);
            missing.insert(0, join_all(told).await.join("; "));
        }
        missing
    }
}

/// What a node says of its mirror and of Redis.
async fn how_it_is(node: &Server) -> String {
    let page = scrape(node).await;
    let sum = |name: &str| page.sum(&format!("serverv2_{name}"), &[]);
    let [leads, term, writes] = ["raft_is_leader", "raft_term", "mirror_is_writer"].map(sum);
    let [lag, all, away] =
        ["mirror_lag_seconds", "mirror_projections_total", "redis_away"].map(sum);
    format!("leads {leads} term {term} writes {writes} lag {lag} times {all} away {away}")
}

fn turn(room: &Fields) -> Option<u64> {
    let state: Value = serde_json::from_str(room.get("battleState")?).ok()?;
    state["currentTurn"].as_u64()
}

/// How many logins of a player others see.
fn logins(redis: &Redis, player: &str) -> usize {
    let keys = redis.keys(&format!("arcadia:session:{player}*"));
    let fields = |key: &String| redis.ask::<Fields>(redis::cmd("HGETALL").arg(key));
    keys.iter().map(fields).filter(|fields| fields.len() > 1).count()
}
