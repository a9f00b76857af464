//! What was found once: each defect is a small plan by a name, to be run again for ever.

use std::time::Duration;

use crate::faults::Kind;
use crate::workload::Crowd;

/// A plan that once broke a promise.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What was wrong.
    pub(crate) story: &'static str,
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) kinds: &'static [Kind],
    pub(crate) crowd: Crowd,
}

/// Many who log in and out, and few others.
const TOKENS: Crowd = Crowd { fighters: 4, npm: 0, probes: 1, tokens: 12, names: 0, late: 0 };

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "a-logout-beside-a-full-disk",
        story: "I8: a logout was acknowledged at once when a node's port refused to say whether it knew, and that \
                node, whose disk had failed and which was about to end, took the token for up to a second more",
        seed: 11,
        length: Duration::from_secs(60),
        kinds: &[Kind::DiskFull, Kind::SyncError],
        crowd: TOKENS,
    },
    Scenario {
        name: "a-slow-disk-and-a-checkpoint",
        story: "I14: a node whose syncs took 200 ms said nothing at all for seconds while it made a checkpoint, and \
                lost the lead and its players",
        seed: 3,
        length: Duration::from_secs(40),
        kinds: &[Kind::SlowSync],
        crowd: Crowd { fighters: 8, npm: 0, probes: 1, tokens: 3, names: 1, late: 0 },
    },
    Scenario {
        name: "a-logout-beside-a-removed-node",
        story: "I8: a node that was removed was counted out at once, so no logout waited for it, and it took the token \
                for up to a second more, since it lived and was still sure of itself",
        seed: 3,
        length: Duration::from_secs(70),
        kinds: &[Kind::Exchange],
        crowd: TOKENS,
    },
];

pub(crate) fn by_name(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_breaks_something() {
        for scenario in ALL {
            let found = by_name(scenario.name).map(|it| it.story);
            assert_eq!(found, Some(scenario.story), "{}", scenario.name);
            assert!(!scenario.kinds.is_empty(), "{}", scenario.name);
        }
    }
}
