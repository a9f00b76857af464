//! Battles that go on whatever becomes of Redis: at each table one after the other, each of two new players on two
//! nodes. A match, an answer or a message that is lost ends the test: whoever misses one waits for it in vain, and
//! each state is compared with what the server says of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex as Locked;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, sleep};

use crate::harness::battle::{Message, messages};
use crate::harness::knowledge::assert_same_story;
use crate::harness::{Client, DEADLINE, Dial, Duel, Fighter, Server, eventually, team};
use crate::tokens::Holder;

/// Battles at once.
const TABLES: usize = 3;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    /// Matches made, turns begun, battles ended.
    pub(super) matches: usize,
    pub(super) turns: usize,
    pub(super) ended: usize,
}

/// A battle in which nobody moves.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) room: String,
    /// Players and their sockets.
    pub(super) players: [(String, String); 2],
    /// As both were told.
    pub(super) turn: u64,
}

impl Standing {
    pub(super) async fn of(duel: &Duel) -> Self {
        let (a, b) = tokio::join!(duel.a.state(), duel.b.state());
        assert_eq!(a["currentTurn"], b["currentTurn"], "both play the same turn");
        Self {
            room: duel.room.clone(),
            players: [&duel.a, &duel.b].map(|it| (it.id.clone(), it.client.socket_id())),
            turn: a["currentTurn"].as_u64().expect("a turn has a number"),
        }
    }
}

/// All tables.
pub(super) struct Arena {
    /// Whose turn it is to queue: two who queue meet each other.
    queue: Mutex<()>,
    moves: watch::Sender<bool>,
    over: AtomicBool,
    resting: AtomicUsize,
    score: Locked<Score>,
    standing: Locked<[Option<Standing>; TABLES]>,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            moves: watch::Sender::new(true),
            over: AtomicBool::new(false),
            resting: AtomicUsize::new(0),
            score: Locked::default(),
            standing: Locked::default(),
        }
    }

    /// Fights until it is over.
    pub(super) async fn fight(&self, nodes: &[Server]) {
        let tables = (0..TABLES).map(|table| async move {
            let mut seed = table as u64;
            while !self.over.load(Ordering::Relaxed) {
                self.battle(nodes, table, seed).await;
                seed += TABLES as u64;
            }
        });
        futures::future::join_all(tables).await;
    }

    pub(super) fn score(&self) -> Score {
        *self.score.lock()
    }

    /// Waits until so much more has happened.
    pub(super) async fn more(&self, more: Score) {
        let before = self.score();
        let enough = |now: &Score| {
            now.matches >= before.matches + more.matches
                && now.turns >= before.turns + more.turns
                && now.ended >= before.ended + more.ended
        };
        eventually("more battles", || async { self.score() }, enough).await;
    }

    /// Nobody of the tables queues, and none of them is in the queue, as long as this is held.
    pub(super) async fn quiet(&self) -> MutexGuard<'_, ()> {
        self.queue.lock().await
    }

    /// Lets everybody rest who has chosen; gives the battles that go on. Nobody may queue meanwhile.
    pub(super) async fn rest(&self, _quiet: &MutexGuard<'_, ()>) -> Vec<Standing> {
        self.moves.send_replace(false);
        let resting = || async { self.resting.load(Ordering::Relaxed) };
        eventually("rest", resting, |resting| *resting == TABLES).await;
        self.standing.lock().iter().flatten().cloned().collect()
    }

    /// Lets all battles end; no others begin.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.moves.send_replace(true);
    }

    async fn battle(&self, nodes: &[Server], table: usize, seed: u64) {
        let duel = {
            self.resting.fetch_add(1, Ordering::Relaxed);
            let _turn = self.queue.lock().await;
            self.resting.fetch_sub(1, Ordering::Relaxed);
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let at = (seed as usize) % nodes.len();
            let (a, b) = (fighter(&nodes[at], 0), fighter(&nodes[(at + 1) % nodes.len()], 1));
            let (a, b) = tokio::join!(a, b);
            Duel::pair(a, b).await
        };
        self.score.lock().matches += 1;
        self.play(&duel, table, seed).await;
        self.score.lock().ended += 1;
        let (a, b) = (messages(&duel.a.client), messages(&duel.b.client));
        assert_same_story(&a, &b);
        assert_eq!(a.last().expect("there was an end").data["reason"], "all_pet_fainted");
    }

    /// Turn by turn to the end.
    async fn play(&self, duel: &Duel, table: usize, seed: u64) {
        duel.ready().await;
        let mut rng = StdRng::seed_from_u64(seed);
        let both = [&duel.a, &duel.b];
        let mut seen = -1;
        loop {
            let (a, b) = tokio::join!(next(duel, both[0], seen), next(duel, both[1], seen));
            assert_eq!((a.sequence, &a.kind), (b.sequence, &b.kind), "both are told the same");
            seen = a.sequence;
            if a.kind == "BATTLE_END" {
                return;
            }
            self.pause(duel, table).await;
            for fighter in both.iter().filter(|fighter| a.asks(&fighter.id)) {
                fighter.assert_in_step().await;
                fighter.choose(&mut rng).await;
            }
            self.score.lock().turns += 1;
        }
    }

    /// Stays here while nobody may move.
    async fn pause(&self, duel: &Duel, table: usize) {
        let mut moves = self.moves.subscribe();
        if *moves.borrow_and_update() {
            return;
        }
        let standing = Standing::of(duel).await;
        self.standing.lock()[table] = Some(standing);
        self.resting.fetch_add(1, Ordering::Relaxed);
        // The sender is ours.
        let _ = moves.wait_for(|moves| *moves).await;
        self.resting.fetch_sub(1, Ordering::Relaxed);
        self.standing.lock()[table] = None;
    }
}

/// The next message after this one that asks somebody to choose, or ends the battle.
async fn next(duel: &Duel, viewer: &Fighter, seen: i64) -> Message {
    let asks = |it: &Message| it.asks(&duel.a.id) || it.asks(&duel.b.id);
    let wanted = |it: &Message| it.sequence > seen && (it.kind == "BATTLE_END" || asks(it));
    viewer.wait_message("that asks somebody to choose, or the end", wanted).await
}

/// A player who has just logged in at this node, with a socket there.
pub(super) async fn fighter(node: &Server, team: usize) -> Fighter {
    let holder = Holder::of(node).await;
    let session = format!("session-of-{}", &holder.id[..8]);
    let client = let_in(holder.dial(node).session(&session)).await;
    let team = team::schema(team, &holder.id);
    Fighter { id: holder.id, session, team, client }
}

/// Connects, again and again while the node is not sure whether the token counts: a machine may be too busy for that.
pub(super) async fn let_in(dial: Dial) -> Client {
    let began = Instant::now();
    loop {
        match dial.clone().try_open().await {
            Ok(client) => return client,
            Err(why) => assert_eq!(why, "AUTHENTICATION_ERROR"),
        }
        assert!(began.elapsed() < DEADLINE, "nobody is let in");
        sleep(Duration::from_millis(60)).await;
    }
}
