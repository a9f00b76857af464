//! A node that was away for a hundred thousand proposals, more than anybody keeps in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serverv2_machine::RenamePlayer;
use serverv2_raft::Cluster;

use crate::common::player_id;
use crate::peers::{Trio, eventually, insist};

const PROPOSALS: u64 = 100_000;
/// Few enough that the proposals become far more entries than are kept.
const CALLERS: u64 = 24;
const SNAPSHOT_ENTRIES: u64 = 500;
const KEEP_ENTRIES: u64 = 1_000;
const PLAYERS: u8 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_a_hundred_thousand_proposals_comes_back_while_the_others_serve() {
    let mut trio = Trio::prepare();
    for config in &mut trio.configs {
        config.snapshot_entries = SNAPSHOT_ENTRIES;
        config.keep_entries = KEEP_ENTRIES;
    }
    trio.start_all([0, 1, 2]).await;
    let leader = trio.leader().await;
    for number in 0..PLAYERS {
        insist(trio.node(leader), number).await;
    }
    let away = (leader + 1) % 3;
    trio.kill(away);
    let missed_from = trio.node(leader).status().applied;
    rename(trio.node(leader), 0..PROPOSALS).await;
    let status = trio.node(leader).status();
    assert!(status.purged > missed_from + KEEP_ENTRIES, "the log can't tell it: {status:?}");

    let serving = trio.node(leader).clone();
    let returned = Arc::<AtomicU64>::default();
    let served = tokio::spawn({
        let returned = returned.clone();
        async move {
            let mut number = PROPOSALS;
            while returned.load(Ordering::Acquire) == 0 {
                rename(&serving, number..number + 1).await;
                number += 1;
            }
            number - PROPOSALS
        }
    });
    trio.start_all([away]).await;
    eventually("the way back to where the others were", || {
        (trio.node(away).status().applied >= status.applied).then_some(())
    })
    .await;
    returned.store(1, Ordering::Release);
    assert!(served.await.unwrap() > 0, "the others served meanwhile, and refused nothing");
    assert!(trio.node(away).status().snapshot > missed_from, "it came by snapshot");
    trio.settled().await;
}

/// Renames players with all callers at once; each proposal must be acknowledged.
async fn rename(node: &Cluster, numbers: std::ops::Range<u64>) {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let callers = (0..CALLERS.min(numbers.end - numbers.start)).map(|_| {
        let (node, next, end) = (node.clone(), next.clone(), numbers.end);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return;
                }
                let player = player_id((number % u64::from(PLAYERS)) as u8);
                let name = format!("name {number}").into();
                node.propose(RenamePlayer { player, name }, None).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
