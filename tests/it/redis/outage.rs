//! A Redis that dies, forgets, hangs, can't be reached or is full, while three nodes are busy: nobody notices, nothing
//! is lost, and soon behind its return other services are told all that is.
//!
//! No clock is asked how long a player waited: `tests/bench/outage.rs` does that, with longer outages.

mod arena;
mod whole;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use self::arena::{Arena, Score, Standing, fighter, let_in};
use self::whole::Truth;
use super::connection;
use super::seen::PROMISED;
use crate::harness::cluster::Trio;
use crate::harness::links::Links;
use crate::harness::redis::Redis;
use crate::harness::{Answer, Duel, Http, Server, eventually, turn, within};
use crate::tokens::{Holder, by, is_dismissed, wanting_tokens};

/// What becomes of Redis.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// It dies and comes back with nothing.
    Killed,
    /// Somebody empties it.
    Flushed,
    /// It takes connections and never answers.
    Paused,
    /// What the leader sends to it, and it to the leader, does not arrive.
    CutFromLeader,
    /// It takes no writes.
    Full,
}

impl Fault {
    /// How long it lasts: longer than any connection is waited for.
    fn lasts(self) -> Duration {
        Duration::from_secs(if self == Self::Flushed { 0 } else { 5 })
    }

    /// Whether a node notices it.
    fn hurts(self, is_leader: bool) -> bool {
        match self {
            Self::Killed | Self::Paused | Self::Full => true,
            Self::CutFromLeader => is_leader,
            Self::Flushed => false,
        }
    }

    fn begin(self, redis: &mut Redis, links: &Links, leader: usize) {
        match self {
            Self::Killed => redis.kill(),
            Self::Flushed => redis.ask(&redis::cmd("FLUSHALL")),
            Self::Paused => redis.pause(),
            Self::CutFromLeader => links.isolate(leader),
            Self::Full => redis.limit_memory(1),
        }
    }

    async fn end(self, redis: &mut Redis, links: &Links) {
        match self {
            Self::Killed => redis.start_again().await,
            Self::Flushed => redis.ask(&redis::cmd("FLUSHALL")),
            Self::Paused => redis.unpause(),
            Self::CutFromLeader => links.heal(),
            Self::Full => redis.limit_memory(0),
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_empty_costs_nobody_anything_and_is_told_all() {
    live_through(Fault::Killed).await;
}

#[tokio::test]
async fn a_redis_that_somebody_empties_costs_nobody_anything_and_is_told_all() {
    live_through(Fault::Flushed).await;
}

#[tokio::test]
async fn a_redis_that_hangs_costs_nobody_anything_and_is_told_all() {
    live_through(Fault::Paused).await;
}

#[tokio::test]
async fn a_redis_that_the_leader_can_not_reach_costs_nobody_anything_and_is_told_all() {
    live_through(Fault::CutFromLeader).await;
}

#[tokio::test]
async fn a_redis_that_is_full_costs_nobody_anything_and_is_told_all() {
    live_through(Fault::Full).await;
}

async fn live_through(fault: Fault) {
    let _turn = turn().await;
    let mut redis = Redis::start().await;
    // A way of its own from each node.
    let links = Links::to(&[redis.port(); 3]).await;
    let trio = Trio::start_with(|at, options| {
        let way = format!("redis://{}", links.address(at, at));
        let url = if fault == Fault::CutFromLeader { &way } else { redis.url() };
        // Who stands still here does so for as long as the test wants.
        wanting_tokens(options).env("REDIS_URL", url).env("TURN_TIME_LIMIT", "300")
    })
    .await;
    let leader = trio.leader(0).await;
    let nodes = &trio.nodes;
    for node in nodes {
        connection::until(node, "healthy").await;
    }

    let arena = Arena::new();
    let story = async {
        let before = log_in_and_out(nodes, 0).await;
        let duel = {
            let _quiet = arena.quiet().await;
            let (a, b) = (fighter(&nodes[leader], 2), fighter(&nodes[(leader + 1) % 3], 3));
            let (a, b) = tokio::join!(a, b);
            Duel::pair(a, b).await
        };
        duel.ready().await;
        let turn = duel.attack_once(-1).await;
        let waiting = fighter(&nodes[(leader + 2) % 3], 4).await;
        arena.more(Score { ended: 1, ..Score::default() }).await;

        fault.begin(&mut redis, &links, leader);
        let begun = Instant::now();
        are_as(nodes, |at| fault.hurts(at == leader)).await;
        let turn = duel.attack_once(turn).await;
        let mut revoked = vec![before];
        for at in 0..3 {
            revoked.push(log_in_and_out(nodes, at).await);
        }
        let stays = Holder::of(&nodes[leader]).await;
        arena.more(Score { matches: 1, turns: 6, ended: 1 }).await;
        sleep_until(begun + fault.lasts()).await;
        are_as(nodes, |at| fault.hurts(at == leader)).await;
        let quiet = arena.quiet().await;
        waiting.join().await;

        fault.end(&mut redis, &links).await;
        let (back, back_ms) = (Instant::now(), wall_ms());
        let mut standing = arena.rest(&quiet).await;
        standing.push(Standing::of(&duel).await);
        let players = standing.iter().flat_map(|it| it.players.iter().map(|(id, _)| id.clone()));
        let logged_in = players.chain([stays.id, waiting.id.clone()]).collect();
        let truth =
            Truth { nodes, waiting: &waiting, standing, logged_in, revoked, since_ms: back_ms };
        let missing = || truth.missing(&redis);
        within(PROMISED, back, "whole picture in Redis", missing, Vec::is_empty).await;
        are_as(nodes, |_| false).await;

        waiting.client.ok("cancelMatchmaking", &[]).await;
        duel.play(11, turn, true).await;
        arena.end();
    };
    tokio::join!(arena.fight(nodes), story);
}

/// Waits until nodes say of themselves that they are degraded, or healthy; clients may come to all of them.
async fn are_as(nodes: &[Server], degraded: impl Fn(usize) -> bool) {
    for (at, node) in nodes.iter().enumerate() {
        let status = if degraded(at) { "degraded" } else { "healthy" };
        connection::until(node, status).await;
        assert_eq!(Http::get(node, "/ready").send().await.status, 200);
    }
}

/// A login, sessions, a refresh and a logout, each through another node; the logout holds on all of them at once. Gives
/// the token that counts no more, and whose it was.
async fn log_in_and_out(nodes: &[Server], at: usize) -> (String, String) {
    let [here, there, elsewhere] = [0, 1, 2].map(|further| &nodes[(at + further) % 3]);
    let holder = Holder::of(here).await;
    let client = let_in(holder.dial(there).session("desk")).await;
    client.settle().await;
    let path = format!("/api/v1/sessions/sessions/{}", holder.id);
    let list = || by(&holder.access, elsewhere, Method::GET, &path).send();
    let listed = sure(list).await.json();
    assert_eq!(listed["data"]["sessionCount"], 1, "{listed}");
    let next = |token: &str, node| {
        let form = json!({"refreshToken": token});
        Http::post(node, "/api/v1/auth/refresh").json(&form)
    };
    let pair =
        sure(|| next(&holder.refresh, there).header("idempotency-key", "next").send()).await.json();
    let token = |name: &str| pair["data"][name].as_str().expect("a token").to_owned();
    let (access, refresh) = (token("accessToken"), token("refreshToken"));
    let verify = |node| by(&access, node, Method::GET, "/api/v1/auth/verify").send();
    assert_eq!(sure(|| verify(elsewhere)).await.status, 200);

    let logout = || {
        let request = by(&access, here, Method::POST, "/api/v1/auth/logout");
        request.header("idempotency-key", "logout").send()
    };
    assert_eq!(sure(logout).await.status, 200);
    for node in nodes {
        assert_eq!(sure(|| verify(node)).await.status, 401, "it holds on every node");
        assert_eq!(sure(|| next(&refresh, node).send()).await.status, 401);
    }
    is_dismissed(&client).await;
    (access, holder.id)
}

/// Asks until the node answers that is sure of what it knows: a machine may be too busy for that for a moment.
async fn sure<F: Future<Output = Answer>>(ask: impl FnMut() -> F) -> Answer {
    eventually("a node that is sure", ask, |answer| answer.status != 503).await
}

fn wall_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    u64::try_from(wall.as_millis()).expect("it is small")
}
