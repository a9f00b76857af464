//! Which faults come when: decided by the seed alone, before anything is started.
//!
//! A seed repeats the plan, not the timing of threads: two runs of one seed are broken in the same way at the
//! same moments, and may go differently.

use std::fmt;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::faults::{Kind, Lane};

/// How long nothing is broken at first.
pub(crate) const HEALTHY: Duration = Duration::from_secs(5);
/// How long a fault lasts, where its kind does not say.
const HOLDS_MS: std::ops::Range<u64> = 1_500..4_000;
/// How long the cluster is left alone between two faults of one lane.
const RESTS_MS: std::ops::Range<u64> = 2_000..4_000;
/// The same for Redis, whose faults overlap with the others.
const REDIS_RESTS_MS: std::ops::Range<u64> = 6_000..12_000;
/// What a fault may take beside its time, such as a restart.
const ALLOWANCE: Duration = Duration::from_secs(2);

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Not before this moment; later, if the lane's former fault takes longer.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) holds: Duration,
    /// Decides whom it concerns.
    pub(crate) salt: u64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, holds) = (self.at.as_secs_f64(), self.holds.as_secs_f64());
        write!(f, "{at:6.1} s  {:<20} for {holds:.1} s: {}", self.kind.name(), self.kind.does())
    }
}

/// All of them, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// Faults out of these kinds for a run of this length. Each kind comes once before any comes again.
    pub(crate) fn of(seed: u64, length: Duration, kinds: &[Kind]) -> Self {
        let mut steps = Vec::new();
        for lane in [Lane::Nodes, Lane::Redis] {
            let of_lane: Vec<Kind> =
                kinds.iter().copied().filter(|kind| kind.lane() == lane).collect();
            // Lanes have streams of their own: what one draws does not change another.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(lane as u64);
            steps.extend(fill(&of_lane, lane, length, &mut rng));
        }
        steps.sort_by_key(|step| step.at);
        Self { seed, steps }
    }

    /// Those of one lane.
    pub(crate) fn lane(&self, lane: Lane) -> Vec<(u32, Step)> {
        let numbered = (1..).zip(self.steps.iter().cloned());
        numbered.filter(|(_, step)| step.kind.lane() == lane).collect()
    }
}

fn fill(kinds: &[Kind], lane: Lane, length: Duration, rng: &mut ChaCha8Rng) -> Vec<Step> {
    let (mut steps, mut deck, mut at) = (Vec::new(), Vec::new(), HEALTHY);
    let rests = if lane == Lane::Redis { REDIS_RESTS_MS } else { RESTS_MS };
    while !kinds.is_empty() {
        if deck.is_empty() {
            deck = kinds.to_vec();
            deck.shuffle(rng);
        }
        let Some(kind) = deck.pop() else { break };
        let holds = Duration::from_millis(rng.random_range(HOLDS_MS));
        let rest = Duration::from_millis(rng.random_range(rests.clone()));
        if at + holds + ALLOWANCE > length {
            break;
        }
        steps.push(Step { at, kind, holds, salt: rng.random() });
        at += holds + rest + ALLOWANCE;
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn equal_seeds_give_equal_plans_and_others_give_others() {
        let plan = |seed| Plan::of(seed, LONG, Kind::ALL);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7).steps, plan(8).steps);
    }

    #[test]
    fn what_redis_suffers_changes_nothing_of_what_nodes_suffer() {
        let without: Vec<Kind> =
            Kind::ALL.iter().copied().filter(|kind| kind.lane() == Lane::Nodes).collect();
        let nodes = |kinds: &[Kind]| -> Vec<Step> {
            Plan::of(7, LONG, kinds).lane(Lane::Nodes).into_iter().map(|(_, step)| step).collect()
        };
        assert_eq!(nodes(Kind::ALL), nodes(&without));
    }

    #[test]
    fn every_kind_comes_before_one_comes_again_and_all_end_in_time() {
        let plan = Plan::of(7, LONG, Kind::ALL);
        let nodes = plan.lane(Lane::Nodes);
        let of_nodes = Kind::ALL.iter().filter(|kind| kind.lane() == Lane::Nodes).count();
        let first: BTreeSet<Kind> = nodes[..of_nodes].iter().map(|(_, step)| step.kind).collect();
        assert_eq!(first.len(), of_nodes);
        assert!(plan.steps.iter().all(|step| step.at >= HEALTHY && step.at + step.holds < LONG));
    }
}
