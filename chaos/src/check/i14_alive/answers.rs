//! Who asks is answered in time, whatever the answer is.

use crate::check::Examined;
use crate::evidence::{Evidence, Fault, Op};
use crate::history::{Call, Class, Life, Nanos};

/// Redis refuses all writes: nobody who plays may notice.
const REFUSING: &str = "redis-maxmemory";
/// For so long after a fault of nodes an answer may be missing for its sake.
const AFTERMATH: Nanos = 5_000_000_000;
/// What stops or cuts off a node so that it can't answer.
const SILENCING: [&str; 18] = [
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
    "torn-record",
    "bit-flip",
    "membership",
    "disconnect",
];
/// What keeps a node from the others or from the leader, or lets so little of the log through that it is seconds behind.
const CUTTING: [&str; 7] = [
    "leader-in-minority",
    "leader-in-majority",
    "isolate",
    "one-way-in",
    "one-way-out",
    "bridge",
    "narrow-link",
];

/// A node that can answer does so in time, also when it has to say that it can't tell.
pub(super) fn answers(evidence: &Evidence, examined: &mut Examined) {
    for op in &evidence.ops {
        if op.returned == Nanos::MAX {
            let what = format!("{} never returned", op.told());
            examined.undecided.push(what);
            continue;
        }
        let is_late = op.code.ends_with("no answer in time");
        let is_excused =
            || was_silenced(evidence, op) || could_not_open(evidence, op) || was_gone(evidence, op);
        if is_late && !is_excused() {
            examined.violation(op.invoked, format!("{}: the node could have answered", op.told()));
        }
    }
}

/// No answer waits for what Redis is told: while it takes nothing, everybody is answered as ever.
pub(super) fn full_redis(evidence: &Evidence, examined: &mut Examined) {
    let nodes: Vec<&Fault> = evidence.faults.iter().filter(|it| it.lane != "redis").collect();
    for fault in evidence.faults.iter().filter(|fault| fault.kind == REFUSING) {
        let is_its = |op: &&Op| op.invoked >= fault.begins && op.returned <= fault.ends;
        let is_of_nodes = |op: &Op| {
            let overlaps = |it: &&Fault| {
                it.begins <= op.returned && it.ends.saturating_add(AFTERMATH) >= op.invoked
            };
            nodes.iter().any(overlaps)
        };
        for op in evidence.ops.iter().filter(is_its).filter(|op| !is_of_nodes(op)) {
            examined.item();
            if op.class == Class::Info {
                examined.violation(op.invoked, format!("{}: Redis is not needed", op.told()));
            }
        }
    }
}

/// A connection is opened by the log. A node that is kept from it tries for longer than clients wait.
fn could_not_open(evidence: &Evidence, op: &Op) -> bool {
    let opens = matches!(op.call, Call::Connect { .. } | Call::Enter { .. });
    let of_node = |fault: &Fault| {
        CUTTING.contains(&fault.kind.as_str()) && fault.nodes.contains(&(op.node + 1).to_string())
    };
    let meanwhile = |fault: &Fault| fault.begins <= op.returned && fault.ends >= op.invoked;
    opens && evidence.faults.iter().any(|fault| of_node(fault) && meanwhile(fault))
}

fn was_silenced(evidence: &Evidence, op: &Op) -> bool {
    evidence.faults.iter().any(|fault| {
        SILENCING.contains(&fault.kind.as_str())
            && fault.nodes.contains(&(op.node + 1).to_string())
            && fault.begins <= op.returned
            && fault.ends >= op.invoked
    })
}

/// Whether the node's process was not there for some of the time: a container that has ended refuses nothing.
fn was_gone(evidence: &Evidence, op: &Op) -> bool {
    let mut gone = false;
    for (at, node, life) in &evidence.lives {
        if *at > op.returned {
            break;
        }
        if *node != op.node {
            continue;
        }
        match life {
            Life::Killed | Life::Stopped { .. } | Life::Died { .. } => gone = true,
            Life::Ready if *at < op.invoked => gone = false,
            // It may be there, but has not begun to listen.
            Life::Started { .. } | Life::Replaced { .. } | Life::Ready => {}
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::tests::examined;
    use super::super::examine;
    use super::super::tests::fault;

    #[test]
    fn only_a_node_that_could_not_answer_may_be_late() {
        let late = [
            json!({"ev": "invoke", "t": 15, "op": 1, "actor": 1, "node": 0, "f": "verify", "family": "p"}),
            json!({"ev": "return", "t": 25, "op": 1, "class": "info", "code": "lost: no answer in time"}),
        ];
        let says = |kind: &str| examined(examine, &[&fault(kind)[..], &late].concat()).len();
        assert_eq!(says("pause-any"), 0);
        assert_eq!(says("leader-in-minority"), 1);
        let life = |t: u64, life: &str| json!({"ev": "node", "t": t, "node": 0, "life": life});
        let of_life = |lives: &[Value]| examined(examine, &[lives, &late].concat()).len();
        assert_eq!(of_life(&[life(12, "killed")]), 0);
        assert_eq!(of_life(&[life(12, "killed"), life(20, "ready")]), 0);
        assert_eq!(of_life(&[life(12, "killed"), life(14, "ready")]), 1);
    }

    #[test]
    fn nobody_is_without_an_answer_since_redis_is_full() {
        let unsure = [
            json!({"ev": "invoke", "t": 15, "op": 1, "actor": 1, "node": 0, "f": "verify", "family": "p"}),
            json!({"ev": "return", "t": 25, "op": 1, "class": "info", "code": "503"}),
        ];
        let says = |kind: &str| examined(examine, &[&fault(kind)[..], &unsure].concat()).len();
        assert_eq!(says("redis-maxmemory"), 0, "a fault of nodes at that time");
        let mut alone = fault("redis-maxmemory");
        alone[0]["lane"] = "redis".into();
        let says = |lines: &[Value]| examined(examine, &[lines, &unsure].concat()).len();
        assert_eq!(says(&alone), 1);
    }

    #[test]
    fn a_node_that_is_cut_off_may_open_no_connection_in_time() {
        let late = [
            json!({"ev": "invoke", "t": 15, "op": 1, "actor": 1, "node": 0, "f": "connect", "player": "p", "session": "s"}),
            json!({"ev": "return", "t": 25, "op": 1, "class": "info", "code": "lost: no answer in time"}),
        ];
        let says = |kind: &str| examined(examine, &[&fault(kind)[..], &late].concat()).len();
        for kind in ["leader-in-majority", "bridge", "narrow-link"] {
            assert_eq!(says(kind), 0, "{kind}");
        }
        assert_eq!(says("slow-link"), 1);
    }
}
