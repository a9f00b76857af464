//! I8: a token that was given up counts on no node, from the moment at which the logout was acknowledged.
//!
//! Each node may learn of a logout at its own moment, but before the logout is acknowledged: so for each token
//! and node there is a register, live and then revoked for ever, which must be linearizable. That also forbids a
//! node to forget what it knew.

use std::collections::{BTreeMap, BTreeSet};

use porcupine_rs::{Model, Operation};

use super::Examined;
use super::linear::{check, operation};
use crate::evidence::{Evidence, Op};
use crate::history::{Call, Class};

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    let mut families: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in &evidence.ops {
        if let Call::Verify { family } | Call::Enter { family } | Call::Logout { family, .. } =
            &op.call
        {
            families.entry(family).or_default().push(op);
        }
    }
    for (family, mut ops) in families {
        leave_first_unsure(&mut ops);
        let nodes: BTreeSet<usize> = ops.iter().map(|op| op.node).collect();
        for node in nodes {
            let history: Vec<_> = ops.iter().filter_map(|op| seen_at(node, op)).collect();
            let key = format!("token of {family} at node {}", node + 1);
            check::<Token>(&key, &history, &mut examined);
        }
    }
    examined
}

/// Of the logouts that may not have happened the first one stands for all: it could have happened wherever another one
/// did, and the others may come behind everything else. Else the search would try all their orders.
fn leave_first_unsure(ops: &mut Vec<&Op>) {
    let is_unsure = |op: &Op| matches!(op.call, Call::Logout { .. }) && op.class == Class::Info;
    let first = ops.iter().filter(|op| is_unsure(op)).min_by_key(|op| op.invoked).map(|op| op.id);
    ops.retain(|op| !is_unsure(op) || Some(op.id) == first);
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Revoke,
    /// One that may not have happened.
    MaybeRevoke,
    Counts(bool),
}

#[derive(Clone, Debug)]
struct Token;

impl Model for Token {
    /// Whether it is revoked.
    type State = bool;
    type Op = Deed;
    type Metadata = ();

    fn init() -> bool {
        false
    }

    fn step(revoked: &bool, deed: &Deed) -> (bool, bool) {
        match deed {
            Deed::Revoke | Deed::MaybeRevoke => (true, true),
            Deed::Counts(counts) => (*counts != *revoked, *revoked),
        }
    }
}

/// A deed as it concerns this node; a logout concerns all.
fn seen_at(node: usize, op: &Op) -> Option<Operation<Token>> {
    match (&op.call, op.class) {
        (Call::Logout { .. }, Class::Ok) => Some(operation(op, Deed::Revoke, true)),
        (Call::Logout { .. }, Class::Info) => Some(operation(op, Deed::MaybeRevoke, false)),
        // Who connects by a token is let in if it counts.
        (Call::Verify { .. } | Call::Enter { .. }, Class::Ok) if op.node == node => {
            let counts = op.out["counts"].as_bool().unwrap_or(true);
            Some(operation(op, Deed::Counts(counts), true))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn op(id: u64, node: usize, f: &str, class: &str, from: u64, out: &Value) -> [Value; 2] {
        [
            json!({"ev": "invoke", "t": from, "op": id, "actor": id, "node": node, "f": f,
                   "family": "p", "request": "r"}),
            json!({"ev": "return", "t": from + 10, "op": id, "class": class, "out": out}),
        ]
    }

    fn verify(id: u64, node: usize, from: u64, counts: bool) -> [Value; 2] {
        op(id, node, "verify", "ok", from, &json!({ "counts": counts }))
    }

    fn says(parts: &[[Value; 2]]) -> usize {
        examined(examine, &parts.concat()).len()
    }

    #[test]
    fn a_token_that_counts_after_an_acknowledged_logout_is_noticed_on_any_node() {
        let logout = op(1, 0, "logout", "ok", 100, &Value::Null);
        for node in 0..3 {
            assert_eq!(says(&[logout.clone(), verify(2, node, 105, true)]), 0, "at the same time");
            assert_eq!(says(&[logout.clone(), verify(2, node, 200, false)]), 0);
            assert_eq!(says(&[logout.clone(), verify(2, node, 200, true)]), 1);
        }
    }

    #[test]
    fn a_logout_without_an_answer_binds_a_node_once_it_has_been_heard_there() {
        let logout = op(1, 0, "logout", "info", 100, &Value::Null);
        assert_eq!(says(&[logout.clone(), verify(2, 0, 200, true), verify(3, 1, 200, false)]), 0);
        let forgets = [logout, verify(2, 1, 200, false), verify(3, 1, 300, true)];
        assert_eq!(says(&forgets), 1);
    }

    #[test]
    fn many_logouts_without_an_answer_are_decided_like_one() {
        let unsure = |id| op(id, 0, "logout", "info", 100 + id, &Value::Null);
        let logouts: Vec<_> = (1..=30).map(unsure).collect();
        let reads = |first: bool, then: bool| {
            let of = |from: u64, counts| {
                (0..20).map(move |id| verify(from + id, 1, from + id * 20, counts))
            };
            of(1_000, first).chain(of(2_000, then)).collect::<Vec<_>>()
        };
        assert_eq!(says(&[logouts.clone(), reads(true, false)].concat()), 0);
        assert_eq!(says(&[logouts, reads(false, true)].concat()), 1);
    }

    #[test]
    fn a_token_that_nobody_gave_up_counts() {
        assert_eq!(says(&[verify(1, 0, 100, false)]), 1);
    }
}
