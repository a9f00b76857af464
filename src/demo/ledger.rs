//! What the nodes say that the log decided: each decision is told once, and all must say the same.

use std::collections::BTreeMap;

type Entries = BTreeMap<u64, Vec<String>>;

/// Decisions by log index, those of all nodes and those that each node has told in its present life.
#[derive(Default)]
pub(super) struct Ledger {
    decided: Entries,
    told: BTreeMap<u64, Entries>,
}

impl Ledger {
    /// A node says what an entry decided; true if nobody has said it before.
    pub(super) fn hear(&mut self, node: u64, index: u64, text: &str) -> bool {
        let told = self.told.entry(node).or_default().entry(index).or_default();
        let place = told.len();
        told.push(text.to_owned());
        let decided = self.decided.entry(index).or_default();
        let is_new = decided.len() <= place;
        if is_new {
            decided.push(text.to_owned());
        }
        is_new
    }

    /// A new life of this node begins: it tells what it applies from here on.
    pub(super) fn begins(&mut self, node: u64) {
        self.told.remove(&node);
    }

    /// How many decisions this node told, if they are all there have been since its first one; else
    /// what is different.
    pub(super) fn compare(&self, node: u64) -> Result<usize, String> {
        let Some((told, first)) =
            self.told.get(&node).and_then(|told| Some((told, *told.first_key_value()?.0)))
        else {
            return Err(format!("node {node} has told no decision"));
        };
        for (index, decided) in self.decided.range(first..) {
            let told = told.get(index).map(Vec::as_slice).unwrap_or_default();
            if told != decided {
                return Err(format!(
                    "at log index {index} node {node} says {told:?}, not {decided:?}"
                ));
            }
        }
        Ok(told.values().map(Vec::len).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_new_once_whoever_says_it_first() {
        let mut ledger = Ledger::default();
        let heard = [(1, 7, "a"), (2, 7, "a"), (2, 7, "a"), (1, 7, "a"), (1, 8, "b"), (2, 8, "b")];
        let new = heard.map(|(node, index, text)| ledger.hear(node, index, text));
        assert_eq!(new, [true, false, true, false, true, false], "an entry may say a thing twice");
        assert_eq!((ledger.compare(1), ledger.compare(2)), (Ok(3), Ok(3)));
    }

    #[test]
    fn what_a_node_says_otherwise_or_leaves_out_is_a_difference() {
        let mut ledger = Ledger::default();
        for (node, index, text) in [(1, 7, "a"), (1, 8, "b"), (2, 7, "a"), (2, 8, "c"), (3, 7, "a")]
        {
            ledger.hear(node, index, text);
        }
        assert_eq!(ledger.compare(1), Ok(2));
        assert!(ledger.compare(2).unwrap_err().contains("index 8 node 2"));
        assert!(ledger.compare(3).unwrap_err().contains("index 8 node 3"));
        assert!(ledger.compare(4).unwrap_err().contains("no decision"));
    }

    #[test]
    fn a_restarted_node_answers_for_what_it_told_since() {
        let mut ledger = Ledger::default();
        ledger.hear(1, 7, "a");
        ledger.hear(2, 7, "a");
        ledger.hear(2, 8, "b");
        ledger.begins(1);
        assert!(ledger.compare(1).is_err());
        ledger.hear(1, 8, "b");
        assert_eq!(ledger.compare(1), Ok(1));
    }
}
