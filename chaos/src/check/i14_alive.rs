//! I14: a healed cluster serves at once, nobody waits for ever, nothing panics, and nothing grows without end.

use std::collections::BTreeMap;

use super::Examined;
use crate::evidence::{Evidence, Fault, Op, seconds};
use crate::history::{Life, Nanos};

/// Longest time from the end of the last fault until all nodes stand alike.
const CONVERGED_SECONDS: f64 = 10.0;
/// Longest time after a fault until a leader is known again.
const LED_WITHIN: Nanos = 5_000_000_000;
/// More than this nothing that a run does can need.
const RESIDENT_KIB_MAX: u64 = 1024 * 1024;
const OPEN_FILES_MAX: u64 = 4_096;
/// Snapshots and the kept log are small here; a folder takes three times them and 64 MiB.
const FOLDER_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest time for which a node whose disk is slow may say nothing.
const SILENT_MAX: Nanos = 1_500_000_000;
const SLOW: &str = "slow-fsync";
/// Faults of a disk: the node that has it ends by itself.
const ENDING: [&str; 2] = ["fsync-error", "disk-full"];
/// Where the database's own code is, in what a panic says of its place.
const ENGINE: &str = "/sled-";
/// What stops or cuts off a node so that it can't answer.
const SILENCING: [&str; 14] = [
    "pause-leader-half",
    "pause-leader-double",
    "pause-leader-ten",
    "pause-any",
    "slow-fsync",
    "fsync-error",
    "disk-full",
    "kill-any",
    "kill-leader",
    "kill-all",
    "power-cut-one",
    "power-cut-two",
    "power-cut-all",
    "power-cut-slow",
];

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    found(evidence, &mut examined);
    logs(evidence, &mut examined);
    deaths(evidence, &mut examined);
    leaders(evidence, &mut examined);
    slow_disks(evidence, &mut examined);
    answers(evidence, &mut examined);
    sizes(evidence, &mut examined);
    examined
}

/// What was seen on the way and at the end.
fn found(evidence: &Evidence, examined: &mut Examined) {
    for found in &evidence.found {
        let (at, answer, item) = (found.at, &found.answer, &found.item);
        match found.about.as_str() {
            "not-ready" => {
                examined.violation(at, format!("a node did not come back ({item}): {answer}"));
            }
            "not-converged" => {
                examined.violation(at, format!("nodes do not agree ({item}): {answer}"));
            }
            "no-orderly-stop" | "goes-on-without-a-disk" => {
                examined.violation(at, format!("{}: {item}: {answer}", found.about));
            }
            "converged" | "converged-again" => {
                examined.item();
                if answer.parse::<f64>().is_ok_and(|took| took > CONVERGED_SECONDS) {
                    examined.violation(at, format!("nodes agreed after {answer} s only"));
                }
            }
            "duel" => {
                examined.item();
                if !answer.starts_with("Fought") {
                    examined.violation(at, format!("a battle on the healed cluster: {answer}"));
                }
            }
            _ => {}
        }
    }
}

fn logs(evidence: &Evidence, examined: &mut Examined) {
    for (node, log) in evidence.logs.iter().enumerate() {
        examined.item();
        for line in log.iter().filter(|line| line.text.contains("panicked")) {
            // The database gives up in its own threads when its disk fails; its node is about to end.
            let is_engine = line.text.contains(ENGINE) && had_broken_disk(evidence, node, line.at);
            if is_engine {
                continue;
            }
            let text: String = line.text.chars().take(300).collect();
            examined.violation(line.at, format!("node {}: {text}", node + 1));
        }
    }
}

/// Whether this node's disk was broken at that moment.
fn had_broken_disk(evidence: &Evidence, node: usize, at: Nanos) -> bool {
    evidence.faults.iter().any(|fault| {
        ENDING.contains(&fault.kind.as_str())
            && fault.nodes.contains(&(node + 1).to_string())
            && (fault.begins..=fault.ends).contains(&at)
    })
}

/// Nobody ends by himself unless his disk failed.
fn deaths(evidence: &Evidence, examined: &mut Examined) {
    for (at, node, life) in &evidence.lives {
        let Life::Died { code, signal } = life else { continue };
        if !had_broken_disk(evidence, *node, *at) {
            let what =
                format!("node {} ended by itself (code {code:?}, signal {signal:?})", node + 1);
            examined.violation(*at, what);
        }
    }
}

/// After each fault, and before the next one, somebody leads again soon.
fn leaders(evidence: &Evidence, examined: &mut Examined) {
    for fault in evidence.faults.iter().filter(|fault| fault.lane == "nodes") {
        let until = fault.ends.saturating_add(LED_WITHIN);
        let overlaps = |other: &Fault| {
            other.number != fault.number && other.begins < until && other.ends > fault.ends
        };
        let watched = until <= evidence.end() && !evidence.faults.iter().any(overlaps);
        if !watched {
            continue;
        }
        examined.item();
        let led = evidence
            .samples
            .iter()
            .any(|(at, _, status)| (fault.ends..until).contains(at) && status.leader.is_some());
        if !led {
            let what =
                format!("nobody led within {:.0} s after {}", seconds(LED_WITHIN), fault.kind);
            examined.violation(fault.ends, what);
        }
    }
}

/// A slow disk makes answers late and silences nobody: syncs are in the way of nothing else.
fn slow_disks(evidence: &Evidence, examined: &mut Examined) {
    for fault in evidence.faults.iter().filter(|fault| fault.kind == SLOW) {
        examined.item();
        let is_its = |node: &usize| fault.nodes.contains(&(node + 1).to_string());
        let of_node = evidence.samples.iter().filter(|(_, node, _)| is_its(node));
        let told: Vec<Nanos> = of_node.map(|(at, ..)| *at).collect();
        for pair in told.windows(2) {
            let [before, after] = pair else { continue };
            let within = *after > fault.begins && *before < fault.ends;
            if within && after - before > SILENT_MAX {
                let silent = seconds(after - before);
                let what = format!(
                    "node {} was silent for {silent:.1} s since its disk was slow",
                    fault.nodes.join(", ")
                );
                examined.violation(*before, what);
            }
        }
    }
}

/// A node that can answer does so in time, also when it has to say that it can't tell.
fn answers(evidence: &Evidence, examined: &mut Examined) {
    for op in &evidence.ops {
        if op.returned == Nanos::MAX {
            let what = format!("{} never returned", op.told());
            examined.undecided.push(what);
            continue;
        }
        let is_late = op.code.ends_with("no answer in time");
        if is_late && !was_silenced(evidence, op) {
            examined.violation(op.invoked, format!("{}: the node could have answered", op.told()));
        }
    }
}

fn was_silenced(evidence: &Evidence, op: &Op) -> bool {
    evidence.faults.iter().any(|fault| {
        SILENCING.contains(&fault.kind.as_str())
            && fault.nodes.contains(&(op.node + 1).to_string())
            && fault.begins <= op.returned
            && fault.ends >= op.invoked
    })
}

fn sizes(evidence: &Evidence, examined: &mut Examined) {
    let mut worst: BTreeMap<(usize, &str), (u64, Nanos)> = BTreeMap::new();
    for footprint in &evidence.footprints {
        examined.item();
        let over = [
            ("resident KiB", footprint.resident_kib, RESIDENT_KIB_MAX),
            ("open files", footprint.open_files, OPEN_FILES_MAX),
            ("bytes of its folder", footprint.folder_bytes, FOLDER_BYTES_MAX),
        ];
        for (what, value, max) in over {
            if value > max {
                let known = worst.entry((footprint.node, what)).or_insert((value, footprint.at));
                *known = (*known).max((value, footprint.at));
            }
        }
    }
    for ((node, what), (value, at)) in worst {
        examined.violation(at, format!("node {} took {value} {what}", node + 1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn fault(kind: &str) -> [Value; 2] {
        [
            json!({"ev": "fault-begins", "t": 10, "fault": 1, "kind": kind, "lane": "nodes", "nodes": ["1"]}),
            json!({"ev": "fault-ends", "t": 30, "fault": 1, "outcome": "installed"}),
        ]
    }

    #[test]
    fn only_a_broken_disk_excuses_an_end() {
        let died =
            json!({"ev": "node", "t": 20, "node": 0, "life": "died", "code": 1, "signal": null});
        let says = |kind: &str| {
            examined(examine, &[&fault(kind)[..], std::slice::from_ref(&died)].concat()).len()
        };
        assert_eq!(says("fsync-error"), 0);
        assert_eq!(says("slow-link"), 1);
    }

    #[test]
    fn a_panic_is_noticed_but_the_databases_own_on_a_broken_disk() {
        let says = |kind: &str, place: &str| {
            let lines = fault(kind).map(|line| serde_json::from_value(line).expect("a line"));
            let mut evidence = Evidence::of_lines(lines.to_vec());
            let text = format!("panicked: x, panic.place: {place}");
            evidence.logs = vec![vec![crate::cluster::log::Written { at: 20, life: 1, text }]];
            examine(&evidence).violations.len()
        };
        assert_eq!(says("fsync-error", "/registry/sled-0.34.7/src/x.rs"), 0);
        assert_eq!(says("slow-link", "/registry/sled-0.34.7/src/x.rs"), 1);
        assert_eq!(says("fsync-error", "src/battle/host.rs"), 1);
    }

    #[test]
    fn only_a_node_that_could_not_answer_may_be_late() {
        let late = [
            json!({"ev": "invoke", "t": 15, "op": 1, "actor": 1, "node": 0, "f": "verify", "family": "p"}),
            json!({"ev": "return", "t": 25, "op": 1, "class": "info", "code": "lost: no answer in time"}),
        ];
        let says = |kind: &str| examined(examine, &[&fault(kind)[..], &late].concat()).len();
        assert_eq!(says("pause-any"), 0);
        assert_eq!(says("leader-in-minority"), 1);
    }

    #[test]
    fn a_node_that_is_silent_since_its_disk_is_slow_is_noticed() {
        let sample = |t: u64| {
            json!({"ev": "sample", "t": t, "node": 0, "ready": true, "leader": 1, "term": 1,
                   "vote": {"term": 1, "node": 1}, "committedIndex": 1, "appliedIndex": 1,
                   "snapshotIndex": 0, "members": [1]})
        };
        let says = |kind: &str, after: u64| {
            examined(examine, &[&fault(kind)[..], &[sample(20), sample(20 + after)]].concat()).len()
        };
        assert_eq!(says("slow-fsync", SILENT_MAX), 0);
        assert_eq!(says("slow-fsync", SILENT_MAX + 1), 1);
        assert_eq!(says("pause-any", SILENT_MAX + 1), 0, "it could not say anything");
    }

    #[test]
    fn what_the_healed_cluster_can_not_do_is_noticed() {
        let found = |about: &str, answer: &str| json!({"ev": "found", "t": 1, "about": about, "node": 0, "item": "i", "answer": answer});
        let good = [found("converged", "0.1"), found("duel", "Fought { room: \"r\" }")];
        assert_eq!(examined(examine, &good), [""; 0]);
        for bad in
            [found("converged", "11"), found("duel", "no end in time"), found("not-ready", "x")]
        {
            assert_eq!(examined(examine, &[bad]).len(), 1);
        }
    }
}
