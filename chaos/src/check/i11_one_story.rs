//! I11: a battle's message of one number is the same for everybody who is told it, on whichever node and
//! however often; over one connection none is missing and none comes twice; everybody is told the same winner.

use std::collections::BTreeMap;

use super::Examined;
use crate::evidence::{Evidence, Hearing};
use crate::history::Heard;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    let mut stories: BTreeMap<(&str, i64), (&str, &Hearing)> = BTreeMap::new();
    let mut last: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for hearing in &evidence.heard {
        let Heard::Battle { room, sequence, story, kind, .. } = &hearing.heard else { continue };
        examined.item();
        if !room.is_empty() {
            let (first, other) = stories.entry((room, *sequence)).or_insert((story, hearing));
            if first != story {
                let (a, b) = (other.key(), hearing.key());
                let (here, there) = (other.node + 1, hearing.node + 1);
                let what = format!(
                    "message {sequence} of {room} ({kind}) is one for {a} at node {here}, another one for {b} at node {there}"
                );
                examined.violation(hearing.at, what);
            }
        }
        let before = last.insert((&hearing.socket, room), *sequence);
        if let Some(before) = before.filter(|before| before + 1 != *sequence) {
            let who = hearing.key();
            let what = format!("{who} was told message {sequence} of {room} after {before}");
            examined.violation(hearing.at, what);
        }
    }
    examined
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn told(socket: &str, sequence: i64, story: &str) -> Value {
        json!({"ev": "heard", "t": 1, "actor": 1, "node": 0, "player": "p", "session": "s",
               "socket": socket, "what": "battle", "room": "r", "sequence": sequence, "kind": "DAMAGE",
               "story": story, "winner": null})
    }

    #[test]
    fn two_stories_a_gap_and_a_repeat_are_noticed() {
        let says = |lines: &[Value]| examined(examine, lines).len();
        assert_eq!(says(&[told("x", 1, "a"), told("x", 2, "b"), told("y", 1, "a")]), 0);
        assert_eq!(says(&[told("x", 7, "a"), told("x", 8, "b")]), 0, "who comes late begins late");
        assert_eq!(says(&[told("x", 1, "a"), told("y", 1, "b")]), 1);
        assert_eq!(says(&[told("x", 1, "a"), told("x", 3, "c")]), 1);
        assert_eq!(says(&[told("x", 1, "a"), told("x", 1, "a")]), 1);
    }
}
