//! A snapshot that breaks off in its middle: it is begun again, and nothing is left of the first half.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serverv2_machine::{CreatePlayer, NanoId, NodeId, PlayerId};
use serverv2_raft::Cluster;
use tokio::time::timeout;

use crate::common::DEADLINE;
use crate::links::Links;
use crate::peers::{Trio, eventually};

/// Accounts whose names are as long as can be: four pieces of a snapshot.
const PLAYERS: u32 = 4_000;
/// What has come of them in the middle of the third piece.
const MIDDLE_BYTES: usize = 600_000;
/// Few enough that the accounts become far more entries than are kept.
const CALLERS: u32 = 8;
const ENTRIES: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_link_breaks_is_sent_again_and_leads_to_the_same_state() {
    let mut trio = Trio::prepare();
    let links = Links::to(&trio.ports()).await;
    for (at, config) in trio.configs.iter_mut().enumerate() {
        config.snapshot_entries = ENTRIES;
        config.keep_entries = ENTRIES;
        config.peers =
            (0..3).map(|to| (NodeId(to as u64 + 1), links.address(at, to).to_owned())).collect();
    }
    trio.start_all([0, 1, 2]).await;
    let leader = trio.leader().await;
    let [away, third] = [(leader + 1) % 3, (leader + 2) % 3];
    trio.kill(away);
    let known = trio.node(leader).status().last_log;
    create(trio.node(leader), PLAYERS).await;
    // The newest snapshot has nearly all of them: a leader puts it off while it tries to send an older one, which would be
    // whole before the middle of this one.
    let is_forgotten = |at: usize| {
        let status = trio.node(at).status();
        status.purged > known && status.snapshot + ENTRIES > status.last_log
    };
    eventually("purged logs", || (is_forgotten(leader) && is_forgotten(third)).then_some(())).await;

    links.hold_after(MIDDLE_BYTES, away);
    let starting = trio.begin_to_start(away);
    for times in [1, 2] {
        links.held(times).await;
        links.break_held();
    }
    assert!(!starting.is_finished(), "half a snapshot counts for nothing");
    links.heal();
    let node = timeout(DEADLINE, starting).await.expect("a whole one comes in time").unwrap();
    trio.has_started(away, node);
    trio.settled().await;
    assert!(trio.node(away).status().snapshot > known, "it came by snapshot");
    // What it got is on its disk, too.
    trio.kill(away);
    trio.start_all([away]).await;
    trio.settled().await;
}

/// Makes so many accounts; each must be acknowledged.
async fn create(node: &Cluster, count: u32) {
    let next = Arc::<AtomicU32>::default();
    let callers = (0..CALLERS).map(|_| {
        let (node, next) = (node.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                // An id takes six bits of each byte.
                let entropy =
                    std::array::from_fn(|at| number.checked_shr(6 * at as u32).unwrap_or(0) as u8);
                let player = PlayerId(NanoId::from_entropy(&entropy));
                let name = "\u{1f420}".repeat(50).into();
                node.propose(CreatePlayer { player, name }, None).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
