//! Nodes that die at the moment of a battle's end, and one that missed it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{assert_whole_story, counts, get, last_report, reports_of, stats, surrender};
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Server, eventually, guest};
use crate::kept::{Kept, wherever_players_are_kept};
use crate::metrics::scrape;

wherever_players_are_kept! {
    one_node_killed_at_the_end_renders_the_report_after_its_restart
    a_report_whose_home_is_killed_at_the_end_is_rendered_by_another_node
    a_leader_killed_at_the_end_costs_no_report
    all_nodes_killed_at_the_end_count_the_battle_once_when_their_log_is_replayed
}

/// Renders nothing while a test lasts.
const NEVER: (&str, &str) = ("FAILPOINTS", "reports=sleep(600000)");

/// Both have fought one battle, which B won, and every node says the same of it.
pub(super) async fn assert_reported_once(nodes: &[Server], a: &str, b: &str) {
    let mut told = BTreeSet::new();
    for node in nodes.iter().filter(|node| node.is_running()) {
        let report = last_report(node, a).await;
        assert_whole_story(&report);
        assert_eq!(report["winner_id"], json!(b));
        assert_eq!(reports_of(node, a).await.len(), 1);
        assert_eq!(counts(&stats(node, a).await), [1, 0, 1, 0].map(Some));
        assert_eq!(counts(&stats(node, b).await), [1, 1, 0, 0].map(Some));
        let row = json!([report, stats(node, b).await, get(node, "/statistics").await]);
        told.insert(row.to_string());
    }
    assert_eq!(told.len(), 1, "all nodes tell the same");
}

async fn one_node_killed_at_the_end_renders_the_report_after_its_restart(kept: Kept) {
    let mut server = kept.by(Server::with(NEVER.0, NEVER.1)).start().await;
    let duel = Duel::started(&server).await;
    surrender(&duel.a, &duel.b).await;
    if let Kept::InTheCluster = kept {
        let seen = reports_of(&server, &duel.a.id).await.remove(0);
        assert_eq!(seen["battle_result"], "player_b_wins", "the log knows the result at once");
    }
    server.kill9();
    server.change(NEVER.0, "");
    server.restart().await;
    assert_reported_once(&[server], &duel.a.id, &duel.b.id).await;
}

async fn a_report_whose_home_is_killed_at_the_end_is_rendered_by_another_node(kept: Kept) {
    let start = Trio::start_with(|at, options: Options| {
        let options = kept.by(options).env("NODE_GONE_AFTER_MS", "1500");
        if at == 0 { options.env(NEVER.0, NEVER.1) } else { options }
    });
    let mut trio = start.await;
    // The home is the node of A's socket.
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    surrender(&duel.a, &duel.b).await;
    trio.nodes[0].kill9();
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
    trio.nodes[0].restart().await;
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
}

async fn a_leader_killed_at_the_end_costs_no_report(kept: Kept) {
    let mut trio =
        Trio::start_with(|_, options| kept.by(options).env("NODE_GONE_AFTER_MS", "1500")).await;
    let leader = trio.leader(0).await;
    // It is the home, too.
    let a = Fighter::new(&trio.nodes[leader], 0).await;
    let b = Fighter::new(&trio.nodes[(leader + 1) % 3], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel.a.submit(&duel.a.surrender()).await;
    duel.b.attack().await;
    trio.nodes[leader].kill9();
    duel.b.message("BATTLE_END").await;
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
    trio.nodes[leader].restart().await;
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
}

async fn all_nodes_killed_at_the_end_count_the_battle_once_when_their_log_is_replayed(kept: Kept) {
    let mut trio = Trio::start_with(|_, options| kept.by(options).env(NEVER.0, NEVER.1)).await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    surrender(&duel.a, &duel.b).await;
    for node in &mut trio.nodes {
        node.kill9();
        node.change(NEVER.0, "");
    }
    trio.restart_dead().await;
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
}

#[tokio::test]
async fn a_node_that_gets_a_snapshot_has_the_reports_in_it() {
    let few = |options: Options| {
        options.env("RAFT_SNAPSHOT_ENTRIES", "100").env("RAFT_KEEP_ENTRIES", "100")
    };
    let mut trio = Trio::start_with(|_, options| few(options)).await;
    let leader = trio.leader(0).await;
    let [away, third] = [(leader + 1) % 3, (leader + 2) % 3];
    trio.nodes[away].kill9();
    let duel = Duel::started(&trio.nodes[third]).await;
    surrender(&duel.a, &duel.b).await;
    let report = last_report(&trio.nodes[leader], &duel.a.id).await;
    let upto = async |node: &Server, what: &str| {
        scrape(node).await.sum("serverv2_raft_index", &[("upto", what)]) as u64
    };
    let known = upto(&trio.nodes[leader], "applied").await;
    let forgotten = || async {
        for number in 0..40 {
            guest(&trio.nodes[[leader, third][number % 2]]).await;
        }
        upto(&trio.nodes[leader], "purged").await.min(upto(&trio.nodes[third], "purged").await)
    };
    eventually("purged logs", forgotten, |purged| *purged > known).await;
    trio.nodes[away].restart().await;
    let installed = || async { trio.nodes[away].says("a peer's snapshot is installed") };
    eventually("a snapshot", installed, |installed| *installed).await;
    let same: Value = last_report(&trio.nodes[away], &duel.a.id).await;
    assert_eq!(same, report);
    assert_reported_once(&trio.nodes, &duel.a.id, &duel.b.id).await;
}
