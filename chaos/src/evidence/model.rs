//! A second opinion on the log: the rules of queue, rooms and battles, written anew and as plainly as possible,
//! applied to what the nodes say was decided. It knows nothing of how the server does it.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Ledger;

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A session has at most one live room.
    OneRoom,
    /// Only who has a ticket is matched, and with it once.
    TicketOnce,
    /// A room id is never used again.
    RoomIdOnce,
    /// A room opens with both its matches, in one entry, of two players.
    MatchWhole,
    /// Inputs of a battle are numbered without gap or repeat.
    InputsDense,
    /// Nothing happens in a battle after its end, and it ends once.
    EndsOnce,
    /// A line that no rule understands.
    Understood,
}

/// A broken rule and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) rule: Rule,
    pub(crate) index: u64,
    pub(crate) what: String,
}

/// A room's story.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    pub(crate) opened: u64,
    /// Sessions in their seats, A then B; as they were matched.
    pub(crate) seats: Vec<String>,
    pub(crate) players: Vec<String>,
    /// Number, index, request and text of each input.
    pub(crate) inputs: BTreeMap<u64, (u64, String, String)>,
    pub(crate) ended: Option<u64>,
    /// Known from its beginning.
    known: bool,
}

/// What came of replaying the log.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) breaches: Vec<Breach>,
    pub(crate) rooms: BTreeMap<String, Room>,
    /// Rooms of each session, in order.
    pub(crate) matched: BTreeMap<String, Vec<String>>,
    pub(crate) revoked: BTreeSet<String>,
    tickets: BTreeSet<String>,
    /// The live room of each session.
    sitting: BTreeMap<String, String>,
    /// After a hole, who is not known to have no ticket may have one.
    unsure_since: Option<u64>,
    seen_since: BTreeSet<String>,
    /// Rooms that this entry has opened.
    fresh: Vec<String>,
}

impl Replay {
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let mut replay = Self::default();
        for (index, told) in &ledger.agreed {
            if ledger.holes.contains(index) {
                replay.forget(*index);
            }
            for said in told {
                replay.apply(*index, &said.request, &said.text);
            }
            replay.whole(*index);
        }
        replay
    }

    /// Breaches of one rule.
    pub(crate) fn of_rule(&self, rule: Rule) -> impl Iterator<Item = &Breach> {
        self.breaches.iter().filter(move |breach| breach.rule == rule)
    }

    fn breach(&mut self, rule: Rule, index: u64, what: impl Into<String>) {
        self.breaches.push(Breach { rule, index, what: what.into() });
    }

    /// Something may be missing before this entry: tickets and live rooms are not known any more.
    fn forget(&mut self, index: u64) {
        self.unsure_since = Some(index);
        self.tickets.clear();
        self.sitting.clear();
        self.seen_since.clear();
        self.rooms.values_mut().for_each(|room| room.known = false);
    }

    fn apply(&mut self, index: u64, request: &str, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["ticket-added", session] => {
                self.tickets.insert((*session).to_owned());
                self.seen_since.insert((*session).to_owned());
            }
            ["ticket-removed", session] => {
                self.tickets.remove(*session);
                self.seen_since.insert((*session).to_owned());
            }
            ["room-opened", room, a, b, ..] => self.open(index, room, [a, b]),
            ["match-found", session, room, seat, _] => self.matched(index, session, room, seat),
            ["seat-bound", room, seat, "to", session] => self.bound(room, seat, session),
            ["input", room, number, rest @ ..] => {
                let number = number.trim_start_matches('#').parse().unwrap_or_default();
                self.input(index, room, number, (request, &rest.join(" ")));
            }
            ["battle-ended" | "battle-aborted", room, ..] => self.end(index, room),
            ["tokens-revoked", token] => drop(self.revoked.insert((*token).to_owned())),
            [
                "session-opened" | "session-closed" | "session-ended" | "seat-lost" | "seat-back"
                | "digest-stated" | "report-closed" | "home-moved" | "room-removed"
                | "node-counted-out" | "player-proved",
                ..,
            ] => {}
            _ => self.breach(Rule::Understood, index, text),
        }
    }

    fn open(&mut self, index: u64, room: &str, players: [&str; 2]) {
        let players: Vec<String> =
            players.iter().filter_map(|it| Some(it.split_once('=')?.1.to_owned())).collect();
        if players.first() == players.last() {
            self.breach(Rule::MatchWhole, index, format!("{room}: a player against himself"));
        }
        self.fresh.push(room.to_owned());
        let new = Room { opened: index, players, known: true, ..Room::default() };
        if let Some(former) = self.rooms.insert(room.to_owned(), new) {
            let what = format!("{room} was opened at {} before", former.opened);
            self.breach(Rule::RoomIdOnce, index, what);
        }
    }

    fn matched(&mut self, index: u64, session: &str, room: &str, seat: &str) {
        let had_ticket = self.tickets.remove(session);
        let may_have_had = self.unsure_since.is_some() && !self.seen_since.contains(session);
        if !had_ticket && !may_have_had {
            self.breach(Rule::TicketOnce, index, format!("{session} had no ticket for {room}"));
        }
        self.seen_since.insert(session.to_owned());
        if let Some(other) = self.sitting.insert(session.to_owned(), room.to_owned()) {
            self.breach(Rule::OneRoom, index, format!("{session} sits in {other} and {room}"));
        }
        self.matched.entry(session.to_owned()).or_default().push(room.to_owned());
        let opened = self.rooms.entry(room.to_owned()).or_default();
        let of_seat = usize::from(seat == "seat=B");
        let is_next = opened.opened == index && opened.seats.len() == of_seat;
        let is_of_player = opened.players.get(of_seat).is_some_and(|player| {
            session.strip_prefix(player.as_str()).is_some_and(|rest| rest.starts_with(':'))
        });
        opened.seats.push(session.to_owned());
        if !is_next || !is_of_player {
            let what = format!("{session} was told of {room} in another entry or seat");
            self.breach(Rule::MatchWhole, index, what);
        }
    }

    /// Each room opened in this entry has both its players.
    fn whole(&mut self, index: u64) {
        for room in std::mem::take(&mut self.fresh) {
            if self.rooms.get(&room).is_none_or(|opened| opened.seats.len() != 2) {
                self.breach(Rule::MatchWhole, index, format!("{room} has not two players"));
            }
        }
    }

    fn bound(&mut self, room: &str, seat: &str, session: &str) {
        let Some(known) = self.rooms.get_mut(room) else { return };
        if let Some(former) = known.seats.get_mut(usize::from(seat == "B")) {
            self.sitting.remove(former.as_str());
            session.clone_into(former);
            self.sitting.insert(session.to_owned(), room.to_owned());
        }
    }

    fn input(&mut self, index: u64, room: &str, number: u64, (request, text): (&str, &str)) {
        let known = self.rooms.entry(room.to_owned()).or_default();
        let last = known.inputs.last_key_value().map(|(number, _)| *number);
        let is_next = number == last.map_or(1, |last| last + 1);
        let is_repeat = known.inputs.contains_key(&number);
        let (is_known, ended) = (known.known, known.ended);
        let first = known.inputs.entry(number);
        first.or_insert_with(|| (index, request.to_owned(), text.to_owned()));
        if is_repeat || (is_known && !is_next) {
            let what = format!("{room} got #{number} after {last:?}");
            self.breach(Rule::InputsDense, index, what);
        }
        if let Some(ended) = ended {
            let what = format!("{room} got #{number} and had ended at {ended}");
            self.breach(Rule::EndsOnce, index, what);
        }
    }

    fn end(&mut self, index: u64, room: &str) {
        let known = self.rooms.entry(room.to_owned()).or_default();
        let before = known.ended.replace(index);
        let seats = known.seats.clone();
        for session in seats {
            if self.sitting.get(&session).is_some_and(|sits| sits == room) {
                self.sitting.remove(&session);
            }
        }
        if let Some(before) = before {
            self.breach(Rule::EndsOnce, index, format!("{room} had ended at {before}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::tests::line;
    use super::*;

    const MATCH: [&str; 5] = [
        "ticket-added ann:1",
        "ticket-added bob:1",
        "room-opened r A=ann B=bob home=n1",
        "match-found ann:1 r seat=A opponent=bob",
        "match-found bob:1 r seat=B opponent=ann",
    ];

    /// Replays one node's account; lines of one entry stand together.
    fn replay(entries: &[&[&str]]) -> Vec<Rule> {
        let numbered = (1..).zip(entries);
        let log =
            numbered.flat_map(|(index, texts)| texts.iter().map(move |it| line(1, index, it)));
        let ledger = Ledger::read(&[log.collect()], true);
        Replay::of(&ledger).breaches.into_iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn a_match_and_its_battle_break_no_rule() {
        let battle = ["input r #1 ready A", "input r #2 ready B", "battle-ended r A wins"];
        assert_eq!(replay(&[&MATCH, &battle, &["room-removed r"]]), []);
    }

    #[test]
    fn each_broken_rule_is_noticed() {
        let cases: [(&[&str], Rule); 8] = [
            (&["match-found ann:1 r seat=A opponent=bob"], Rule::TicketOnce),
            (&["room-opened r A=cid B=dan home=n1"], Rule::RoomIdOnce),
            (&["room-opened s A=cid B=dan home=n1"], Rule::MatchWhole),
            (&["input r #2 ready A"], Rule::InputsDense),
            (&["input r #1 ready A", "input r #1 ready A"], Rule::InputsDense),
            (&["battle-ended r A wins", "input r #1 tick"], Rule::EndsOnce),
            (&["battle-ended r A wins", "battle-aborted r"], Rule::EndsOnce),
            (&["something-new r"], Rule::Understood),
        ];
        for (then, rule) in cases {
            assert!(replay(&[&MATCH, then]).contains(&rule), "{then:?}");
        }
        let again =
            ["ticket-added ann:1", "ticket-added cid:1", "room-opened s A=ann B=cid home=n1"];
        let both =
            ["match-found ann:1 s seat=A opponent=cid", "match-found cid:1 s seat=B opponent=ann"];
        let second: Vec<&str> = again.into_iter().chain(both).collect();
        assert_eq!(replay(&[&MATCH, &second]), [Rule::OneRoom]);
        assert_eq!(replay(&[&MATCH, &["battle-aborted r"], &second]), []);
    }

    #[test]
    fn what_may_have_happened_in_a_hole_is_no_breach() {
        let log = vec![line(1, 1, "ticket-added ann:1"), line(2, 9, "input r #7 tick")];
        let more = vec![line(2, 10, "input r #8 tick"), line(2, 11, "input r #8 tick")];
        let ledger = Ledger::read(&[log.into_iter().chain(more).collect()], true);
        let breaches = Replay::of(&ledger).breaches;
        let rules: Vec<_> = breaches.iter().map(|breach| (breach.rule, breach.index)).collect();
        assert_eq!(rules, [(Rule::InputsDense, 11)], "what is said afterwards counts again");
    }
}
