//! What nodes say of their votes, and what of it they find again.
//!
//! A vote is a term and a node. Who has saved one never goes back behind it: of two votes in one term the
//! higher node counts, so there may be two leaders in a term, but never two lives that lead under one
//! vote. The leader tells a node that comes back the term anyway; so what counts is what the node itself
//! says that it found on its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::harness::{Http, Server};

/// Pause between two questions to one node.
const PAUSE: Duration = Duration::from_millis(10);
/// How long an election is waited for.
const ELECTION_MAX: Duration = Duration::from_secs(2);

/// Ordered as consensus orders them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    term: u64,
    node: u64,
}

impl Vote {
    fn read(term: &Value, node: &Value) -> Self {
        Self { term: term.as_u64().unwrap_or_default(), node: node.as_u64().unwrap_or_default() }
    }
}

/// What one node has said since somebody listens.
#[derive(Clone, Debug, Default)]
struct Said {
    vote: Vote,
    term: u64,
    /// Votes under which it led.
    led: BTreeSet<Vote>,
    wrong: Vec<String>,
}

impl Said {
    fn hear(&mut self, raft: &Value) {
        let vote = Vote::read(&raft["vote"]["term"], &raft["vote"]["node"]);
        if vote < self.vote {
            self.wrong.push(format!("it goes back from {:?} to {vote:?}", self.vote));
        }
        self.vote = self.vote.max(vote);
        self.term = self.term.max(raft["term"].as_u64().unwrap_or_default());
        if raft["leader"] == raft["nodeId"] {
            self.led.insert(Vote::read(&raft["term"], &raft["nodeId"]));
        }
    }
}

/// Listens to one process.
struct Listener {
    said: Arc<Mutex<Said>>,
    task: JoinHandle<()>,
}

impl Listener {
    fn to(node: SocketAddr) -> Self {
        let said = Arc::<Mutex<Said>>::default();
        let heard = said.clone();
        let task = tokio::spawn(async move {
            while let Ok(answer) = Http::to(node, Method::GET, "/cluster/status").exchange().await {
                // Not so while it stops.
                if answer.status.is_success() {
                    heard.lock().hear(&answer.json()["raft"]);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { said, task }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The votes of some nodes over all their lives.
#[derive(Default)]
pub(super) struct Votes {
    listeners: Vec<Listener>,
    /// How often each node has died.
    deaths: Vec<usize>,
    /// Who led under a vote: a place and a life.
    led: BTreeMap<Vote, (usize, usize)>,
    /// Votes that were found again.
    pub(super) found: usize,
    /// What must not be.
    pub(super) wrong: Vec<String>,
}

impl Votes {
    /// Listens to nodes that run.
    pub(super) fn listen(&mut self, nodes: &[Server]) {
        self.deaths.resize(nodes.len(), 0);
        self.listeners = nodes.iter().map(|node| Listener::to(node.address())).collect();
    }

    /// Waits until some node says a newer vote than all have said, and a moment longer. Gives how many did:
    /// they may have reasons not to.
    pub(super) async fn until_newer(&self, moment: Duration) -> usize {
        let newest = || self.listeners.iter().map(|listener| listener.said.lock().vote).max();
        let (before, began) = (newest(), Instant::now());
        while newest() == before && began.elapsed() < ELECTION_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(moment).await;
        self.listeners.iter().filter(|listener| Some(listener.said.lock().vote) > before).count()
    }

    /// The place of the node that led last.
    pub(super) fn leader(&self) -> usize {
        let newest = |at: &usize| self.listeners[*at].said.lock().led.last().copied();
        (0..self.listeners.len()).max_by_key(newest).expect("there are nodes")
    }

    /// The terms with several leaders, which are allowed.
    pub(super) fn shared_terms(&self) -> usize {
        let terms: Vec<u64> = self.led.keys().map(|vote| vote.term).collect();
        terms.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }

    /// Compares what was said with what those who died have found; all of them run again.
    pub(super) fn check(&mut self, nodes: &[Server], died: &[usize]) {
        for (at, listener) in std::mem::take(&mut self.listeners).iter().enumerate() {
            let said = listener.said.lock().clone();
            let mut wrong = said.wrong;
            for vote in said.led {
                let life = (at, self.deaths[at]);
                let first = *self.led.entry(vote).or_insert(life);
                if first != life {
                    wrong.push(format!("{first:?} and {life:?} led under {vote:?}"));
                }
            }
            if died.contains(&at) {
                self.deaths[at] += 1;
                let found = found(&nodes[at]);
                if found < said.vote || found.term < said.term {
                    let (vote, term) = (said.vote, said.term);
                    wrong.push(format!("it said {vote:?} and term {term}, and found {found:?}"));
                }
                self.found += 1;
            }
            self.wrong.extend(wrong.into_iter().map(|what| format!("node {}: {what}", at + 1)));
        }
    }
}

/// The vote that a node says it found at its start.
fn found(node: &Server) -> Vote {
    let line = node.log().find(|line| line.contains("the data folder is open"));
    let line = line.expect("a node says what it starts from");
    let line: Value = serde_json::from_str(&line).expect("its log is JSON");
    Vote::read(&line["raft.vote_term"], &line["raft.vote_node"])
}
