//! A process that hangs is counted out; when it goes on, it comes back as a new one.

use crate::harness::cluster::Trio;
use crate::harness::{DEADLINE, Dial, Duel, Fighter, eventually, guest};

#[tokio::test]
async fn a_follower_that_hung_comes_back_and_its_players_with_it() {
    hang(false).await;
}

#[tokio::test]
async fn a_leader_that_hung_comes_back_and_its_players_with_it() {
    hang(true).await;
}

async fn hang(is_leader: bool) {
    let trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let hanging = if is_leader { leader } else { (leader + 1) % 3 };
    let others = [(hanging + 1) % 3, (hanging + 2) % 3];
    let a = Fighter::new(&trio.nodes[hanging], 0).await;
    let b = Fighter::new(&trio.nodes[others[0]], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let newcomer = guest(&trio.nodes[others[0]]).await;

    trio.nodes[hanging].pause();
    let gone = "a node was silent and is counted out";
    let counted_out = || async { others.iter().any(|node| trio.nodes[*node].says(gone)) };
    eventually("counting out", counted_out, |counted_out| *counted_out).await;
    duel.b.attack().await;

    trio.nodes[hanging].unpause();
    // In the moment in which it learns that it was counted out, somebody new is let in all the same.
    let newcomer = Dial::player(&trio.nodes[hanging], &newcomer).open().await;
    newcomer.settle().await;
    duel.a.client.closed_within(DEADLINE).await;
    duel.a.reconnect(&trio.nodes[hanging]).await;
    assert_eq!(duel.a.client.resume().await["status"], "On");
    duel.a.attack().await;
    let turn = duel.a.message("TURN_END").await;
    duel.a.wait_until_asked(turn.sequence).await;
    let asked = duel.b.wait_until_asked(turn.sequence).await;
    let (end, same) = duel.play(13, asked, true).await;
    assert_eq!(end.data, same.data, "both saw the same end");
}
