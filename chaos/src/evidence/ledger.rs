//! What the nodes say that the log decided: each node writes every effect of an entry, with the entry's index
//! and term and the request it came from. Several witnesses of one log: they must not differ.
//!
//! A node's account has seams: where its process died, and where it says itself that it skipped some (a
//! snapshot, a lag). What no node's account covers is a hole: after it nothing is known but what is said anew.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::log::Written;
use crate::history::Nanos;
use crate::times;

/// One effect of an entry, as a node told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) term: u64,
    pub(crate) request: String,
    pub(crate) text: String,
}

/// What a node told without a seam.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) node: usize,
    pub(crate) life: u32,
    pub(crate) entries: BTreeMap<u64, Vec<Said>>,
}

/// An event of a socket that became a proposal.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) at: Nanos,
    pub(crate) request: String,
    pub(crate) event: String,
}

/// All accounts, and what they agree on.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: Vec<Account>,
    /// The fullest telling of each entry.
    pub(crate) agreed: BTreeMap<u64, Vec<Said>>,
    /// Entries before which something may be missing.
    pub(crate) holes: Vec<u64>,
    /// By the socket's id.
    pub(crate) proposals: BTreeMap<String, Vec<Proposal>>,
    /// Which entry a request is in, if anything followed from it.
    pub(crate) index_of: BTreeMap<String, u64>,
    /// When a node was first heard to have applied an entry.
    pub(crate) first_told: BTreeMap<u64, Nanos>,
}

impl Ledger {
    /// Reads the logs of all nodes, whose clocks are right or not.
    pub(crate) fn read(logs: &[Vec<Written>], clocks_are_right: bool) -> Self {
        let mut ledger = Self::default();
        for (node, log) in logs.iter().enumerate() {
            ledger.read_node(node, log, clocks_are_right);
        }
        ledger.agree();
        ledger
    }

    fn read_node(&mut self, node: usize, log: &[Written], clocks_are_right: bool) {
        let mut account = Account { node, ..Account::default() };
        let said: Vec<(&Written, Value)> = log
            .iter()
            .filter_map(|line| Some((line, serde_json::from_str(&line.text).ok()?)))
            .collect();
        let read = || said.iter().map(|(line, _)| line.at).collect();
        let times = if clocks_are_right { written(&said) } else { read() };
        for ((line, said), at) in said.iter().zip(times) {
            let message = said["message"].as_str().unwrap_or_default();
            let is_seam = line.life != account.life || message.starts_with("effects were skipped");
            if is_seam {
                let next = Account { node, life: line.life, ..Account::default() };
                self.close(std::mem::replace(&mut account, next));
            }
            match said["target"].as_str() {
                Some("transcript") => {
                    let Some(index) = said["raft.index"].as_u64() else { continue };
                    let first = self.first_told.entry(index).or_insert(at);
                    *first = at.min(*first);
                    account.entries.entry(index).or_default().push(Said {
                        term: said["span"]["raft.term"].as_u64().unwrap_or_default(),
                        request: said["span"]["request.id"].as_str().unwrap_or_default().to_owned(),
                        text: message.to_owned(),
                    });
                }
                Some("serverv2::gateway") if message == "an event becomes a proposal" => {
                    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
                    let proposal =
                        Proposal { at, request: text("request.id"), event: text("event") };
                    self.proposals.entry(text("socket.id")).or_default().push(proposal);
                }
                _ => {}
            }
        }
        self.close(account);
    }

    fn close(&mut self, account: Account) {
        if !account.entries.is_empty() {
            self.accounts.push(account);
        }
    }

    fn agree(&mut self) {
        for account in &self.accounts {
            for (index, told) in &account.entries {
                let agreed = self.agreed.entry(*index).or_default();
                if told.len() > agreed.len() {
                    agreed.clone_from(told);
                }
            }
        }
        // Whoever dies while he tells of an entry does not tell all of it. If nobody has told more, nothing is known.
        let is_whole = |index: &u64| {
            self.accounts.iter().any(|account| {
                let last = account.entries.last_key_value().map(|(last, _)| last);
                account.entries.contains_key(index) && last != Some(index)
            })
        };
        let newest = self.agreed.last_key_value().map(|(last, _)| *last);
        self.agreed.retain(|index, _| Some(*index) == newest || is_whole(index));
        for (index, told) in &self.agreed {
            for said in told {
                self.index_of.entry(said.request.clone()).or_insert(*index);
            }
        }
        let is_told = |index: &u64| self.agreed.contains_key(index);
        let told =
            |(first, last): (u64, u64)| (first, if is_told(&last) { last } else { last - 1 });
        let spans = self.accounts.iter().filter_map(Account::span);
        let mut spans: Vec<(u64, u64)> = spans.map(told).collect();
        spans.sort_unstable();
        let mut covered = None;
        for (first, last) in spans {
            // The end of an account is where its node died: what stood behind it may be missing.
            if covered.is_some_and(|covered| first > covered) {
                self.holes.push(first);
            }
            covered = covered.max(Some(last));
        }
    }
}

/// When each line was written: between a container and its reader there is an engine, which takes its time.
fn written(lines: &[(&Written, Value)]) -> Vec<Nanos> {
    let lives = lines.chunk_by(|(before, _), (after, _)| before.life == after.life);
    let of_life = |life: &[(&Written, Value)]| {
        let own = |said: &Value| times::since_epoch(said["timestamp"].as_str()?);
        let told: Vec<_> = life.iter().map(|(line, said)| (line.at, own(said))).collect();
        times::written(&told)
    };
    lives.flat_map(of_life).collect()
}

impl Account {
    /// The first and the last entry it tells of.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        Some((*self.entries.first_key_value()?.0, *self.entries.last_key_value()?.0))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line as a node writes it.
    pub(crate) fn line(life: u32, index: u64, text: &str) -> Written {
        let span = format!(r#"{{"raft.term":1,"request.id":"r{index}"}}"#);
        let text = format!(
            r#"{{"message":{},"raft.index":{index},"target":"transcript","span":{span}}}"#,
            Value::from(text)
        );
        Written { at: index, life, text }
    }

    #[test]
    fn an_account_ends_where_its_node_died_or_skipped() {
        let skipped =
            Written { at: 5, life: 1, text: r#"{"message":"effects were skipped: x"}"#.into() };
        let log = vec![line(1, 1, "a"), line(1, 2, "b"), skipped, line(1, 9, "c"), line(2, 9, "c")];
        let ledger = Ledger::read(&[log], true);
        let spans: Vec<_> = ledger.accounts.iter().filter_map(Account::span).collect();
        assert_eq!(spans, [(1, 2), (9, 9), (9, 9)]);
        assert_eq!(ledger.holes, [9]);
    }

    #[test]
    fn an_entry_that_nobody_lived_to_tell_of_wholly_is_none() {
        let cut =
            |node: &str| vec![line(1, 1, "a"), line(1, 2, node), line(2, 5, "c"), line(2, 6, "d")];
        let ledger = Ledger::read(&[cut("b"), cut("b")], true);
        assert_eq!(ledger.agreed.keys().copied().collect::<Vec<_>>(), [1, 5, 6]);
        assert_eq!(ledger.holes, [5]);
        let whole = vec![line(1, 1, "a"), line(1, 2, "b"), line(1, 3, "x"), line(1, 5, "c")];
        let ledger = Ledger::read(&[cut("b"), whole], true);
        assert_eq!(ledger.agreed.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
    }

    #[test]
    fn what_one_node_missed_another_one_tells() {
        let ledger = Ledger::read(
            &[
                vec![line(1, 1, "a"), line(2, 9, "d")],
                vec![line(1, 1, "a"), line(1, 4, "b"), line(1, 4, "c"), line(1, 9, "d")],
            ],
            true,
        );
        assert_eq!(ledger.holes, [0_u64; 0]);
        assert_eq!(ledger.agreed[&4].len(), 2);
        assert_eq!(ledger.index_of["r4"], 4);
    }
}
