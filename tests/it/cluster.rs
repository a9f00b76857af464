//! Three nodes: players on different ones meet and fight, and nobody notices which one dies.

mod drain;
mod failpoint;
mod identity;
mod partition;
mod pause;
mod snapshot;
mod tokens;
mod wall_clock;

use std::collections::BTreeMap;

use serde_json::json;

use crate::harness::battle::messages;
use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::knowledge::assert_same_story;
use crate::harness::process::Options;
use crate::harness::{Dial, Duel, Fighter, Http, eventually, guest, team};

#[tokio::test]
async fn two_players_on_different_nodes_are_paired_and_fight_to_the_end() {
    let trio = Trio::start().await;
    for (one, other) in [(0, 1), (1, 2), (2, 0)] {
        let a = Fighter::new(&trio.nodes[one], 0).await;
        let b = Fighter::new(&trio.nodes[other], 1).await;
        let duel = Duel::pair(a, b).await;
        duel.ready().await;
        let (end, same) = duel.play(5, -1, false).await;
        assert_eq!(end.data, same.data);
        assert_same_story(&messages(&duel.a.client), &messages(&duel.b.client));
        duel.a.client.event("roomClosed").await;
        duel.b.client.event("roomClosed").await;
    }
}

#[tokio::test]
async fn the_leader_dies_with_a_player_on_it_and_the_battle_goes_on() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let [second, third] = [(leader + 1) % 3, (leader + 2) % 3];
    let a = Fighter::new(&trio.nodes[leader], 0).await;
    let b = Fighter::new(&trio.nodes[second], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let last = duel.attack_once(-1).await;

    // Acknowledged by a leader that dies in the next instant.
    duel.a.attack().await;
    trio.nodes[leader].kill9();
    duel.a.reconnect(&trio.nodes[third]).await;
    assert_eq!(duel.a.client.resume().await["status"], "On");
    duel.b.attack().await;
    let turn = duel.b.message_after(last, "TURN_END").await;
    assert_eq!(turn.sequence, duel.a.message_after(last, "TURN_END").await.sequence);

    let asked = duel.b.wait_until_asked(turn.sequence).await;
    duel.a.wait_until_asked(turn.sequence).await;
    let (end, same) = duel.play(7, asked, true).await;
    assert_eq!(end.data, same.data, "both saw the same end");

    trio.nodes[leader].restart().await;
    assert_ne!(trio.leader(leader).await, leader, "it came back as a follower");
}

#[tokio::test]
async fn a_followers_death_fails_no_command() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let [second, dying] = [(leader + 1) % 3, (leader + 2) % 3];
    let a = Fighter::new(&trio.nodes[leader], 0).await;
    let b = Fighter::new(&trio.nodes[second], 1).await;
    let duel = Duel::pair(a, b).await;
    duel.ready().await;
    trio.nodes[dying].kill9();
    let (end, same) = duel.play(11, -1, false).await;
    assert_eq!(end.data, same.data);
}

#[tokio::test]
async fn a_leader_that_is_asked_to_stop_ends_in_order_and_the_others_go_on() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let duel = Duel::started(&trio.nodes[(leader + 1) % 3]).await;
    assert!(trio.nodes[leader].terminate().await.success());
    duel.attack_once(-1).await;
    trio.nodes[leader].restart().await;
}

#[tokio::test]
async fn a_leader_that_is_asked_to_stop_hands_over_under_load_in_one_election() {
    let mut trio = Trio::start().await;
    let leader = trio.leader(0).await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let term = trio.terms().await[others[0]];
    let callers = others.map(|at| Callers::on(std::slice::from_ref(&trio.nodes[at]), 4));
    callers[0].more(50).await;
    let log = trio.nodes[leader].log();
    assert!(trio.nodes[leader].terminate().await.success());
    assert!(log.find(|line| line.contains("another node leads")).is_some(), "before it went");
    for callers in &callers {
        callers.more(50).await;
    }
    let mut told = Vec::new();
    for callers in callers {
        told.extend(callers.stop().await);
    }
    trio.nodes[leader].restart().await;
    assert_eq!(trio.terms().await[others[0]], term + 1, "nobody else stood for election");
    assert_eq!(missing(&trio.nodes, &told).await, Vec::<String>::new());
}

#[tokio::test]
async fn all_nodes_are_killed_and_battles_rooms_and_queue_go_on_after_the_restart() {
    let mut trio = Trio::start().await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel.attack_once(-1).await;
    duel.a.attack().await;
    let c = Fighter::new(&trio.nodes[2], 4).await;
    let d = Fighter::new(&trio.nodes[0], 5).await;
    let mut room = Duel::pair(c, d).await;
    room.a.client.ok("ready", &[]).await;
    let mut waiting = Fighter::new(&trio.nodes[2], 2).await;
    waiting.join().await;
    let (before, before_it_begins) = (duel.b.state().await, room.b.state().await);

    trio.nodes.iter_mut().for_each(crate::harness::Server::kill9);
    trio.restart_dead().await;
    duel.a.reconnect(&trio.nodes[1]).await;
    duel.b.reconnect(&trio.nodes[2]).await;
    assert_eq!(duel.b.client.resume().await, before);
    duel.a.client.resume().await;
    duel.b.attack().await;
    duel.b.message("TURN_END").await;

    room.a.reconnect(&trio.nodes[0]).await;
    room.b.reconnect(&trio.nodes[1]).await;
    assert_eq!(room.b.state().await, before_it_begins);
    room.b.client.ok("ready", &[]).await;
    let begins = room.a.message("BATTLE_START").await;
    assert_eq!(begins.sequence, 0, "it waited, and the first one's ready was kept");
    let (asked, same) = tokio::join!(room.a.wait_until_asked(0), room.b.wait_until_asked(0));
    assert_eq!(asked, same);

    waiting.reconnect(&trio.nodes[0]).await;
    waiting.join().await;
    let late = Fighter::new(&trio.nodes[1], 3).await;
    late.join().await;
    assert_eq!(waiting.matched().await, late.matched().await, "the place in the queue was kept");
    assert_eq!(waiting.state().await["players"][0]["id"], json!(waiting.id));
}

#[tokio::test]
async fn two_hundred_players_who_join_anywhere_at_once_end_in_a_hundred_rooms() {
    let trio = Trio::start().await;
    let mut joining = Vec::new();
    for number in 0..200 {
        let server = &trio.nodes[number % 3];
        let id = guest(server).await;
        let client = Dial::player(server, &id).open().await;
        joining.push((id, client));
    }
    let joins = joining.iter().map(|(id, client)| {
        let team = team::schema(0, id);
        async move { client.ok("joinMatchmaking", &[team]).await }
    });
    futures::future::join_all(joins).await;
    let mut rooms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, client) in &joining {
        let found = client.event("matchSuccess").await;
        let room = found.arg()["data"]["roomId"].as_str().expect("a room").to_owned();
        rooms.entry(room).or_default().push(id.clone());
    }
    assert_eq!(rooms.len(), 100);
    assert!(rooms.values().all(|players| players.len() == 2), "{rooms:?}");
    for (_, client) in &joining {
        assert_eq!(client.events("matchSuccess").len(), 1, "each player once");
    }
}

#[tokio::test]
async fn an_ended_battle_can_be_looked_at_through_a_node_that_had_no_part_in_it() {
    let trio = Trio::start().await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    duel.b.submit(&duel.b.surrender()).await;
    duel.a.attack().await;
    let end = duel.a.message("BATTLE_END").await;
    duel.a.reconnect(&trio.nodes[2]).await;
    let state = duel.a.state().await;
    assert_eq!((&state["status"], &state["sequenceId"]), (&json!("Ended"), &json!(end.sequence)));
}

#[tokio::test]
async fn a_join_retried_through_another_node_is_answered_the_same_and_counts_once() {
    let trio = Trio::start().await;
    let id = guest(&trio.nodes[0]).await;
    let team = team::schema(0, &id);
    let key = json!({"requestId": "join-1"});
    let first = Dial::player(&trio.nodes[0], &id).session("tab").open().await;
    let answer = first.ok("joinMatchmaking", &[team.clone(), key.clone()]).await;
    let second = Dial::player(&trio.nodes[1], &id).session("tab").open().await;
    assert_eq!(second.ok("joinMatchmaking", &[team, key]).await, answer);
    let queued = || async { trio.stats(2).await["matchmaking"]["queueSize"].as_u64() };
    eventually("one ticket seen by the third node", queued, |queued| *queued == Some(1)).await;
}

#[tokio::test]
async fn what_is_changed_through_one_node_every_other_one_tells_in_the_next_moment() {
    let trio = Trio::start().await;
    let id = guest(&trio.nodes[0]).await;
    for round in 0..60 {
        let name = format!("name {round}");
        let renaming = Http::put(&trio.nodes[round % 3], "/api/v1/auth/update-player-name")
            .json(&json!({"playerId": id, "name": name}));
        assert_eq!(renaming.send().await.status, 200);
        for other in [(round + 1) % 3, (round + 2) % 3] {
            let path = format!("/api/v1/auth/check-player/{id}");
            let told = Http::get(&trio.nodes[other], &path).send().await.json();
            assert_eq!(told["data"]["playerName"], name, "node {other}");
        }
    }
}

#[tokio::test]
async fn two_sessions_of_a_player_on_two_nodes_are_never_paired_and_a_cancel_counts_everywhere() {
    let trio = Trio::start().await;
    let id = guest(&trio.nodes[0]).await;
    let [one, two] = [
        Dial::player(&trio.nodes[0], &id).session("one").open().await,
        Dial::player(&trio.nodes[1], &id).session("two").open().await,
    ];
    for client in [&one, &two] {
        client.ok("joinMatchmaking", &[team::schema(0, &id)]).await;
    }
    let queued = || async { trio.stats(2).await["matchmaking"]["queueSize"].as_u64() };
    eventually("two tickets seen by the third node", queued, |queued| *queued == Some(2)).await;
    one.ok("cancelMatchmaking", &[]).await;
    let other = Fighter::new(&trio.nodes[2], 1).await;
    other.join().await;
    let room = other.matched().await;
    assert_eq!(two.event("matchSuccess").await.arg()["data"]["roomId"], json!(room));
    assert!(one.events("matchSuccess").is_empty(), "it had cancelled");
}

#[tokio::test]
async fn a_leader_whose_process_died_is_succeeded_without_waiting_for_the_timeout() {
    // Longer than any test waits: only what the others notice by themselves can help.
    let patient = |_, options: Options| {
        options.env("RAFT_ELECTION_MIN_MS", "40000").env("RAFT_ELECTION_MAX_MS", "60000")
    };
    let mut trio = Trio::start_with(patient).await;
    let leader = trio.leader(0).await;
    trio.nodes[leader].kill9();
    let duel = Duel::paired(&trio.nodes[(leader + 1) % 3]).await;
    duel.ready().await;
}
