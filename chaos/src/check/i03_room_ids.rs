//! I3: a room's id is never used again: in the log once, and at the clients with one pair of players.

use std::collections::{BTreeMap, BTreeSet};

use super::Examined;
use crate::evidence::Evidence;
use crate::evidence::model::Rule;
use crate::history::Heard;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined { items: evidence.replay.rooms.len(), ..Examined::default() };
    examined.breaches(evidence, &[Rule::RoomIdOnce]);
    let mut pairs: BTreeMap<&str, BTreeSet<[&str; 2]>> = BTreeMap::new();
    for hearing in &evidence.heard {
        if let Heard::Matched { room, opponent } = &hearing.heard {
            let mut pair = [hearing.player.as_str(), opponent.as_str()];
            pair.sort_unstable();
            let known = pairs.entry(room).or_default();
            if known.insert(pair) && known.len() > 1 {
                examined.violation(hearing.at, format!("{room} is the room of {known:?}"));
            }
        }
    }
    examined
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::examined;
    use super::*;

    #[test]
    fn an_id_with_two_pairs_is_noticed() {
        let heard = |player: &str, opponent: &str| {
            json!({"ev": "heard", "t": 1, "actor": 1, "node": 0, "player": player, "session": "s",
                   "socket": "x", "what": "matched", "room": "r", "opponent": opponent})
        };
        assert_eq!(examined(examine, &[heard("a", "b"), heard("b", "a")]), [""; 0]);
        assert_eq!(examined(examine, &[heard("a", "b"), heard("a", "c")]).len(), 1);
    }
}
