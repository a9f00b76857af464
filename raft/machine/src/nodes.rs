//! The processes of the cluster: which incarnation of each node counts, what it has loaded, and
//! what happens to everything it held when it is gone.
//!
//! A node must say [`NodeUp`] before anything else: until then its commands are refused
//! (`NodeUnknown`), because the sessions it opened could not be told from those of a former
//! process. A process that was counted out, or has a successor, is refused (`StaleIncarnation`).
//! A process that lacks the behaviour level or the active pack in force is not let in
//! (`NotEverywhere`): it could neither follow the log nor show a battle. Where no other node is live
//! nobody could show it; then the first pack that the process brings becomes the active one, so that
//! a changed pack folder does not lock a lone node out of its own data.
//!
//! A process that is going to stop says so first ([`DrainNode`]): it is no home of battles any more,
//! and everything else goes on until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Rejection};
use crate::command::{ActivatePack, NodeGone, NodeUp, RaiseLevel};
use crate::effect::Effect;
use crate::ids::{Incarnation, NodeId, RequestId, SessionId, SessionKey};
use crate::input::PackRef;
use crate::limits::{
    GRACE_MAX_MS, NODE_LOSS_GRACE_MIN_MS, NODES_MAX, PACK_ENGINE_LEN_MAX, PACKS_PER_NODE_MAX,
};
use crate::machine::{Machine, Turn};

/// All nodes that were ever up, and the pack they agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nodes {
    by_id: BTreeMap<NodeId, Node>,
    pub(crate) active_pack: Option<PackRef>,
}

/// The newest process of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) incarnation: Incarnation,
    pub(crate) standing: Standing,
    pub(crate) packs: Vec<PackRef>,
    pub(crate) level: u32,
}

/// What a process is to the cluster. Stored in one byte, in this order: the first two were `false` and
/// `true` of "is it live" before there was a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It was counted out.
    Gone,
    /// It takes part in everything.
    Live,
    /// It takes part, and is about to go.
    Draining,
}

impl Node {
    pub(crate) fn is_live(&self) -> bool {
        self.standing != Standing::Gone
    }
}

/// A process is about to stop: its homes go to others, and it gets no new ones. It stays so until its
/// node starts again. Behaviour level 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainNode {
    /// Which node.
    pub node: NodeId,
    /// Which of its processes; a newer one is not touched.
    pub incarnation: Incarnation,
}

impl fmt::Display for DrainNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drain-node {}.{}", self.node, self.incarnation.0)
    }
}

/// A node that has left the cluster for ever makes room for another: its place, and the answers that were
/// kept for it, go. A live one stays. Behaviour level 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetNode {
    /// Which.
    pub node: NodeId,
}

impl fmt::Display for ForgetNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forget-node {}", self.node)
    }
}

impl Nodes {
    /// Whether this process may act; `starts` if it asks to be let in.
    pub(crate) fn admit(&self, request: RequestId, starts: bool) -> Result<(), Rejection> {
        match self.by_id.get(&request.node) {
            Some(node) if request.incarnation < node.incarnation => {
                Err(Rejection::StaleIncarnation)
            }
            Some(node) if request.incarnation == node.incarnation => {
                if node.is_live() && !starts {
                    Ok(())
                } else {
                    Err(Rejection::StaleIncarnation)
                }
            }
            _ if starts => Ok(()),
            _ => Err(Rejection::NodeUnknown),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.by_id.iter().map(|(id, node)| (*id, node))
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.iter().filter(|(_, node)| node.is_live())
    }

    pub(crate) fn is_live(&self, id: NodeId) -> bool {
        self.by_id.get(&id).is_some_and(Node::is_live)
    }

    /// Whether it is live and not about to go: battles should have their homes there.
    pub(crate) fn stays(&self, id: NodeId) -> bool {
        self.by_id.get(&id).is_some_and(|node| node.standing == Standing::Live)
    }
}

impl Machine {
    pub(crate) fn node_up(&mut self, turn: &mut Turn<'_>, c: &NodeUp) -> Result<Done, Rejection> {
        let RequestId { node: id, incarnation, .. } = turn.request;
        let known = self.nodes.by_id.contains_key(&id);
        if (!known && self.nodes.by_id.len() >= NODES_MAX) || c.packs.len() > PACKS_PER_NODE_MAX {
            return Err(Rejection::NodesFull);
        }
        if c.packs.iter().any(|pack| pack.engine.len() > PACK_ENGINE_LEN_MAX) {
            return Err(Rejection::InputInvalid);
        }
        let lacks_pack =
            self.nodes.active_pack.as_ref().is_some_and(|active| !c.packs.contains(active));
        let alone = self.nodes.live().all(|(other, _)| other == id);
        if c.level < self.level || (lacks_pack && !alone) {
            return Err(Rejection::NotEverywhere);
        }
        if lacks_pack && let Some(brought) = c.packs.first() {
            self.nodes.active_pack = Some(brought.clone());
        }
        let standing = Standing::Live;
        let node = Node { incarnation, standing, packs: c.packs.clone(), level: c.level };
        self.nodes.by_id.insert(id, node);
        self.windows.open(id, incarnation);
        self.lose_sessions_at(turn, id, c.grace_ms);
        Ok(Done)
    }

    pub(crate) fn node_gone(&mut self, turn: &mut Turn<'_>, c: NodeGone) -> Done {
        if let Some(node) = self.nodes.by_id.get_mut(&c.node)
            && node.is_live()
            && node.incarnation == c.incarnation
        {
            node.standing = Standing::Gone;
            turn.emit(Effect::NodeCountedOut { node: c.node, incarnation: c.incarnation });
            self.lose_sessions_at(turn, c.node, c.grace_ms);
        }
        Done
    }

    pub(crate) fn drain_node(&mut self, turn: &mut Turn<'_>, c: DrainNode) -> Done {
        if let Some(node) = self.nodes.by_id.get_mut(&c.node)
            && node.is_live()
            && node.incarnation == c.incarnation
        {
            node.standing = Standing::Draining;
            self.move_homes_from(turn, c.node);
        }
        Done
    }

    /// Its id belongs to a data folder that no membership names any more, so it can't come back.
    pub(crate) fn forget_node(&mut self, c: ForgetNode) -> Done {
        if !self.nodes.is_live(c.node) && self.nodes.by_id.remove(&c.node).is_some() {
            self.windows.close(c.node);
        }
        Done
    }

    pub(crate) fn activate_pack(&mut self, c: &ActivatePack) -> Result<Done, Rejection> {
        if self.nodes.live().any(|(_, node)| !node.packs.contains(&c.pack)) {
            return Err(Rejection::NotEverywhere);
        }
        self.nodes.active_pack = Some(c.pack.clone());
        Ok(Done)
    }

    /// Never lowers it: asking for a lower one is asking for what is there.
    pub(crate) fn raise_level(&mut self, c: RaiseLevel) -> Result<Done, Rejection> {
        if self.nodes.live().any(|(_, node)| node.level < c.level) {
            return Err(Rejection::NotEverywhere);
        }
        self.level = self.level.max(c.level);
        Ok(Done)
    }

    /// A process is gone with all its connections. That is not the players' doing: their tickets
    /// are kept aside, and they have at least the minimal grace to come back.
    fn lose_sessions_at(&mut self, turn: &mut Turn<'_>, node: NodeId, grace_ms: u64) {
        let grace_ms = grace_ms.clamp(NODE_LOSS_GRACE_MIN_MS, GRACE_MAX_MS);
        let lost: Vec<SessionKey> = self.sessions.at_node(node).cloned().collect();
        // Taken before any is closed: tabs lost together are not each other's successors.
        let siblings: Vec<BTreeSet<SessionId>> =
            lost.iter().map(|session| self.sessions.siblings(session)).collect();
        for (session, siblings) in lost.iter().zip(siblings) {
            let Some(was) = self.sessions.close(session) else { continue };
            turn.emit(Effect::SessionClosed {
                session: session.clone(),
                socket: was.socket.clone(),
                node: was.node,
            });
            self.suspend_ticket(turn.now.plus_ms(grace_ms), session);
            self.lose_seat(turn, session, &was, siblings, grace_ms);
        }
        self.move_homes_from(turn, node);
    }
}
