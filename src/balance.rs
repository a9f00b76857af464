//! Which node a new client should go to, by connections and processor load.
//!
//! Each node knows how it is ([`LocalCondition`]) and says so to whoever asks: to the registry in Redis, for other
//! services; to HAProxy ([`agent`]); and to the other nodes, once a second, over the connections that notices take.
//! [`Balance`] is what this node has heard that way. So a client is sent to the right node without Redis, too, and
//! what Redis says of instances is never read.
//!
//! Only who has answered the last question is named, says of itself that it is healthy and has room, and is counted
//! in and stays by the log. Nothing here is a fact of the game: a client that goes elsewhere is served as well.

pub mod agent;
mod choice;
mod condition;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serverv2_machine::NodeId;
use serverv2_raft::Cluster;
use tokio::time::{MissedTickBehavior, interval};

use self::choice::{Candidate, best};
use self::condition::Told;
pub use self::condition::{Condition, Health, Instance, LocalCondition};
use crate::announce::condition_question;

/// How often the others are asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How long they may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is older counts no more: this process has been paused, or had no time.
const FRESH_FOR: Duration = Duration::from_secs(3);

/// See the module's text.
pub struct Balance {
    cluster: Cluster,
    local: Arc<LocalCondition>,
    // A lock, held to choose among a handful of nodes.
    round: Mutex<Round>,
    /// Clients that nobody could be named to, and the others.
    assigned: [AtomicU64; 2],
}

/// The answers to one question.
struct Round {
    at: Instant,
    others: BTreeMap<NodeId, Told>,
    sent: BTreeMap<NodeId, Sent>,
}

/// Clients that were sent to a node, and may not be among its connections yet.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// Since the last question.
    since: usize,
    /// Between that and the one before.
    before: usize,
}

impl Balance {
    /// Begins to ask; ends with the last handle.
    pub(crate) fn start(cluster: &Cluster, local: Arc<LocalCondition>) -> Arc<Self> {
        let nothing = Round { at: Instant::now(), others: BTreeMap::new(), sent: BTreeMap::new() };
        let this = Arc::new(Self {
            cluster: cluster.clone(),
            local,
            round: Mutex::new(nothing),
            assigned: Default::default(),
        });
        tokio::spawn(keep_asking(Arc::downgrade(&this)));
        this
    }

    /// The best instance for one more client; `None`: there is none that takes any.
    pub fn assign(&self) -> Option<Instance> {
        let me = self.cluster.node();
        let own = self.local.told();
        let staying = self.cluster.read(|machine, _| {
            let staying = machine.nodes().filter(|node| node.live && !node.draining);
            staying.map(|node| node.id).collect::<BTreeSet<_>>()
        });
        let mut round = self.round.lock();
        let fresh = round.at.elapsed() < FRESH_FOR;
        let others = round.others.iter().filter(|_| fresh);
        let all = others.map(|(id, told)| (*id, told)).chain([(me, &own)]);
        let named =
            best(all.filter(|(id, _)| staying.value.contains(id)).map(|(id, told)| Candidate {
                id,
                is_asked: id == me,
                condition: told.condition,
                coming: round.sent.get(&id).map_or(0, |sent| sent.since + sent.before),
            }));
        self.assigned[usize::from(named.is_some())].fetch_add(1, Ordering::Relaxed);
        let named = named?;
        round.sent.entry(named).or_default().since += 1;
        if named == me {
            Some(own.instance)
        } else {
            Some(round.others.get(&named)?.instance.clone())
        }
    }

    /// How often an instance could be named, and how often none.
    pub fn assigned(&self) -> [(&'static str, u64); 2] {
        let read = |named: bool| self.assigned[usize::from(named)].load(Ordering::Relaxed);
        [("none", read(false)), ("named", read(true))]
    }

    async fn ask(&self) {
        self.local.sample();
        let others = self.cluster.others();
        let answers = self.cluster.tell(others, condition_question(), PATIENCE).await;
        let told = answers.into_iter().filter_map(|(id, bytes)| Some((id, Told::decode(&bytes)?)));
        let others: BTreeMap<_, _> = told.collect();
        let mut round = self.round.lock();
        let mut sent = std::mem::take(&mut round.sent);
        sent.values_mut().for_each(|sent| *sent = Sent { since: 0, before: sent.since });
        sent.retain(|_, sent| sent.before > 0);
        *round = Round { at: Instant::now(), others, sent };
    }
}

async fn keep_asking(balance: Weak<Balance>) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let Some(balance) = balance.upgrade() else { return };
        balance.ask().await;
    }
}
