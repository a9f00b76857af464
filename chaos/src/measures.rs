//! What a run was like, in numbers: how much was asked and answered, how long nobody could write, what was
//! survived.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evidence::{Evidence, Fault, Op, seconds};
use crate::faults::Outcome;
use crate::history::{Call, Class, Life, Nanos};

/// How long after a fault's end a gap is still put down to it.
const AFTERMATH: Nanos = 1_000_000_000;
const MILLI: f64 = 1e6;

/// Operations of one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Kind {
    pub(crate) ok: usize,
    pub(crate) fail: usize,
    pub(crate) info: usize,
    /// Of those that were ok, milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// One fault and how long nobody's write was acknowledged because of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Gap {
    pub(crate) fault: u32,
    pub(crate) kind: String,
    pub(crate) nodes: Vec<String>,
    pub(crate) begins_s: f64,
    pub(crate) ends_s: f64,
    pub(crate) outcome: Outcome,
    pub(crate) gap_ms: f64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Measures {
    pub(crate) kinds: BTreeMap<&'static str, Kind>,
    pub(crate) gaps: Vec<Gap>,
    /// Processes that were killed and came back.
    pub(crate) kills: usize,
    pub(crate) restarts: usize,
    pub(crate) power_cuts: usize,
    pub(crate) elections: u64,
    pub(crate) battles: usize,
    pub(crate) messages: usize,
    pub(crate) log_index: u64,
    pub(crate) resident_mib_max: u64,
    pub(crate) folder_mib_max: u64,
}

impl Measures {
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let mut kinds: BTreeMap<&'static str, (Kind, Vec<f64>)> = BTreeMap::new();
        for op in &evidence.ops {
            let (kind, times) = kinds.entry(op.call.name()).or_default();
            match op.class {
                Class::Ok => {
                    kind.ok += 1;
                    times.push((op.returned - op.invoked) as f64 / MILLI);
                }
                Class::Fail => kind.fail += 1,
                Class::Info => kind.info += 1,
            }
        }
        let summed = kinds.into_iter().map(|(name, (kind, mut times))| {
            times.sort_by(f64::total_cmp);
            let at = |part: f64| share(&times, part);
            (name, Kind { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0), ..kind })
        });
        // The deaths at the very end are followed by nothing.
        let end = evidence.phase("end").unwrap_or(Nanos::MAX);
        let lives = |wanted: fn(&Life) -> bool| {
            evidence.lives.iter().filter(|(at, _, life)| *at < end && wanted(life)).count()
        };
        let power = evidence.faults.iter().filter(|fault| fault.kind.starts_with("power-cut"));
        let terms = evidence.samples.iter().map(|(_, _, status)| status.term);
        let widest = |value: fn(&crate::evidence::Footprint) -> u64| {
            evidence.footprints.iter().map(value).max().unwrap_or_default()
        };
        Self {
            kinds: summed.collect(),
            gaps: gaps(evidence),
            kills: lives(|life| matches!(life, Life::Killed)),
            restarts: lives(|life| matches!(life, Life::Started { number, .. } if *number > 1)),
            power_cuts: power.map(|fault| fault.nodes.len()).sum(),
            elections: terms.max().unwrap_or_default(),
            battles: evidence.replay.rooms.values().filter(|room| room.ended.is_some()).count(),
            messages: evidence.heard.len(),
            log_index: evidence
                .samples
                .iter()
                .map(|(_, _, it)| it.applied_index)
                .max()
                .unwrap_or_default(),
            resident_mib_max: widest(|it| it.resident_kib) / 1024,
            folder_mib_max: widest(|it| it.folder_bytes) / 1024 / 1024,
        }
    }
}

/// The value below which such a part of sorted values lies.
pub(crate) fn share(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
}

fn gaps(evidence: &Evidence) -> Vec<Gap> {
    let is_probe = |op: &&Op| op.is_ok() && matches!(op.call, Call::Guest { request: None });
    let mut acked: Vec<Nanos> =
        evidence.ops.iter().filter(is_probe).map(|op| op.returned).collect();
    acked.sort_unstable();
    let mut faults: Vec<&Fault> = evidence.faults.iter().collect();
    faults.sort_by_key(|fault| fault.begins);
    let gap = |fault: &Fault| Gap {
        fault: fault.number,
        kind: fault.kind.clone(),
        nodes: fault.nodes.clone(),
        begins_s: seconds(fault.begins),
        ends_s: seconds(fault.ends.min(evidence.end())),
        outcome: fault.outcome.clone(),
        gap_ms: longest(&acked, fault.begins, fault.ends.saturating_add(AFTERMATH)),
    };
    faults.into_iter().map(gap).collect()
}

/// The longest time without an acknowledged write that touches this time, milliseconds.
fn longest(acked: &[Nanos], from: Nanos, to: Nanos) -> f64 {
    let pairs = acked.windows(2).filter_map(|pair| match pair {
        [before, after] if *after >= from && *before <= to => Some((after - before) as f64 / MILLI),
        _ => None,
    });
    pairs.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_where_it_touches_the_fault() {
        let acked = [0, 1_000_000, 51_000_000, 52_000_000, 99_000_000];
        assert_eq!(longest(&acked, 2_000_000, 60_000_000), 50.0);
        assert_eq!(longest(&acked, 51_500_000, 51_600_000), 1.0);
        assert_eq!(longest(&[], 0, 1), 0.0);
    }

    #[test]
    fn shares_of_sorted_values_are_values_of_the_list() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            [share(&values, 0.0), share(&values, 0.5), share(&values, 1.0)],
            [1.0, 3.0, 4.0]
        );
        assert_eq!(share(&[], 0.5), 0.0);
    }
}
