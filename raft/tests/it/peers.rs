//! Three nodes in one process, each with its own folder, threads and connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serverv2_machine::{Digest, NodeId, PackRef, PlayerId};
use serverv2_raft::{Cluster, ClusterSecret, EffectFeed, NodeConfig, ProposeError, Status};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::common::{DEADLINE, create, player_id, start};

pub(crate) struct Trio {
    folders: Vec<TempDir>,
    pub(crate) configs: Vec<NodeConfig>,
    nodes: Vec<Option<(Cluster, EffectFeed)>>,
}

impl Trio {
    /// Three folders and three bound listeners; nothing runs yet.
    pub(crate) fn prepare() -> Self {
        let listeners: Vec<Arc<TcpListener>> =
            (0..3).map(|_| Arc::new(TcpListener::bind("127.0.0.1:0").unwrap())).collect();
        let peers: BTreeMap<NodeId, String> = (1..)
            .map(NodeId)
            .zip(&listeners)
            .map(|(id, listener)| (id, listener.local_addr().unwrap().to_string()))
            .collect();
        let folders: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let configs = (1..).map(NodeId).zip(&folders).zip(&listeners);
        let configs = configs.map(|((id, folder), listener)| NodeConfig {
            packs: vec![PackRef { engine: "test/1".into(), digest: Digest([7; 32]) }],
            peers: peers.clone(),
            peer_listener: Some(listener.clone()),
            cluster_secret: ClusterSecret("a secret of the test".into()),
            node_gone_after_ms: 1_000,
            ..NodeConfig::new(id, folder.path().to_path_buf())
        });
        Self { configs: configs.collect(), folders, nodes: vec![None, None, None] }
    }

    /// Where the nodes listen for each other.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let listeners = self.configs.iter().flat_map(|config| &config.peer_listener);
        listeners.map(|listener| listener.local_addr().unwrap().port()).collect()
    }

    pub(crate) async fn started() -> Self {
        let mut trio = Self::prepare();
        trio.start_all([0, 1, 2]).await;
        trio
    }

    pub(crate) async fn start_all<const N: usize>(&mut self, which: [usize; N]) {
        let starting = which.map(|at| (at, self.begin_to_start(at)));
        for (at, started) in starting {
            self.nodes[at] = Some(started.await.unwrap());
        }
    }

    /// A start that may take its time; [`Self::has_started`] wants the node.
    pub(crate) fn begin_to_start(&self, at: usize) -> JoinHandle<(Cluster, EffectFeed)> {
        let config = self.configs[at].clone();
        tokio::spawn(async move { start(&config).await })
    }

    pub(crate) fn has_started(&mut self, at: usize, node: (Cluster, EffectFeed)) {
        self.nodes[at] = Some(node);
    }

    pub(crate) fn node(&self, at: usize) -> &Cluster {
        &self.nodes[at].as_ref().unwrap().0
    }

    fn running(&self) -> impl Iterator<Item = &Cluster> {
        self.nodes.iter().flatten().map(|(cluster, _)| cluster)
    }

    /// The place of the leader, once all running nodes agree on it.
    pub(crate) async fn leader(&self) -> usize {
        let agreed = eventually("one leader", || {
            let leaders: BTreeSet<_> = self.running().map(|node| node.status().leader).collect();
            let [Some(leader)] = leaders.into_iter().collect::<Vec<_>>()[..] else { return None };
            let at = usize::try_from(leader.0 - 1).unwrap();
            self.nodes[at].as_ref().filter(|(node, _)| node.status().is_leader).map(|_| at)
        });
        agreed.await
    }

    /// Waits until all running nodes have applied the same, and says the digest of it.
    pub(crate) async fn settled(&self) -> Digest {
        eventually("the same state everywhere", || {
            let states: BTreeSet<(u64, Digest)> = self
                .running()
                .map(|node| {
                    let stamped = node.read(|machine, records| machine.digest(records));
                    (stamped.index, stamped.value)
                })
                .collect();
            (states.len() == 1).then(|| states.into_iter().next().unwrap().1)
        })
        .await
    }

    pub(crate) fn kill(&mut self, at: usize) {
        // Dropped without a goodbye: as if it had been killed.
        self.nodes[at] = None;
    }

    pub(crate) fn players(&self, at: usize) -> usize {
        self.node(at).read(|_, records| records.players().count()).value
    }
}

pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// Proposes until it is answered, as a careful caller does: a retry may find it done.
pub(crate) async fn insist(node: &Cluster, number: u8) {
    loop {
        match node.propose(create(number), None).await {
            Ok(_) | Err(ProposeError::Rejected(_)) => return,
            Err(ProposeError::Busy | ProposeError::Unknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_forms_whichever_starts_first() {
    for order in [[2, 1, 0], [0, 2, 1]] {
        let mut trio = Trio::prepare();
        let mut starting = Vec::new();
        for at in order {
            starting.push((at, trio.begin_to_start(at)));
            tokio::task::yield_now().await;
        }
        for (at, started) in starting {
            trio.has_started(at, started.await.unwrap());
        }
        trio.leader().await;
        let members: BTreeSet<Vec<NodeId>> =
            trio.running().map(|node| node.status().members).collect();
        assert_eq!(members, BTreeSet::from([(1..=3).map(NodeId).collect()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_node_proposes_is_applied_once_everywhere_and_answered_there() {
    let trio = Trio::started().await;
    trio.leader().await;
    let mut asking = Vec::new();
    for number in 0..60_u8 {
        let node = trio.node(usize::from(number) % 3).clone();
        asking.push(tokio::spawn(async move {
            let committed = node.propose(create(number), None).await.unwrap();
            let seen = node.read(|_, records| records.player(player_id(number)).is_some());
            assert!(seen.index >= committed.index && seen.value, "applied where it is answered");
        }));
    }
    for asked in asking {
        asked.await.unwrap();
    }
    trio.settled().await;
    assert_eq!([0, 1, 2].map(|at| trio.players(at)), [60; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_follower_sees_what_was_acknowledged_anywhere() {
    let trio = Trio::started().await;
    let leader = trio.leader().await;
    for number in 0..20_u8 {
        let writer = usize::from(number) % 3;
        trio.node(writer).propose(create(number), None).await.unwrap();
        let reader = (leader + 1 + usize::from(number) % 2) % 3;
        let seen = trio
            .node(reader)
            .read_linearizable(|_, records| records.player(player_id(number)).is_some());
        assert!(seen.await.unwrap().value, "player {number} at node {}", reader + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_loses_nothing_and_doubles_nothing() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    let survivor = (leader + 1) % 3;
    let node = trio.node(survivor).clone();
    let load = tokio::spawn(async move {
        for number in 0..60_u8 {
            insist(&node, number).await;
        }
    });
    let watching = trio.node(survivor).clone();
    eventually("some load", || {
        (watching.read(|_, records| records.players().count()).value >= 10).then_some(())
    })
    .await;
    let time_before = trio.node(survivor).log_time();
    trio.kill(leader);
    tokio::time::timeout(DEADLINE, load).await.unwrap().unwrap();
    let next = trio.leader().await;
    assert_ne!(next, leader);
    assert!(trio.node(next).log_time() >= time_before, "log time never goes back");
    assert_eq!(trio.players(survivor), 60);

    trio.start_all([leader]).await;
    trio.settled().await;
    assert_eq!(trio.players(leader), 60, "it has caught up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_counted_out_and_let_in_again() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    let silent = (leader + 1) % 3;
    let id = trio.node(silent).node();
    let witness = trio.node(leader).clone();
    let live = move || {
        let nodes = witness.read(|machine, _| {
            machine.nodes().find(|node| node.id == id).map(|node| (node.live, node.incarnation))
        });
        nodes.value
    };
    // The leader may apply another node's news after that node does.
    let (_, before) = eventually("the node announced", &live).await;
    trio.kill(silent);
    let gone = || live().filter(|(is_live, _)| !is_live);
    eventually("the node counted out", gone).await;
    trio.start_all([silent]).await;
    // The follower may have applied its own news before the leader did.
    let newer = || live().filter(|(back, after)| *back && *after > before);
    eventually("a newer process of it", newer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_promised_and_with_it_everything_goes_on() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    let [b, c] = [(leader + 1) % 3, (leader + 2) % 3];
    trio.node(leader).propose(create(1), None).await.unwrap();
    trio.kill(b);
    trio.kill(c);
    let refused = trio.node(leader).propose(create(2), None).await;
    assert!(
        matches!(refused, Err(ProposeError::Unknown | ProposeError::Busy)),
        "neither a success nor a certain failure: {refused:?}"
    );
    trio.start_all([b, c]).await;
    trio.leader().await;
    insist(trio.node(leader), 3).await;
    trio.settled().await;
    assert!(trio.players(b) >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_killed_and_started_again_are_as_before() {
    let mut trio = Trio::started().await;
    trio.leader().await;
    for number in 0..9 {
        trio.node(usize::from(number) % 3).propose(create(number), None).await.unwrap();
    }
    trio.settled().await;
    (0..3).for_each(|at| trio.kill(at));
    trio.start_all([0, 1, 2]).await;
    trio.settled().await;
    let expected: Vec<PlayerId> = {
        let mut ids: Vec<_> = (0..9).map(player_id).collect();
        ids.sort_unstable();
        ids
    };
    for node in trio.running() {
        let found = node.read(|_, records| records.players().map(|p| p.id).collect::<Vec<_>>());
        assert_eq!(found.value, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_too_long_catches_up_by_snapshot() {
    let mut trio = Trio::prepare();
    for config in &mut trio.configs {
        config.snapshot_entries = 20;
        config.keep_entries = 5;
    }
    trio.start_all([0, 1, 2]).await;
    let leader = trio.leader().await;
    let away = (leader + 1) % 3;
    trio.kill(away);
    for number in 0..60_u8 {
        insist(trio.node(leader), number).await;
    }
    eventually("a purged log", || (trio.node(leader).status().purged > 30).then_some(())).await;
    trio.start_all([away]).await;
    trio.settled().await;
    assert_eq!(trio.players(away), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_secret_is_not_let_in() {
    let mut trio = Trio::prepare();
    trio.configs[2].cluster_secret = ClusterSecret("another one".into());
    let stranger = tokio::spawn({
        let config = trio.configs[2].clone();
        async move { start(&config).await }
    });
    // Without the third the cluster does not form: all must have been spoken with.
    let config = trio.configs[0].clone();
    let first = tokio::spawn(async move { start(&config).await });
    let waited = tokio::time::timeout(Duration::from_secs(2), first).await;
    assert!(waited.is_err(), "nobody forms a cluster with a stranger");
    stranger.abort();
    drop(trio.folders.pop());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_under_a_members_id_is_not_let_in() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    let wiped = (leader + 1) % 3;
    trio.kill(wiped);
    let fresh = tempfile::tempdir().unwrap();
    trio.configs[wiped].data_dir = fresh.path().to_path_buf();
    let config = trio.configs[wiped].clone();
    let starting = tokio::spawn(async move { start(&config).await });
    insist(trio.node(leader), 1).await;
    let waited = tokio::time::timeout(Duration::from_secs(2), starting).await;
    assert!(waited.is_err(), "it has no vote to give and is not asked");
    let status: Status = trio.node(leader).status();
    assert_eq!(status.leader, Some(trio.node(leader).node()), "the others go on");
}
