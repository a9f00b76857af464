//! I15: all nodes say the same of each entry: the same effects in the same order, in the same term, and each
//! node says it again after a restart. What a node tells without a seam has no gaps either.

use super::Examined;
use crate::evidence::Evidence;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    for account in &evidence.ledger.accounts {
        let Some((first, last)) = account.span() else { continue };
        let node = account.node + 1;
        for (index, agreed) in evidence.ledger.agreed.range(first..=last) {
            let at = evidence.ledger.first_told.get(index).copied();
            let told = account.entries.get(index).map(Vec::as_slice).unwrap_or_default();
            examined.item();
            // The last entry of an account may have been cut short by the death of its node.
            let is_same = told == agreed.as_slice() || (*index == last && agreed.starts_with(told));
            if !is_same {
                let what = format!(
                    "at index {index} node {node} (life {}) says {told:?}, others {agreed:?}",
                    account.life
                );
                examined.violation(at, what);
            }
        }
    }
    examined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::ledger::tests::line;

    fn says(logs: Vec<Vec<(u64, &str)>>) -> usize {
        let logs = logs
            .into_iter()
            .map(|log| log.into_iter().map(|(index, text)| line(1, index, text)).collect());
        let mut evidence = Evidence { logs: logs.collect(), ..Evidence::default() };
        evidence.understand();
        examine(&evidence).violations.len()
    }

    #[test]
    fn a_node_that_says_otherwise_or_leaves_something_out_is_noticed() {
        let full = vec![(1, "a"), (2, "b"), (2, "c"), (3, "d")];
        assert_eq!(says(vec![full.clone(), full.clone()]), 0);
        assert_eq!(says(vec![full.clone(), vec![(1, "a"), (2, "b")]]), 0, "it died there");
        assert_eq!(says(vec![full.clone(), vec![(1, "a"), (3, "d")]]), 1, "it left one out");
        assert_eq!(says(vec![full.clone(), vec![(1, "x"), (2, "b"), (2, "c"), (3, "d")]]), 1);
        assert_eq!(says(vec![full, vec![(2, "c"), (2, "b"), (3, "d")]]), 1, "another order");
    }
}
