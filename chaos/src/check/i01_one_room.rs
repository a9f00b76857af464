//! I1: a session has at most one live room, at every index of the log and in what its client is told.

use std::collections::BTreeMap;

use super::Examined;
use crate::evidence::Evidence;
use crate::evidence::model::Rule;
use crate::history::Heard;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined { items: evidence.replay.rooms.len(), ..Examined::default() };
    examined.breaches(evidence, &[Rule::OneRoom]);
    told(evidence, &mut examined);
    examined
}

/// Who was told of a room is told of its end before he is told of another one, over one connection.
fn told(evidence: &Evidence, examined: &mut Examined) {
    let mut sits: BTreeMap<&str, &str> = BTreeMap::new();
    for hearing in &evidence.heard {
        match &hearing.heard {
            Heard::Matched { room, .. } => {
                let before = sits.insert(&hearing.socket, room);
                if let Some(before) = before.filter(|before| before != room) {
                    let who = hearing.key();
                    let what = format!("{who} was told of {room} and still sits in {before}");
                    examined.violation(hearing.at, what);
                }
            }
            Heard::RoomClosed { room } => {
                sits.retain(|socket, sits| *socket != hearing.socket || sits != room);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::examined;
    use super::*;

    #[test]
    fn a_second_room_without_the_first_ones_end_is_noticed() {
        let heard = |t: u64, what: &str, room: &str| {
            json!({"ev": "heard", "t": t, "actor": 1, "node": 0, "player": "p", "session": "s",
                   "socket": "x", "what": what, "room": room, "opponent": "q"})
        };
        let good =
            [heard(1, "matched", "r"), heard(2, "room-closed", "r"), heard(3, "matched", "s")];
        assert_eq!(examined(examine, &good), [""; 0]);
        let bad = [good[0].clone(), good[2].clone()];
        assert_eq!(examined(examine, &bad).len(), 1);
    }
}
