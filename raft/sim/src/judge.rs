//! What must hold, whatever went wrong. It sees each entry that any node applies, each answer that a player
//! got, and each node's vote; the first violation ends the run.
//!
//! | Violation | Found by |
//! |---|---|
//! | two nodes apply different entries at one index | each node's entry against the first one's |
//! | equal entries lead to different states | digests of state and records at every eighth index, and at the end |
//! | an acknowledged command is lost, or its answer is another one | answers against the log |
//! | a command is done twice | effects and replies by the client's id of the request; inputs by their text |
//! | a battle's inputs have a gap | numbers of the appended inputs, room by room |
//! | a session is in two live rooms | all live rooms after each entry |
//! | a node goes back behind its vote | what it says is its vote, over all its lives, and what its disk has after each |
//! | a leader appends below a later one | (term, leader) along the log |
//! | a token counts after its revocation was acknowledged | linearizable reads on any node |

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};

use serverv2_machine::{
    Applied, Command, Digest, Effect, Entry, Input, NodeId, Proposal, Rejection, Reply, RoomId,
    ScopedKey, SessionKey, encode_entry,
};
use serverv2_raft_simulated::simulation::Seen;
use serverv2_raft_simulated::{Answer, SavedVote};

use crate::trace::{note, note_change};

/// From one digest of the state to the next, entries. It is made of all of the state, and states that differ once do so
/// until the end.
const STATE_EVERY: u64 = 8;

/// What is known of the log and of what was promised.
#[derive(Default)]
pub(crate) struct Judge {
    log: BTreeMap<u64, Fact>,
    keys: BTreeMap<ScopedKey, Vec<Given>>,
    texts: BTreeMap<String, (RoomId, u32)>,
    numbers: BTreeMap<RoomId, u32>,
    /// Index of the last entry that closed the session.
    closed: BTreeMap<SessionKey, u64>,
    votes: BTreeMap<NodeId, SavedVote>,
    acked: Vec<(ScopedKey, Answer)>,
    violation: Option<String>,
}

/// An entry as it was first applied.
struct Fact {
    term: u64,
    leader: NodeId,
    bytes: u64,
    /// At some indexes.
    state: Option<Digest>,
    by: NodeId,
}

/// An answer in the log.
struct Given {
    index: u64,
    outcome: Result<Reply, Rejection>,
    join_of: Option<SessionKey>,
}

impl Judge {
    /// The first violation.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// States a violation.
    pub(crate) fn violated(&mut self, what: String) {
        note_change!("VIOLATION: {what}");
        self.violation.get_or_insert(what);
    }

    /// The highest index that any node has applied.
    pub(crate) fn last_index(&self) -> u64 {
        self.log.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Entries, answers that players got, battle inputs, rooms.
    pub(crate) fn figures(&self) -> [usize; 4] {
        [self.log.len(), self.acked.len(), self.texts.len(), self.numbers.len()]
    }

    /// A node has applied an entry.
    pub(crate) fn applied(&mut self, seen: &Seen<'_>) {
        let (index, node) = (seen.index, seen.node);
        let state = index.is_multiple_of(STATE_EVERY).then(|| seen.machine.digest(seen.records));
        let bytes = seen.entry.map_or(0, fingerprint);
        note!("{node} applies {index} of {}.{}", seen.term, seen.leader);
        if let Some(state) = state {
            note!("{node} is at {state}");
        }
        if let Some(fact) = self.log.get(&index) {
            let by = fact.by;
            if (fact.term, fact.leader, fact.bytes) != (seen.term, seen.leader, bytes) {
                let (term, leader) = (fact.term, fact.leader);
                self.violated(format!(
                    "{node} applies another entry at {index} ({}.{}) than {by} ({term}.{leader})",
                    seen.term, seen.leader
                ));
            } else if fact.state != state {
                self.violated(format!("{node} and {by} are in different states at {index}"));
            }
            return;
        }
        if let Some((last, fact)) = self.log.last_key_value() {
            let (last, newest) = (*last, (fact.term, fact.leader));
            if index != last + 1 {
                self.violated(format!("{node} applies {index}, and {last} was the last one"));
            }
            if (seen.term, seen.leader) < newest {
                self.violated(format!("entry {index} is of a leader before that of {last}"));
            }
        }
        let fact = Fact { term: seen.term, leader: seen.leader, bytes, state, by: node };
        self.log.insert(index, fact);
        if let Some(entry) = seen.entry {
            for (proposal, applied) in entry.proposals.iter().zip(seen.applied) {
                self.decided(index, proposal, applied);
            }
        }
        self.check_rooms(seen);
    }

    fn decided(&mut self, index: u64, proposal: &Proposal, applied: &Applied) {
        for effect in &applied.effects {
            match effect {
                Effect::InputAppended { room, input } => {
                    let last = self.numbers.entry(*room).or_default();
                    let expected = *last + 1;
                    *last = input.number;
                    if input.number != expected {
                        let number = input.number;
                        self.violated(format!("{room} got input {number} and not {expected}"));
                    }
                    if let Input::Select(_, text) = &input.input {
                        let place = (*room, input.number);
                        if let Some(before) = self.texts.insert(text.to_string(), place) {
                            self.violated(format!("{text} is in {before:?} and in {place:?}"));
                        }
                    }
                }
                Effect::SessionClosed { session, .. } => {
                    self.closed.insert(session.clone(), index);
                }
                _ => {}
            }
        }
        let Some(key) = &proposal.client_key else { return };
        let join_of = match &proposal.command {
            Command::JoinQueue(join) => Some(join.session.clone()),
            _ => None,
        };
        let given = self.keys.entry(key.clone()).or_default();
        let first = given.iter().find(|given| given.outcome.is_ok());
        // A join that was undone with its connection is done again.
        let undone = |first: &Given| {
            let closed = first.join_of.as_ref().and_then(|session| self.closed.get(session));
            closed.is_some_and(|closed| *closed >= first.index)
        };
        let mut twice = None;
        if let Some(first) = first.filter(|first| !undone(first)) {
            let same = first.outcome == applied.outcome && applied.effects.is_empty();
            // Refused before it was looked at.
            let refused = matches!(
                applied.outcome,
                Err(Rejection::StaleRequest
                    | Rejection::StaleIncarnation
                    | Rejection::NodeUnknown
                    | Rejection::WindowFull)
            );
            if !same && !refused {
                twice = Some(format!(
                    "{} was done at {} and again at {index}: {applied}",
                    proposal.command, first.index
                ));
            }
        }
        given.push(Given { index, outcome: applied.outcome.clone(), join_of });
        if let Some(twice) = twice {
            self.violated(twice);
        }
    }

    fn check_rooms(&mut self, seen: &Seen<'_>) {
        let mut seated = BTreeSet::new();
        for room in seen.machine.rooms().filter(|room| room.is_live()) {
            let seats = room.seats.iter().filter(|seat| !seat.gone);
            let twice = seats.filter(|seat| !seated.insert(seat.session)).count();
            if twice > 0 {
                self.violated(format!("a session of {} is in another live room, too", room.id));
            }
        }
    }

    /// A player was answered.
    pub(crate) fn acknowledged(&mut self, key: &ScopedKey, answer: &Answer) {
        self.acked.push((key.clone(), answer.clone()));
        if let Err(why) = self.check(key, answer) {
            self.violated(why);
        }
    }

    fn check(&self, key: &ScopedKey, answer: &Answer) -> Result<(), String> {
        let given = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let stands = |given: &Given| given.index <= answer.index && given.outcome == answer.outcome;
        if answer.index > self.last_index() || !given.iter().any(stands) {
            let Answer { index, outcome } = answer;
            return Err(format!(
                "{key:?} was answered {outcome:?} at {index}; the log says no such thing"
            ));
        }
        Ok(())
    }

    /// A node says what its vote is.
    pub(crate) fn votes(&mut self, node: NodeId, vote: SavedVote) {
        match self.votes.insert(node, vote) {
            Some(before) if before > vote => {
                self.violated(format!("{node} goes back from vote {before:?} to {vote:?}"));
            }
            Some(before) if before == vote => {}
            _ => note!("{node} votes {}.{}", vote.term, vote.node),
        }
    }

    /// A node has ended, and this vote is on its disk.
    pub(crate) fn kept(&mut self, node: NodeId, vote: Option<SavedVote>) {
        let told = self.votes.get(&node).copied();
        if told > vote {
            self.violated(format!(
                "{node} said that its vote is {told:?}, and its disk has {vote:?}"
            ));
        }
    }

    /// All nodes have applied the log up to this index: they must be in one state, and everything that was
    /// acknowledged must be in the log.
    pub(crate) fn conclude(&mut self, index: u64, states: &BTreeSet<Digest>) {
        if states.len() != 1 {
            self.violated(format!("the nodes are in different states at the end, {index}"));
        }
        let late = self.acked.iter().find(|(_, answer)| answer.index > index);
        let lost = late.map(|(key, answer)| format!("{key:?} was answered at {}", answer.index));
        let lost = lost
            .or_else(|| self.acked.iter().find_map(|(key, answer)| self.check(key, answer).err()));
        if let Some(lost) = lost {
            self.violated(format!("the log ends at {index}, and {lost}"));
        }
    }
}

fn fingerprint(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&encode_entry(entry).unwrap_or_default());
    hasher.finish()
}
