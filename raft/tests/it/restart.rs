//! Being stopped, dropped and killed, and folders that are not ours.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serverv2_machine::{Incarnation, NodeId, Reply};
use serverv2_raft::{Cluster, StartError};

use crate::common::{config, connect, create, join, player_id, session, start};

#[tokio::test]
async fn a_node_that_was_shut_down_goes_on_with_an_equal_state() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&config(dir.path())).await;
    cluster.propose(create(1), None).await.unwrap();
    let before = cluster.read(|_, records| records.player(player_id(1))).value;
    cluster.shutdown().await;
    // The folder is closed when shutdown returns.
    let (cluster, _feed) = Cluster::start(config(dir.path())).await.unwrap();
    assert_eq!(cluster.read(|_, records| records.player(player_id(1))).value, before);
    assert_eq!(cluster.incarnation(), Incarnation(2 << 20), "the second start");
}

#[tokio::test]
async fn a_dropped_node_goes_on_with_players_queue_rooms_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, feed) = start(&config(dir.path())).await;
    for number in 1..=3 {
        cluster.propose(create(number), None).await.unwrap();
        cluster.propose(connect(number), None).await.unwrap();
        cluster.propose(join(number), None).await.unwrap();
    }
    let rooms = |cluster: &Cluster| {
        let ids =
            |machine: &serverv2_machine::Machine| machine.rooms().map(|room| room.id).collect();
        cluster.read(|machine, _| -> Vec<_> { ids(machine) }).value
    };
    let rooms_before = rooms(&cluster);
    assert_eq!(rooms_before.len(), 1);
    drop((cluster, feed));

    let (cluster, _feed) = start(&config(dir.path())).await;
    assert_eq!(rooms(&cluster), rooms_before);
    let read = cluster.read(|machine, records| {
        let ticket = machine.ticket(&session(3)).map(|ticket| ticket.suspended);
        (records.players().count(), ticket)
    });
    assert_eq!(read.value, (3, Some(true)), "the ticket waits for its session to join again");
}

#[tokio::test]
async fn log_time_goes_on_where_it_was_and_wall_time_has_no_part_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, feed) = start(&config(dir.path())).await;
    cluster.propose(create(1), None).await.unwrap();
    let at = cluster.read(|machine, _| machine.last_at()).value;
    drop((cluster, feed));
    let (cluster, _feed) = start(&config(dir.path())).await;
    assert!(cluster.log_time() >= at);
    let year_ms = 365 * 24 * 3_600_000;
    assert!(cluster.log_time().0 < year_ms, "it counts from the cluster's beginning");
}

const CHILD: &str = "SERVERV2_RAFT_TEST_CHILD";

/// Not a test by itself: the process that the next one kills.
#[tokio::test]
async fn child_that_creates_players_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (cluster, _feed) = start(&config(Path::new(&dir))).await;
    for number in 1..=u8::MAX {
        match cluster.propose(create(number), None).await {
            Ok(_) => println!("\nacknowledged {number}"),
            // Of an earlier life.
            Err(error) => assert!(error.to_string().contains("exists"), "{error}"),
        }
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "restart::child_that_creates_players_until_it_is_killed"])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(number) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged = number.parse().unwrap();
            }
            if acknowledged >= round * 20 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(acknowledged >= round * 20, "the child ended by itself");
    }
    let (cluster, _feed) = start(&config(dir.path())).await;
    for number in 1..=acknowledged {
        let player = cluster.read(|_, records| records.player(player_id(number))).value;
        assert!(player.is_some(), "player {number} of {acknowledged}");
    }
    assert_eq!(cluster.incarnation(), Incarnation(4 << 20), "the fourth start");
}

#[tokio::test]
async fn garbage_in_the_data_folder_is_refused_with_a_clear_text() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("header"), [0xff; 100]).unwrap();
    let error = Cluster::start(config(dir.path())).await.err().unwrap();
    assert!(error.to_string().contains("not a data folder of this server"), "{error}");
}

#[tokio::test]
async fn a_folder_in_use_or_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, _feed) = start(&config(dir.path())).await;
    let error = Cluster::start(config(dir.path())).await.err().unwrap();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    cluster.shutdown().await;
    let mut other = config(dir.path());
    other.node = NodeId(2);
    let error = Cluster::start(other).await.err().unwrap();
    assert!(error.to_string().contains("belongs to node 1"), "{error}");
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = config(dir.path());
    bad.election_max_ms = bad.election_min_ms;
    let error = Cluster::start(bad).await.err().unwrap();
    assert!(matches!(error, StartError::Setting(_)), "{error}");
}

#[tokio::test]
async fn a_repeated_client_key_gets_its_answer_after_a_restart() {
    use serverv2_machine::{KeyScope, ScopedKey};
    let key = ScopedKey { scope: KeyScope::Player(player_id(1)), key: "once".parse().unwrap() };
    let dir = tempfile::tempdir().unwrap();
    let (cluster, feed) = start(&config(dir.path())).await;
    let first = cluster.propose(create(1), Some(key.clone())).await.unwrap();
    drop((cluster, feed));
    let (cluster, _feed) = start(&config(dir.path())).await;
    let request = cluster.next_request();
    let again = cluster.submit(request, create(1).into(), Some(key)).await.unwrap();
    assert_eq!(again.outcome, Ok(Reply::Player(first.reply)));
}
