//! I12: one entry at an index; the lead and a vote go to a higher term, or to a higher id in their term. Terms and
//! votes do not go back, also not over a restart; what was committed and applied does not within one life.

use std::collections::BTreeMap;

use super::{Examined, clocks, votes};
use crate::cluster::{Status, Vote};
use crate::evidence::Evidence;
use crate::history::{Life, Nanos};

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined { items: evidence.samples.len(), ..Examined::default() };
    leaders(evidence, &mut examined);
    for node in 0..evidence.head.nodes {
        monotone(evidence, node, &mut examined);
    }
    terms_of_entries(evidence, &mut examined);
    votes::found_again(evidence, &mut examined);
    clocks::elect_nobody(evidence, &mut examined);
    examined
}

/// Leaders are known by term and id: in a term one with a higher id may take over, and nobody goes back to the
/// former one. Several nodes may hear of that one after the other.
fn leaders(evidence: &Evidence, examined: &mut Examined) {
    let mut followed: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    for (at, node, status) in &evidence.samples {
        let Some(leader) = status.leader else { continue };
        let former = followed.entry((*node, status.term)).or_insert(leader);
        if leader < *former {
            let (node, term) = (node + 1, status.term);
            let what = format!("in term {term} node {node} followed {former}, and then {leader}");
            examined.violation(*at, what);
        }
        *former = leader;
    }
}

fn monotone(evidence: &Evidence, node: usize, examined: &mut Examined) {
    let starts: Vec<Nanos> = evidence
        .lives
        .iter()
        .filter(|(_, of, life)| *of == node && matches!(life, Life::Started { .. }))
        .map(|(at, ..)| *at)
        .collect();
    let life_at = |at: Nanos| starts.iter().take_while(|start| **start <= at).count();
    let mut votes: BTreeMap<u64, Vote> = BTreeMap::new();
    let mut before: Option<(Nanos, &Status)> = None;
    let of_node = evidence.samples.iter().filter(|(_, of, _)| *of == node);
    for (at, _, status) in of_node {
        // A wiped folder is a new node's, which has promised nothing.
        let is_new = before
            .is_some_and(|(since, _)| evidence.wiped(node, *at) != evidence.wiped(node, since));
        if is_new {
            votes.clear();
            before = None;
        }
        let vote = votes.entry(status.vote.term).or_insert(status.vote);
        // Of two candidates of one term the one with the higher id takes the votes that the other one had.
        let is_taken_over = status.vote.node >= vote.node;
        let former = std::mem::replace(vote, status.vote);
        if !is_taken_over {
            let what = format!("node {} voted {former:?} and then {:?}", node + 1, status.vote);
            examined.violation(*at, what);
        }
        let applied_too_far = status.applied_index > status.committed_index;
        if applied_too_far || status.snapshot_index > status.applied_index {
            examined.violation(*at, format!("node {}: {status:?}", node + 1));
        }
        if let Some((since, former)) = before {
            let same_life = life_at(since) == life_at(*at);
            let (was, is) = (numbers(former), numbers(status));
            let falls = was.vote > is.vote
                || (same_life
                    && (was.term > is.term
                        || was.committed > is.committed
                        || was.applied > is.applied));
            if falls {
                let what = format!("node {} went back from {was:?} to {is:?}", node + 1);
                examined.violation(*at, what);
            }
        }
        before = Some((*at, status));
    }
}

#[derive(Debug)]
struct Numbers {
    vote: u64,
    term: u64,
    committed: u64,
    applied: u64,
}

fn numbers(status: &Status) -> Numbers {
    Numbers {
        vote: status.vote.term,
        term: status.term,
        committed: status.committed_index,
        applied: status.applied_index,
    }
}

/// The entry at an index has one term, and terms grow with indexes.
fn terms_of_entries(evidence: &Evidence, examined: &mut Examined) {
    let mut last = 0;
    for (index, told) in &evidence.ledger.agreed {
        let at = evidence.ledger.first_told.get(index).copied();
        let terms = told.iter().map(|said| said.term);
        let (Some(low), Some(high)) = (terms.clone().min(), terms.max()) else { continue };
        if low != high || low < last {
            examined.violation(at, format!("at index {index} terms {low} to {high}, after {last}"));
        }
        last = last.max(high);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn sample(t: u64, node: usize, leader: u64, term: u64, vote: u64, index: u64) -> Value {
        json!({"ev": "sample", "t": t, "node": node, "ready": true, "leader": leader, "term": term,
               "vote": {"term": term, "node": vote}, "committedIndex": index, "appliedIndex": index,
               "snapshotIndex": 0, "members": [1, 2, 3]})
    }

    #[test]
    fn a_lead_a_vote_and_a_term_that_go_back_are_noticed() {
        let run = json!({"ev": "run", "seed": 1, "nodes": 3, "seconds": 1.0, "version": "", "plan": [], "redis": false});
        let says = |samples: &[Value]| {
            examined(examine, &[std::slice::from_ref(&run), samples].concat()).len()
        };
        assert_eq!(
            says(&[sample(1, 0, 1, 1, 1, 5), sample(2, 1, 1, 1, 1, 5), sample(3, 0, 2, 2, 2, 6)]),
            0
        );
        assert_eq!(
            says(&[sample(1, 0, 1, 1, 1, 5), sample(2, 0, 2, 1, 2, 5)]),
            0,
            "a higher id leads"
        );
        let stale = [sample(1, 0, 2, 1, 2, 5), sample(2, 1, 1, 1, 1, 5), sample(3, 1, 2, 1, 2, 5)];
        assert_eq!(says(&stale), 0, "another node hears of it later");
        assert_eq!(says(&[sample(1, 0, 2, 1, 2, 5), sample(2, 0, 1, 1, 2, 5)]), 1, "back again");
        assert_eq!(
            says(&[sample(1, 0, 2, 1, 2, 5), sample(2, 0, 2, 1, 1, 5)]),
            1,
            "a vote goes back"
        );
        assert_eq!(says(&[sample(1, 0, 2, 1, 1, 5), sample(2, 0, 2, 1, 2, 5)]), 0, "a higher id");
        assert_eq!(says(&[sample(1, 0, 1, 1, 1, 5), sample(2, 0, 1, 1, 1, 4)]), 1, "a step back");
        let restart =
            json!({"ev": "node", "t": 2, "node": 0, "life": "started", "number": 2, "pid": 1});
        let late = [sample(1, 0, 1, 1, 1, 5), restart, sample(3, 0, 1, 1, 1, 4)];
        assert_eq!(says(&late), 0, "a new process begins at its snapshot");
        let wiped = json!({"ev": "node", "t": 2, "node": 0, "life": "replaced", "id": 4});
        let forgets = |life: &[Value]| {
            says(&[&[sample(1, 0, 1, 5, 1, 5)], life, &[sample(3, 0, 1, 4, 1, 4)]].concat())
        };
        assert_eq!(forgets(&[]), 1, "it forgets a vote");
        assert_eq!(forgets(&[wiped]), 0, "it is another node");
    }
}
