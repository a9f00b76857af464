//! Power cuts under real nodes: of one, of two, of all at once. What a player was told is true stays true.
//!
//! `POWERCUT_CYCLES` asks for more of them, `SEED` for a certain plan.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Server};

const CYCLES: usize = 3;
/// Callers of each node that make guests.
const CALLERS: usize = 6;
/// Players of each node who queue with their teams again and again: entries of many sizes.
const QUEUING: usize = 2;

#[tokio::test]
async fn what_a_lone_node_acknowledged_survives_power_cuts() {
    let mut node = [Options::default().on_mortal_disk().start().await];
    let outcome = keep_cutting(&mut node, |_| vec![0], restart_alone).await;
    assert_eq!(outcome.lost, Vec::<String>::new());
    assert!(outcome.undone > 0 && outcome.acknowledged > 0, "{outcome:?}");
}

#[tokio::test]
async fn what_a_cluster_acknowledged_survives_power_cuts_of_one_two_or_all_nodes() {
    let mut trio = Trio::start_with(|_, options: Options| options.on_mortal_disk()).await;
    let outcome = keep_cutting(&mut trio.nodes, some_of_three, restart_three).await;
    assert_eq!(outcome.lost, Vec::<String>::new());
    assert!(outcome.undone > 0 && outcome.acknowledged > 0, "{outcome:?}");
}

#[tokio::test]
async fn disks_that_only_say_that_they_sync_are_noticed() {
    let lying = |_, options: Options| options.on_mortal_disk().env("POWERCUT_LIES", "1");
    let mut trio = Trio::start_with(lying).await;
    let load = Load::on(&trio.nodes).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cut_power(trio.nodes.iter_mut());
    let told = load.stop().await;
    assert!(!told.is_empty());
    // They have forgotten that there was a cluster, and form a new one.
    trio.restart_dead().await;
    assert_eq!(missing(&trio.nodes, &told).await.len(), told.len(), "of all that was lost");
}

#[tokio::test]
async fn a_choice_stands_after_a_power_cut_of_all_nodes() {
    let mut trio = Trio::start_with(|_, options: Options| options.on_mortal_disk()).await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let last = duel.attack_once(-1).await;
    duel.a.attack().await;
    cut_power(trio.nodes.iter_mut());
    trio.restart_dead().await;
    duel.a.reconnect(&trio.nodes[2]).await;
    duel.b.reconnect(&trio.nodes[0]).await;
    duel.a.client.resume().await;
    duel.b.client.resume().await;
    duel.b.attack().await;
    let turn = duel.b.message_after(last, "TURN_END").await;
    assert_eq!(duel.a.message_after(last, "TURN_END").await.sequence, turn.sequence);
}

#[derive(Debug, Default)]
struct Outcome {
    acknowledged: usize,
    undone: usize,
    lost: Vec<String>,
}

fn some_of_three(rng: &mut StdRng) -> Vec<usize> {
    let mut nodes = vec![0, 1, 2];
    nodes.shuffle(rng);
    nodes.truncate(rng.random_range(1..=3));
    nodes
}

async fn restart_alone(nodes: &mut [Server]) {
    nodes[0].restart().await;
}

async fn restart_three(nodes: &mut [Server]) {
    let dead = nodes.iter_mut().filter(|node| !node.is_running());
    futures::future::join_all(dead.map(Server::restart)).await;
}

/// Loads the nodes, cuts the power of some in the middle of it, starts them again, and looks.
async fn keep_cutting(
    nodes: &mut [Server],
    victims: impl Fn(&mut StdRng) -> Vec<usize>,
    restart: impl AsyncFn(&mut [Server]),
) -> Outcome {
    let from_env = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = from_env("SEED").unwrap_or_else(|| rand::rng().random());
    let cycles = from_env("POWERCUT_CYCLES").map_or(CYCLES, |cycles| cycles as usize);
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut outcome, mut told) = (Outcome::default(), Vec::new());
    for _ in 0..cycles {
        let moment = Duration::from_millis(rng.random_range(20..400));
        let load = Load::on(nodes).await;
        tokio::time::sleep(moment).await;
        let victims = victims(&mut rng);
        let dying = nodes.iter_mut().enumerate().filter(|(at, _)| victims.contains(at));
        outcome.undone += cut_power(dying.map(|(_, node)| node));
        let new = load.stop().await;
        restart(nodes).await;
        outcome.lost = missing(nodes, &new).await;
        told.extend(new);
        if !outcome.lost.is_empty() {
            break;
        }
    }
    outcome.acknowledged = told.len();
    outcome.lost.extend(missing(nodes, &told).await);
    println!("{cycles} cycles: {outcome:?}");
    outcome
}

/// Cuts the power of all of these at one moment. Gives how much was undone.
fn cut_power<'a>(nodes: impl Iterator<Item = &'a mut Server>) -> usize {
    let mut nodes: Vec<_> = nodes.collect();
    nodes.iter_mut().for_each(|node| node.kill9());
    nodes.into_iter().map(|node| node.roll_back_disk()).sum()
}

/// Guests made through all nodes at once, while players queue.
struct Load {
    callers: Callers,
    queuing: JoinSet<()>,
}

impl Load {
    async fn on(nodes: &[Server]) -> Self {
        let mut queuing = JoinSet::new();
        for node in nodes {
            for number in 0..QUEUING {
                let fighter = Fighter::new(node, number).await;
                queuing.spawn(async move {
                    loop {
                        let team = std::slice::from_ref(&fighter.team);
                        fighter.client.emit("joinMatchmaking", team).await;
                    }
                });
            }
        }
        Self { callers: Callers::on(nodes, CALLERS), queuing }
    }

    /// Ends it and gives the guests that were acknowledged.
    async fn stop(mut self) -> Vec<String> {
        self.queuing.abort_all();
        self.callers.stop().await
    }
}
