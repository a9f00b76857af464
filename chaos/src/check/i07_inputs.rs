//! I7: an acknowledged choice is in the log, once, in the room for which it was made.
//!
//! Each choice is followed by its request: the node that got it says which proposal it became, and all nodes
//! say which entry that proposal is in. A repeated request has no proposal of its own where the first one was
//! known; then the first one's counts.

use std::collections::{BTreeMap, BTreeSet};

use super::Examined;
use super::witness::Places;
use crate::evidence::Evidence;
use crate::history::Call;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    let places = Places::of(evidence);
    let mut inputs: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (id, room) in &evidence.replay.rooms {
        for (number, (_, request, _)) in &room.inputs {
            inputs.entry(request).or_default().push((id, *number));
        }
    }
    // All tries of one choice.
    let mut choices: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    for op in &evidence.ops {
        if let Call::Submit { player, request, .. } = &op.call {
            choices.entry((player, request)).or_default().push(op);
        }
    }
    for tries in choices.values() {
        let Some(ok) = tries.iter().find(|op| op.is_ok()) else { continue };
        let Call::Submit { room, .. } = &ok.call else { continue };
        examined.item();
        let proposals: BTreeSet<&str> = tries.iter().filter_map(|op| places.request(op)).collect();
        let entered: Vec<_> =
            proposals.iter().filter_map(|request| inputs.get(request)).flatten().collect();
        match entered.as_slice() {
            [(of, _)] if of == room => {}
            [] if places.may_be_missing(evidence, tries) => {}
            [] => examined.violation(ok.returned, format!("{} is in no room's inputs", ok.told())),
            [(of, number)] => {
                let what = format!("{} was for {room} and is #{number} of {of}", ok.told());
                examined.violation(ok.returned, what);
            }
            several => {
                let what = format!("{} is there several times: {several:?}", ok.told());
                examined.violation(ok.returned, what);
            }
        }
    }
    examined
}
