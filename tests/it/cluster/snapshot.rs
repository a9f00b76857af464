//! A node that missed so much that the log is gone gets a snapshot, while it holds players.

use crate::harness::battle::messages;
use crate::harness::cluster::Trio;
use crate::harness::knowledge::assert_same_story;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, eventually, guest};

/// Entries that nobody keeps: more than are kept behind a snapshot, and those to the next one.
const MISSED: usize = 400;

#[tokio::test]
async fn a_snapshot_in_the_middle_of_battles_leaves_out_no_message_and_no_match() {
    let start = Trio::start_apart(|_, options: Options| {
        options
            .env("RAFT_SNAPSHOT_ENTRIES", "100")
            .env("RAFT_KEEP_ENTRIES", "100")
            // Nobody is counted out meanwhile: the sockets stay.
            .env("NODE_GONE_AFTER_MS", "600000")
            // The battle goes on without those who can't choose.
            .env("TURN_TIME_LIMIT", "1")
    });
    let (trio, links) = start.await;
    let leader = trio.leader(0).await;
    let away = (leader + 1) % 3;
    let [second, third] = [(away + 1) % 3, (away + 2) % 3];
    let a = Fighter::new(&trio.nodes[away], 0).await;
    let b = Fighter::new(&trio.nodes[second], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    let waiting = Fighter::new(&trio.nodes[away], 2).await;
    waiting.join().await;

    links.isolate(away);
    let partner = Fighter::new(&trio.nodes[third], 3).await;
    partner.join().await;
    let room = partner.matched().await;
    for number in 0..MISSED {
        guest(&trio.nodes[[second, third][number % 2]]).await;
    }
    let turns = || async {
        messages(&duel.b.client).iter().filter(|message| message.kind == "TURN_END").count()
    };
    eventually("two turns without the node", turns, |turns| *turns >= 2).await;
    assert!(waiting.client.events("matchSuccess").is_empty(), "it can't know");

    links.heal();
    let installed = || async { trio.nodes[away].says("a snapshot is coming in") };
    eventually("a snapshot for the node that was away", installed, |installed| *installed).await;
    assert_eq!(waiting.matched().await, room);
    // Both hear the same to the end; the client checks that no number is missing.
    let surrender = duel.b.surrender();
    duel.b.submit(&surrender).await;
    let (end, same) = tokio::join!(duel.a.message("BATTLE_END"), duel.b.message("BATTLE_END"));
    assert_eq!(end.data, same.data);
    let (heard, expected) = (messages(&duel.a.client), messages(&duel.b.client));
    let numbers = |story: &[crate::harness::battle::Message]| -> Vec<i64> {
        story.iter().map(|message| message.sequence).collect()
    };
    assert_eq!(numbers(&heard), numbers(&expected));
    assert_same_story(&heard, &expected);
    assert_eq!(waiting.client.events("matchSuccess").len(), 1);
    let path = format!("/api/v1/auth/check-player/{}", partner.id);
    assert_eq!(Http::get(&trio.nodes[away], &path).send().await.status, 200);
}
