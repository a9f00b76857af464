//! A node that misses effects of the log, as behind a snapshot or when it is too slow to deliver them:
//! it makes up for them from the state, and its players notice nothing.

use std::slice;

use futures::future::join_all;
use hyper::Method;
use tokio::sync::Mutex;

use super::behind::fight_twice;
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Duel, Fighter, Server};
use crate::tokens::{Holder, by, is_cut, is_dismissed, wanting_tokens};

const DUELS: usize = 6;

/// Their feeds of effects have gaps, so often.
async fn gappy_trio(how_often: &str) -> Trio {
    let armed = format!("feed={how_often}return");
    Trio::start_with(|_, options: Options| options.env("FAILPOINTS", &armed)).await
}

async fn assert_nobody_notices(nodes: &[Server]) {
    let mut duels = Vec::new();
    for at in 0..DUELS {
        let [one, other] = [at, at + 1].map(|at| &nodes[at % nodes.len()]);
        duels.push(Duel::pair(Fighter::new(one, 0).await, Fighter::new(other, 1).await).await);
    }
    let queue = Mutex::new(());
    join_all(duels.into_iter().map(|duel| fight_twice(duel, &queue))).await;
}

#[tokio::test]
async fn players_of_nodes_that_miss_a_third_of_all_effects_are_told_everything_once_and_in_order() {
    assert_nobody_notices(&gappy_trio("30%").await.nodes).await;
}

#[tokio::test]
async fn players_of_a_node_that_misses_all_effects_are_told_everything_once_and_in_order() {
    let server = Server::with("FAILPOINTS", "feed=return").start().await;
    assert_nobody_notices(slice::from_ref(&server)).await;
}

#[tokio::test]
async fn sessions_that_were_ended_unseen_and_tokens_that_were_revoked_unseen_lose_their_sockets() {
    let server = wanting_tokens(Options::default()).env("FAILPOINTS", "feed=return").start().await;
    let (ann, bob) = (Holder::of(&server).await, Holder::of(&server).await);
    let first = ann.dial(&server).session("tab-1").open().await;
    let second = ann.dial(&server).session("tab-2").open().await;
    let other = bob.dial(&server).open().await;
    for client in [&first, &second, &other] {
        client.settle().await;
    }
    let one = format!("/api/v1/sessions/{}/tab-1", ann.id);
    assert_eq!(by(&ann.access, &server, Method::DELETE, &one).send().await.status, 200);
    is_cut(&first).await;
    second.settle().await;
    let logout = by(&bob.access, &server, Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    is_dismissed(&other).await;
    second.settle().await;
}
