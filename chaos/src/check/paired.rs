//! Part of I5: two who can be matched are matched in the entry in which both can be. After no entry do tickets of
//! two players wait that nothing keeps from each other: what is decided later is decided in somebody's memory.

use std::collections::{BTreeMap, BTreeSet};

use super::Examined;
use crate::evidence::Evidence;
use crate::evidence::ledger::Ledger;

/// Tickets that are sure to be pairable, and who sits where.
#[derive(Default)]
struct Queue<'a> {
    waiting: BTreeSet<&'a str>,
    sitting: BTreeMap<&'a str, &'a str>,
    /// Behind a hole nobody knows who sits where, but of those who came back since.
    is_behind_hole: bool,
    back: BTreeSet<&'a str>,
    /// Who came last: if it has a seat, that is said at once.
    came: Option<&'a str>,
}

pub(super) fn at_once(evidence: &Evidence, examined: &mut Examined) {
    let ledger = &evidence.ledger;
    let mut queue = Queue::default();
    for (index, told) in &ledger.agreed {
        if ledger.holes.contains(index) {
            queue = Queue { is_behind_hole: true, ..Queue::default() };
        }
        told.iter().for_each(|said| queue.apply(&said.text));
        if !is_whole(ledger, *index) {
            queue.waiting.clear();
        }
        let player = |session: &&'_ str| session.split(':').next().unwrap_or_default().to_owned();
        let players: BTreeSet<String> = queue.waiting.iter().map(player).collect();
        if players.len() > 1 {
            let at = ledger.first_told.get(index).copied();
            let what = format!(
                "after the entry at {index} {:?} wait and are not matched",
                std::mem::take(&mut queue.waiting)
            );
            examined.violation(at, what);
        }
    }
}

/// Whether somebody went on to tell of later entries: what was told last may have been cut short.
fn is_whole(ledger: &Ledger, index: u64) -> bool {
    let has_more = |entries: &BTreeMap<u64, _>| {
        entries.contains_key(&index) && entries.last_key_value().is_some_and(|(it, _)| *it > index)
    };
    ledger.accounts.iter().any(|account| has_more(&account.entries))
}

impl<'a> Queue<'a> {
    fn apply(&mut self, text: &'a str) {
        let words: Vec<&str> = text.split(' ').collect();
        let came = self.came.take();
        match words.as_slice() {
            ["ticket-added", session] if self.is_free(session) => {
                self.waiting.insert(session);
            }
            ["session-opened", session, ..] => {
                self.waiting.remove(session);
                self.back.insert(session);
                self.came = Some(session);
            }
            ["seat-back", room, ..] => {
                self.sitting.extend(came.map(|session| (session, *room)));
            }
            ["match-found", session, room, ..] | ["seat-bound", room, _, "to", session] => {
                self.waiting.remove(session);
                self.sitting.insert(session, room);
            }
            ["battle-ended" | "battle-aborted", room, ..] => {
                self.sitting.retain(|_, it| it != room);
            }
            // Its ticket may be gone, or be kept aside for a while.
            ["ticket-removed" | "session-closed" | "session-ended", session, ..] => {
                self.waiting.remove(session);
            }
            ["node-counted-out", ..] => self.waiting.clear(),
            _ => {}
        }
    }

    /// Whether it is sure to sit nowhere.
    fn is_free(&self, session: &str) -> bool {
        let is_known = !self.is_behind_hole || self.back.contains(session);
        is_known && !self.sitting.contains_key(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::ledger::tests::line;

    fn violations(entries: &[&[&str]]) -> usize {
        let numbered = (1..).zip(entries);
        let log =
            numbered.flat_map(|(index, texts)| texts.iter().map(move |it| line(1, index, it)));
        let mut evidence = Evidence { logs: vec![log.collect()], ..Evidence::default() };
        evidence.understand();
        let mut examined = Examined::default();
        at_once(&evidence, &mut examined);
        examined.violations.len()
    }

    const ADDED: &[&str] = &["ticket-added bob:1"];
    const MATCHED: &[&str] = &[
        "ticket-added bob:1",
        "room-opened r A=ann B=bob home=n1",
        "match-found ann:1 r seat=A opponent=bob",
        "match-found bob:1 r seat=B opponent=ann",
    ];

    #[test]
    fn a_pair_that_is_left_waiting_is_noticed_and_nothing_else_is() {
        let ann: &[&str] = &["ticket-added ann:1"];
        let later: &[&str] = &["input x #9 tick"];
        assert_eq!(violations(&[ann, MATCHED, later]), 0);
        assert_eq!(violations(&[ann, ADDED, later]), 1);
        assert_eq!(violations(&[ann, ADDED]), 0, "its end may have been cut off");
        assert_eq!(violations(&[ann, &["ticket-added ann:2"], later]), 0, "one player's");
        let lost: &[&str] = &["session-closed ann:1 s at n1"];
        assert_eq!(violations(&[ann, lost, ADDED, later]), 0, "it may be kept aside");
        let again: &[&str] = &["ticket-added cid:1", "ticket-added ann:1"];
        assert_eq!(violations(&[ann, MATCHED, again, later]), 0, "she still sits in a battle");
    }
    #[test]
    fn who_sits_is_not_known_behind_a_hole_until_he_comes_back() {
        let cut = |later: &[&str]| {
            let before = line(1, 1, "input x #1 tick");
            let told = later.iter().map(|text| line(2, 5, text));
            let log = std::iter::once(before).chain(told).chain([line(2, 6, "input x #9 tick")]);
            let mut evidence = Evidence { logs: vec![log.collect()], ..Evidence::default() };
            evidence.understand();
            let mut examined = Examined::default();
            at_once(&evidence, &mut examined);
            examined.violations.len()
        };
        let (ann, bob) = ("session-opened ann:1 s at n1", "session-opened bob:1 s at n1");
        let joined = ["ticket-added ann:1", "ticket-added bob:1"];
        assert_eq!(cut(&joined), 0, "both may sit somewhere");
        assert_eq!(cut(&[ann, bob, joined[0], joined[1]]), 1, "both sit nowhere");
        assert_eq!(
            cut(&[ann, "seat-back r A", bob, joined[0], joined[1]]),
            0,
            "she is back in a battle"
        );
    }
}
