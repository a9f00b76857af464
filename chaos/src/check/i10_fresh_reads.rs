//! I10: who asks is told what was acknowledged before. A player's name is a register that must be
//! linearizable, whichever nodes are asked; and a player's view of his battle is not older than what he was
//! told over the same connection.
//!
//! A node that can't reach a majority, or no leader in time, says a known player's name as it knows it: such answers
//! say nothing. None is told after a fault, while leaders change, and after half a second.

use std::collections::BTreeMap;
use std::ops::Range;

use porcupine_rs::{Model, Operation};

use super::Examined;
use super::linear::{check, operation};
use crate::evidence::{Evidence, Op};
use crate::history::{Call, Class, Heard, Nanos};

/// How long after a fault a node may still be unable to reach a majority.
const AFTERMATH: Nanos = 3_000_000_000;
/// From then on a node that has not heard from the leader says what it knows.
const PATIENCE: Nanos = 500_000_000;
/// Faults that keep no node from a majority.
const HARMLESS: [&str; 4] = ["redis-kill", "redis-flush", "redis-pause", "redis-cut"];

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    names(evidence, &mut examined);
    views(evidence, &mut examined);
    examined
}

#[derive(Clone, Debug)]
enum Deed {
    Rename(String),
    Named(String),
}

#[derive(Clone, Debug)]
struct Name;

impl Model for Name {
    /// The name, once it is known: what a guest is called at first is not.
    type State = Option<String>;
    type Op = Deed;
    type Metadata = ();

    fn init() -> Self::State {
        None
    }

    fn step(name: &Self::State, deed: &Deed) -> (bool, Self::State) {
        match deed {
            Deed::Rename(to) => (true, Some(to.clone())),
            Deed::Named(told) => match name {
                None => (true, Some(told.clone())),
                Some(name) => (name == told, Some(name.clone())),
            },
        }
    }
}

fn names(evidence: &Evidence, examined: &mut Examined) {
    let mut players: BTreeMap<&str, Vec<Operation<Name>>> = BTreeMap::new();
    let unsettled = unsettled(evidence);
    // The tries of one request are one deed: from the first one's sending to the first answer.
    let mut renames: BTreeMap<(&str, &str), Op> = BTreeMap::new();
    for op in &evidence.ops {
        match &op.call {
            Call::Rename { player, request, .. } if op.class != Class::Fail => {
                let one = renames.entry((player, request)).or_insert_with(|| op.clone());
                if op.is_ok() {
                    one.returned =
                        if one.is_ok() { one.returned.min(op.returned) } else { op.returned };
                    one.class = Class::Ok;
                }
            }
            Call::Name { player } if op.is_ok() && had_majority(evidence, &unsettled, op) => {
                let told = op.out["name"].as_str().unwrap_or_default().to_owned();
                players.entry(player).or_default().push(operation(op, Deed::Named(told), true));
            }
            _ => {}
        }
    }
    for ((player, _), op) in &renames {
        let Call::Rename { name, .. } = &op.call else { continue };
        let deed = operation(op, Deed::Rename(name.clone()), op.is_ok());
        players.entry(player).or_default().push(deed);
    }
    for (player, history) in players {
        check::<Name>(&format!("name of {player}"), &history, examined);
    }
}

/// When some node saw leaders change, or had none: without a fault, a machine that has no time does that.
fn unsettled(evidence: &Evidence) -> Vec<Range<Nanos>> {
    let mut last: BTreeMap<usize, (Nanos, u64, Option<u64>)> = BTreeMap::new();
    let mut unsettled = Vec::new();
    for (at, node, status) in &evidence.samples {
        let now = (*at, status.term, status.leader);
        let before = last.insert(*node, now).unwrap_or(now);
        if status.leader.is_none() || (before.1, before.2) != (now.1, now.2) {
            unsettled.push(before.0..at.saturating_add(AFTERMATH));
        }
    }
    unsettled
}

/// Whether nothing kept a node from a majority while it was asked.
fn had_majority(evidence: &Evidence, unsettled: &[Range<Nanos>], op: &Op) -> bool {
    let was_unsettled =
        unsettled.iter().any(|when| when.start <= op.returned && op.invoked <= when.end);
    let in_time = op.returned.saturating_sub(op.invoked) < PATIENCE;
    in_time
        && !was_unsettled
        && evidence.faults.iter().all(|fault| {
            HARMLESS.contains(&fault.kind.as_str())
                || fault.ends.saturating_add(AFTERMATH) < op.invoked
                || fault.begins > op.returned
        })
}

fn views(evidence: &Evidence, examined: &mut Examined) {
    // The number of the last message that each connection was told.
    let mut told: BTreeMap<&str, Vec<(Nanos, i64)>> = BTreeMap::new();
    for hearing in &evidence.heard {
        if let Heard::Battle { sequence, .. } = hearing.heard {
            told.entry(&hearing.socket).or_default().push((hearing.at, sequence));
        }
    }
    for op in evidence.ops.iter().filter(|op| op.is_ok()) {
        let (Call::State { .. }, Some(socket)) = (&op.call, &op.socket) else { continue };
        let Some(sequence) = op.out["sequence"].as_i64() else { continue };
        let before = told.get(socket.as_str()).and_then(|told| {
            told.iter().take_while(|(at, _)| *at < op.invoked).map(|(_, sequence)| *sequence).last()
        });
        examined.item();
        if let Some(before) = before.filter(|before| *before > sequence) {
            let what =
                format!("{} shows message {sequence}, and {before} was told before", op.told());
            examined.violation(op.invoked, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn op(id: u64, f: &str, from: u64, to: u64, name: &str) -> [Value; 2] {
        [
            json!({"ev": "invoke", "t": from, "op": id, "actor": id, "node": 0, "f": f, "player": "p",
                   "name": name, "request": format!("r{id}")}),
            json!({"ev": "return", "t": to, "op": id, "class": "ok", "out": {"name": name}}),
        ]
    }

    #[test]
    fn an_old_name_after_a_new_one_is_noticed_unless_no_majority_could_be_asked() {
        let rename = [op(1, "rename", 10, 20, "a"), op(2, "rename", 30, 40, "b")].concat();
        let with = |read: [Value; 2]| [&rename[..], &read].concat();
        assert_eq!(examined(examine, &with(op(3, "name", 50, 60, "b"))), [""; 0]);
        assert_eq!(
            examined(examine, &with(op(3, "name", 35, 60, "a"))),
            [""; 0],
            "at the same time"
        );
        let stale = with(op(3, "name", 50, 60, "a"));
        assert_eq!(examined(examine, &stale).len(), 1);
        let late = with(op(3, "name", 50, 50 + PATIENCE, "a"));
        assert_eq!(examined(examine, &late), [""; 0], "the leader was not heard in time");
        let status = |t: u64, term: u64| {
            json!({"ev": "sample", "t": t, "node": 0,
                "ready": true, "leader": 1, "term": term, "vote": {"term": term, "node": 1},
                "committedIndex": 1, "appliedIndex": 1, "snapshotIndex": 0, "members": [1, 2, 3]})
        };
        let steady = [status(5, 1), status(55, 1)];
        assert_eq!(examined(examine, &[&steady[..], &stale].concat()).len(), 1);
        let elected = [status(5, 1), status(55, 2)];
        assert_eq!(examined(examine, &[&elected[..], &stale].concat()), [""; 0]);
        let cut = [
            json!({"ev": "fault-begins", "t": 45, "fault": 1, "kind": "isolate", "lane": "nodes", "nodes": ["1"]}),
            json!({"ev": "fault-ends", "t": 70, "fault": 1, "outcome": "installed"}),
        ];
        assert_eq!(examined(examine, &[&cut[..], &stale].concat()), [""; 0]);
    }
}
