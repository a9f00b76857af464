//! I2: a place in the queue leads to one match at most, and to none once it was given up.
//!
//! By the log: only who has a ticket is matched, and that takes it. From outside: each session is a small
//! object (idle, queued, in a room) whose operations must have an order in which all of them make sense.

use porcupine_rs::{Model, Operation};

use super::Examined;
use super::linear::{between, check, operation};
use super::sessions::{Session, sessions};
use crate::evidence::Evidence;
use crate::evidence::model::Rule;
use crate::history::{Call, Class, Heard};

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    examined.breaches(evidence, &[Rule::TicketOnce]);
    for (key, session) in sessions(evidence) {
        check(&format!("session {key}"), &history(&session), &mut examined);
    }
    examined
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Idle,
    Queued,
    In(usize),
    /// In a room, and with a place in the queue for afterwards.
    InAndQueued(usize),
}

/// What happens to it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    /// One that may not have happened.
    MaybeJoin,
    Cancel,
    MaybeCancel,
    /// Its connection was lost: its ticket may go, now or later.
    Lost,
    Matched(usize),
    Closed(usize),
}

#[derive(Clone, Debug)]
struct Queue;

impl Model for Queue {
    type State = (Place, Rooms);
    type Op = Step;
    type Metadata = ();

    fn init() -> Self::State {
        (Place::Idle, Rooms::default())
    }

    fn step((place, rooms): &Self::State, step: &Step) -> (bool, Self::State) {
        let moved = |place| (true, (place, *rooms));
        let stays = (true, (*place, *rooms));
        match (step, place) {
            (Step::Join | Step::MaybeJoin, Place::Idle) => moved(Place::Queued),
            (Step::Join | Step::MaybeJoin, Place::In(room)) => moved(Place::InAndQueued(*room)),
            (Step::Cancel | Step::MaybeCancel | Step::Lost, Place::Queued) => moved(Place::Idle),
            (Step::Cancel | Step::MaybeCancel | Step::Lost, Place::InAndQueued(room)) => {
                moved(Place::In(*room))
            }
            (Step::Matched(room), Place::Queued) if !rooms.has(*room) => {
                (true, (Place::In(*room), rooms.with(*room)))
            }
            (Step::Matched(_), _) => (false, (*place, *rooms)),
            (Step::Closed(room), Place::In(now)) if room == now => moved(Place::Idle),
            (Step::Closed(room), Place::InAndQueued(now)) if room == now => moved(Place::Queued),
            _ => stays,
        }
    }
}

/// Rooms that a session has been in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Rooms(u64);

impl Rooms {
    fn has(self, room: usize) -> bool {
        self.0 >> room & 1 == 1
    }

    fn with(self, room: usize) -> Self {
        Self(self.0 | 1 << room)
    }
}

/// The same, if it happened at all.
fn maybe(step: Step) -> Step {
    match step {
        Step::Join => Step::MaybeJoin,
        Step::Cancel => Step::MaybeCancel,
        other => other,
    }
}

/// More rooms than this in one session are not told apart; none has so many.
const ROOMS_MAX: usize = 63;

fn history(session: &Session<'_>) -> Vec<Operation<Queue>> {
    let mut history: Vec<Operation<Queue>> = Vec::new();
    let mut rooms: Vec<&str> = Vec::new();
    // The same request is one operation, however often it was sent.
    let mut seen = std::collections::BTreeMap::new();
    for op in &session.ops {
        let step = match (&op.call, op.class) {
            (Call::Join { .. }, Class::Ok) => Step::Join,
            (Call::Join { .. }, Class::Info) => Step::MaybeJoin,
            (Call::Cancel { .. }, Class::Ok) => Step::Cancel,
            (Call::Cancel { .. }, Class::Info) => Step::MaybeCancel,
            _ => continue,
        };
        let request = op.call.request().unwrap_or_default();
        match seen.get(request) {
            // Its first try counts from when it was sent until somebody said that it happened. If that is long
            // after, a lost connection may have undone it, and the retry did it anew: it may have been both.
            Some(()) => history.push(operation(op, maybe(step), false)),
            None => {
                seen.insert(request, ());
                history.push(operation(op, step, op.is_ok()));
            }
        }
    }
    for hearing in &session.heard {
        let at = i64::try_from(hearing.at).unwrap_or(i64::MAX);
        match &hearing.heard {
            Heard::Matched { room, .. } | Heard::Resumed { room } => {
                if rooms.contains(&room.as_str()) || rooms.len() >= ROOMS_MAX {
                    continue;
                }
                // It happened some time since the session first asked for it.
                let from = session.ops.first().map_or(0, |op| op.invoked);
                history.push(between(0, from, at, Step::Matched(rooms.len())));
                rooms.push(room);
            }
            Heard::RoomClosed { room } => {
                if let Some(room) = rooms.iter().position(|known| known == room) {
                    let from = session.ops.first().map_or(0, |op| op.invoked);
                    history.push(between(0, from, at, Step::Closed(room)));
                }
            }
            Heard::Gone { .. } => history.push(between(0, hearing.at, i64::MAX, Step::Lost)),
            Heard::Battle { .. } => {}
        }
    }
    history
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn op(id: u64, f: &str, from: u64, to: u64) -> [Value; 2] {
        let request = format!("r{id}");
        [
            json!({"ev": "invoke", "t": from, "op": id, "actor": 1, "node": 0, "f": f,
                   "player": "p", "session": "s", "request": request}),
            json!({"ev": "return", "t": to, "op": id, "class": "ok"}),
        ]
    }

    fn matched(t: u64, room: &str) -> Value {
        json!({"ev": "heard", "t": t, "actor": 1, "node": 0, "player": "p", "session": "s",
               "socket": "x", "what": "matched", "room": room, "opponent": "q"})
    }

    fn says(parts: &[&[Value]]) -> usize {
        examined(examine, &parts.concat()).len()
    }

    #[test]
    fn one_join_leads_to_one_match_and_two_are_one_too_many() {
        let join = op(1, "join", 10, 20);
        assert_eq!(says(&[&join, &[matched(30, "r")]]), 0);
        assert_eq!(says(&[&join, &[matched(30, "r"), matched(40, "s")]]), 1);
        assert_eq!(says(&[&[matched(30, "r")]]), 1, "nobody asked for it");
    }

    #[test]
    fn who_cancelled_before_he_was_matched_is_not_matched() {
        let (join, cancel, again) =
            (op(1, "join", 10, 20), op(2, "cancel", 30, 40), op(3, "join", 50, 60));
        // The match may have come before the cancelling, and was only heard of later.
        assert_eq!(says(&[&join, &cancel, &[matched(70, "r")]]), 0);
        assert_eq!(says(&[&join, &cancel, &again, &[matched(70, "r")]]), 0);
        assert_eq!(says(&[&join, &cancel, &[matched(70, "r"), matched(80, "s")]]), 1);
    }
}
