//! Growing, shrinking, replacing, and who leads.

use super::{cluster, join, listens, status, voters};
use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::ports::Port;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, eventually};

#[tokio::test]
async fn a_cluster_grows_to_five_and_shrinks_again_and_no_battle_and_no_answer_is_lost() {
    let mut trio = Trio::start().await;
    let callers = Callers::on(&trio.nodes, 1);
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[2], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let mut asked = duel.attack_once(-1).await;

    let four = join(&mut trio, 4, 1).await;
    assert_eq!(voters(&four).await, [1, 2, 3], "it is a learner");
    // A learner carries players, their commands and their battles.
    duel.a.reconnect(&four).await;
    assert_eq!(duel.a.client.resume().await["status"], "On");
    asked = duel.attack_once(asked).await;
    let five = join(&mut trio, 5, 2).await;
    cluster(&four, &["promote", "4"]).await;
    cluster(&trio.nodes[0], &["promote", "5"]).await;
    assert!(cluster(&five, &["promote", "5"]).await.contains("nothing to do"));
    assert_eq!(voters(&trio.nodes[1]).await, [1, 2, 3, 4, 5]);
    asked = duel.attack_once(asked).await;
    callers.more(20).await;

    // One of them may lead: it hands over first.
    cluster(&trio.nodes[2], &["transfer-leader", "1"]).await;
    cluster(&trio.nodes[2], &["remove", "1"]).await;
    cluster(&five, &["remove", "2"]).await;
    assert_eq!(voters(&trio.nodes[2]).await, [3, 4, 5]);
    assert_eq!(status(&four).await["removed"], serde_json::json!([1, 2]));
    let (end, same) = duel.play(5, asked, true).await;
    assert_eq!(end.data, same.data, "both saw the same end");
    let told = callers.stop().await;
    assert_eq!(missing(&[four, five], &told).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_lone_node_becomes_three_and_each_finds_the_others_by_the_membership() {
    let ports = [Port::take(), Port::take(), Port::take()];
    let at = |id: usize| format!("127.0.0.1:{}", ports[id - 1].number);
    let node = |id: usize| {
        Options::default()
            .production()
            .env("BIND_HOST", "127.0.0.1")
            .env("JWT_SECRET", crate::harness::jwt::SECRET)
            .env("RATE_LIMIT_AUTH", "0")
            .env("NODE_ID", &id.to_string())
            .env("PEER_BIND", &at(id))
    };
    let mut first = node(1).start().await;
    let peers = |of: usize, and: usize| format!("{of}={},{and}={}", at(of), at(and));
    let mut second = node(2).env("PEERS", &peers(1, 2)).launch();
    // The third knows nothing of the first.
    let mut third = node(3).env("PEERS", &peers(2, 3)).launch();
    for (id, joining) in [(2, &mut second), (3, &mut third)] {
        let place = format!("{id}={}", at(id));
        listens(&place).await;
        cluster(&first, &["add", &place]).await;
        joining.until_ready().await;
        cluster(&first, &["promote", &id.to_string()]).await;
    }
    assert_eq!(voters(&third).await, [1, 2, 3]);
    first.kill9();
    let duel = Duel::pair(Fighter::new(&second, 0).await, Fighter::new(&third, 1).await).await;
    duel.ready().await;
    // Its own settings still say nothing of others.
    first.restart().await;
    let leader = || async { status(&first).await["leader"].as_u64() };
    eventually("who leads", leader, |leader| leader.is_some_and(|leader| leader != 1)).await;
}

#[tokio::test]
async fn the_lead_goes_to_whom_the_operator_says() {
    let trio = Trio::start().await;
    for to in [2, 3, 1] {
        let said = cluster(&trio.nodes[0], &["transfer-leader", &to.to_string()]).await;
        assert!(said.contains(&format!("node {to} leads")), "{said}");
        assert_eq!(trio.leader(0).await, to - 1);
    }
    let said = cluster(&trio.nodes[1], &["transfer-leader", "1"]).await;
    assert!(said.contains("nothing to do"), "{said}");
    cluster(&trio.nodes[1], &["transfer-leader"]).await;
    assert_ne!(trio.leader(0).await, 0);
    let table = cluster(&trio.nodes[2], &["status"]).await;
    assert_eq!(table.matches("live").count(), 3, "{table}");
    assert_eq!(table.matches("leader").count(), 1, "{table}");
}

#[tokio::test]
async fn a_learner_that_dies_is_counted_out_and_a_demoted_voter_goes_on_serving() {
    let mut trio = Trio::start().await;
    let mut four = join(&mut trio, 4, 0).await;
    let healthy = || async { trio.stats(0).await["instances"]["healthy"].as_u64() };
    eventually("four nodes", healthy, |healthy| *healthy == Some(4)).await;
    four.kill9();
    eventually("three nodes", healthy, |healthy| *healthy == Some(3)).await;
    let leader = trio.leader(0).await;
    let said = cluster(&trio.nodes[0], &["demote", &(leader + 1).to_string()]).await;
    assert!(said.contains("is a learner"), "{said}");
    assert_eq!(voters(&trio.nodes[0]).await.len(), 2);
    assert_eq!(Http::get(&trio.nodes[leader], "/ready").send().await.status, 200);
    let duel = Duel::paired(&trio.nodes[leader]).await;
    duel.ready().await;
}
