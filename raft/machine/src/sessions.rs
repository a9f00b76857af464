//! Sessions: login contexts of players that are connected, each by one socket at a time.
//!
//! A session exists here exactly while it is connected. A newer socket of the same session takes
//! the older one's place; closing the older one then does nothing, because it is named. What a
//! session leaves behind when it goes, a seat or a suspended ticket, is kept with the room and the
//! queue.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Ended, Opened, Rejection};
use crate::clock::WallTime;
use crate::command::{CloseSession, EndSessions, OpenSession};
use crate::effect::Effect;
use crate::ids::{NodeId, PlayerId, SessionId, SessionKey, SocketId};
use crate::limits::{ADDRESS_LEN_MAX, GRACE_MAX_MS, SESSIONS_MAX, SESSIONS_PER_PLAYER_MAX};
use crate::machine::{Machine, Turn, clipped};

/// All connected sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    by_player: BTreeMap<PlayerId, BTreeMap<SessionId, Session>>,
    #[serde(skip)]
    by_node: BTreeMap<NodeId, BTreeSet<SessionKey>>,
    #[serde(skip)]
    count: usize,
}

/// One connected session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) socket: SocketId,
    pub(crate) node: NodeId,
    pub(crate) address: Arc<str>,
    pub(crate) chosen: bool,
    pub(crate) authenticated: bool,
    /// When its first socket came, for display.
    pub(crate) opened: WallTime,
    /// The display name of a player who is kept outside.
    pub(crate) name: Option<Arc<str>>,
}

impl Sessions {
    pub(crate) fn get(&self, key: &SessionKey) -> Option<&Session> {
        self.by_player.get(&key.player)?.get(&key.session)
    }

    /// The session, if this socket is its current one.
    pub(crate) fn by_socket(&self, key: &SessionKey, socket: &SocketId) -> Option<&Session> {
        self.get(key).filter(|session| session.socket == *socket)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn players(&self) -> usize {
        self.by_player.len()
    }

    /// Players with a session, from behind this one on.
    pub(crate) fn players_after(&self, after: Option<PlayerId>) -> impl Iterator<Item = PlayerId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_player.range((from, Bound::Unbounded)).map(|(player, _)| *player)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.by_player.iter().flat_map(|(player, sessions)| {
            sessions
                .iter()
                .map(|(id, session)| (SessionKey { player: *player, session: id.clone() }, session))
        })
    }

    pub(crate) fn of_player(&self, player: PlayerId) -> impl Iterator<Item = SessionKey> {
        let ids = self.by_player.get(&player).into_iter().flat_map(BTreeMap::keys);
        ids.map(move |id| SessionKey { player, session: id.clone() })
    }

    pub(crate) fn at_node(&self, node: NodeId) -> impl Iterator<Item = &SessionKey> {
        self.by_node.get(&node).into_iter().flatten()
    }

    /// The player's other sessions that are connected now.
    pub(crate) fn siblings(&self, key: &SessionKey) -> BTreeSet<SessionId> {
        let ids = self.by_player.get(&key.player).into_iter().flat_map(BTreeMap::keys);
        ids.filter(|id| **id != key.session).cloned().collect()
    }

    pub(crate) fn close(&mut self, key: &SessionKey) -> Option<Session> {
        let sessions = self.by_player.get_mut(&key.player)?;
        let session = sessions.remove(&key.session)?;
        if sessions.is_empty() {
            self.by_player.remove(&key.player);
        }
        self.count -= 1;
        self.leave_node(session.node, key);
        Some(session)
    }

    fn open(&mut self, key: &SessionKey, session: Session) -> Result<(), Rejection> {
        let of_player = self.by_player.get(&key.player);
        let replaced = of_player.and_then(|of_player| of_player.get(&key.session)).map(|s| s.node);
        if let Some(node) = replaced {
            self.leave_node(node, key);
        } else {
            let of_player = of_player.map_or(0, BTreeMap::len);
            if self.count >= SESSIONS_MAX || of_player >= SESSIONS_PER_PLAYER_MAX {
                return Err(Rejection::SessionsFull);
            }
            self.count += 1;
        }
        self.by_node.entry(session.node).or_default().insert(key.clone());
        self.by_player.entry(key.player).or_default().insert(key.session.clone(), session);
        Ok(())
    }

    fn leave_node(&mut self, node: NodeId, key: &SessionKey) {
        if let Some(keys) = self.by_node.get_mut(&node) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    pub(crate) fn reindex(&mut self) {
        self.by_player.retain(|_, sessions| !sessions.is_empty());
        let mut by_node: BTreeMap<NodeId, BTreeSet<SessionKey>> = BTreeMap::new();
        let mut count = 0;
        for (key, session) in self.iter() {
            by_node.entry(session.node).or_default().insert(key);
            count += 1;
        }
        self.by_node = by_node;
        self.count = count;
    }
}

impl Machine {
    /// The display name of a session's player, if he is kept outside.
    pub(crate) fn outside_name(&self, key: &SessionKey) -> Option<Arc<str>> {
        self.sessions.get(key)?.name.clone()
    }

    pub(crate) fn open_session(
        &mut self,
        turn: &mut Turn<'_>,
        c: &OpenSession,
    ) -> Result<Opened, Rejection> {
        if turn.records.player(c.session.player).is_none() {
            return Err(Rejection::PlayerUnknown);
        }
        self.open(turn, c, None)
    }

    /// The same for whoever has found the player. `name`: what a player is called who is kept outside.
    pub(crate) fn open(
        &mut self,
        turn: &mut Turn<'_>,
        c: &OpenSession,
        name: Option<Arc<str>>,
    ) -> Result<Opened, Rejection> {
        let session = Session {
            socket: c.socket.clone(),
            node: turn.request.node,
            address: clipped(&c.address, ADDRESS_LEN_MAX),
            chosen: c.chosen,
            authenticated: c.authenticated,
            opened: self.sessions.get(&c.session).map_or(turn.wall, |before| before.opened),
            name,
        };
        self.sessions.open(&c.session, session.clone())?;
        turn.emit(Effect::SessionOpened {
            session: c.session.clone(),
            socket: c.socket.clone(),
            node: turn.request.node,
        });
        Ok(Opened { seat: self.take_seat(turn, &c.session, &session) })
    }

    pub(crate) fn close_session(&mut self, turn: &mut Turn<'_>, c: &CloseSession) -> Done {
        if self.sessions.by_socket(&c.session, &c.socket).is_none() {
            return Done;
        }
        let siblings = self.sessions.siblings(&c.session);
        self.let_go(turn, &c.session, siblings, c.grace_ms);
        Done
    }

    pub(crate) fn end_sessions(&mut self, turn: &mut Turn<'_>, c: &EndSessions) -> Ended {
        let meant = |key: &SessionKey| c.session.as_ref().is_none_or(|id| *id == key.session);
        let keys: Vec<_> = self.sessions.of_player(c.player).filter(meant).collect();
        // Taken before any is closed: those that end together are not each other's successors.
        let siblings: Vec<_> = keys.iter().map(|key| self.sessions.siblings(key)).collect();
        let mut sessions = 0;
        for (key, siblings) in keys.into_iter().zip(siblings) {
            if let Some(socket) = self.let_go(turn, &key, siblings, c.grace_ms) {
                turn.emit(Effect::SessionEnded { session: key, socket });
                sessions += 1;
            }
        }
        Ended { sessions }
    }

    /// Closes a session, its ticket and, after the grace, its seat. Tells which connection it had.
    fn let_go(
        &mut self,
        turn: &mut Turn<'_>,
        key: &SessionKey,
        siblings: BTreeSet<SessionId>,
        grace_ms: u64,
    ) -> Option<SocketId> {
        let was = self.sessions.close(key)?;
        let (session, socket) = (key.clone(), was.socket.clone());
        turn.emit(Effect::SessionClosed { session, socket, node: was.node });
        self.lose_ticket(turn, key);
        self.lose_seat(turn, key, &was, siblings, grace_ms.min(GRACE_MAX_MS));
        Some(was.socket)
    }
}
