//! What happened in each moment of a run, ready to be drawn.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evidence::{Evidence, seconds};
use crate::history::{Class, Life, Nanos};
use crate::measures::share;

/// Moments on the page.
const STEP: Nanos = 500_000_000;
const MILLI: f64 = 1e6;

/// A row of moments.
#[derive(Default, Serialize)]
pub(super) struct Timeline {
    step_s: f64,
    end_s: f64,
    ok: Vec<u32>,
    fail: Vec<u32>,
    info: Vec<u32>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Each node's lives: from, to.
    lives: Vec<Vec<(f64, f64)>>,
    /// Each node as it says itself: second, term, whether it leads, whether it knows a leader.
    standing: Vec<Vec<(f64, u64, bool, bool)>>,
    resident_mib: Vec<Vec<(f64, f64)>>,
    redis: Vec<(f64, bool)>,
    phases: Vec<(f64, String)>,
}

impl Timeline {
    pub(super) fn of(evidence: &Evidence) -> Self {
        let end = evidence.end();
        let moments = usize::try_from(end / STEP).unwrap_or_default() + 1;
        let mut line = Self {
            step_s: seconds(STEP),
            end_s: seconds(end),
            ok: vec![0; moments],
            fail: vec![0; moments],
            info: vec![0; moments],
            p50_ms: vec![0.0; moments],
            p99_ms: vec![0.0; moments],
            ..Self::default()
        };
        line.count(evidence);
        let nodes = 0..evidence.head.nodes;
        line.lives = nodes.clone().map(|node| lives(evidence, node)).collect();
        line.standing = nodes.clone().map(|node| standing(evidence, node)).collect();
        line.resident_mib = nodes.map(|node| resident(evidence, node)).collect();
        line.redis = evidence.mirror.iter().map(|seen| (seconds(seen.at), seen.up)).collect();
        line.phases = evidence.phases.iter().map(|(at, it)| (seconds(*at), it.clone())).collect();
        line
    }

    fn count(&mut self, evidence: &Evidence) {
        let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for op in evidence.ops.iter().filter(|op| op.returned != Nanos::MAX) {
            let Ok(at) = usize::try_from(op.returned / STEP) else { continue };
            let counts = match op.class {
                Class::Ok => {
                    times.entry(at).or_default().push((op.returned - op.invoked) as f64 / MILLI);
                    &mut self.ok
                }
                Class::Fail => &mut self.fail,
                Class::Info => &mut self.info,
            };
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        for (at, mut times) in times {
            times.sort_by(f64::total_cmp);
            if let (Some(p50), Some(p99)) = (self.p50_ms.get_mut(at), self.p99_ms.get_mut(at)) {
                (*p50, *p99) = (share(&times, 0.5), share(&times, 0.99));
            }
        }
    }
}

fn lives(evidence: &Evidence, node: usize) -> Vec<(f64, f64)> {
    let (mut lives, mut began) = (Vec::new(), None);
    for (at, _, life) in evidence.lives.iter().filter(|(_, of, _)| *of == node) {
        match life {
            Life::Started { .. } => began = Some(*at),
            Life::Ready => {}
            _ => lives.extend(began.take().map(|began| (seconds(began), seconds(*at)))),
        }
    }
    lives.extend(began.map(|began| (seconds(began), seconds(evidence.end()))));
    lives
}

/// Only where something changes.
fn standing(evidence: &Evidence, node: usize) -> Vec<(f64, u64, bool, bool)> {
    let of_node = evidence.samples.iter().filter(|(_, of, _)| *of == node);
    let mut standing: Vec<(f64, u64, bool, bool)> = Vec::new();
    for (at, _, status) in of_node {
        let leads = status.leader == Some(evidence.id_at(node, *at));
        let now = (status.term, leads, status.leader.is_some());
        if standing.last().is_none_or(|(_, term, leads, led)| (*term, *leads, *led) != now) {
            standing.push((seconds(*at), now.0, now.1, now.2));
        }
    }
    standing
}

fn resident(evidence: &Evidence, node: usize) -> Vec<(f64, f64)> {
    let of_node = evidence.footprints.iter().filter(|it| it.node == node);
    of_node.map(|it| (seconds(it.at), it.resident_kib as f64 / 1024.0)).collect()
}
