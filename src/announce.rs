//! Announcements to the sockets of all nodes, dismissed players, and counts: all that nodes tell each other
//! about sockets beside the log. None of it is a fact of the game, and the game's own events never go this way.
//!
//! Whoever announces tells the sockets of its own node first, and then the other nodes: by Redis, where there is
//! one and it says that as many have heard as there are nodes, and else over the connections between the nodes as
//! well. Each notice has an id and is carried out once on each node. A node that has heard by neither way is
//! counted as lost, and the caller is told how many have heard; nothing is sent again later, since nobody wants
//! old news.
//!
//! With `NODE_INTEROP`, Node processes take part, as far as `NODE_INTEROP_EVENTS` goes: what they broadcast
//! through that Redis is told here, and what is announced here is broadcast to them. Each of our nodes hears
//! Node's broadcasts for itself; its own cluster's it knows by their sender and leaves alone.

mod figures;
mod local;
mod node;
mod notice;

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use serverv2_machine::{NodeId, PlayerId};
use serverv2_raft::Cluster;
use tokio::sync::Semaphore;
use tracing::debug;

use self::figures::Count;
pub use self::figures::Figures;
use self::local::{Incoming, LocalDelivery, LocalQueue};
pub(crate) use self::notice::condition_question;
pub use self::notice::{Announcement, DATA_BYTES_MAX, To};
use self::notice::{Asked, Notice, Order, asked, count_question};
use crate::balance::LocalCondition;
use crate::config::AnnounceSettings;
use crate::gateway::Gateway;
use crate::redis::subscriber::{self, Wanted};
use crate::redis::{Operation, Redis, keys};
use crate::sessions::LocalSessions;

/// Notices of this node that are on their way at once; one more is refused.
const SENDING_MAX: usize = 32;
/// How long another node may take to answer.
const PEER_PATIENCE: Duration = Duration::from_secs(1);
/// What a peer answers to a notice: whether it takes it.
const TAKEN: &[u8] = b"+";
const NOT_TAKEN: &[u8] = b"-";

/// Why nothing was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// Too many are on their way.
    #[error("too many announcements are on their way")]
    Busy,
    /// More than [`DATA_BYTES_MAX`].
    #[error("the announcement is too large")]
    TooLarge,
}

/// Who has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Nodes that have heard, this one among them.
    pub nodes: usize,
    /// Nodes that count.
    pub of: usize,
}

/// Sockets by node; `None`: it did not say.
pub type SocketCounts = Vec<(NodeId, Option<usize>)>;

/// Where notices are published, for a planted bug.
#[cfg(feature = "planted")]
static CHANNEL: std::sync::OnceLock<(Redis, String)> = std::sync::OnceLock::new();

/// Publishes an event for one player's sockets through Redis, once; nobody learns whether it was heard.
#[cfg(feature = "planted")]
pub(crate) async fn publish_once(player: PlayerId, event: &str, data: serde_json::Value) {
    let order =
        Order::Announce(Announcement { to: To::Player(player), event: event.to_owned(), data });
    if let (Some((redis, channel)), Some(notice)) = (CHANNEL.get(), Notice::new(order).encode()) {
        let publish = cmd("PUBLISH").arg(channel).arg(notice).to_owned();
        let _: Result<u64, _> = redis.call(Operation::Publish, &publish).await;
    }
}

/// See the module's text.
pub struct Announcer {
    cluster: Cluster,
    sessions: Arc<LocalSessions>,
    redis: Option<Redis>,
    /// Where this cluster's nodes hear each other.
    channel: String,
    node: Option<NodeInterop>,
    local: LocalQueue,
    sending: Arc<Semaphore>,
    figures: Arc<Figures>,
}

/// How Node servers are told.
struct NodeInterop {
    uid: String,
    key: String,
    events: Vec<String>,
}

impl Announcer {
    /// Begins to hear what other nodes, and Node processes where they may, have to say; answers also how this node
    /// is.
    pub fn start(
        cluster: &Cluster,
        gateway: &Gateway,
        redis: Option<Redis>,
        settings: &AnnounceSettings,
        condition: Arc<LocalCondition>,
    ) -> Arc<Self> {
        let id = cluster.id().unwrap_or_default();
        let uid = keys::node_uid(id);
        let figures = Arc::<Figures>::default();
        let node = settings.node_interop.then(|| NodeInterop {
            uid: uid.clone(),
            key: settings.node_key.clone(),
            events: settings.node_events.clone(),
        });
        let delivery = LocalDelivery {
            cluster: cluster.clone(),
            sessions: gateway.sessions.clone(),
            figures: figures.clone(),
            uid,
            node_events: settings.node_events.clone(),
        };
        let local = delivery.start();
        let channel = redis.as_ref().map_or_else(String::new, |it| keys::notices(it.prefix(), id));
        #[cfg(feature = "planted")]
        if let Some(redis) = redis.clone() {
            let _ = CHANNEL.set((redis, channel.clone()));
        }
        if let Some(redis) = redis.clone() {
            let wanted = Wanted {
                channel: channel.clone(),
                pattern: node.as_ref().map(|node| keys::node_broadcasts(&node.key)),
            };
            let (own, local) = (channel.clone(), local.clone());
            tokio::spawn(subscriber::keep(redis, wanted, move |channel, bytes| {
                let is_own = channel == own;
                local.put(if is_own { Incoming::Notice(bytes) } else { Incoming::Node(bytes) });
            }));
        }
        let (queue, sessions) = (local.clone(), gateway.sessions.clone());
        cluster.listen(Box::new(move |_, bytes| match asked(bytes) {
            Some(Asked::Notice) => {
                let taken = queue.put(Incoming::Notice(bytes.to_vec()));
                if taken { TAKEN } else { NOT_TAKEN }.to_vec()
            }
            Some(Asked::Count) => sessions.count().to_string().into_bytes(),
            Some(Asked::Condition) => condition.answer(),
            None => Vec::new(),
        }));
        Arc::new(Self {
            cluster: cluster.clone(),
            sessions: gateway.sessions.clone(),
            redis,
            channel,
            node,
            local,
            sending: Arc::new(Semaphore::new(SENDING_MAX)),
            figures,
        })
    }

    /// What became of notices here.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Emits an event at all nodes. It goes on when the caller does not wait for it.
    pub async fn announce(self: &Arc<Self>, it: Announcement) -> Result<Heard, NotSent> {
        let for_node = self.node.as_ref().and_then(|node| {
            let allowed = node.events.contains(&it.event);
            allowed
                .then(|| node::encode(&node.uid, &it))
                .flatten()
                .map(|(room, bytes)| (keys::node_channel(&node.key, room.as_deref()), bytes))
        });
        self.send(Order::Announce(it), for_node).await
    }

    /// Tells a player's sockets, wherever they are, to leave; they don't come back by themselves.
    pub async fn disconnect(self: &Arc<Self>, player: PlayerId) -> Result<Heard, NotSent> {
        self.send(Order::Disconnect(player), None).await
    }

    /// How many sockets each node that counts holds.
    pub async fn sockets(&self) -> SocketCounts {
        let others = self.cluster.others();
        let told = self.cluster.tell(others.clone(), count_question(), PEER_PATIENCE).await;
        let count = |node: &NodeId| {
            told.get(node).and_then(|answer| std::str::from_utf8(answer).ok()?.parse().ok())
        };
        let mut counts = vec![(self.cluster.node(), Some(self.sessions.count()))];
        counts.extend(others.iter().map(|node| (*node, count(node))));
        counts.sort_by_key(|(node, _)| *node);
        counts
    }

    async fn send(
        self: &Arc<Self>,
        order: Order,
        for_node: Option<(String, Vec<u8>)>,
    ) -> Result<Heard, NotSent> {
        let place = self.sending.clone().try_acquire_owned().map_err(|_| NotSent::Busy)?;
        let notice = Notice::new(order).encode().ok_or(NotSent::TooLarge)?;
        if !self.local.put(Incoming::Notice(notice.clone())) {
            return Err(NotSent::Busy);
        }
        self.figures.add(Count::Sent, 1);
        let this = self.clone();
        let sending = tokio::spawn(async move {
            let _place = place;
            if let Some((channel, bytes)) = for_node {
                this.publish(&channel, bytes).await;
            }
            this.tell_others(notice).await
        });
        let alone = Heard { nodes: 1, of: 1 + self.cluster.others().len() };
        Ok(sending.await.unwrap_or(alone))
    }

    async fn tell_others(&self, notice: Vec<u8>) -> Heard {
        let others = self.cluster.others();
        let of = 1 + others.len();
        if others.is_empty() {
            return Heard { nodes: 1, of };
        }
        // This node has subscribed, too.
        let heard = self.publish(&self.channel, notice.clone()).await;
        if heard >= of {
            return Heard { nodes: of, of };
        }
        let told = self.cluster.tell(others, notice, PEER_PATIENCE).await;
        let taken = told.values().filter(|answer| *answer == TAKEN).count();
        let lost = of - 1 - taken;
        if lost > 0 {
            debug!(lost, "not all nodes have heard a notice");
            self.figures.add(Count::Lost, lost);
        }
        Heard { nodes: of - lost, of }
    }

    /// Tells how many have heard; in a Redis Cluster only those at one server are known.
    async fn publish(&self, channel: &str, bytes: Vec<u8>) -> usize {
        let Some(redis) = &self.redis else { return 0 };
        let publish = redis.call(Operation::Publish, cmd("PUBLISH").arg(channel).arg(bytes)).await;
        publish.unwrap_or_else(|error| {
            debug!(%error, "nothing was published");
            0
        })
    }
}
