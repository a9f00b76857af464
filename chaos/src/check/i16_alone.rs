//! I16: a node that is alone loses nothing either. The same questions as for several nodes, where there is one.

use super::{Examined, i04_nothing_lost};
use crate::evidence::Evidence;

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    if evidence.head.nodes == 1 {
        i04_nothing_lost::guests(evidence, &mut examined);
    }
    examined
}
