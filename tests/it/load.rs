//! Load manners: many sockets, floods, slow readers and full queues cost those who cause them, and
//! nobody else. Figures are measured by `tests/bench/load.rs`; here is what must hold at any speed.

mod behind;
mod busy;
mod floods;
mod gaps;
mod slow;

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::harness::cluster::Trio;
use crate::harness::light::{Gone, Ledger, Light, Manner};
use crate::harness::process::Options;
use crate::harness::{Raw, Server, connected_guest, guest, raise_open_files, turn};
use crate::metrics::scrape;

/// Quick players, who stay below the events that a socket may send.
const QUICK: Manner = Manner { think_ms: (100, 200), animates: 8, dreams: 0 };

/// Three nodes on a machine that does other things, too: clients and floods share its cores, and so
/// may other tests. An election here means that a node did nothing for a second.
async fn patient_trio() -> Trio {
    let patient = |_, options: Options| {
        options.env("RAFT_ELECTION_MIN_MS", "1000").env("RAFT_ELECTION_MAX_MS", "2000")
    };
    Trio::start_with(patient).await
}

/// Battles that have begun to be played, two players each, spread over the nodes.
struct Battles {
    fighters: Vec<JoinHandle<Result<(), Gone>>>,
    ledger: Arc<Ledger>,
}

impl Battles {
    async fn begin(trio: &Trio, count: usize) -> Self {
        let ledger = Arc::<Ledger>::default();
        let connecting = (0..2 * count).map(|at| async move {
            let node = &trio.nodes[at % trio.nodes.len()];
            Light::connect(node, &guest(node).await, Ipv4Addr::LOCALHOST).await
        });
        let fighters = join_all(connecting).await.into_iter().enumerate();
        let fighters = fighters.map(|(team, mut fighter)| {
            let ledger = ledger.clone();
            tokio::spawn(async move { fighter.fight_once(team, QUICK, &ledger).await })
        });
        Self { fighters: fighters.collect(), ledger }
    }

    /// Whether somebody still plays.
    fn go_on(&self) -> bool {
        self.fighters.iter().any(|fighter| !fighter.is_finished())
    }

    /// Waits for all ends, which must come from playing.
    async fn all_end_by_play(self) {
        let players = self.fighters.len() as u64;
        for fighter in join_all(self.fighters).await {
            fighter.expect("no player waits in vain").expect("no player is cut");
        }
        let ends = self.ledger.ends.lock().clone();
        assert_eq!(self.ledger.ended("all_pet_fainted"), players, "ends: {ends:?}");
        let refusals = self.ledger.refusals.lock().clone();
        assert!(refusals.is_empty(), "an honest player was refused: {refusals:?}");
    }
}

#[tokio::test]
async fn hundreds_of_idle_sockets_beside_battles_cause_no_election_and_none_is_cut() {
    let _turn = turn().await;
    raise_open_files();
    let trio = patient_trio().await;
    let terms = trio.terms().await;
    let node = &trio.nodes[trio.leader(0).await];
    let dialing = (0..400)
        .map(|_| async { Light::connect(node, &guest(node).await, Ipv4Addr::LOCALHOST).await });
    let idle = join_all(dialing).await.into_iter();
    let idle: Vec<_> = idle.map(|socket| tokio::spawn(socket.idle())).collect();
    Battles::begin(&trio, 30).await.all_end_by_play().await;
    assert_eq!(idle.iter().filter(|socket| socket.is_finished()).count(), 0, "idle sockets cut");
    assert_eq!(trio.terms().await, terms, "an election");
}

#[tokio::test]
async fn a_low_soft_limit_of_open_files_cuts_nobody_off() {
    raise_open_files();
    let server = Options::default().open_files(128).start().await;
    assert_ne!(server.open_files_max(), "128", "raised to the hard limit");
    let dialing = (0..200).map(|_| async { Raw::connect(&server, &guest(&server).await).await });
    let sockets = join_all(dialing).await;
    one_more(&server).await;
    drop(sockets);
}

#[tokio::test]
async fn a_low_hard_limit_of_open_files_means_fewer_connections_and_a_warning_only_if_more_were_asked_for()
 {
    const WARNING: &str = "CONNECTIONS_MAX needs more open files than the system allows";
    let low = || Options::default().open_files_at_most(1_000);
    let max = async |server: &Server| scrape(server).await.sum("serverv2_connections_max", &[]);

    let server = low().start().await;
    assert_eq!((max(&server).await, server.says(WARNING)), (744.0, false));
    assert!(server.says("connections=744"), "{}", server.log().tail());
    let server = low().env("CONNECTIONS_MAX", "2000").start().await;
    assert_eq!((max(&server).await, server.says(WARNING)), (2_000.0, true));
}

/// The node takes one more client and answers it.
async fn one_more(server: &Server) {
    let (_, client) = connected_guest(server).await;
    client.settle().await;
}
