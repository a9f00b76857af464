//! How a node is: what it tells the other nodes, the registry in Redis, and HAProxy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serverv2_raft::Cluster;

use crate::app::LocalReadiness;
use crate::cpu::{self, Cpu};
use crate::gateway::Gateway;
use crate::sessions::LocalSessions;

/// What one node says of itself is shorter, bytes.
const TOLD_BYTES_MAX: usize = 2_048;
/// A processor that is always busy gets some work done all the same, percent.
const IDLE_MIN: f64 = 5.0;
/// Who has had no word from a majority for so long is nobody to send clients to, whoever he believes to lead.
const UNCERTAINTY_MAX: Duration = Duration::from_secs(3);
/// An election is over sooner, also that of a leader that hangs.
const ELECTION_MAX: Duration = Duration::from_secs(2);

/// Whether a node serves, as the registry names it (contract 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Yes.
    Healthy,
    /// Not now.
    Unhealthy,
    /// Not any more.
    Stopping,
}

impl Health {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
        }
    }
}

/// What does not change while an instance runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub id: String,
    /// Where clients reach it.
    pub host: String,
    /// Where clients reach it.
    pub port: u16,
}

/// How it is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Whether it serves.
    pub health: Health,
    /// Sockets that it holds.
    pub connections: usize,
    /// How many it may hold.
    pub connections_max: usize,
    /// Processor time that it takes, percent of all cores.
    pub load: f64,
}

impl Condition {
    /// Whether it takes one more client.
    pub(super) fn takes_more(&self) -> bool {
        self.health == Health::Healthy && self.connections < self.connections_max
    }

    /// What one more client costs, with so many on their way: his share of the room there, the dearer the less
    /// the processor is idle. A node that is half idle gets half as many as one of the same size that has nothing
    /// else to do.
    pub(super) fn cost(&self, coming: usize) -> f64 {
        let share = self.connections.saturating_add(coming).saturating_add(1) as f64
            / self.connections_max.max(1) as f64;
        share / self.idle().max(IDLE_MIN)
    }

    /// What is left of that of which less is left, connections or processor time: 1 to 100 percent, and 0 for a
    /// node that takes nobody.
    pub(super) fn left(&self) -> u32 {
        if !self.takes_more() {
            return 0;
        }
        let room = 1.0 - self.connections as f64 / self.connections_max as f64;
        (100.0 * room).min(self.idle()).round().max(1.0) as u32
    }

    fn idle(&self) -> f64 {
        100.0 - self.load.clamp(0.0, 100.0)
    }
}

/// An instance and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) instance: Instance,
    pub(super) condition: Condition,
}

impl Told {
    /// What another node says; `None`: nothing that is understood here.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= TOLD_BYTES_MAX).then(|| serde_json::from_slice(bytes).ok()).flatten()
    }
}

/// How this node is.
pub struct LocalCondition {
    instance: Instance,
    cluster: Cluster,
    readiness: Arc<LocalReadiness>,
    sessions: Arc<LocalSessions>,
    connections_max: usize,
    // A lock: the look before belongs to the next one.
    load: Mutex<(Cpu, f64)>,
    /// When it was last found to be healthy.
    healthy_at: Mutex<Option<Instant>>,
}

impl LocalCondition {
    /// Of a node that holds at most so many connections.
    pub(crate) fn new(
        instance: Instance,
        readiness: &Arc<LocalReadiness>,
        gateway: &Gateway,
        connections_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            instance,
            cluster: gateway.cluster.clone(),
            readiness: readiness.clone(),
            sessions: gateway.sessions.clone(),
            connections_max,
            load: Mutex::default(),
            healthy_at: Mutex::default(),
        })
    }

    /// Who it is.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// How it is now; the load as it was between the last two samples.
    pub fn now(&self) -> Condition {
        Condition {
            health: self.health(),
            connections: self.sessions.count(),
            connections_max: self.connections_max,
            load: self.load.lock().1,
        }
    }

    /// The same, but that who was healthy a moment ago still is: for those who ask all nodes, and would have none left
    /// while these elect a leader.
    pub fn steady(&self) -> Condition {
        let now = self.now();
        let lately = |at: Instant| at.elapsed() < ELECTION_MAX;
        let may_elect = || self.is_sure() && self.healthy_at.lock().is_some_and(lately);
        match now.health {
            Health::Unhealthy if may_elect() => Condition { health: Health::Healthy, ..now },
            _ => now,
        }
    }

    fn health(&self) -> Health {
        let health = match self.readiness.health() {
            Health::Healthy if !self.is_sure() => Health::Unhealthy,
            health => health,
        };
        if health == Health::Healthy {
            *self.healthy_at.lock() = Some(Instant::now());
        }
        health
    }

    fn is_sure(&self) -> bool {
        self.cluster.uncertainty().is_some_and(|age| age <= UNCERTAINTY_MAX)
    }

    /// What it says when another node asks.
    pub(crate) fn answer(&self) -> Vec<u8> {
        // Of texts and numbers only: it can't fail.
        serde_json::to_vec(&self.told()).unwrap_or_default()
    }

    pub(super) fn told(&self) -> Told {
        Told { instance: self.instance.clone(), condition: self.now() }
    }

    /// Measures the load since the last time, and looks how it is.
    pub(super) fn sample(&self) {
        self.health();
        let mut load = self.load.lock();
        load.1 = load.0.percent(cpu::used(), self.readiness.uptime()) / cores();
    }
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A node of 100 places that is healthy.
    pub(in crate::balance) fn with(connections: usize, load: f64) -> Condition {
        Condition { health: Health::Healthy, connections, connections_max: 100, load }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::with;
    use super::*;
    use crate::app::testing::Node;

    #[test]
    fn what_is_left_is_that_of_which_less_is_left() {
        for (connections, load, left) in [
            (0, 0.0, 100),
            (25, 0.0, 75),
            (25, 10.0, 75),
            (25, 60.4, 40),
            (99, 0.0, 1),
            (0, 100.0, 1),
            (0, 250.0, 1),
            (100, 0.0, 0),
            (1_000, 0.0, 0),
        ] {
            assert_eq!(with(connections, load).left(), left, "{connections} at {load}");
        }
        for health in [Health::Unhealthy, Health::Stopping] {
            assert_eq!(Condition { health, ..with(0, 0.0) }.left(), 0);
        }
    }

    #[test]
    fn what_a_node_says_of_itself_is_understood_by_another_one() {
        let instance = Instance { id: "node-1".into(), host: "h".repeat(255), port: 8102 };
        let told = Told { instance, condition: with(7, 12.5) };
        let bytes = serde_json::to_vec(&told).unwrap();
        assert_eq!(Told::decode(&bytes), Some(told));
        assert!(bytes.len() < TOLD_BYTES_MAX);
        assert_eq!(Told::decode(&bytes[1..]), None);
        assert_eq!(Told::decode(&[b' '; TOLD_BYTES_MAX + 1]), None);
        let text = String::from_utf8(bytes).unwrap();
        let newer = text.replacen('{', r#"{"more":[1],"#, 1);
        assert!(Told::decode(newer.as_bytes()).is_some(), "a newer build may say more");
        let other = text.replace("healthy", "dreaming");
        assert_eq!(Told::decode(other.as_bytes()), None, "and what is not known is not trusted");
    }

    #[tokio::test]
    async fn who_was_healthy_a_moment_ago_still_is_for_a_balancer_and_for_nobody_else() {
        let node = Node::start(&[]).await;
        let (it, readiness) = (&node.app.condition, &node.app.readiness);
        let healths = || (it.now().health, it.steady().health);
        // Ten times a second it is found again that it can serve: in between it can't.
        let becomes = |healthy_at: Option<Instant>, wanted| {
            (0..20).any(|_| {
                readiness.set_ready(false);
                *it.healthy_at.lock() = healthy_at;
                healths() == wanted
            })
        };
        assert_eq!(healths(), (Health::Healthy, Health::Healthy));
        let now = Instant::now();
        assert!(becomes(Some(now), (Health::Unhealthy, Health::Healthy)));
        let long_ago = now.checked_sub(ELECTION_MAX);
        assert!(becomes(long_ago, (Health::Unhealthy, Health::Unhealthy)));
        assert!(becomes(None, (Health::Unhealthy, Health::Unhealthy)));
        readiness.drain();
        assert_eq!(healths(), (Health::Stopping, Health::Stopping));
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_numbers_do_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            connections: usize, connections_max: usize, coming: usize, load: f64,
        ) {
            let _ = Told::decode(&bytes);
            let it = Condition { health: Health::Healthy, connections, connections_max, load };
            prop_assert!(it.left() <= 100);
            let _ = it.cost(coming);
        }
    }
}
