//! Which sockets this node holds, and which of them is its session's current one.
//!
//! Only the dispatcher says who is current, in log order; everyone else may look. Bounded by the
//! listener's bound on connections.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serverv2_machine::{RoomId, Seat, SessionKey, SocketId, TokenId};
use tokio_util::sync::CancellationToken;

use crate::gateway::socket::LocalSocket;

/// The sockets of this node; nothing here is replicated.
#[derive(Default)]
pub(crate) struct LocalSessions {
    tables: RwLock<Tables>,
    /// The last room of each current session, so that what the room still has to say comes before the
    /// next room.
    rooms: Mutex<HashMap<SessionKey, Seated>>,
    arrivals: Mutex<HashMap<SessionKey, CancellationToken>>,
}

/// A socket that is admitted, and whose session the log has not opened yet. Dropped once that is
/// decided, or when the client went away before.
pub(crate) struct Arrival {
    sessions: Arc<LocalSessions>,
    session: SessionKey,
    decided: CancellationToken,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.decided.cancel();
        let mut arrivals = self.sessions.arrivals.lock();
        // A newer one of the same session may stand in its place.
        if arrivals.get(&self.session).is_some_and(CancellationToken::is_cancelled) {
            arrivals.remove(&self.session);
        }
    }
}

#[derive(Clone)]
struct Seated {
    room: RoomId,
    seat: Seat,
    /// The socket that watches.
    socket: SocketId,
    /// The session heard from this node that it found a match there.
    told: bool,
    /// The socket heard last that the opponent is away.
    alone: bool,
}

#[derive(Default)]
struct Tables {
    sockets: HashMap<SocketId, Arc<LocalSocket>>,
    current: HashMap<SessionKey, Arc<LocalSocket>>,
}

impl LocalSessions {
    /// A client is let in under this session; to be said before it hears so itself.
    pub(crate) fn arriving(self: &Arc<Self>, session: &SessionKey) -> Arrival {
        let decided = CancellationToken::new();
        self.arrivals.lock().insert(session.clone(), decided.clone());
        Arrival { sessions: self.clone(), session: session.clone(), decided }
    }

    /// Waits until no newer socket of this session is about to take it over. The goodbye of an older
    /// one must come after that in the log, where it then means nothing: a client that had its new
    /// connection confirmed before it closed the old one has lost nothing.
    pub(crate) async fn newcomer_decided(&self, session: &SessionKey) {
        let newcomer = self.arrivals.lock().get(session).cloned();
        if let Some(decided) = newcomer {
            decided.cancelled().await;
        }
    }

    /// A socket is connected; its session is not open yet.
    pub(crate) fn connected(&self, socket: &Arc<LocalSocket>) {
        self.tables.write().sockets.insert(socket.id.clone(), socket.clone());
    }

    /// A socket is gone.
    pub(crate) fn disconnected(&self, socket: &LocalSocket) {
        self.tables.write().sockets.remove(&socket.id);
    }

    /// The log says that this socket is the session's current one now. `None` if it is not held here
    /// (any more): then nothing of the session is.
    pub(crate) fn opened(
        &self,
        session: &SessionKey,
        socket: &SocketId,
    ) -> Option<Arc<LocalSocket>> {
        let mut tables = self.tables.write();
        match tables.sockets.get(socket).cloned() {
            Some(local) => {
                tables.current.insert(session.clone(), local.clone());
                Some(local)
            }
            None => {
                tables.current.remove(session);
                self.rooms.lock().remove(session);
                None
            }
        }
    }

    /// The log says that the session is closed.
    pub(crate) fn closed(&self, session: &SessionKey, socket: &SocketId) {
        let mut tables = self.tables.write();
        if tables.current.get(session).is_some_and(|local| local.id == *socket) {
            tables.current.remove(session);
            self.rooms.lock().remove(session);
        }
    }

    /// The session's current socket, if this node holds it.
    pub(crate) fn current(&self, session: &SessionKey) -> Option<Arc<LocalSocket>> {
        self.tables.read().current.get(session).cloned()
    }

    /// All current sockets of this node.
    pub(crate) fn all_current(&self) -> Vec<Arc<LocalSocket>> {
        self.tables.read().current.values().cloned().collect()
    }

    /// All sockets of this node, and whether each was its session's current one when last heard of.
    pub(crate) fn all(&self) -> Vec<(Arc<LocalSocket>, bool)> {
        let tables = self.tables.read();
        let is_current = |socket: &LocalSocket| {
            tables.current.get(&socket.session).is_some_and(|current| current.id == socket.id)
        };
        tables.sockets.values().map(|socket| (socket.clone(), is_current(socket))).collect()
    }

    /// A socket of this node, whether its session's current one or not.
    pub(crate) fn socket(&self, id: &SocketId) -> Option<Arc<LocalSocket>> {
        self.tables.read().sockets.get(id).cloned()
    }

    /// All sockets of this node whose player proved by such a token to be himself.
    pub(crate) fn with_token(&self, such: impl Fn(TokenId) -> bool) -> Vec<Arc<LocalSocket>> {
        let tables = self.tables.read();
        let is_such = |socket: &LocalSocket| socket.token.is_some_and(|held| such(held.id));
        tables.sockets.values().filter(|socket| is_such(socket)).cloned().collect()
    }

    /// How many sockets this node holds.
    pub(crate) fn count(&self) -> usize {
        self.tables.read().sockets.len()
    }

    /// How many sessions have their current socket here.
    pub(crate) fn sessions(&self) -> usize {
        self.tables.read().current.len()
    }

    /// The last room of this session.
    pub(crate) fn room(&self, session: &SessionKey) -> Option<(RoomId, Seat)> {
        self.rooms.lock().get(session).map(|seated| (seated.room, seated.seat))
    }

    /// Whether this node told the session that it found a match in this room.
    pub(crate) fn is_told(&self, session: &SessionKey, room: RoomId) -> bool {
        self.rooms.lock().get(session).is_some_and(|seated| seated.room == room && seated.told)
    }

    /// The session's socket sits in this room, whether it has heard so or not. False if it did before.
    pub(crate) fn seated(&self, local: &LocalSocket, room: RoomId, seat: Seat) -> bool {
        let mut rooms = self.rooms.lock();
        let known = rooms.get(&local.session).filter(|seated| seated.room == room);
        if known.is_some_and(|seated| seated.socket == local.id) {
            return false;
        }
        let told = known.is_some_and(|seated| seated.told);
        let seated = Seated { room, seat, socket: local.id.clone(), told, alone: false };
        rooms.insert(local.session.clone(), seated);
        true
    }

    /// The session has been told that it found a match in this room.
    pub(crate) fn told(&self, local: &LocalSocket, room: RoomId, seat: Seat) {
        self.seated(local, room, seat);
        if let Some(seated) = self.rooms.lock().get_mut(&local.session) {
            seated.told = true;
        }
    }

    /// The opponent in this room is away, or is not. The socket to be told, if that is news for it.
    pub(crate) fn left_alone(
        &self,
        session: &SessionKey,
        room: RoomId,
        alone: bool,
    ) -> Option<Arc<LocalSocket>> {
        let local = self.current(session)?;
        let mut rooms = self.rooms.lock();
        let seated = rooms.get_mut(session).filter(|seated| seated.room == room)?;
        (std::mem::replace(&mut seated.alone, alone) != alone).then_some(local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_goodbye_waits_for_the_newest_arrival_of_its_session_only() {
        let sessions = Arc::<LocalSessions>::default();
        let key = |session: &str| SessionKey {
            player: "AAAAAAAAAAAAAAAAAAAAA".parse().unwrap(),
            session: session.parse().unwrap(),
        };
        let first = sessions.arriving(&key("a"));
        let second = sessions.arriving(&key("a"));
        let _other = sessions.arriving(&key("b"));
        drop(first);
        let goodbye = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.newcomer_decided(&key("a")).await }
        });
        tokio::task::yield_now().await;
        assert!(!goodbye.is_finished(), "the second is still on its way");
        drop(second);
        goodbye.await.unwrap();
        assert_eq!(sessions.arrivals.lock().len(), 1, "nothing is left of those that are decided");
    }
}
