//! Exactly once: answers that were given, so that a request that comes again is answered, not applied.
//!
//! Two memories, because there are two kinds of retry:
//!
//! * **Windows.** A node asks again with the same [`RequestId`] when a leader change swallowed the
//!   answer. The window holds every answer, refusals too, from the lowest sequence that the node
//!   still waits for; below it a late copy is refused (`StaleRequest`). A window belongs to one
//!   incarnation and is at most [`ANSWERS_PER_NODE_MAX`] long; a request beyond that is refused
//!   (`WindowFull`) and leaves no trace.
//! * **Client keys.** A client asks again, perhaps through another node, with the id it chose
//!   itself. Only successes are remembered: a refusal changed nothing, so the client may try again
//!   with the same id. So may one whose join was undone by the loss of its connection: it retries
//!   just because of that loss, and must not be told that it is queued. The same id with another command is refused (`KeyReused`). Bounded by scope,
//!   by number of scopes and by [`CLIENT_KEY_MS`] of log time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::applied::{Rejection, Reply};
use crate::clock::LogTime;
use crate::command::{Floor, KeyScope, ScopedKey};
use crate::ids::{ClientKey, Incarnation, NodeId, RequestId};
use crate::limits::{
    ADDRESS_LEN_MAX, ANSWERS_PER_NODE_MAX, CLIENT_KEY_MS, CLIENT_KEY_SCOPES_MAX,
    CLIENT_KEYS_PER_SCOPE_MAX,
};
use crate::machine::clipped;

type Outcome = Result<Reply, Rejection>;

/// Answers to requests, by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Windows(BTreeMap<NodeId, Window>);

/// Answers to the requests of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    incarnation: Incarnation,
    lowest_open: u64,
    answers: BTreeMap<u64, Outcome>,
}

impl Windows {
    /// Forgets a former process of this node; from here on answers to this one are kept.
    pub(crate) fn open(&mut self, node: NodeId, incarnation: Incarnation) {
        let window = Window { incarnation, lowest_open: 0, answers: BTreeMap::new() };
        self.0.insert(node, window);
    }

    /// Forgets a node that no longer counts; whatever it asks is refused before it comes here.
    pub(crate) fn close(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    pub(crate) fn forget_below(&mut self, floor: Floor) {
        if let Some(window) = self.0.get_mut(&floor.node)
            && window.incarnation == floor.incarnation
            && window.lowest_open < floor.lowest_open
        {
            window.lowest_open = floor.lowest_open;
            window.answers = window.answers.split_off(&floor.lowest_open);
        }
    }

    /// What to say to this request without applying it, if anything.
    pub(crate) fn answer(&self, request: RequestId) -> Option<Outcome> {
        let window = self.0.get(&request.node)?;
        if window.incarnation != request.incarnation {
            return None;
        }
        if request.sequence < window.lowest_open {
            return Some(Err(Rejection::StaleRequest));
        }
        if let Some(outcome) = self.answered(request) {
            return Some(outcome.clone());
        }
        (window.answers.len() >= ANSWERS_PER_NODE_MAX).then_some(Err(Rejection::WindowFull))
    }

    #[cfg(feature = "planted")]
    pub(crate) fn forget_all(&mut self) {
        self.0.values_mut().for_each(|window| window.answers.clear());
    }

    pub(crate) fn answered(&self, request: RequestId) -> Option<&Outcome> {
        let window = self.0.get(&request.node)?;
        let same = window.incarnation == request.incarnation;
        window.answers.get(&request.sequence).filter(|_| same)
    }

    pub(crate) fn remember(&mut self, request: RequestId, outcome: &Outcome) {
        if let Some(window) = self.0.get_mut(&request.node)
            && window.incarnation == request.incarnation
        {
            window.answers.insert(request.sequence, outcome.clone());
        }
    }
}

/// Answers to requests with a client's own id, by whose id it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientKeys {
    scopes: BTreeMap<KeyScope, VecDeque<Remembered>>,
    /// When each scope was last added to: the first is the next to be forgotten.
    #[serde(skip)]
    newest: BTreeSet<(LogTime, KeyScope)>,
}

#[cfg(feature = "planted")]
impl crate::machine::Machine {
    /// Forgets all answers, as if no request had ever come: a defect.
    #[doc(hidden)]
    pub fn forget_answers(&mut self) {
        self.windows.forget_all();
        self.keys = ClientKeys::default();
    }
}

/// One answer; oldest first in its scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    key: ClientKey,
    kind: u8,
    at: LogTime,
    reply: Reply,
}

impl ClientKeys {
    /// What to say to a request with this id without applying it, if anything.
    pub(crate) fn answer(&self, key: &ScopedKey, kind: u8, now: LogTime) -> Option<Outcome> {
        let found = self.find(key, now)?;
        Some(if found.kind == kind { Ok(found.reply.clone()) } else { Err(Rejection::KeyReused) })
    }

    /// The answer that was given under this id, whatever was asked.
    pub(crate) fn answered(&self, key: &ScopedKey, now: LogTime) -> Option<&Reply> {
        self.find(key, now).map(|found| &found.reply)
    }

    fn find(&self, key: &ScopedKey, now: LogTime) -> Option<&Remembered> {
        let remembered = self.scopes.get(&bounded(&key.scope))?;
        remembered.iter().find(|it| it.key == key.key && is_fresh(it, now))
    }

    pub(crate) fn remember(&mut self, key: &ScopedKey, kind: u8, now: LogTime, reply: &Reply) {
        let scope = bounded(&key.scope);
        let more = usize::from(!self.scopes.contains_key(&scope));
        self.forget_old(now, CLIENT_KEY_SCOPES_MAX - more);
        let list = self.scopes.entry(scope.clone()).or_default();
        if let Some(last) = list.back() {
            self.newest.remove(&(last.at, scope.clone()));
        }
        list.retain(|it| is_fresh(it, now) && it.key != key.key);
        if list.len() >= CLIENT_KEYS_PER_SCOPE_MAX {
            list.pop_front();
        }
        list.push_back(Remembered { key: key.key.clone(), kind, at: now, reply: reply.clone() });
        self.newest.insert((now, scope));
    }

    /// What was done under this id is undone: it may be used again.
    pub(crate) fn forget(&mut self, key: &ScopedKey) {
        let scope = bounded(&key.scope);
        let Some(list) = self.scopes.get_mut(&scope) else { return };
        if let Some(last) = list.back() {
            self.newest.remove(&(last.at, scope.clone()));
        }
        list.retain(|it| it.key != key.key);
        if let Some(last) = list.back() {
            self.newest.insert((last.at, scope));
        } else {
            self.scopes.remove(&scope);
        }
    }

    /// Forgets scopes with nothing fresh in them, and the oldest ones of more than `max`.
    fn forget_old(&mut self, now: LogTime, max: usize) {
        while let Some((at, _)) = self.newest.first() {
            let stale = now.ms_since(*at) >= CLIENT_KEY_MS;
            if !stale && self.scopes.len() <= max {
                break;
            }
            if let Some((_, scope)) = self.newest.pop_first() {
                self.scopes.remove(&scope);
            }
        }
    }

    pub(crate) fn reindex(&mut self) {
        self.scopes.retain(|_, list| !list.is_empty());
        let newest = |(scope, list): (&KeyScope, &VecDeque<Remembered>)| {
            list.back().map(|last| (last.at, scope.clone()))
        };
        self.newest = self.scopes.iter().filter_map(newest).collect();
    }
}

fn is_fresh(it: &Remembered, now: LogTime) -> bool {
    now.ms_since(it.at) < CLIENT_KEY_MS
}

fn bounded(scope: &KeyScope) -> KeyScope {
    match scope {
        KeyScope::Player(player) => KeyScope::Player(*player),
        KeyScope::Address(address) => KeyScope::Address(clipped(address, ADDRESS_LEN_MAX)),
    }
}
