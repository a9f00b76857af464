//! A node that missed so much that the log is gone gets a snapshot, while it holds players, and also when
//! the snapshot is broken off in its middle.

use std::slice;

use serde_json::Value;

use crate::harness::battle::{Message, messages};
use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::knowledge::assert_same_story;
use crate::harness::links::Links;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Http, Server, eventually, guest};
use crate::metrics::scrape;

/// Entries from one snapshot to the next, and entries kept behind one: as few as can be.
const ENTRIES: u64 = 100;
/// Guests of a snapshot that is sent in three pieces.
const GUESTS: usize = 8_000;
/// What has been sent of it in the middle of the third piece.
const MIDDLE_BYTES: usize = 600_000;
const COMES: &str = "a snapshot is coming in";
const INSTALLED: &str = "a peer's snapshot is installed";

fn forgetful(options: Options) -> Options {
    options
        .env("RAFT_SNAPSHOT_ENTRIES", &ENTRIES.to_string())
        .env("RAFT_KEEP_ENTRIES", &ENTRIES.to_string())
        // Nobody's turn runs out, however slow the machine is.
        .env("TURN_TIME_LIMIT", "600")
}

/// An index of a node's log: up to which entry it is `applied`, `purged` and so on.
async fn upto(node: &Server, what: &str) -> u64 {
    scrape(node).await.sum("serverv2_raft_index", &[("upto", what)]) as u64
}

/// Makes guests until the logs of these nodes no longer tell what came after this position.
async fn forget(nodes: [&Server; 2], after: u64) {
    let forgotten = || async {
        for number in 0..40 {
            guest(nodes[number % 2]).await;
        }
        [upto(nodes[0], "purged").await, upto(nodes[1], "purged").await]
    };
    eventually("purged logs", forgotten, |purged| purged.iter().all(|upto| *upto > after)).await;
}

#[tokio::test]
async fn a_snapshot_in_the_middle_of_battles_leaves_out_no_message_and_no_match() {
    let start = Trio::start_apart(|_, options: Options| {
        forgetful(options)
            // Nobody is counted out meanwhile: the sockets stay.
            .env("NODE_GONE_AFTER_MS", "600000")
            // The battle goes on without those who can't choose, and is not over too soon.
            .env("TURN_TIME_LIMIT", "2")
    });
    let (trio, links) = start.await;
    let leader = trio.leader(0).await;
    let away = (leader + 1) % 3;
    let [second, third] = [(away + 1) % 3, (away + 2) % 3];
    let a = Fighter::new(&trio.nodes[away], 0).await;
    let b = Fighter::new(&trio.nodes[second], 1).await;
    let duel = Duel::pair(a, b).await;
    let both_there = Duel::paired(&trio.nodes[away]).await;
    let waiting = Fighter::new(&trio.nodes[away], 2).await;
    waiting.join().await;
    duel.ready().await;
    both_there.ready().await;

    links.isolate(away);
    let known = upto(&trio.nodes[leader], "written").await;
    let partner = Fighter::new(&trio.nodes[third], 3).await;
    partner.join().await;
    let room = partner.matched().await;
    let before = newest(&duel.b);
    forget([&trio.nodes[second], &trio.nodes[third]], known).await;
    let first = duel.b.message_after(before, "TURN_END").await;
    let without = duel.b.message_after(first.sequence, "TURN_END").await.sequence;
    assert!(newest(&duel.a) < without, "it can't know");
    assert!(waiting.client.events("matchSuccess").is_empty(), "nor this");

    links.heal();
    let installed = || async { trio.nodes[away].says(INSTALLED) };
    eventually("a snapshot for the node that was away", installed, |installed| *installed).await;
    assert_eq!(waiting.matched().await, room);
    // The battles of that node go on, with turns that began after the install.
    for fighter in [&duel.a, &both_there.a, &both_there.b] {
        let now = newest(fighter).max(without);
        let turn = fighter.message_after(now, "TURN_ACTION").await;
        fighter.message_after(turn.sequence, "TURN_END").await;
    }
    // Everybody hears the same to the end; the client checks that no number is missing.
    for (duel, leaves) in [(&duel, &duel.a), (&both_there, &both_there.b)] {
        leaves.submit(&leaves.surrender()).await;
        let (end, same) = tokio::join!(duel.a.message("BATTLE_END"), duel.b.message("BATTLE_END"));
        assert_eq!(end.data, same.data);
        let stories = [messages(&duel.a.client), messages(&duel.b.client)];
        let all: Vec<i64> = (0..=end.sequence).collect();
        assert_eq!(stories.each_ref().map(|story| numbers(story)), [all.clone(), all]);
        assert_same_story(&stories[0], &stories[1]);
    }
    assert_eq!(waiting.client.events("matchSuccess").len(), 1);
    let path = format!("/api/v1/auth/check-player/{}", partner.id);
    assert_eq!(Http::get(&trio.nodes[away], &path).send().await.status, 200);
}

fn numbers(story: &[Message]) -> Vec<i64> {
    story.iter().map(|message| message.sequence).collect()
}

/// The number of the last message that a player has heard.
fn newest(fighter: &Fighter) -> i64 {
    numbers(&messages(&fighter.client)).last().copied().unwrap_or(-1)
}

/// A cluster of which one node is in the middle of getting a snapshot, and what it must not lose.
struct Amid {
    trio: Trio,
    links: Links,
    leader: usize,
    away: usize,
    third: usize,
    told: Vec<String>,
    duel: Duel,
    seen: Value,
}

impl Amid {
    async fn begin() -> Self {
        let (mut trio, links) = Trio::start_apart(|_, options| forgetful(options)).await;
        let leader = trio.leader(0).await;
        let [away, third] = [(leader + 1) % 3, (leader + 2) % 3];
        let callers = Callers::on(&trio.nodes, 16);
        for _ in 0..4 {
            callers.more(GUESTS / 4).await;
        }
        let mut told = callers.stop().await;
        trio.nodes[away].kill9();
        let known = upto(&trio.nodes[leader], "written").await;
        // It knows neither this battle nor these guests.
        let duel = Duel::started(&trio.nodes[third]).await;
        duel.attack_once(-1).await;
        let late = Callers::on(slice::from_ref(&trio.nodes[third]), 1);
        late.more(20).await;
        told.extend(late.stop().await);
        forget([&trio.nodes[leader], &trio.nodes[third]], known).await;
        let seen = duel.a.state().await;

        links.hold_after(MIDDLE_BYTES, away);
        trio.nodes[away].start_again();
        links.held(1).await;
        // It has said so before it got this far; its log is read a moment later.
        let comes = || async { trio.nodes[away].says(COMES) };
        eventually("a snapshot that comes in", comes, |comes| *comes).await;
        assert!(!trio.nodes[away].says(INSTALLED));
        Self { trio, links, leader, away, third, told, duel, seen }
    }

    /// All nodes run. The one that was away got a whole snapshot, and lacks nothing of what it tells.
    async fn assert_nothing_is_missing(mut self) {
        let nodes = &self.trio.nodes;
        assert!(nodes[self.away].says(INSTALLED), "it is ready");
        let applied = || async {
            let [one, two, three] = [0, 1, 2].map(|at| upto(&nodes[at], "applied"));
            tokio::join!(one, two, three)
        };
        eventually("the same everywhere", applied, |all| all.0 == all.1 && all.1 == all.2).await;
        let some: Vec<String> = self.told.iter().step_by(8).cloned().collect();
        let lost = missing(slice::from_ref(&nodes[self.away]), &some).await;
        assert!(lost.is_empty(), "{} of {} guests are lost", lost.len(), some.len());

        self.duel.a.reconnect(&nodes[self.away]).await;
        assert_eq!(self.duel.a.client.resume().await, self.seen, "the battle as it was");
        self.duel.a.attack().await;
        self.duel.b.attack().await;
        let [here, there] = [&self.duel.a, &self.duel.b];
        let after = self.seen["sequenceId"].as_i64().expect("a number");
        let (turn, same) = tokio::join!(
            here.message_after(after, "TURN_END"),
            there.message_after(after, "TURN_END")
        );
        assert_eq!((turn.sequence, turn.data), (same.sequence, same.data));
    }
}

#[tokio::test]
async fn a_node_that_is_killed_amid_a_snapshot_gets_it_from_the_start_and_lacks_nothing() {
    let mut amid = Amid::begin().await;
    amid.trio.nodes[amid.away].kill9();
    amid.links.heal();
    amid.trio.nodes[amid.away].restart().await;
    amid.assert_nothing_is_missing().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_amid_a_snapshot_is_succeeded_by_one_that_sends_it() {
    let mut amid = Amid::begin().await;
    amid.trio.nodes[amid.leader].kill9();
    // What its system would still have sent is lost with it.
    amid.links.break_held();
    amid.links.heal();
    // Without the node that lacks everything there is no majority.
    amid.trio.nodes[amid.away].until_ready().await;
    assert_eq!(amid.trio.leader(amid.away).await, amid.third);
    amid.trio.nodes[amid.leader].restart().await;
    amid.assert_nothing_is_missing().await;
}
