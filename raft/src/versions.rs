//! What builds of different age say to each other before anything else.
//!
//! A caller's first message on each connection states which peer protocols it speaks and which behaviour level
//! it knows ([`serverv2_machine::LATEST_LEVEL`]), and the answer states the same of the other side. The first
//! builds have no such message: they answer that they don't understand it, and begin with another one
//! themselves; they speak protocol 1 and know level 1.
//!
//! Two nodes talk if there is a protocol that both speak, and if each knows the behaviour level in force: a
//! node that does not could not read the log. Which messages a protocol has, stands at
//! [`crate::transport::message::Request::since_protocol`].

use serde::{Deserialize, Serialize};
use serverv2_machine::Entry;

/// The peer protocols of this build.
const PROTOCOL_MIN: u32 = 1;
/// Raised with each new message that is sent without being asked for.
const PROTOCOL_MAX: u32 = 2;

/// What a build speaks and knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    /// The oldest peer protocol it speaks.
    pub(crate) protocol_min: u32,
    /// The newest.
    pub(crate) protocol_max: u32,
    /// The highest behaviour level it knows.
    pub(crate) level: u32,
    /// Its name, for people.
    pub(crate) build: String,
}

impl Versions {
    /// Those of this build.
    pub(crate) fn own() -> Self {
        Self {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            level: own_level(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Those of a build that does not say.
    pub(crate) fn first() -> Self {
        Self { protocol_min: 1, protocol_max: 1, level: 1, build: "0.1.0 or older".to_owned() }
    }

    /// The newest protocol that this build and another one speak; else why they can't stand in one cluster,
    /// whose behaviour level is `in_force`.
    pub(crate) fn agree(&self, other: &Self, in_force: u32) -> Result<u32, String> {
        let protocol = self.protocol_max.min(other.protocol_max);
        if protocol < self.protocol_min.max(other.protocol_min) {
            return Err(format!(
                "it speaks the peer protocols {} to {} (build {}), this node {} to {} (build {}): upgrade \
                 one version at a time",
                other.protocol_min,
                other.protocol_max,
                other.build,
                self.protocol_min,
                self.protocol_max,
                self.build
            ));
        }
        other.follows(in_force).map(|()| protocol)
    }

    /// Whether such a build can follow a cluster of this behaviour level.
    pub(crate) fn follows(&self, in_force: u32) -> Result<(), String> {
        if self.level >= in_force {
            return Ok(());
        }
        Err(format!(
            "it knows behaviour level {} (build {}), and the cluster's is {in_force}, which can't be lowered: \
             start a newer version on its folder",
            self.level, self.build
        ))
    }
}

/// The highest behaviour level that this process knows.
pub(crate) fn own_level() -> u32 {
    #[cfg(feature = "failpoints")]
    if let Some(level) = crate::failpoints::pretended_level() {
        return level;
    }
    serverv2_machine::LATEST_LEVEL
}

/// A process that pretends to be an older build can't read what that one could not.
pub(crate) fn check_known(entry: &Entry) -> Result<(), String> {
    if cfg!(feature = "failpoints") {
        let known = own_level();
        let above = entry.proposals.iter().find(|proposal| proposal.command.since_level() > known);
        if let Some(proposal) = above {
            return Err(format!("malformed: an unknown command ({})", proposal.command));
        }
    }
    Ok(())
}

/// Whether this process introduces itself: the first builds do not.
pub(crate) fn are_told() -> bool {
    own_level() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(protocol_min: u32, protocol_max: u32, level: u32) -> Versions {
        Versions { protocol_min, protocol_max, level, build: "x".to_owned() }
    }

    #[test]
    fn builds_that_share_a_protocol_and_know_the_level_agree_on_the_newest() {
        assert_eq!(build(1, 2, 2).agree(&Versions::first(), 1), Ok(1));
        assert_eq!(build(1, 3, 2).agree(&build(2, 5, 4), 2), Ok(3));
    }

    #[test]
    fn builds_too_far_apart_and_levels_not_known_are_refused_with_the_way_out() {
        let apart = build(3, 4, 2).agree(&Versions::first(), 1).unwrap_err();
        assert!(apart.contains("one version at a time"), "{apart}");
        assert!(build(1, 2, 1).agree(&build(3, 4, 2), 1).is_err(), "nor the other way round");
        let old = build(1, 2, 2).agree(&Versions::first(), 2).unwrap_err();
        assert!(old.contains("start a newer version"), "{old}");
    }
}
