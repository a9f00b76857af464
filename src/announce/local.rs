//! Carries out notices on this node's sockets: one task, in the order in which they came, whichever way.
//!
//! Nothing here waits for another node or for Redis. What waits is bounded by [`WAITING_MAX`]; one more is
//! dropped and counted, since who tells it must not wait either.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeTuple, Serializer};
use serverv2_machine::{NanoId, PlayerId, RoomId};
use serverv2_raft::{Cluster, NOTICE_BYTES_MAX};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tracing::{debug, info};

use super::figures::{Count, Figures};
use super::node::{Broadcast, Room};
use super::notice::{Announcement, Notice, Order, To};
use crate::gateway::counters::Cut;
use crate::gateway::socket::LocalSocket;
use crate::sessions::LocalSessions;

/// Notices that wait; each has at most [`NOTICE_BYTES_MAX`] bytes.
const WAITING_MAX: usize = 512;
/// Ids of the notices that were carried out last. Both ways are done within seconds.
const KNOWN_MAX: usize = 1_024;
/// Sockets that are told before others get their turn on this thread.
const SOCKETS_AT_ONCE: usize = 128;

/// Bytes that came, and from whom.
pub(super) enum Incoming {
    /// From a node of this cluster.
    Notice(Vec<u8>),
    /// From a Node process.
    Node(Vec<u8>),
}

/// The way to the task.
#[derive(Clone)]
pub(super) struct LocalQueue {
    queue: mpsc::Sender<Incoming>,
    figures: Arc<Figures>,
}

impl LocalQueue {
    /// False if it was dropped.
    pub(super) fn put(&self, incoming: Incoming) -> bool {
        let (Incoming::Notice(bytes) | Incoming::Node(bytes)) = &incoming;
        if bytes.len() > NOTICE_BYTES_MAX {
            self.figures.add(Count::Malformed, 1);
            return false;
        }
        let taken = self.queue.try_send(incoming).is_ok();
        if !taken {
            self.figures.add(Count::Dropped, 1);
        }
        taken
    }
}

/// What the task works with.
pub(super) struct LocalDelivery {
    pub(super) cluster: Cluster,
    pub(super) sessions: Arc<LocalSessions>,
    pub(super) figures: Arc<Figures>,
    /// What Node servers call this cluster: its own broadcasts came another way.
    pub(super) uid: String,
    /// Events that Node processes may emit.
    pub(super) node_events: Vec<String>,
}

/// A set that forgets its oldest.
#[derive(Default)]
struct Known {
    ids: HashSet<NanoId>,
    order: VecDeque<NanoId>,
}

impl Known {
    /// Whether it was not there.
    fn add(&mut self, id: NanoId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// The arguments of an event, told one by one.
enum Arguments {
    Json(serde_json::Value),
    Node(Vec<rmpv::Value>),
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(value) => (value,).serialize(serializer),
            Self::Node(values) => {
                let mut tuple = serializer.serialize_tuple(values.len())?;
                values.iter().try_for_each(|value| tuple.serialize_element(value))?;
                tuple.end()
            }
        }
    }
}

impl LocalDelivery {
    /// Starts the task; it ends with the last queue.
    pub(super) fn start(self) -> LocalQueue {
        let (queue, mut waiting) = mpsc::channel(WAITING_MAX);
        let figures = self.figures.clone();
        tokio::spawn(async move {
            let mut known = Known::default();
            while let Some(incoming) = waiting.recv().await {
                match incoming {
                    Incoming::Notice(bytes) => self.notice(&bytes, &mut known).await,
                    Incoming::Node(bytes) => self.broadcast(&bytes).await,
                }
            }
        });
        LocalQueue { queue, figures }
    }

    async fn notice(&self, bytes: &[u8], known: &mut Known) {
        let Some(Notice { id, order }) = Notice::decode(bytes) else {
            self.figures.add(Count::Malformed, 1);
            return;
        };
        if !known.add(id) {
            self.figures.add(Count::Repeated, 1);
            return;
        }
        self.figures.add(Count::Done, 1);
        match order {
            Order::Announce(Announcement { to, event, data }) => {
                let sockets = match to {
                    To::All => self.sessions.all_current(),
                    To::Player(player) => self.of_player(player),
                    To::Room(room) => self.of_room(room),
                };
                self.emit(sockets, &event, &Arguments::Json(data)).await;
            }
            Order::Disconnect(player) => {
                let sockets = self.sessions.all().into_iter().map(|(socket, _)| socket);
                for socket in sockets.filter(|socket| socket.session.player == player) {
                    socket.dismiss(Cut::Disconnected);
                }
            }
        }
    }

    async fn broadcast(&self, bytes: &[u8]) {
        let Some(it) = Broadcast::decode(bytes) else {
            debug!(bytes = bytes.len(), "a broadcast of a Node process is not understood");
            self.figures.add(Count::Malformed, 1);
            return;
        };
        if it.uid == self.uid {
            return;
        }
        if !self.node_events.contains(&it.event) {
            debug!(event = it.event, "a Node process may not emit this");
            self.figures.add(Count::NotAllowed, 1);
            return;
        }
        self.figures.add(Count::Done, 1);
        let mut sockets = if it.rooms.is_empty() {
            self.sessions.all_current()
        } else {
            self.in_rooms(&it.rooms)
        };
        let except: HashSet<_> =
            self.in_rooms(&it.except).into_iter().map(|socket| socket.id.clone()).collect();
        sockets.retain(|socket| !except.contains(&socket.id));
        self.emit(sockets, &it.event, &Arguments::Node(it.arguments)).await;
    }

    async fn emit(&self, sockets: Vec<Arc<LocalSocket>>, event: &str, arguments: &Arguments) {
        info!(event, sockets = sockets.len(), "an announcement is told");
        for some in sockets.chunks(SOCKETS_AT_ONCE) {
            some.iter().for_each(|socket| socket.announce(event, arguments));
            yield_now().await;
        }
    }

    fn of_player(&self, player: PlayerId) -> Vec<Arc<LocalSocket>> {
        let mut sockets = self.sessions.all_current();
        sockets.retain(|socket| socket.session.player == player);
        sockets
    }

    fn of_room(&self, room: RoomId) -> Vec<Arc<LocalSocket>> {
        let seats = self.cluster.read(|machine, _| {
            machine.room(room).map(|room| room.seats.map(|seat| seat.session.clone()))
        });
        let seats = seats.value.into_iter().flatten();
        seats.filter_map(|session| self.sessions.current(&session)).collect()
    }

    /// Each socket that is in one of them, once.
    fn in_rooms(&self, rooms: &[Room]) -> Vec<Arc<LocalSocket>> {
        let mut found = Vec::new();
        for room in rooms {
            match room {
                Room::Player(id) => found.extend(self.of_player(PlayerId(*id))),
                Room::Room(id) => found.extend(self.of_room(RoomId(*id))),
                Room::Either(id) => {
                    found.extend(self.of_player(PlayerId(*id)));
                    found.extend(self.of_room(RoomId(*id)));
                }
                Room::Unknown => {}
            }
        }
        let mut seen = HashSet::new();
        found.retain(|socket| seen.insert(socket.id.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn an_id_is_new_once_and_the_oldest_are_forgotten() {
        let mut known = Known::default();
        let first = random::nano_id();
        assert!(known.add(first) && !known.add(first));
        for _ in 0..KNOWN_MAX {
            assert!(known.add(random::nano_id()));
        }
        assert_eq!((known.ids.len(), known.order.len()), (KNOWN_MAX, KNOWN_MAX));
        assert!(known.add(first), "it was the oldest");
    }

    #[test]
    fn arguments_are_told_one_by_one() {
        let one = Arguments::Json(serde_json::json!([1, 2]));
        let two = Arguments::Node(vec![1.into(), rmpv::Value::Map(vec![("a".into(), 2.into())])]);
        assert_eq!(serde_json::to_string(&one).unwrap(), "[[1,2]]");
        assert_eq!(serde_json::to_string(&two).unwrap(), r#"[1,{"a":2}]"#);
    }
}
