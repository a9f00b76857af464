//! I6: nothing follows a battle's end, and no number of an input is given twice: a leader or a home that was
//! paused, cut off or deposed adds nothing to what others went on with.

use super::Examined;
use crate::evidence::Evidence;
use crate::evidence::model::Rule;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let inputs = evidence.replay.rooms.values().map(|room| room.inputs.len()).sum();
    let mut examined = Examined { items: inputs, ..Examined::default() };
    examined.breaches(evidence, &[Rule::InputsDense, Rule::EndsOnce, Rule::Understood]);
    examined
}
