//! What goes wrong in a run, drawn from its seed before it begins.

use std::fmt;
use std::ops::Range;

use rand::Rng;
use rand::rngs::StdRng;
use serverv2_raft_simulated::simulation::Crash;

/// Quiet at the beginning, so that the cluster can form; milliseconds.
pub(crate) const CALM_MS: u64 = 1_500;
/// From then on nothing goes wrong any more; milliseconds.
pub(crate) const HEALED_MS: u64 = 11_000;

/// From one fault to the next, milliseconds. A fault outlasts that often: they overlap.
const PAUSE_MS: Range<u64> = 100..1_400;
const CUT_MS: Range<u64> = 100..2_500;
const HELD_MS: Range<u64> = 50..1_200;
const DOWN_MS: Range<u64> = 50..2_500;
const SLOW_MS: Range<u64> = 500..3_000;
/// A slow disk's sync, milliseconds.
const SLOW_SYNC_MS: Range<u64> = 30..250;
/// How long a machine waits for a vote of its node, milliseconds, and how long its disk syncs meanwhile.
const ARMED_MS: Range<u64> = 1_000..4_000;
const ARMED_SYNC_MS: u64 = 250;
/// The longest way of a message, milliseconds.
const LATENCY_MS: Range<u64> = 1..60;

/// One change of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Crash(u64, Crash),
    Start(u64),
    /// When the node votes next, its machine loses power before the vote is synced, and is down for so many
    /// milliseconds.
    Arm {
        node: u64,
        down_ms: u64,
    },
    Disarm(u64),
    Cut {
        from: u64,
        to: u64,
    },
    Mend {
        from: u64,
        to: u64,
    },
    Hold(u64, u64),
    Release(u64, u64),
    /// A node's disk takes so long to sync.
    Slow(u64, u64),
    Quick(u64),
    Latency(u64),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node, Crash::Kill) => write!(f, "kill n{node}"),
            Self::Crash(node, Crash::PowerCut) => write!(f, "cut the power of n{node}"),
            Self::Start(node) => write!(f, "start n{node}"),
            Self::Arm { node, .. } => write!(f, "cut the power of n{node} when it votes"),
            Self::Disarm(node) => write!(f, "cut the power of n{node} no more when it votes"),
            Self::Cut { from, to } => write!(f, "cut n{from} → n{to}"),
            Self::Mend { from, to } => write!(f, "mend n{from} → n{to}"),
            Self::Hold(a, b) => write!(f, "hold n{a} – n{b}"),
            Self::Release(a, b) => write!(f, "release n{a} – n{b}"),
            Self::Slow(node, ms) => write!(f, "n{node} syncs in up to {ms} ms"),
            Self::Quick(node) => write!(f, "n{node} syncs quickly"),
            Self::Latency(ms) => write!(f, "messages take up to {ms} ms"),
        }
    }
}

/// All changes of a run, in the order of their times in milliseconds.
pub(crate) fn plan(rng: &mut StdRng, nodes: u64) -> Vec<(u64, Change)> {
    let mut plan = Vec::new();
    let mut at = CALM_MS;
    while at < HEALED_MS {
        fault(rng, nodes, at, &mut plan);
        at += rng.random_range(PAUSE_MS);
    }
    plan.retain(|(at, _)| *at < HEALED_MS);
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn fault(rng: &mut StdRng, nodes: u64, at: u64, plan: &mut Vec<(u64, Change)>) {
    let one = rng.random_range(1..=nodes);
    let other = (one + rng.random_range(0..nodes - 1)) % nodes + 1;
    let others = (1..=nodes).filter(|node| *node != one);
    let mut down = |node: u64, how: Crash, rng: &mut StdRng| {
        plan.push((at, Change::Crash(node, how)));
        plan.push((at + rng.random_range(DOWN_MS), Change::Start(node)));
    };
    match rng.random_range(0..22) {
        0..3 => down(one, Crash::Kill, rng),
        3..6 => down(one, Crash::PowerCut, rng),
        6 => [one, other].into_iter().for_each(|node| down(node, Crash::PowerCut, rng)),
        7 => (1..=nodes).for_each(|node| down(node, Crash::Kill, rng)),
        8 | 9 => (1..=nodes).for_each(|node| down(node, Crash::PowerCut, rng)),
        kind @ 10..16 => {
            let cut: Vec<(u64, u64)> = match kind {
                10 => vec![(one, other)],
                11 => vec![(one, other), (other, one)],
                12 => others.map(|other| (one, other)).collect(),
                13 => others.map(|other| (other, one)).collect(),
                _ => others.flat_map(|other| [(one, other), (other, one)]).collect(),
            };
            let until = at + rng.random_range(CUT_MS);
            for (from, to) in cut {
                plan.push((at, Change::Cut { from, to }));
                plan.push((until, Change::Mend { from, to }));
            }
        }
        16 | 17 => {
            plan.push((at, Change::Hold(one, other)));
            plan.push((at + rng.random_range(HELD_MS), Change::Release(one, other)));
        }
        18 => {
            plan.push((at, Change::Slow(one, rng.random_range(SLOW_SYNC_MS))));
            plan.push((at + rng.random_range(SLOW_MS), Change::Quick(one)));
        }
        19 | 20 => {
            let until = at + rng.random_range(ARMED_MS);
            plan.push((at, Change::Slow(one, ARMED_SYNC_MS)));
            plan.push((at, Change::Arm { node: one, down_ms: rng.random_range(DOWN_MS) }));
            plan.push((until, Change::Disarm(one)));
            plan.push((until, Change::Quick(one)));
        }
        _ => plan.push((at, Change::Latency(rng.random_range(LATENCY_MS)))),
    }
}
