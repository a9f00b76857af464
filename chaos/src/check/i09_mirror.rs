//! I9: the mirror in Redis does not go back as long as nobody empties it, and at the end it is as far as the log
//! and shows the same queue.

use super::Examined;
use crate::evidence::Evidence;
use crate::history::Nanos;

/// Faults after which Redis is empty.
const EMPTYING: [&str; 2] = ["redis-kill", "redis-flush"];

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    let mut highest: Option<(&str, u64, Nanos)> = None;
    for seen in evidence.mirror.iter().filter(|seen| seen.up && !seen.cluster.is_empty()) {
        examined.item();
        if let Some((cluster, applied, since)) = highest {
            let emptied = evidence.faults.iter().any(|fault| {
                EMPTYING.contains(&fault.kind.as_str())
                    && fault.begins <= seen.at
                    && fault.ends >= since
            });
            if cluster != seen.cluster {
                let what = format!("the mirror of {cluster} became one of {}", seen.cluster);
                examined.violation(seen.at, what);
            } else if seen.applied < applied && !emptied {
                examined
                    .violation(seen.at, format!("it went from {applied} back to {}", seen.applied));
            }
        }
        highest = Some((&seen.cluster, seen.applied, seen.at));
    }
    for found in &evidence.found {
        match found.about.as_str() {
            "mirror-alike" => examined.item(),
            "mirror-differs" => {
                examined.violation(found.at, format!("it is not whole in time: {}", found.answer));
            }
            _ => {}
        }
    }
    examined
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn seen(t: u64, applied: u64) -> Value {
        json!({"ev": "mirror", "t": t, "up": true, "cluster": "c", "applied": applied})
    }

    #[test]
    fn it_may_go_back_when_it_was_emptied_and_at_no_other_time() {
        assert_eq!(examined(examine, &[seen(1, 5), seen(9, 6)]), [""; 0]);
        assert_eq!(examined(examine, &[seen(1, 5), seen(9, 4)]).len(), 1);
        let flush = [
            json!({"ev": "fault-begins", "t": 3, "fault": 1, "kind": "redis-flush", "lane": "redis", "nodes": []}),
            json!({"ev": "fault-ends", "t": 4, "fault": 1, "outcome": "installed"}),
        ];
        assert_eq!(examined(examine, &[&flush[..], &[seen(1, 5), seen(9, 4)]].concat()), [""; 0]);
    }
}
