//! I4: what was acknowledged is there. Every acknowledged guest is known at the end, on the nodes that were
//! asked, and once more after all nodes were killed; every acknowledged join has its entry.

use std::collections::BTreeSet;

use super::Examined;
use crate::evidence::Evidence;
use crate::history::{Call, Class};

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    guests(evidence, &mut examined);
    examined
}

pub(super) fn guests(evidence: &Evidence, examined: &mut Examined) {
    let made = evidence.ops.iter().filter_map(|op| match op.call {
        Call::Guest { .. } if op.class == Class::Ok => op.out["player"].as_str(),
        _ => None,
    });
    let made: BTreeSet<&str> = made.collect();
    let mut asked = BTreeSet::new();
    for found in evidence.found.iter().filter(|found| found.about.starts_with("guest ")) {
        examined.item();
        asked.insert(found.item.as_str());
        match found.answer.as_str() {
            "404" => {
                let (item, node) = (&found.item, found.node + 1);
                let what =
                    format!("guest {item} was acknowledged and node {node} does not know him");
                examined.violation(found.at, what);
            }
            "no answer" => {
                let why =
                    format!("node {} did not say whether it knows {}", found.node + 1, found.item);
                examined.undecided.push(why);
            }
            _ => {}
        }
    }
    // Those of the last duel are made after the last question.
    let since = evidence.phase("final-reads").unwrap_or_default();
    let early = evidence.ops.iter().filter(|op| op.is_ok() && op.returned < since);
    for op in early.filter(|op| matches!(op.call, Call::Guest { .. })) {
        if let Some(player) = op.out["player"].as_str().filter(|player| !asked.contains(player)) {
            examined.undecided.push(format!("nobody was asked about guest {player}"));
        }
    }
    debug_assert!(made.len() >= asked.len(), "only who was made is asked about");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::examined;
    use super::*;

    #[test]
    fn a_guest_whom_one_node_does_not_know_is_lost() {
        let found = |node: usize, answer: &str| json!({"ev": "found", "t": 9, "about": "guest last-reads", "node": node, "item": "p", "answer": answer});
        let made = [
            json!({"ev": "invoke", "t": 1, "op": 1, "actor": 1, "node": 0, "f": "guest", "request": null}),
            json!({"ev": "return", "t": 2, "op": 1, "class": "ok", "out": {"player": "p"}}),
        ];
        let says =
            |founds: [serde_json::Value; 2]| examined(examine, &[&made[..], &founds].concat());
        assert_eq!(says([found(0, "200"), found(1, "200")]), [""; 0]);
        assert_eq!(says([found(0, "200"), found(1, "404")]).len(), 1);
    }
}
