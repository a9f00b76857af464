//! Part of I12: a wall clock that is set makes nobody stand for election. Time-outs count on clocks that nobody
//! can set.
//!
//! On a machine that is short of time there are elections without any fault. Where there were such, nothing can be
//! said about those that came soon after a clock was set.

use super::Examined;
use crate::evidence::{Evidence, Fault};
use crate::history::Nanos;

const SETTING: [&str; 2] = ["clock-back", "clock-ahead"];
/// So long after another fault of nodes, or of their network, an election may be its doing.
const AFTERMATH: Nanos = 5_000_000_000;
/// So long after a clock was set an election may be its doing.
const DOING: Nanos = 1_000_000_000;

pub(super) fn elect_nobody(evidence: &Evidence, examined: &mut Examined) {
    let sets = |fault: &&Fault| SETTING.contains(&fault.kind.as_str());
    let (setting, others): (Vec<&Fault>, Vec<&Fault>) =
        evidence.faults.iter().filter(|fault| fault.lane != "redis").partition(sets);
    examined.items += setting.len();
    let (mut suspects, mut term) = (Vec::new(), None);
    let mut has_some_without_reason = false;
    // What is there while a cluster forms, or after all were killed, is no news.
    let (Some(from), Some(to)) = (evidence.phase("faults"), evidence.phase("healed")) else {
        return;
    };
    for (at, _, status) in evidence.samples.iter().filter(|(at, ..)| (from..=to).contains(at)) {
        let news = *term.get_or_insert(status.term) < status.term;
        term = term.max(Some(status.term));
        let ends = |fault: &&&Fault, after: Nanos| {
            (fault.begins..=fault.ends.saturating_add(after)).contains(at)
        };
        if !news || others.iter().any(|fault| ends(&fault, AFTERMATH)) {
            continue;
        }
        let is_soon = |fault: &&&Fault| {
            let moments = [fault.begins, fault.ends];
            moments.iter().any(|moment| (*moment..=moment.saturating_add(DOING)).contains(at))
        };
        match setting.iter().find(is_soon) {
            Some(fault) => suspects.push((*at, *fault, status.term)),
            None => has_some_without_reason = true,
        }
    }
    for (at, fault, term) in suspects.into_iter().filter(|_| !has_some_without_reason) {
        let (kind, nodes) = (&fault.kind, fault.nodes.join(", "));
        examined.violation(at, format!("{kind} of node {nodes} brought term {term}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::history::Line;

    const SECOND: u64 = 1_000_000_000;

    fn fault(number: u64, kind: &str, begins: u64) -> [Value; 2] {
        [
            json!({"ev": "fault-begins", "t": begins * SECOND, "fault": number, "kind": kind, "lane": "nodes", "nodes": ["1"]}),
            json!({"ev": "fault-ends", "t": (begins + 2) * SECOND, "fault": number, "outcome": "installed"}),
        ]
    }

    fn term(at: u64, term: u64) -> Value {
        json!({"ev": "sample", "t": at * SECOND, "node": 0, "ready": true, "leader": 1,
               "term": term, "vote": {"term": term, "node": 1}, "committedIndex": 1,
               "appliedIndex": 1, "snapshotIndex": 0, "members": [1]})
    }

    fn violations(lines: &[Value]) -> usize {
        let lines = lines.iter().map(|line| serde_json::from_value(line.clone()).expect("a line"));
        let evidence = Evidence::of_lines(lines.collect::<Vec<Line>>());
        let mut examined = Examined::default();
        elect_nobody(&evidence, &mut examined);
        examined.violations.len()
    }

    fn says(parts: &[&[Value]]) -> usize {
        let phase = |at: u64, name: &str| json!({"ev": "phase", "t": at * SECOND, "phase": name});
        let phases = [phase(1, "faults"), phase(60, "healed")];
        violations(&[&phases[..], &parts.concat()].concat())
    }

    #[test]
    fn an_election_that_a_clock_has_made_is_noticed() {
        let fault = fault(1, "clock-back", 10);
        assert_eq!(says(&[&fault, &[term(9, 3), term(14, 4)]]), 0, "long afterwards");
        assert_eq!(says(&[&fault, &[term(9, 3), term(11, 4)]]), 1);
        assert_eq!(says(&[&fault, &[term(9, 3), term(13, 4)]]), 1, "when it was set right");
    }

    #[test]
    fn nothing_is_said_of_a_clock_where_there_are_elections_without_one() {
        let elections = [term(2, 2), term(5, 3), term(11, 4)];
        assert_eq!(says(&[&fault(1, "clock-back", 10), &elections]), 0);
    }

    #[test]
    fn an_election_soon_after_another_fault_is_not_held_against_a_clock() {
        let says = |before: u64| {
            let faults = [fault(1, "kill-leader", before), fault(2, "clock-ahead", 20)].concat();
            says(&[&faults, &[term(19, 3), term(21, 4)]])
        };
        assert_eq!(says(17), 0);
        assert_eq!(says(10), 1);
    }

    #[test]
    fn an_election_beside_a_fault_of_the_network_is_not_held_against_a_clock() {
        let mut cut = fault(1, "one-way-out", 20);
        let clock = fault(2, "clock-ahead", 20);
        let elections = [term(19, 3), term(21, 4)];
        for (lane, expected) in [("network", 0), ("redis", 1)] {
            cut[0]["lane"] = json!(lane);
            assert_eq!(says(&[&cut, &clock, &elections]), expected, "{lane}");
        }
    }
}
