//! Power cuts under real nodes: of one, of two, of all at once. What a player was told is true stays true,
//! and what a node has voted it does not forget.
//!
//! Before each cut every node has written entries of 200 B, of 24 KiB and of 256 KiB, by its own count.
//! `POWERCUT_CYCLES` asks for more cuts, `SEED` for a certain plan.

mod load;
mod queued;
mod teams;
mod votes;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use self::load::{Load, Sizes};
use self::queued::not_queued;
use self::teams::LongPack;
use self::votes::Votes;
use crate::harness::cluster::Trio;
use crate::harness::guests::missing;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Server};

const CYCLES: usize = 3;

#[tokio::test]
async fn what_a_lone_node_acknowledged_survives_power_cuts() {
    let pack = LongPack::new();
    let mut node = [on_mortal_disk(Options::default(), &pack).start().await];
    let outcome = keep_cutting(&mut node, |_, _| vec![0], restart_alone).await;
    outcome.assert_nothing_lost();
}

#[tokio::test]
async fn what_a_cluster_acknowledged_survives_power_cuts_of_one_two_or_all_nodes() {
    let pack = LongPack::new();
    let mut trio = Trio::start_with(|_, options| on_mortal_disk(options, &pack)).await;
    let outcome = keep_cutting(&mut trio.nodes, some_of_three, restart_three).await;
    outcome.assert_nothing_lost();
    assert!(outcome.new_votes > 0, "nobody had voted just before: {outcome:?}");
}

#[tokio::test]
async fn disks_that_only_say_that_they_sync_are_noticed() {
    let pack = LongPack::new();
    let lying = |_, options| on_mortal_disk(options, &pack).env("POWERCUT_LIES", "1");
    let mut trio = Trio::start_with(lying).await;
    let mut votes = Votes::default();
    let load = Load::on(&trio.nodes, 0).await;
    votes.listen(&trio.nodes);
    load.until_all_sizes(&trio.nodes).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cut_power(&mut trio.nodes, &[0, 1, 2], async {}).await;
    let told = load.stop(&trio.nodes).await;
    assert!(!told.guests.is_empty() && !told.queued.is_empty());
    // They have forgotten that there was a cluster, and form a new one.
    trio.restart_dead().await;
    votes.check(&trio.nodes, &[0, 1, 2]);
    assert_eq!(votes.wrong.len(), 3, "of each node's vote: {:?}", votes.wrong);
    assert_eq!(missing(&trio.nodes, &told.guests).await.len(), told.guests.len(), "of all");
    let lost = not_queued(&trio.nodes, &told.queued).await;
    assert_eq!(lost.len(), told.queued.len(), "of all who queued");
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
    cut_power(&mut trio.nodes, &[0, 1, 2], async {}).await;
    trio.restart_dead().await;
    duel.a.reconnect(&trio.nodes[2]).await;
    duel.b.reconnect(&trio.nodes[0]).await;
    duel.a.client.resume().await;
    duel.b.client.resume().await;
    duel.b.attack().await;
    let turn = duel.b.message_after(last, "TURN_END").await;
    assert_eq!(duel.a.message_after(last, "TURN_END").await.sequence, turn.sequence);
}

/// On a disk that forgets, and can be made slow.
fn on_mortal_disk(options: Options, pack: &LongPack) -> Options {
    let packs = pack.folder().to_str().expect("a temporary folder has a plain name");
    let options = options.on_mortal_disk().on_faulty_disk();
    // Who queued through a node that died keeps the place for so long; all guests are looked for meanwhile.
    let options = options.env("DISCONNECT_GRACE_PERIOD_TTL", "600");
    options.env("PACKS_DIR", packs).env("LOG_FORMAT", "json")
}

#[derive(Debug, Default)]
struct Outcome {
    /// Nodes that had just said a new vote when the power of some was cut.
    new_votes: usize,
    guests: usize,
    queued: usize,
    undone: usize,
    /// Entries that were there before each cut, on all nodes together.
    entries: Sizes,
    votes: usize,
    /// Terms that several led one after the other.
    shared_terms: usize,
    lost: Vec<String>,
}

impl Outcome {
    fn assert_nothing_lost(&self) {
        assert_eq!(self.lost, Vec::<String>::new());
        let something = [self.undone, self.guests, self.queued, self.votes];
        assert!(!something.contains(&0), "there was something to lose: {self:?}");
    }
}

/// One, all, two by turns.
fn some_of_three(cycle: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut nodes = vec![0, 1, 2];
    nodes.shuffle(rng);
    nodes.truncate([1, 3, 2][cycle % 3]);
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
    victims: impl Fn(usize, &mut StdRng) -> Vec<usize>,
    restart: impl AsyncFn(&mut [Server]),
) -> Outcome {
    let from_env = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = from_env("SEED").unwrap_or_else(|| rand::rng().random());
    let cycles = from_env("POWERCUT_CYCLES").map_or(CYCLES, |cycles| cycles as usize);
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut outcome, mut votes, mut guests) = (Outcome::default(), Votes::default(), Vec::new());
    for cycle in 0..cycles {
        let load = Load::on(nodes, rng.random_range(0..nodes.len())).await;
        votes.listen(nodes);
        let written = load.until_all_sizes(nodes).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..400))).await;
        let mut victims = victims(cycle, &mut rng);
        if victims.len() == 1 || cycle.is_multiple_of(2) {
            outcome.undone += cut_power(nodes, &victims, async {}).await;
        } else {
            // The leader first: the others go when they have just voted for a new one.
            let (leader, count) = (votes.leader(), victims.len());
            victims.retain(|victim| *victim != leader);
            victims.insert(0, leader);
            victims.truncate(count);
            let moment = Duration::from_millis(rng.random_range(0..30));
            let elected = async { outcome.new_votes += votes.until_newer(moment).await };
            outcome.undone += cut_power(nodes, &victims, elected).await;
        }
        let told = load.stop(nodes).await;
        restart(nodes).await;
        votes.check(nodes, &victims);
        outcome.lost = not_queued(nodes, &told.queued).await;
        outcome.lost.extend(missing(nodes, &told.guests).await);
        outcome.lost.extend(std::mem::take(&mut votes.wrong));
        outcome.entries = [0, 1, 2].map(|at| outcome.entries[at] + written[at]);
        outcome.queued += told.queued.len();
        guests.extend(told.guests);
        if !outcome.lost.is_empty() {
            break;
        }
    }
    (outcome.guests, outcome.votes) = (guests.len(), votes.found);
    outcome.shared_terms = votes.shared_terms();
    outcome.lost.extend(missing(nodes, &guests).await);
    println!("{cycles} cycles: {outcome:?}");
    outcome
}

/// Cuts the power of the first of these, waits, and cuts that of the others. Gives how much was undone.
async fn cut_power(
    nodes: &mut [Server],
    victims: &[usize],
    pause: impl Future<Output = ()>,
) -> usize {
    let (first, others) = victims.split_first().expect("some node dies");
    nodes[*first].kill9();
    pause.await;
    others.iter().for_each(|victim| nodes[*victim].kill9());
    victims.iter().map(|victim| nodes[*victim].roll_back_disk()).sum()
}
