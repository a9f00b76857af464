//! Part of I12: what a node says at its start that it finds on its disk is not older than what it had said
//! before that it has there.

use super::Examined;
use crate::evidence::Evidence;

/// What a node says of its folder at each start.
const OPENED: &str = "the data folder is open";

pub(super) fn found_again(evidence: &Evidence, examined: &mut Examined) {
    for (node, log) in evidence.logs.iter().enumerate() {
        for line in log.iter().filter(|line| line.text.contains(OPENED)) {
            let Ok(said) = serde_json::from_str::<serde_json::Value>(&line.text) else { continue };
            let found = said["raft.vote_term"].as_u64().unwrap_or_default();
            // A wiped folder has no votes to remember.
            let since = evidence.wiped(node, line.at).map_or(0, |(at, _)| at);
            let before = evidence
                .samples
                .iter()
                .filter(|(at, of, _)| *of == node && (since..line.at).contains(at));
            let Some(term) = before.map(|(.., status)| status.vote.term).max() else { continue };
            examined.item();
            if found < term {
                let what = format!(
                    "node {} had voted in term {term}, and its life {} finds a vote of term {found}",
                    node + 1,
                    line.life
                );
                examined.violation(line.at, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::log::Written;
    use crate::history::Line;

    fn violations(found: &serde_json::Value) -> usize {
        let lines = [
            json!({"ev": "run", "seed": 1, "nodes": 1, "seconds": 1.0, "version": "", "plan": [], "redis": false}),
            json!({"ev": "sample", "t": 5, "node": 0, "ready": true, "leader": 1, "term": 3,
                "vote": {"term": 3, "node": 1}, "committedIndex": 5, "appliedIndex": 5,
                "snapshotIndex": 0, "members": [1]}),
        ];
        let lines = lines.into_iter().map(|line| serde_json::from_value(line).expect("a line"));
        let mut evidence = Evidence::of_lines(lines.collect::<Vec<Line>>());
        let text = json!({"message": OPENED, "raft.vote_term": found}).to_string();
        evidence.logs = vec![vec![Written { at: 9, life: 2, text }]];
        let mut examined = Examined::default();
        found_again(&evidence, &mut examined);
        examined.violations.len()
    }

    #[test]
    fn a_vote_that_a_restart_has_forgotten_is_noticed() {
        assert_eq!(violations(&json!(3)), 0);
        assert_eq!(violations(&json!(4)), 0, "it may have voted since");
        assert_eq!(violations(&json!(2)), 1);
        assert_eq!(violations(&json!(null)), 1, "it finds none");
    }
}
