//! One running node.

use std::collections::BTreeSet;

use futures::future::join_all;
use serverv2_machine::{
    Command, Effect, ForgetNode, LATEST_LEVEL, LeaveQueue, NodeId, Rejection, Reply, RequestId,
    Tick,
};
use serverv2_raft::{Cluster, FeedItem, NodeConfig, ProposeError};

use crate::common::{config, connect, create, join, player_id, session, start};

#[tokio::test]
async fn a_new_node_leads_itself_and_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&config(dir.path())).await;
    let created = cluster.propose(create(1), None).await.unwrap();
    assert_eq!(created.reply.id, player_id(1));
    let read = cluster.read(|_, records| records.player(player_id(1)));
    assert!(read.index >= created.index);
    assert_eq!(read.value, Some(created.reply));
    let status = cluster.status();
    assert!(status.ready && status.is_leader, "{status:?}");
    assert_eq!(status.leader, Some(cluster.node()));
    assert_eq!(status.members, [cluster.node()]);
    cluster.shutdown().await;
    assert_eq!(cluster.propose(Tick, None).await, Err(ProposeError::Stopped));
}

#[tokio::test]
async fn the_first_pack_is_active_after_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (cluster, _feed) = start(&config).await;
    let active = cluster.read(|machine, _| machine.active_pack().cloned()).value;
    assert_eq!(active.as_ref(), config.packs.first());
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&config(dir.path())).await;
    cluster.propose(create(1), None).await.unwrap();
    let again = cluster.propose(create(1), None).await;
    assert_eq!(again, Err(ProposeError::Rejected(Rejection::PlayerExists)));
}

#[tokio::test]
async fn the_feed_has_every_effect_in_order_and_a_read_sees_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut feed) = start(&config(dir.path())).await;
    for number in 1..=2 {
        cluster.propose(create(number), None).await.unwrap();
        cluster.propose(connect(number), None).await.unwrap();
        cluster.propose(join(number), None).await.unwrap();
    }
    let read = cluster.read(|machine, _| machine.counts().rooms);
    assert_eq!(read.value, 1);
    let mut last = 0;
    let mut matches = 0;
    while last < read.index {
        let Some(FeedItem::Applied(entry)) = feed.recv().await else {
            panic!("nothing was dropped")
        };
        assert!(entry.index > last);
        last = entry.index;
        let effects = entry.applied.iter().flat_map(|applied| &applied.effects);
        matches += effects.filter(|effect| matches!(effect, Effect::MatchFound { .. })).count();
    }
    assert_eq!((last, matches), (read.index, 2));
}

/// Every request is answered once, and the log grows by far fewer entries than there were requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_proposals_share_few_entries() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut feed) = start(&config(dir.path())).await;
    let before = cluster.status().last_log;
    let asked: Vec<_> = (0..1000)
        .map(|_| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                let request = cluster.next_request();
                let leave = LeaveQueue { session: session(1) };
                (request, cluster.submit(request, leave.into(), None).await.unwrap())
            })
        })
        .collect();
    let answers = join_all(asked).await;
    let mut last = 0;
    let requests: BTreeSet<RequestId> = answers
        .into_iter()
        .map(|answer| {
            let (request, answer) = answer.unwrap();
            last = last.max(answer.index);
            request
        })
        .collect();
    assert_eq!(requests.len(), 1000);
    let entries = cluster.status().last_log - before;
    assert!(entries <= 100, "{entries} entries for 1,000 proposals");

    let mut applied = Vec::new();
    loop {
        let Some(FeedItem::Applied(entry)) = feed.recv().await else {
            panic!("nothing was dropped")
        };
        applied.extend(entry.applied.iter().map(|applied| applied.request));
        if entry.index == last {
            break;
        }
    }
    for request in &requests {
        assert_eq!(applied.iter().filter(|other| *other == request).count(), 1, "{request}");
    }
}

#[tokio::test]
async fn a_retried_request_is_applied_once() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&config(dir.path())).await;
    let request = cluster.next_request();
    let submit = || cluster.submit(request, create(1).into(), None);
    let (first, second) = tokio::join!(submit(), submit());
    let third = submit().await.unwrap();
    for answer in [first.unwrap(), second.unwrap(), third] {
        let Ok(Reply::Player(player)) = answer.outcome else { panic!("{answer:?}") };
        assert_eq!(player.id, player_id(1));
    }
}

#[tokio::test]
async fn a_dropped_submit_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, mut feed) = start(&config(dir.path())).await;
    let request = cluster.next_request();
    {
        let submit = std::pin::pin!(cluster.submit(request, create(1).into(), None));
        assert!(futures::poll!(submit).is_pending());
    }
    loop {
        let Some(FeedItem::Applied(entry)) = feed.recv().await else {
            panic!("nothing was dropped")
        };
        if entry.applied.iter().any(|applied| applied.request == request) {
            break;
        }
    }
    assert!(cluster.read(|_, records| records.player(player_id(1))).value.is_some());
}

#[tokio::test]
async fn a_full_queue_says_busy_and_what_it_took_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.waiting_proposals_max = 8;
    let (cluster, _feed) = start(&config).await;
    // On this test's single thread none of them gets to wait before all have tried to queue.
    let asked = (0..200).map(|_| {
        let cluster = &cluster;
        async move {
            let request = cluster.next_request();
            cluster.submit(request, Command::from(Tick), None).await
        }
    });
    let answers = join_all(asked).await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    let busy = answers.iter().filter(|answer| **answer == Err(ProposeError::Busy)).count();
    assert_eq!(done + busy, 200);
    assert!(done >= 8 && busy > 0, "{done} done, {busy} busy");
    cluster.propose(create(1), None).await.unwrap();
}

#[tokio::test]
async fn a_linearizable_read_sees_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&config(dir.path())).await;
    let created = cluster.propose(create(1), None).await.unwrap();
    let read = cluster.read_linearizable(|_, records| records.player(player_id(1))).await.unwrap();
    assert!(read.index >= created.index);
    assert!(read.value.is_some());
}

#[tokio::test]
async fn handles_are_shared_between_tasks() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Cluster>();
}

#[tokio::test]
async fn a_command_above_the_level_in_force_is_not_proposed_until_the_level_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    // Without a pack it is not a new cluster's first node, so nobody raises the level for it.
    let (cluster, _feed) = start(&NodeConfig { packs: Vec::new(), ..config(dir.path()) }).await;
    assert_eq!(cluster.levels().due(), Some(LATEST_LEVEL));
    let forget = ForgetNode { node: NodeId(9) };
    let before = cluster.status().last_log;
    let refused = cluster.propose(forget, None).await.unwrap_err();
    assert_eq!(refused, ProposeError::Rejected(Rejection::NotEverywhere));
    assert_eq!(cluster.status().last_log, before, "it is not in the log");
    assert_eq!(cluster.upgrade().await, Ok(LATEST_LEVEL));
    cluster.propose(forget, None).await.unwrap();
    assert_eq!(cluster.levels().due(), None);
}
