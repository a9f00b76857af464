//! I12: one leader in a term, one entry at an index; a vote goes to a higher term, or to a higher id in its term. Terms
//! and votes do not go back, also not over a restart; what was committed and applied does not within one life.

use std::collections::BTreeMap;

use super::{Examined, votes};
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
    examined
}

fn leaders(evidence: &Evidence, examined: &mut Examined) {
    let mut leaders: BTreeMap<u64, u64> = BTreeMap::new();
    for (at, node, status) in &evidence.samples {
        let Some(leader) = status.leader else { continue };
        let known = *leaders.entry(status.term).or_insert(leader);
        if known != leader {
            let node = node + 1;
            let what = format!(
                "in term {} node {node} follows {leader}, another one {known}",
                status.term
            );
            examined.violation(*at, what);
        }
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
    fn two_leaders_of_a_term_two_votes_and_a_step_back_are_noticed() {
        let run = json!({"ev": "run", "seed": 1, "nodes": 3, "seconds": 1.0, "version": "", "plan": [], "redis": false});
        let says = |samples: &[Value]| {
            examined(examine, &[std::slice::from_ref(&run), samples].concat()).len()
        };
        assert_eq!(
            says(&[sample(1, 0, 1, 1, 1, 5), sample(2, 1, 1, 1, 1, 5), sample(3, 0, 2, 2, 2, 6)]),
            0
        );
        assert_eq!(says(&[sample(1, 0, 1, 1, 1, 5), sample(2, 1, 2, 1, 1, 5)]), 1, "two leaders");
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
    }
}
