//! I5: a match is made for both or for nobody; no client is told of one that the log does not have; whoever is
//! connected long enough afterwards is told within that time, over the connection itself: to be told only when
//! asking is not to be told.

use std::collections::BTreeSet;

use super::sessions::{Session, sessions};
use super::{Examined, paired};
use crate::evidence::model::Rule;
use crate::evidence::{Evidence, Hearing, Op, seconds};
use crate::faults::Lane;
use crate::history::{Call, Heard, Nanos};

/// How long somebody must have been connected, over one connection, to have been told.
const TOLD_WITHIN: Nanos = 5_000_000_000;
/// A word that comes later than this is none.
const TOO_LATE: Nanos = 10_000_000_000;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    examined.breaches(evidence, &[Rule::MatchWhole]);
    phantoms(evidence, &mut examined);
    paired::at_once(evidence, &mut examined);
    let sessions = sessions(evidence);
    for (key, rooms) in &evidence.replay.matched {
        let Some(session) = sessions.get(key) else { continue };
        for room in rooms {
            examined.item();
            told(evidence, session, key, room, &mut examined);
        }
    }
    examined
}

/// Rooms that clients know and the log does not.
fn phantoms(evidence: &Evidence, examined: &mut Examined) {
    let has_holes = !evidence.ledger.holes.is_empty();
    for hearing in &evidence.heard {
        let Heard::Matched { room, opponent } = &hearing.heard else { continue };
        let Some(known) = evidence.replay.rooms.get(room) else {
            if !has_holes {
                let what = format!("{} was told of {room}, which no node has", hearing.key());
                examined.violation(hearing.at, what);
            }
            continue;
        };
        let is_theirs =
            [&hearing.player, opponent].into_iter().all(|it| known.players.contains(it));
        if known.players.len() == 2 && !is_theirs {
            let what = format!("{room} is {:?}'s and {} was told so", known.players, hearing.key());
            examined.violation(hearing.at, what);
        }
    }
}

/// A session that was connected long enough to hear of its match, and did not hear of it in that time.
fn told(
    evidence: &Evidence,
    session: &Session<'_>,
    key: &str,
    room: &str,
    examined: &mut Examined,
) {
    let index = evidence.replay.rooms.get(room).map(|known| known.opened);
    let Some(made) = index.and_then(|index| evidence.ledger.first_told.get(&index)) else { return };
    let calm = last_fault_before_calm(evidence, *made);
    let knows_at = session.heard.iter().find(|it| is_about(&it.heard, room)).map(|it| it.at);
    let untold = connections(session).into_iter().any(|(from, to)| {
        let since = from.max(calm);
        let due = since.saturating_add(TOLD_WITHIN);
        // Who waits for an answer meanwhile listens to nothing else.
        let listens = || session.ops.iter().all(|op| op.invoked > due || op.returned < due);
        to > due && knows_at.is_none_or(|at| at > since.saturating_add(TOO_LATE)) && listens()
    });
    if untold {
        let what = knows_at.map_or_else(
            || "never told".to_owned(),
            |at| format!("told {:.1} s later only", seconds(at.saturating_sub(*made))),
        );
        examined.violation(*made, format!("{key} was matched in {room} and {what}"));
    }
}

fn is_about(heard: &Heard, room: &str) -> bool {
    match heard {
        Heard::Matched { room: of, .. }
        | Heard::Resumed { room: of }
        | Heard::RoomClosed { room: of }
        | Heard::Battle { room: of, .. } => of == room,
        Heard::Gone { .. } => false,
    }
}

/// The first moment not before `at` at which nothing kept nodes from each other. Redis has no part in this: a match
/// is told by the log.
fn last_fault_before_calm(evidence: &Evidence, at: Nanos) -> Nanos {
    let mut calm = at;
    let of_nodes = evidence.faults.iter().filter(|fault| fault.lane != Lane::Redis.name());
    let mut faults: Vec<_> = of_nodes.collect();
    faults.sort_by_key(|fault| fault.begins);
    for fault in faults {
        if fault.begins <= calm.saturating_add(TOLD_WITHIN) {
            calm = calm.max(fault.ends);
        }
    }
    calm
}

/// When the session was connected. A connection lasts to its end, or to the next one, which takes its place.
fn connections(session: &Session<'_>) -> Vec<(Nanos, Nanos)> {
    let is_connect = |op: &&&Op| matches!(op.call, Call::Connect { .. }) && op.is_ok();
    let opened = session.ops.iter().filter(is_connect);
    let sockets: BTreeSet<(Nanos, &str)> =
        opened.filter_map(|op| Some((op.returned, op.out["socket"].as_str()?))).collect();
    // Who says nothing more has left without a word.
    let last_word = session.ops.iter().map(|op| op.returned).filter(|at| *at != Nanos::MAX).max();
    let until = |from: Nanos, socket: &str| {
        let is_end = |it: &&&Hearing| it.socket == socket && matches!(it.heard, Heard::Gone { .. });
        let gone = session.heard.iter().find(is_end).map(|it| it.at);
        let next = session.ops.iter().filter(is_connect).map(|op| op.invoked).find(|at| *at > from);
        let ends = [gone, next, last_word.filter(|_| gone.is_none())];
        ends.into_iter().flatten().min().unwrap_or(from)
    };
    sockets.into_iter().map(|(from, socket)| (from, until(from, socket))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::log::Written;
    use crate::evidence::ledger::tests::line;

    const SECOND: Nanos = 1_000_000_000;

    fn op(id: u64, f: &str, at: Nanos) -> [Value; 2] {
        [
            json!({"ev": "invoke", "t": at * SECOND, "op": id, "actor": 1, "node": 0, "f": f,
                   "player": "ann", "session": "1", "request": "q"}),
            json!({"ev": "return", "t": at * SECOND + 1, "op": id, "class": "ok", "out": {"socket": "x"}}),
        ]
    }

    fn fault(kind: &str, lane: &str, from: Nanos, to: Nanos) -> [Value; 2] {
        [
            json!({"ev": "fault-begins", "t": from * SECOND, "fault": 1, "kind": kind, "lane": lane, "nodes": []}),
            json!({"ev": "fault-ends", "t": to * SECOND, "fault": 1, "outcome": "installed"}),
        ]
    }

    fn matched(at: Nanos) -> Value {
        json!({"ev": "heard", "t": at * SECOND, "actor": 1, "node": 0, "player": "ann", "session": "1",
               "socket": "x", "what": "matched", "room": "r", "opponent": "bob"})
    }

    /// Ann joins in the second second and is matched in the third.
    fn says(parts: &[&[Value]]) -> Vec<String> {
        let (connect, join) = (op(1, "connect", 1), op(2, "join", 2));
        let lines = [&connect[..], &join[..], &parts.concat()].concat();
        let lines = lines.into_iter().map(|line| serde_json::from_value(line).expect("a line"));
        let mut evidence = Evidence::of_lines(lines.collect());
        let told = [
            "ticket-added ann:1",
            "ticket-added bob:1",
            "room-opened r A=ann B=bob home=n1",
            "match-found ann:1 r seat=A opponent=bob",
            "match-found bob:1 r seat=B opponent=ann",
        ];
        let said = told.iter().map(|text| Written { at: 3 * SECOND, ..line(1, 1, text) });
        evidence.logs = vec![said.collect()];
        evidence.understand();
        examine(&evidence).violations.into_iter().map(|it| it.what).collect()
    }

    #[test]
    fn who_is_there_is_told_and_in_time() {
        let still_there = op(3, "state", 12);
        assert_eq!(says(&[]), [""; 0], "nobody knows how long she was there");
        assert_eq!(says(&[&[matched(4)], &still_there]), [""; 0]);
        assert_eq!(
            says(&[&still_there, &[matched(12)]]),
            [""; 0],
            "who is busy may be slow to tell"
        );
        assert_eq!(says(&[&still_there]), ["ann:1 was matched in r and never told"]);
        let late = says(&[&still_there, &[matched(20)], &op(4, "state", 21)]);
        assert_eq!(late, ["ann:1 was matched in r and told 17.0 s later only"]);
        let back = op(5, "connect", 6);
        assert_eq!(says(&[&back, &op(3, "state", 10)]), [""; 0], "each was there for a short time");
    }

    #[test]
    fn a_fault_of_nodes_excuses_a_late_word_and_one_of_redis_does_not() {
        let still_there = op(3, "state", 12);
        let of = |kind, lane| says(&[&fault(kind, lane, 2, 9), &still_there]).len();
        assert_eq!(of("isolate", "nodes"), 0);
        assert_eq!(of("redis-kill", "redis"), 1);
    }

    #[test]
    fn who_waited_for_an_answer_when_she_was_to_be_told_may_hear_it_afterwards() {
        let mut waits = op(3, "state", 7);
        waits[1]["t"] = json!(15 * SECOND);
        assert_eq!(says(&[&waits, &[matched(15)]]), [""; 0]);
    }
}
