//! All names as one text, in the order of their players' ids.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use memchr::memmem::Finder;
use serverv2_machine::{PlayerId, PlayerStats};

use super::Recent;

/// Stands behind each name; no text has it.
const SEPARATOR: u8 = 0xff;

/// Who comes first: more battles won, then fewer; last, who fought none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Rank(u32);

impl Rank {
    pub(super) fn of(stats: Option<&PlayerStats>) -> Self {
        let wins = |stats: &PlayerStats| u32::try_from(stats.wins).unwrap_or(u32::MAX - 1);
        Self(stats.map_or(0, |stats| wins(stats).saturating_add(1)))
    }
}

/// See the module's text.
#[derive(Default)]
pub(in super::super) struct Index {
    ids: Vec<PlayerId>,
    ranks: Vec<Rank>,
    /// Where each one's name ends, its separator included.
    ends: Vec<u32>,
    text: Vec<u8>,
}

/// The best comes first in this order.
type Candidate<'a> = (Reverse<Rank>, &'a [u8], PlayerId);

impl Index {
    /// Adds a player, who comes after all others; another one is left out.
    pub(super) fn push(&mut self, player: PlayerId, name: &str) {
        let Ok(end) = u32::try_from(self.text.len() + name.len() + 1) else { return };
        if self.ids.last().is_some_and(|last| *last >= player) {
            return;
        }
        self.text.extend_from_slice(name.as_bytes());
        self.text.push(SEPARATOR);
        self.ids.push(player);
        self.ranks.push(Rank::default());
        self.ends.push(end);
    }

    pub(super) fn set_rank(&mut self, player: PlayerId, rank: Rank) {
        if let Ok(at) = self.ids.binary_search(&player) {
            self.ranks[at] = rank;
        }
    }

    /// The same with these changes.
    pub(super) fn with(&self, recent: &BTreeMap<PlayerId, Recent>) -> Self {
        let mut made = Self::default();
        let mut changes = recent.iter().peekable();
        let mut add = |player: PlayerId, name: &[u8], rank: Rank| {
            if let Ok(name) = std::str::from_utf8(name) {
                made.push(player, name);
                made.set_last_rank(rank);
            }
        };
        for (at, player) in self.ids.iter().enumerate() {
            while let Some((new, change)) = changes.next_if(|(id, _)| *id < player) {
                if let Some(name) = &change.name {
                    add(*new, name.as_bytes(), change.rank.unwrap_or_default());
                }
            }
            let change = changes.next_if(|(id, _)| *id == player).map(|(_, change)| change);
            let name = change.and_then(|change| change.name.as_deref()).map(str::as_bytes);
            let rank = change.and_then(|change| change.rank);
            add(*player, name.unwrap_or_else(|| self.name(at)), rank.unwrap_or(self.ranks[at]));
        }
        for (new, change) in changes {
            if let Some(name) = &change.name {
                add(*new, name.as_bytes(), change.rank.unwrap_or_default());
            }
        }
        made
    }

    /// Those whose names contain the term, the best first.
    pub(super) fn search(
        &self,
        recent: &BTreeMap<PlayerId, Recent>,
        term: &str,
        limit: usize,
    ) -> Vec<PlayerId> {
        let finder = Finder::new(term.as_bytes());
        // The worst of the best on top.
        let mut best: BinaryHeap<Candidate<'_>> = BinaryHeap::with_capacity(limit + 1);
        let mut consider = |candidate| {
            best.push(candidate);
            if best.len() > limit {
                best.pop();
            }
        };
        let (mut at, mut from) = (0, 0);
        while let Some(found) = finder.find(&self.text[from..]) {
            let place = from + found;
            at += self.ends[at..].partition_point(|end| *end as usize <= place);
            let Some(end) = self.ends.get(at) else { break };
            from = *end as usize;
            let change = if recent.is_empty() { None } else { recent.get(&self.ids[at]) };
            if change.is_none_or(|change| change.name.is_none()) {
                let rank = change.and_then(|change| change.rank).unwrap_or(self.ranks[at]);
                consider((Reverse(rank), self.name(at), self.ids[at]));
            }
            at += 1;
        }
        for (player, change) in recent {
            let Some(name) = change.name.as_deref().filter(|name| name.contains(term)) else {
                continue;
            };
            let before = || self.ids.binary_search(player).map(|at| self.ranks[at]);
            let rank = change.rank.unwrap_or_else(|| before().unwrap_or_default());
            consider((Reverse(rank), name.as_bytes(), *player));
        }
        best.into_sorted_vec().into_iter().map(|(_, _, player)| player).collect()
    }

    fn set_last_rank(&mut self, rank: Rank) {
        if let Some(last) = self.ranks.last_mut() {
            *last = rank;
        }
    }

    fn name(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[at] as usize - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn player(name: &str) -> PlayerId {
        format!("{name:_<21}").parse().unwrap()
    }

    fn wins(wins: u64) -> Rank {
        Rank::of(Some(&PlayerStats { wins, ..PlayerStats::default() }))
    }

    fn change(name: Option<&str>, rank: Option<Rank>) -> Recent {
        Recent { name: name.map(Arc::from), rank, at: 1 }
    }

    fn names(found: &[PlayerId]) -> Vec<&str> {
        found.iter().map(|id| id.as_str().trim_end_matches('_')).collect()
    }

    #[test]
    fn winners_come_first_then_names_and_who_fought_none_last() {
        let mut index = Index::default();
        for (id, name) in [("a", "zoe fox"), ("b", "fox"), ("c", "firefox"), ("d", "wolf")] {
            index.push(player(id), name);
        }
        index.set_rank(player("a"), wins(0));
        index.set_rank(player("c"), wins(7));
        let nothing = BTreeMap::new();
        assert_eq!(names(&index.search(&nothing, "fox", 9)), ["c", "a", "b"]);
        assert_eq!(names(&index.search(&nothing, "fox", 2)), ["c", "a"]);
        assert_eq!(names(&index.search(&nothing, "o", 9)), ["c", "a", "b", "d"]);
        assert_eq!(names(&index.search(&nothing, "xf", 9)), [""; 0], "no match across two names");
    }

    #[test]
    fn what_changed_counts_and_stays_when_the_index_is_made_anew() {
        let mut index = Index::default();
        for (id, name) in [("b", "fox"), ("d", "fox too"), ("f", "wolf")] {
            index.push(player(id), name);
        }
        index.set_rank(player("b"), wins(3));
        let recent = BTreeMap::from([
            (player("a"), change(Some("new fox"), None)),
            (player("b"), change(Some("dog"), None)),
            (player("d"), change(None, Some(wins(1)))),
            (player("f"), change(Some("foxy"), Some(wins(2)))),
            (player("z"), change(Some("last fox"), None)),
        ]);
        let found = index.search(&recent, "fox", 9);
        assert_eq!(names(&found), ["f", "d", "z", "a"]);
        let made = index.with(&recent);
        assert_eq!(made.search(&BTreeMap::new(), "fox", 9), found);
        assert_eq!(names(&made.search(&BTreeMap::new(), "dog", 9)), ["b"]);
        assert_eq!(made.ranks[1], wins(3), "a new name keeps its battles");
    }
}
