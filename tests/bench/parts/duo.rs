//! Two players on two nodes who fight each other in step, so that it is known from which moment each of them waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::book::{Book, Wait};
use super::player::{Heard, Lost, Next, Player};
use crate::harness::team;

const SUBMIT: &str = "submitPlayerSelection";

/// How battles go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Shortest and longest time for a turn's choices, milliseconds.
    pub(crate) think_ms: (u64, u64),
    /// Turns after which one of them gives up.
    pub(crate) turns_max: u32,
}

/// Where duos queue, one after the other: whoever queues meets whoever queued before.
#[derive(Debug)]
pub(crate) struct Queue {
    /// When the next may.
    next: Mutex<Instant>,
    /// Between two of them.
    every: Duration,
}

impl Queue {
    pub(crate) fn new(every: Duration) -> Self {
        Self { next: Mutex::new(Instant::now()), every }
    }
}

/// See the module's text.
pub(crate) struct Duo {
    both: [Player; 2],
    book: Arc<Book>,
}

impl Duo {
    /// Two players, given with their tokens, at these nodes.
    pub(crate) async fn connect(
        nodes: [SocketAddr; 2],
        players: &[(String, Option<String>); 2],
        book: &Arc<Book>,
    ) -> Result<Self, Lost> {
        let [a, b] = players;
        let (a, b) = tokio::join!(
            Player::connect(nodes[0], &a.0, a.1.as_deref(), book),
            Player::connect(nodes[1], &b.0, b.1.as_deref(), book),
        );
        Ok(Self { both: [a?, b?], book: book.clone() })
    }

    /// One battle.
    pub(crate) async fn fight(
        &mut self,
        queue: &Queue,
        manner: Manner,
        rng: &mut StdRng,
    ) -> Result<(), Lost> {
        self.pair(queue).await?;
        let [a, b] = &mut self.both;
        let (first, second) = tokio::join!(a.ask("ready", &[]), b.ask("ready", &[]));
        first.and(second)?;
        let mut turns = 0;
        loop {
            let next = self.next().await?;
            if next == Next::End {
                break;
            }
            let (least, most) = manner.think_ms;
            tokio::time::sleep(Duration::from_millis(rng.random_range(least..=most))).await;
            turns += 1;
            let mut choices = [self.choice(0, rng).await?, self.choice(1, rng).await?];
            if turns > manner.turns_max && next == Next::Turn {
                choices[0] = Some(json!({"type": "surrender", "player": self.both[0].id}));
            }
            match choices {
                [Some(first), Some(last)] => {
                    self.both[0].ask(SUBMIT, &[first]).await?;
                    self.choose(1, last).await?;
                }
                [Some(only), None] => self.choose(0, only).await?,
                [None, Some(only)] => self.choose(1, only).await?,
                // The turn's clock was quicker.
                [None, None] => {}
            }
            self.book.turned();
        }
        for player in &mut self.both {
            player.until(|_, heard| matches!(heard, Heard::RoomClosed)).await?;
        }
        Ok(())
    }

    async fn pair(&mut self, queue: &Queue) -> Result<(), Lost> {
        let mut next = queue.next.lock().await;
        tokio::time::sleep_until((*next).into()).await;
        *next = Instant::now().max(*next + queue.every);
        let [a, b] = &mut self.both;
        let teams = [team::schema(0, &a.id), team::schema(1, &b.id)];
        a.ask("joinMatchmaking", &teams[..1]).await?;
        let began = Instant::now();
        b.ask("joinMatchmaking", &teams[1..]).await?;
        let matched = |_, heard: &mut Heard| matches!(heard, Heard::Matched);
        let (first, second) = tokio::join!(a.until(matched), b.until(matched));
        let told = first?.max(second?);
        self.book.waited(Wait::Match, told.saturating_duration_since(began));
        self.book.matched();
        Ok(())
    }

    /// What both are told next.
    async fn next(&mut self) -> Result<Next, Lost> {
        let [a, b] = &mut self.both;
        let (first, second) = tokio::join!(a.next(), b.next());
        second?;
        first
    }

    /// What he may choose now, at random; skills if there are any.
    async fn choice(&mut self, who: usize, rng: &mut StdRng) -> Result<Option<Value>, Lost> {
        let told = self.both[who].ask("getAvailableSelection", &[]).await?;
        let all = told.as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |kind: &str| -> Vec<&Value> {
            all.iter().filter(|choice| choice["type"] == kind).collect()
        };
        let kinds = ["use-skill", "switch-pet", "do-nothing"].map(of);
        let found = kinds.iter().find(|kind| !kind.is_empty());
        Ok(found.and_then(|kind| kind.choose(rng)).map(|choice| (*choice).clone()))
    }

    /// Makes a turn's last choice, and times what comes of it.
    async fn choose(&mut self, who: usize, choice: Value) -> Result<(), Lost> {
        let began = Instant::now();
        let ack = self.both[who].emit(SUBMIT, &[choice]).await?;
        let [first, second] = &mut self.both;
        let (mine, theirs) = if who == 0 { (first, second) } else { (second, first) };
        let (mut acked, mut answer, mut here) = (None, Value::Null, None);
        let both_came = |at: Instant, heard: &mut Heard| {
            match heard {
                Heard::Ack(of, value) if *of == ack => (acked, answer) = (Some(at), value.take()),
                Heard::Event(_) if at >= began => drop(here.get_or_insert(at)),
                _ => {}
            }
            acked.is_some() && here.is_some()
        };
        mine.until(both_came).await?;
        let (acked, here) = (acked.unwrap_or(began), here.unwrap_or(began));
        mine.acked(SUBMIT, began, acked, &answer);
        let event =
            |at: Instant, heard: &mut Heard| matches!(heard, Heard::Event(_)) && at >= began;
        let there = theirs.until(event).await?;
        self.book.waited(Wait::Event, here.saturating_duration_since(began));
        self.book.waited(Wait::EventElsewhere, there.saturating_duration_since(began));
        self.book.waited(Wait::EventAfterAck, there.saturating_duration_since(acked));
        Ok(())
    }
}
