//! Disks that fail, are full or slow under real nodes. What was acknowledged is there on the next disk.
//!
//! A failing disk forgets what it did not sync, too: an acknowledgement of something that is not durable
//! would be found out.

use std::collections::BTreeSet;

use crate::harness::cluster::Trio;
use crate::harness::disk::Disk;
use crate::harness::guests::{Callers, missing};
use crate::harness::process::Options;
use crate::harness::{Http, Server, eventually};

/// Callers of each node.
const CALLERS: usize = 6;

/// The database panics on a disk that does not sync, when its last handle is dropped. The node is about to end, and
/// each test looks at how it does.
const BROKEN: &[&str] = &["/sled-", "the log writer panicked"];

fn faulty(options: Options) -> Options {
    options.on_faulty_disk().on_mortal_disk().may_panic(BROKEN)
}

/// Waits for the end that a broken disk causes.
async fn ends(node: &mut Server, why: &str) {
    let log = node.log();
    let status = node.died().await;
    assert_eq!(status.code(), Some(1), "{}", log.tail());
    let said = log.find(|line| line.contains("the server failed") && line.contains(why));
    let said = said.unwrap_or_else(|| panic!("it does not say why\n{}", log.tail()));
    assert!(said.contains("start it again"), "it does not say what to do: {said}");
}

async fn a_lone_node_ends(disk: Disk, why: &str) {
    let mut node = [faulty(Options::default()).start().await];
    let callers = Callers::on(&node, CALLERS);
    callers.more(30).await;
    node[0].disk().becomes(disk);
    ends(&mut node[0], why).await;
    let told = callers.stop().await;
    node[0].roll_back_disk();
    node[0].disk().becomes(Disk::Healthy);
    node[0].restart().await;
    assert_eq!(missing(&node, &told).await, Vec::<String>::new());
    Callers::on(&node, CALLERS).more(10).await;
}

async fn a_node_of_three_ends(disk: Disk, why: &str, leads: bool) {
    let mut trio = Trio::start_with(|_, options| faulty(options)).await;
    let leader = trio.leader(0).await;
    let victim = if leads { leader } else { (leader + 1) % 3 };
    let callers = Callers::on(&trio.nodes, CALLERS);
    callers.more(30).await;
    trio.nodes[victim].disk().becomes(disk);
    ends(&mut trio.nodes[victim], why).await;
    callers.more(30).await;
    let told = callers.stop().await;
    trio.nodes[victim].roll_back_disk();
    trio.nodes[victim].disk().becomes(Disk::Healthy);
    trio.nodes[victim].restart().await;
    assert_eq!(missing(&trio.nodes, &told).await, Vec::<String>::new());
    Callers::on(&trio.nodes[victim..=victim], CALLERS).more(10).await;
}

#[tokio::test]
async fn a_lone_node_whose_disk_does_not_sync_ends_and_has_lost_nothing() {
    a_lone_node_ends(Disk::Broken, "Input/output error").await;
}

#[tokio::test]
async fn a_lone_node_whose_disk_is_full_ends_and_has_lost_nothing() {
    a_lone_node_ends(Disk::Full, "No space left on device").await;
}

#[tokio::test]
async fn a_follower_whose_disk_does_not_sync_ends_and_the_others_go_on() {
    a_node_of_three_ends(Disk::Broken, "Input/output error", false).await;
}

#[tokio::test]
async fn a_leader_whose_disk_does_not_sync_ends_and_the_others_go_on() {
    a_node_of_three_ends(Disk::Broken, "Input/output error", true).await;
}

#[tokio::test]
async fn a_follower_whose_disk_is_full_ends_and_the_others_go_on() {
    a_node_of_three_ends(Disk::Full, "No space left on device", false).await;
}

#[tokio::test]
async fn a_leader_whose_disk_is_full_ends_and_the_others_go_on() {
    a_node_of_three_ends(Disk::Full, "No space left on device", true).await;
}

/// The terms and leaders that all nodes know.
async fn reigns(trio: &Trio) -> BTreeSet<(u64, Option<u64>)> {
    let mut reigns = BTreeSet::new();
    for node in &trio.nodes {
        let status = Http::get(node, "/cluster/status").send().await.json();
        let raft = &status["raft"];
        reigns.insert((raft["term"].as_u64().expect("a term"), raft["leader"].as_u64()));
    }
    reigns
}

async fn a_slow_disk_costs_no_election(leads: bool) {
    let mut trio = Trio::start_with(|_, options: Options| options.on_faulty_disk()).await;
    let leader = trio.leader(0).await;
    let victim = if leads { leader } else { (leader + 1) % 3 };
    let known = || reigns(&trio);
    let before = eventually("one leader for all", known, |reigns| reigns.len() == 1).await;
    trio.nodes[victim].disk().becomes(Disk::Slow(200));
    let callers = Callers::on(&trio.nodes, CALLERS);
    callers.more(120).await;
    assert_eq!(reigns(&trio).await, before);
    let told = callers.stop().await;
    trio.nodes[victim].disk().becomes(Disk::Healthy);
    assert_eq!(missing(&trio.nodes, &told).await, Vec::<String>::new());
    trio.nodes.iter_mut().for_each(Server::kill9);
}

#[tokio::test]
async fn a_follower_whose_disk_is_slow_costs_no_election() {
    a_slow_disk_costs_no_election(false).await;
}

#[tokio::test]
async fn a_leader_whose_disk_is_slow_costs_no_election() {
    a_slow_disk_costs_no_election(true).await;
}
