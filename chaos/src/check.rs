//! The promises, one file each, and what a run says about them.
//!
//! A check reads the evidence and nothing else. It says how many things it looked at: a promise about things
//! that never occurred is not kept but unknown. What is not certain (no answer, a hole in what nodes told) is
//! never held against the server.

mod clocks;
mod i01_one_room;
mod i02_ticket_once;
mod i03_room_ids;
mod i04_nothing_lost;
mod i05_match_whole;
mod i06_fenced;
mod i07_inputs;
mod i08_revocation;
mod i09_mirror;
mod i10_fresh_reads;
mod i11_one_story;
mod i12_raft;
mod i13_same_answer;
mod i14_alive;
mod i15_deterministic;
mod i16_alone;
mod linear;
mod paired;
mod sessions;
mod votes;
mod witness;

use serde::Serialize;

use crate::evidence::model::Rule;
use crate::evidence::{Evidence, seconds};
use crate::faults::Outcome;
use crate::history::Nanos;

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// How many things it looked at.
    pub(crate) items: usize,
    pub(crate) violations: Vec<Violation>,
    /// What could not be decided.
    pub(crate) undecided: Vec<String>,
}

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    /// When, nanoseconds of the run; where that is known.
    pub(crate) at: Option<Nanos>,
    pub(crate) what: String,
}

impl Examined {
    /// One more thing was looked at.
    fn item(&mut self) {
        self.items += 1;
    }

    fn violation(&mut self, at: impl Into<Option<Nanos>>, what: impl Into<String>) {
        self.violations.push(Violation { at: at.into(), what: what.into() });
    }

    /// Breaches of the second opinion's rules.
    fn breaches(&mut self, evidence: &Evidence, rules: &[Rule]) {
        for rule in rules {
            for breach in evidence.replay.of_rule(*rule) {
                let at = evidence.ledger.first_told.get(&breach.index).copied();
                self.violation(at, format!("at log index {}: {}", breach.index, breach.what));
            }
        }
    }
}

/// One promise.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) promise: &'static str,
    /// The file that examines it.
    pub(crate) file: &'static str,
    /// Faults made to break it.
    pub(crate) provoked_by: &'static [&'static str],
    /// Whether a run in which there was nothing to look at is worth less for it.
    pub(crate) wanted: fn(&Evidence) -> bool,
    pub(crate) examine: fn(&Evidence) -> Examined,
}

fn always(_: &Evidence) -> bool {
    true
}

fn with_redis(evidence: &Evidence) -> bool {
    evidence.head.redis
}

fn of_a_group(evidence: &Evidence) -> bool {
    evidence.head.nodes > 1
}

fn alone(evidence: &Evidence) -> bool {
    evidence.head.nodes == 1
}

macro_rules! checks {
    ($($id:literal $module:ident $wanted:ident $promise:literal [$($fault:literal),*];)*) => {
        /// All of them.
        pub(crate) const ALL: &[Check] = &[$(Check {
            id: $id,
            promise: $promise,
            file: concat!("src/check/", stringify!($module), ".rs"),
            provoked_by: &[$($fault),*],
            wanted: $wanted,
            examine: $module::examine,
        },)*];
    };
}

checks! {
    "I1" i01_one_room always "a session has at most one live room"
        ["leader-in-minority", "kill-leader", "pause-leader-ten"];
    "I2" i02_ticket_once always "a place in the queue leads to one match at most, and to none once it was given up"
        ["kill-leader", "pause-leader-double", "leader-in-minority"];
    "I3" i03_room_ids always "a room's id is never used again"
        ["kill-all", "power-cut-all", "redis-flush", "clock-back"];
    "I4" i04_nothing_lost always "what was acknowledged is there, on every node, also after all were killed"
        ["kill-all", "power-cut-one", "power-cut-two", "power-cut-all", "torn-record", "disk-full", "fsync-error", "bit-flip"];
    "I5" i05_match_whole of_a_group "a match is made for both or for nobody, and whoever is there is told"
        ["kill-leader", "kill-any", "isolate", "bridge"];
    "I6" i06_fenced always "nothing follows a battle's end, and no number of an input is given twice"
        ["pause-leader-ten", "one-way-out", "leader-in-minority"];
    "I7" i07_inputs always "an acknowledged choice is in the log, once"
        ["kill-any", "kill-all", "power-cut-all", "slow-fsync"];
    "I8" i08_revocation always "a token that was given up counts on no node"
        ["redis-kill", "redis-flush", "redis-pause", "isolate", "one-way-in", "pause-any", "clock-back", "clock-ahead",
         "clock-fast", "membership"];
    "I9" i09_mirror with_redis "the mirror in Redis does not go back, and is whole again soon"
        ["redis-flush", "redis-kill", "redis-cut", "redis-maxmemory", "pause-leader-double"];
    "I10" i10_fresh_reads always "who asks is told what was acknowledged before"
        ["pause-leader-double", "leader-in-minority", "bridge", "leader-transfer"];
    "I11" i11_one_story always "a battle's message of one number is the same for everybody, and none is missing"
        ["bridge", "flapping", "kill-any", "pause-any"];
    "I12" i12_raft always "a term's lead goes to higher ids only, one entry at an index; terms and votes don't go back"
        ["power-cut-one", "power-cut-two", "fsync-error", "flapping", "clock-ahead", "clock-fast",
         "membership"];
    "I13" i13_same_answer always "a request that is repeated gets the answer of the first time, and happens once"
        ["kill-leader", "kill-all", "rolling-restart"];
    "I14" i14_alive always "a healed cluster serves at once; nobody waits for ever; nothing panics or grows without end"
        ["slow-link", "narrow-link", "slow-fsync", "rolling-restart", "flapping", "membership"];
    "I15" i15_deterministic of_a_group "all nodes say the same of each entry"
        ["kill-any", "power-cut-one", "torn-record", "rolling-restart", "bit-flip"];
    "I16" i16_alone alone "a node that is alone loses nothing either"
        ["kill-any", "power-cut-one", "torn-record", "fsync-error", "disk-full"];
    "W" witness always "what was acknowledged has a place in the log, and the places are in the order of time"
        ["kill-leader", "leader-in-minority", "pause-leader-ten"];
}

/// What a run says about one promise.
#[derive(Debug, Serialize)]
pub(crate) struct Said {
    pub(crate) id: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) file: &'static str,
    /// Faults made to break it, and how often each happened.
    pub(crate) provoked: Vec<(&'static str, usize)>,
    pub(crate) items: usize,
    pub(crate) violations: Vec<Violation>,
    pub(crate) undecided: Vec<String>,
    pub(crate) wanted: bool,
}

/// Examines all of them.
pub(crate) fn all(evidence: &Evidence) -> Vec<Said> {
    let say = |check: &Check| {
        let Examined { items, mut violations, undecided } = (check.examine)(evidence);
        violations.sort_by_key(|violation| violation.at);
        let Check { id, promise, file, .. } = *check;
        let happened = |kind: &str| {
            let of_kind = evidence.faults.iter().filter(|fault| fault.kind == kind);
            of_kind.filter(|fault| fault.outcome == Outcome::Installed).count()
        };
        let provoked = check.provoked_by.iter().map(|kind| (*kind, happened(kind))).collect();
        let wanted = (check.wanted)(evidence);
        Said { id, promise, file, provoked, items, violations, undecided, wanted }
    };
    ALL.iter().map(say).collect()
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at {
            Some(at) => write!(f, "{:.3} s: {}", seconds(at), self.what),
            None => f.write_str(&self.what),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::faults::Kind;
    use crate::history::Line;

    /// What a check says of some lines of a history.
    pub(crate) fn examined(
        examine: fn(&Evidence) -> Examined,
        lines: &[serde_json::Value],
    ) -> Vec<String> {
        let lines = lines.iter().map(|line| serde_json::from_value(line.clone()).expect("a line"));
        let mut evidence = Evidence::of_lines(lines.collect::<Vec<Line>>());
        evidence.understand();
        examine(&evidence).violations.into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn every_promise_names_its_file_and_faults_that_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for check in ALL {
            assert!(root.join(check.file).is_file(), "{}", check.file);
            assert!(!check.provoked_by.is_empty(), "{}", check.id);
            for fault in check.provoked_by {
                assert!(Kind::from_name(fault).is_some(), "{}: {fault}", check.id);
            }
        }
    }

    #[test]
    fn the_page_lists_every_promise_as_it_is() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
        let page = page.expect("the crate has a page");
        for check in ALL {
            let faults: Vec<String> =
                check.provoked_by.iter().map(|it| format!("`{it}`")).collect();
            let file = check.file.rsplit('/').next().unwrap_or_default();
            let row =
                format!("| {} | {} | `{file}` | {} |", check.id, check.promise, faults.join(", "));
            assert!(page.contains(&row), "the page lacks the row\n{row}");
        }
    }
}
