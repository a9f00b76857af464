//! What another service sees of rooms, queue and connections, and how soon it is what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::several::Servers;
use crate::harness::{Duel, Fighter, within};

/// The mirror is what the state is soon behind a change, and behind the return of a Redis that was away: within 5 s on a
/// machine that has time for that, which chaos looks at (I9). Others get four times that.
pub(super) const PROMISED: Duration = Duration::from_secs(20);

/// A hash.
pub(super) type Fields = BTreeMap<String, String>;

/// What another service sees, without fences.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) rooms: BTreeMap<String, Fields>,
    pub(super) connections: BTreeMap<String, Fields>,
    pub(super) queued: BTreeMap<String, Fields>,
    pub(super) queue: BTreeSet<String>,
}

impl Seen {
    pub(super) fn of(redis: &impl Servers) -> Self {
        let hashes = |kind: &str| {
            let prefix = format!("arcadia:{kind}:");
            let mut found = BTreeMap::new();
            for key in redis.keys(&format!("{prefix}*")) {
                let mut fields: Fields = redis.about(&key, redis::cmd("HGETALL").arg(&key));
                fields.remove("fence");
                if !fields.is_empty() {
                    found.insert(key[prefix.len()..].to_owned(), fields);
                }
            }
            found
        };
        let set = "arcadia:matchmaking:queue";
        Self {
            rooms: hashes("room"),
            connections: hashes("player:connections"),
            queued: hashes("matchmaking:player"),
            queue: redis.about(set, redis::cmd("SMEMBERS").arg(set)),
        }
    }

    /// Whether this is what these players know of themselves: who waits, and whose room is how.
    pub(super) fn tells(&self, waiting: &[&Fighter], duels: &[(&Duel, &str)]) -> bool {
        let ids = |fighters: &[&Fighter]| -> BTreeSet<String> {
            fighters.iter().map(|fighter| fighter.id.clone()).collect()
        };
        let queued: BTreeSet<String> = self.queued.keys().cloned().collect();
        let rooms: BTreeMap<String, &str> =
            duels.iter().map(|(duel, status)| (duel.room.clone(), *status)).collect();
        let told: BTreeMap<String, &str> =
            self.rooms.iter().map(|(id, room)| (id.clone(), room["status"].as_str())).collect();
        let mut players = ids(waiting);
        players.extend(duels.iter().flat_map(|(duel, _)| [duel.a.id.clone(), duel.b.id.clone()]));
        let connected = self.connections.iter().filter(|(_, told)| told["status"] == "connected");
        queued == ids(waiting)
            && self.queue == queued
            && rooms == told
            && players.is_subset(&connected.map(|(id, _)| id.clone()).collect())
    }
}

/// Waits until this is in the mirror.
pub(super) async fn until(
    redis: &impl Servers,
    waiting: &[&Fighter],
    duels: &[(&Duel, &str)],
) -> Seen {
    let seen = || async { Seen::of(redis) };
    let tells = |seen: &Seen| seen.tells(waiting, duels);
    within(PROMISED, Instant::now(), "the mirror of this", seen, tells).await
}
