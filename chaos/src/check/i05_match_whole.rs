//! I5: a match is made for both or for nobody; no client is told of one that the log does not have; whoever is
//! connected long enough afterwards is told.

use std::collections::BTreeSet;

use super::sessions::{Session, sessions};
use super::{Examined, paired};
use crate::evidence::Evidence;
use crate::evidence::model::Rule;
use crate::history::{Call, Heard, Nanos};

/// How long somebody must have been connected, over one connection, to have been told.
const TOLD_WITHIN: Nanos = 5_000_000_000;

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

fn told(
    evidence: &Evidence,
    session: &Session<'_>,
    key: &str,
    room: &str,
    examined: &mut Examined,
) {
    let knows = session.heard.iter().any(|hearing| match &hearing.heard {
        Heard::Matched { room: of, .. }
        | Heard::Resumed { room: of }
        | Heard::RoomClosed { room: of }
        | Heard::Battle { room: of, .. } => of == room,
        Heard::Gone { .. } => false,
    });
    let index = evidence.replay.rooms.get(room).map(|known| known.opened);
    let made = index.and_then(|index| evidence.ledger.first_told.get(&index));
    let Some(made) = made.filter(|_| !knows) else { return };
    let calm = last_fault_before_calm(evidence, *made);
    let longest = connections(session).into_iter().filter_map(|(from, to)| {
        let from = from.max(calm);
        to.checked_sub(from)
    });
    if longest.max().is_some_and(|time| time > TOLD_WITHIN) {
        examined.violation(*made, format!("{key} was matched in {room} and never told"));
    }
}

/// The first moment not before `at` at which nothing was broken.
fn last_fault_before_calm(evidence: &Evidence, at: Nanos) -> Nanos {
    let mut calm = at;
    let mut faults: Vec<_> = evidence.faults.iter().collect();
    faults.sort_by_key(|fault| fault.begins);
    for fault in faults {
        if fault.begins <= calm + TOLD_WITHIN {
            calm = calm.max(fault.ends);
        }
    }
    calm
}

/// When the session was connected.
fn connections(session: &Session<'_>) -> Vec<(Nanos, Nanos)> {
    let opened =
        session.ops.iter().filter(|op| matches!(op.call, Call::Connect { .. }) && op.is_ok());
    let sockets: BTreeSet<(Nanos, &str)> =
        opened.filter_map(|op| Some((op.returned, op.out["socket"].as_str()?))).collect();
    let last_op = session.ops.iter().map(|op| op.returned).filter(|at| *at != Nanos::MAX).max();
    let until = |socket: &str, from: Nanos| {
        let gone = session
            .heard
            .iter()
            .find(|it| it.socket == socket && matches!(it.heard, Heard::Gone { .. }));
        // Who says nothing more has left without a word.
        gone.map(|it| it.at).or(last_op).unwrap_or(from)
    };
    sockets.into_iter().map(|(from, socket)| (from, until(socket, from))).collect()
}
