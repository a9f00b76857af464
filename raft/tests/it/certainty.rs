//! How sure a node is to know everything, and when all of them know one thing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{config, create, start};
use crate::peers::{Trio, eventually, insist};

const SURE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_is_sure_of_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _feed) = start(&config(folder.path())).await;
    eventually("certainty", || node.uncertainty().filter(|age| *age < SURE)).await;
    let index = node.propose(create(1), None).await.unwrap().index;
    assert!(node.applied_everywhere(index, Duration::ZERO).await, "nobody else is to be asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_certainty_grows_old_and_with_it_it_comes_back() {
    let mut trio = Trio::started().await;
    for at in 0..3 {
        eventually("certainty", || trio.node(at).uncertainty().filter(|age| *age < SURE)).await;
    }
    let leader = trio.leader().await;
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    trio.kill(leader);
    trio.kill(other);
    eventually("doubt", || trio.node(follower).uncertainty().filter(|age| *age > SURE)).await;
    trio.start_all([leader, other]).await;
    eventually("certainty", || trio.node(follower).uncertainty().filter(|age| *age < SURE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_said_goodbye_is_sure_of_nothing_since_nobody_waits_for_him() {
    let trio = Trio::started().await;
    let going = (trio.leader().await + 1) % 3;
    eventually("certainty", || trio.node(going).uncertainty()).await;
    assert!(trio.node(going).leave(0, Duration::from_secs(10)).await);
    assert_eq!(trio.node(going).uncertainty(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_without_followers_is_not_sure_either() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    // Who has never been sure is not less sure than before.
    let sure = || trio.node(leader).uncertainty().filter(|age| *age < SURE);
    eventually("certainty", sure).await;
    trio.kill((leader + 1) % 3);
    trio.kill((leader + 2) % 3);
    eventually("doubt", || trio.node(leader).uncertainty().filter(|age| *age > SURE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_when_all_that_count_have_applied_an_entry() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    for asked in 0..3 {
        insist(trio.node(asked), asked as u8).await;
        let index = trio.node(asked).read(|_, _| ()).index;
        assert!(trio.node(asked).applied_everywhere(index, Duration::from_secs(10)).await);
        for node in 0..3 {
            assert!(trio.node(node).read(|_, _| ()).index >= index);
        }
    }
    // One that is gone, and not counted out yet, can't say so.
    let gone = (leader + 1) % 3;
    let port = trio.ports()[gone];
    trio.kill(gone);
    trio.configs[gone].peer_listener = None;
    let refuses = || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(());
    eventually("its port to refuse", refuses).await;
    let index = trio.node(leader).propose(create(9), None).await.unwrap().index;
    // Its port refuses, which is no proof that nobody there goes on with what he knows: it is waited for.
    let (patience, began) = (Duration::from_millis(500), Instant::now());
    assert!(!trio.node(leader).applied_everywhere(index, patience).await);
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
    // One that is counted out is not asked.
    eventually("the loss to be noticed", || {
        let live =
            trio.node(leader).read(|machine, _| machine.nodes().filter(|it| it.live).count());
        (live.value == 2).then_some(())
    })
    .await;
    assert!(trio.node(leader).applied_everywhere(index, Duration::from_secs(10)).await);
}
