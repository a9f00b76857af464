//! Which faults come when: decided by the seed alone, before anything is started.
//!
//! A seed repeats the plan, not the timing of threads: two runs of one seed are broken in the same way at the
//! same moments, and may go differently.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::faults::{Kind, Lane};

/// How long nothing is broken at first.
pub(crate) const HEALTHY: Duration = Duration::from_secs(5);
/// How long a fault lasts, where its kind does not say.
const HOLDS_MS: Range<u64> = 1_500..4_000;
/// How long the cluster is left alone between two faults of one lane.
const RESTS_MS: Range<u64> = 2_000..4_000;
/// The same for Redis, whose faults overlap with the others.
const REDIS_RESTS_MS: Range<u64> = 6_000..12_000;
/// What a fault may take beside its time, such as a restart.
const ALLOWANCE: Duration = Duration::from_secs(2);

/// Lanes that take turns: at most one fault of each group goes on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turns {
    /// Nodes or the network between them, and Redis beside it.
    One,
    /// Each lane for itself: all three may be broken at once.
    All,
}

impl Turns {
    /// The groups, each with a stream of chance of its own: what one draws does not change another.
    fn groups(self) -> &'static [(u64, &'static [Lane])] {
        match self {
            Self::One => &[(0, &[Lane::Nodes, Lane::Network]), (1, &[Lane::Redis])],
            Self::All => &[(0, &[Lane::Nodes]), (1, &[Lane::Redis]), (2, &[Lane::Network])],
        }
    }
}

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
    turns: Turns,
}

impl Plan {
    /// Faults out of these kinds for a run of this length. Each kind comes once before any comes again.
    pub(crate) fn of(seed: u64, length: Duration, kinds: &[Kind], turns: Turns) -> Self {
        let mut steps = Vec::new();
        for (stream, lanes) in turns.groups() {
            let of_group: Vec<Kind> =
                kinds.iter().copied().filter(|kind| lanes.contains(&kind.lane())).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(*stream);
            let rests = if lanes.contains(&Lane::Redis) { REDIS_RESTS_MS } else { RESTS_MS };
            steps.extend(fill(&of_group, rests, length, &mut rng));
        }
        steps.sort_by_key(|step| step.at);
        Self { seed, steps, turns }
    }

    /// Those that come one after the other, by their numbers in the plan.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Vec<(u32, Step)>> {
        self.turns.groups().iter().map(|(_, lanes)| {
            let numbered = (1..).zip(self.steps.iter().cloned());
            numbered.filter(|(_, step)| lanes.contains(&step.kind.lane())).collect()
        })
    }
}

fn fill(kinds: &[Kind], rests: Range<u64>, length: Duration, rng: &mut ChaCha8Rng) -> Vec<Step> {
    let (mut steps, mut deck, mut at) = (Vec::new(), Vec::new(), HEALTHY);
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
        for turns in [Turns::One, Turns::All] {
            let plan = |seed| Plan::of(seed, LONG, Kind::ALL, turns);
            assert_eq!(plan(7), plan(7));
            assert_ne!(plan(7).steps, plan(8).steps);
        }
    }

    #[test]
    fn what_redis_suffers_changes_nothing_of_what_nodes_suffer() {
        let without: Vec<Kind> =
            Kind::ALL.iter().copied().filter(|kind| kind.lane() != Lane::Redis).collect();
        let nodes = |kinds: &[Kind]| -> Vec<Step> {
            let plan = Plan::of(7, LONG, kinds, Turns::One);
            plan.steps.into_iter().filter(|step| step.kind.lane() != Lane::Redis).collect()
        };
        assert_eq!(nodes(Kind::ALL), nodes(&without));
    }

    #[test]
    fn every_kind_comes_before_one_comes_again_and_all_end_in_time() {
        for turns in [Turns::One, Turns::All] {
            let plan = Plan::of(7, LONG, Kind::ALL, turns);
            for (row, (_, lanes)) in plan.rows().zip(turns.groups()) {
                let all = Kind::ALL.iter().filter(|kind| lanes.contains(&kind.lane())).count();
                let first: BTreeSet<Kind> = row[..all].iter().map(|(_, step)| step.kind).collect();
                assert_eq!(first.len(), all);
            }
            let is_in_time = |step: &Step| step.at >= HEALTHY && step.at + step.holds < LONG;
            assert!(plan.steps.iter().all(is_in_time));
        }
    }

    #[test]
    fn rows_of_all_turns_overlap_and_have_every_step_once() {
        let plan = Plan::of(7, LONG, Kind::ALL, Turns::All);
        let rows: Vec<_> = plan.rows().collect();
        assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), plan.steps.len());
        let overlaps = |(a, b): (&Step, &Step)| a.at < b.at + b.holds && b.at < a.at + a.holds;
        let pairs = rows[0].iter().flat_map(|a| rows[2].iter().map(move |b| (&a.1, &b.1)));
        assert!(pairs.into_iter().any(overlaps));
    }
}
