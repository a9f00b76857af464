//! I14: a healed cluster serves at once, nobody waits for ever, nothing panics, and nothing grows without end.

mod answers;

use std::collections::BTreeMap;

use self::answers::{answers, full_redis};
use super::Examined;
use crate::evidence::{Evidence, Fault, seconds};
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
/// One bit of a file is another one: the node that has it may refuse to start, and says so with this code.
const DAMAGING: &str = "bit-flip";
const REFUSAL_CODE: i32 = 1;
/// A panic in the database's own code says so of its place, and the thread that had called it says that it ends.
const ENGINE: [&str; 2] = ["/sled-", "the log writer panicked"];
pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    found(evidence, &mut examined);
    logs(evidence, &mut examined);
    deaths(evidence, &mut examined);
    leaders(evidence, &mut examined);
    slow_disks(evidence, &mut examined);
    answers(evidence, &mut examined);
    full_redis(evidence, &mut examined);
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
            "no-orderly-stop" | "goes-on-without-a-disk" | "refuses-without-a-reason" => {
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
            // The database gives up in its own threads when its disk fails, and its node is about to end; of a
            // damaged file it may say so while it opens it, which its node makes a refusal of.
            let is_engine = ENGINE.iter().any(|says| line.text.contains(says));
            let is_damaged =
                had_broken_disk(evidence, node, line.at) || had_damage(evidence, node, line.at);
            if is_engine && is_damaged {
                continue;
            }
            let text: String = line.text.chars().take(300).collect();
            examined.violation(line.at, format!("node {}: {text}", node + 1));
        }
    }
}

/// Whether this node's disk was broken at that moment.
fn had_broken_disk(evidence: &Evidence, node: usize, at: Nanos) -> bool {
    had(evidence, &ENDING, node, at)
}

/// Whether one of this node's files was damaged then.
fn had_damage(evidence: &Evidence, node: usize, at: Nanos) -> bool {
    had(evidence, &[DAMAGING], node, at)
}

fn had(evidence: &Evidence, kinds: &[&str], node: usize, at: Nanos) -> bool {
    evidence.faults.iter().any(|fault| {
        kinds.contains(&fault.kind.as_str())
            && fault.nodes.contains(&(node + 1).to_string())
            && (fault.begins..=fault.ends).contains(&at)
    })
}

/// Nobody ends by himself unless his disk failed, or he refuses a damaged file.
fn deaths(evidence: &Evidence, examined: &mut Examined) {
    for (at, node, life) in &evidence.lives {
        let Life::Died { code, signal } = life else { continue };
        let refuses = *code == Some(REFUSAL_CODE) && had_damage(evidence, *node, *at);
        if !refuses && !had_broken_disk(evidence, *node, *at) {
            let what =
                format!("node {} ended by itself (code {code:?}, signal {signal:?})", node + 1);
            examined.violation(*at, what);
        }
    }
}

/// After each fault, and before the next one, somebody leads again soon.
fn leaders(evidence: &Evidence, examined: &mut Examined) {
    for fault in evidence.faults.iter().filter(|fault| fault.lane != "redis") {
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

    pub(super) fn fault(kind: &str) -> [Value; 2] {
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
    fn who_finds_damage_refuses_with_a_code_and_does_not_fall_over() {
        let says = |code: &Value, signal: &Value| {
            let died = json!({"ev": "node", "t": 20, "node": 0, "life": "died", "code": code, "signal": signal});
            examined(examine, &[&fault("bit-flip")[..], &[died]].concat()).len()
        };
        assert_eq!(says(&json!(1), &Value::Null), 0);
        assert_eq!(says(&json!(101), &Value::Null), 1);
        assert_eq!(says(&Value::Null, &json!(6)), 1);
    }

    #[test]
    fn a_panic_is_noticed_but_the_databases_own_on_a_broken_disk() {
        let says = |kind: &str, text: &str| {
            let lines = fault(kind).map(|line| serde_json::from_value(line).expect("a line"));
            let mut evidence = Evidence::of_lines(lines.to_vec());
            let text = text.to_owned();
            evidence.logs = vec![vec![crate::cluster::log::Written { at: 20, life: 1, text }]];
            examine(&evidence).violations.len()
        };
        let of_engine = "panicked: x, panic.place: /registry/sled-0.34.7/src/x.rs";
        assert_eq!(says("fsync-error", of_engine), 0);
        assert_eq!(says("disk-full", "the log writer panicked"), 0);
        assert_eq!(says("slow-link", of_engine), 1);
        assert_eq!(says("slow-link", "the log writer panicked"), 1);
        assert_eq!(says("fsync-error", "panicked: x, panic.place: src/battle/host.rs"), 1);
        assert_eq!(says("bit-flip", of_engine), 0);
        assert_eq!(says("bit-flip", "panicked: x, panic.place: storage/src/log_store.rs"), 1);
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
