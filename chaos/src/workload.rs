//! What the cluster is used for while it is broken: players who fight, guests, names, tokens.
//!
//! Actors are independent of each other, decide by the run's seed, write down each thing they ask, and go to
//! another node whenever one does not answer: as clients do behind a balancer.

mod fighter;
mod guests;
mod hand;
mod late;
mod names;
mod team;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Npm;
use crate::cluster::Cluster;
use crate::history::{Actor, History};

pub(crate) use self::fighter::{Fighter, Temper};
pub(crate) use self::hand::Hand;

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// Players who fight; with an odd number one always waits.
    pub(crate) fighters: u32,
    /// So many of them use the official client.
    pub(crate) npm: u32,
    /// Who makes guests through each node, to see when it serves.
    pub(crate) probes: u32,
    /// Who logs in and out.
    pub(crate) tokens: u32,
    /// Groups of three who rename one player.
    pub(crate) names: u32,
    /// Who repeats requests long after they were answered.
    pub(crate) late: u32,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { fighters: 8, npm: 2, probes: 1, tokens: 3, names: 1, late: 1 }
    }
}

/// What all actors share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) history: Arc<History>,
    pub(crate) seed: u64,
    stopping: watch::Receiver<bool>,
}

impl World {
    /// A world whose actors go on until the sender says true.
    pub(crate) fn new(cluster: Arc<Cluster>, seed: u64) -> (Self, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let history = cluster.history.clone();
        (Self { cluster, history, seed, stopping }, stop)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits, but no longer than until the end.
    pub(crate) async fn rest(&self, time: Duration) {
        let mut stopping = self.stopping.clone();
        let _ = tokio::time::timeout(time, stopping.wait_for(|stopping| *stopping)).await;
    }

    /// This actor's own stream of chance.
    pub(crate) fn rng(&self, actor: Actor) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Streams below are the plan's.
        rng.set_stream(1_000 + u64::from(actor));
        rng
    }
}

/// Starts all of them. They end soon after the world is told to stop.
pub(crate) fn start(world: &World, crowd: Crowd, temper: Temper, npm: Option<&Npm>) -> JoinSet<()> {
    let mut actors = JoinSet::new();
    for number in 0..crowd.fighters {
        let npm = npm.filter(|_| number < crowd.npm).cloned();
        let hand = Hand { npm, ..Hand::new(world, 100 + number) };
        actors.spawn(fighter::go_on(hand, temper));
    }
    for at in world.cluster.all() {
        for number in 0..crowd.probes {
            let actor = 200 + u32::try_from(at).unwrap_or_default() * crowd.probes + number;
            actors.spawn(guests::probe(Hand::new(world, actor), at));
        }
    }
    for number in 0..crowd.tokens {
        actors.spawn(tokens::go_on(Hand::new(world, 300 + number)));
    }
    for number in 0..crowd.late {
        actors.spawn(late::go_on(Hand::new(world, 500 + number)));
    }
    for number in 0..crowd.names {
        actors.spawn(names::go_on(world.clone(), 400 + 10 * number));
    }
    actors
}
