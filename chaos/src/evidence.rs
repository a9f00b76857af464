//! What a run has left behind, read again and put in order: operations with both their ends, what sockets
//! heard, what the nodes say that the log decided.

pub(crate) mod ledger;
pub(crate) mod model;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use self::ledger::Ledger;
use self::model::Replay;
use crate::broken::Broken;
use crate::cluster::Status;
use crate::cluster::log::{self, Written};
use crate::faults::Outcome;
use crate::history::{self, Actor, Call, Class, Heard, Life, Line, Nanos, OpId};

/// An operation.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) id: OpId,
    pub(crate) actor: Actor,
    pub(crate) node: usize,
    pub(crate) call: Call,
    pub(crate) invoked: Nanos,
    /// For ever, if it never did.
    pub(crate) returned: Nanos,
    pub(crate) class: Class,
    pub(crate) code: String,
    pub(crate) out: Value,
    /// The connection over which it was asked, if it was one.
    pub(crate) socket: Option<String>,
}

impl Op {
    pub(crate) fn is_ok(&self) -> bool {
        self.class == Class::Ok
    }

    /// In a few words, for people who look for it.
    pub(crate) fn told(&self) -> String {
        let Self { id, actor, node, class, code, .. } = self;
        let at = seconds(self.invoked);
        let name = self.call.name();
        format!("op {id} ({name} by {actor} at node {}, {at:.3} s, {class:?} {code})", node + 1)
    }
}

/// Something that a socket heard.
#[derive(Clone, Debug)]
pub(crate) struct Hearing {
    pub(crate) at: Nanos,
    pub(crate) node: usize,
    pub(crate) player: String,
    pub(crate) session: String,
    pub(crate) socket: String,
    pub(crate) heard: Heard,
}

impl Hearing {
    /// Whose it is, as the nodes' logs write it.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}", self.player, self.session)
    }
}

/// A fault that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) number: u32,
    pub(crate) kind: String,
    pub(crate) lane: String,
    pub(crate) nodes: Vec<String>,
    pub(crate) begins: Nanos,
    pub(crate) ends: Nanos,
    pub(crate) outcome: Outcome,
}

/// What was found at the end by asking.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) at: Nanos,
    pub(crate) about: String,
    pub(crate) node: usize,
    pub(crate) item: String,
    pub(crate) answer: String,
}

/// What a process and its folder took at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) at: Nanos,
    pub(crate) node: usize,
    pub(crate) resident_kib: u64,
    pub(crate) open_files: u64,
    pub(crate) folder_bytes: u64,
}

/// How far the mirror was.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) at: Nanos,
    pub(crate) up: bool,
    pub(crate) cluster: String,
    pub(crate) applied: u64,
}

/// The first line of the history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) seconds: f64,
    pub(crate) version: String,
    pub(crate) plan: Vec<String>,
    pub(crate) redis: bool,
    pub(crate) again: String,
    pub(crate) npm: u32,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) head: Head,
    pub(crate) ops: Vec<Op>,
    pub(crate) heard: Vec<Hearing>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) lives: Vec<(Nanos, usize, Life)>,
    pub(crate) samples: Vec<(Nanos, usize, Status)>,
    pub(crate) footprints: Vec<Footprint>,
    pub(crate) mirror: Vec<Mirror>,
    pub(crate) phases: Vec<(Nanos, String)>,
    pub(crate) found: Vec<Found>,
    pub(crate) logs: Vec<Vec<Written>>,
    pub(crate) ledger: Ledger,
    pub(crate) replay: Replay,
}

impl Evidence {
    /// Reads a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Broken> {
        let mut evidence = Self::of_lines(history::read(folder)?);
        for place in 0..evidence.head.nodes {
            evidence.logs.push(log::read(folder, place)?);
        }
        evidence.understand();
        Ok(evidence)
    }

    /// Makes of the logs what they say.
    pub(crate) fn understand(&mut self) {
        let clocks_are_right = !self.faults.iter().any(|fault| fault.kind.starts_with("clock-"));
        self.ledger = Ledger::read(&self.logs, clocks_are_right);
        self.replay = Replay::of(&self.ledger);
    }

    /// Puts lines in order.
    pub(crate) fn of_lines(lines: Vec<Line>) -> Self {
        let mut evidence = Self::default();
        let mut open: BTreeMap<OpId, Op> = BTreeMap::new();
        // The last connection of each actor.
        let mut sockets: BTreeMap<Actor, String> = BTreeMap::new();
        for line in lines {
            match line {
                Line::Run { seed, nodes, seconds, version, plan, redis, again, npm } => {
                    evidence.head = Head { seed, nodes, seconds, version, plan, redis, again, npm };
                }
                Line::Invoke { t, op: id, actor, node, call } => {
                    let socket = sockets.get(&actor).cloned();
                    let (class, code, out) =
                        (Class::Info, "never returned".to_owned(), Value::Null);
                    let (invoked, returned) = (t, Nanos::MAX);
                    open.insert(
                        id,
                        Op { id, actor, node, call, invoked, returned, class, code, out, socket },
                    );
                }
                Line::Return { t, op, class, code, out } => {
                    let Some(mut op) = open.remove(&op) else { continue };
                    if let (Call::Connect { .. }, Some(socket)) = (&op.call, out["socket"].as_str())
                    {
                        sockets.insert(op.actor, socket.to_owned());
                    }
                    op.returned = t;
                    (op.class, op.code, op.out) = (class, code, out);
                    evidence.ops.push(op);
                }
                Line::Heard { t: at, node, player, session, socket, heard, .. } => {
                    let hearing = Hearing { at, node, player, session, socket, heard };
                    evidence.heard.push(hearing);
                }
                Line::FaultBegins { t, fault: number, kind, lane, nodes } => {
                    let outcome = Outcome::Indeterminate { reason: "it never ended".to_owned() };
                    let (begins, ends) = (t, Nanos::MAX);
                    evidence.faults.push(Fault {
                        number,
                        kind,
                        lane,
                        nodes,
                        begins,
                        ends,
                        outcome,
                    });
                }
                Line::FaultEnds { t, fault, outcome } => evidence.fault_ends(t, fault, outcome),
                Line::Node { t, node, life } => evidence.lives.push((t, node, life)),
                Line::Sample { t, node, status } => evidence.samples.push((t, node, status)),
                Line::Footprint { t: at, node, resident_kib, open_files, folder_bytes } => {
                    let footprint = Footprint { at, node, resident_kib, open_files, folder_bytes };
                    evidence.footprints.push(footprint);
                }
                Line::Mirror { t: at, up, cluster, applied } => {
                    evidence.mirror.push(Mirror { at, up, cluster, applied });
                }
                Line::Phase { t, phase } => evidence.phases.push((t, phase)),
                Line::Found { t: at, about, node, item, answer } => {
                    evidence.found.push(Found { at, about, node, item, answer });
                }
            }
        }
        evidence.ops.extend(open.into_values());
        evidence.ops.sort_by_key(|op| op.invoked);
        evidence
    }

    fn fault_ends(&mut self, at: Nanos, number: u32, outcome: Outcome) {
        match self.faults.iter_mut().find(|fault| fault.number == number) {
            Some(fault) => (fault.ends, fault.outcome) = (at, outcome),
            // It was not even begun.
            None => {
                let step = usize::try_from(number).unwrap_or_default().saturating_sub(1);
                let kind = self.head.plan.get(step).cloned().unwrap_or_default();
                let (lane, nodes, begins, ends) = (String::new(), Vec::new(), at, at);
                self.faults.push(Fault { number, kind, lane, nodes, begins, ends, outcome });
            }
        }
    }

    /// When a part of the run began.
    pub(crate) fn phase(&self, name: &str) -> Option<Nanos> {
        self.phases.iter().find(|(_, phase)| phase == name).map(|(at, _)| *at)
    }

    /// When the folder of the node at this place was wiped, at this moment or before: the last time.
    pub(crate) fn wiped(&self, node: usize, at: Nanos) -> Option<(Nanos, u64)> {
        let told = self.lives.iter().filter(|(when, of, _)| *of == node && *when <= at);
        let wiped = told.filter_map(|(when, _, life)| match life {
            Life::Replaced { id } => Some((*when, *id)),
            _ => None,
        });
        wiped.max()
    }

    /// The id of the node at this place at a moment.
    pub(crate) fn id_at(&self, node: usize, at: Nanos) -> u64 {
        let first = u64::try_from(node + 1).unwrap_or_default();
        self.wiped(node, at).map_or(first, |(_, id)| id)
    }

    /// The last moment that anything is known of.
    pub(crate) fn end(&self) -> Nanos {
        let phases = self.phases.iter().map(|(at, _)| *at);
        phases.chain(self.samples.iter().map(|(at, ..)| *at)).max().unwrap_or_default()
    }
}

/// For people.
pub(crate) fn seconds(at: Nanos) -> f64 {
    at as f64 / 1e9
}
