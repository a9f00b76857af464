//! Revoked tokens, as other services see them, and those that other services revoke.

use std::collections::BTreeMap;

use hyper::Method;

use super::several::Servers;
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::redis::{Redis, ThreeMasters};
use crate::harness::{eventually, jwt};
use crate::tokens::{Holder, by, is_dismissed, refresh, refusal, verify, wanting_tokens};

async fn trio(redis: &Redis) -> Trio {
    Trio::start_with(|_, options| wanting_tokens(options).env("REDIS_URL", redis.url())).await
}

fn key(token: &str) -> String {
    format!("arcadia:auth:blacklist:{}", jwt::id(token))
}

/// What others are told of a token that counts no more.
pub(super) fn revoked(redis: &Redis, token: &str) -> BTreeMap<String, String> {
    redis.ask(redis::cmd("HGETALL").arg(key(token)))
}

async fn until_revoked(redis: &Redis, token: &str) {
    let there = || async { revoked(redis, token) };
    let told = eventually("the revocation", there, |told| !told.is_empty()).await;
    assert_eq!(told["jti"], jwt::id(token));
    assert!(told["expiry"].parse::<u64>().ok() > told["revokedAt"].parse::<u64>().ok());
    let expires: i64 = redis.ask(redis::cmd("PTTL").arg(key(token)));
    assert!(expires > 0, "{expires}");
}

#[tokio::test]
async fn a_logout_is_told_to_other_services_also_when_their_redis_was_away_or_has_lost_it() {
    let mut redis = Redis::start().await;
    let trio = trio(&redis).await;
    let (ann, bob) = (Holder::of(&trio.nodes[0]).await, Holder::of(&trio.nodes[1]).await);
    let logout = |holder: &Holder, at: usize| {
        by(&holder.access, &trio.nodes[at], Method::POST, "/api/v1/auth/logout").send()
    };
    assert_eq!(logout(&ann, 1).await.status, 200);
    until_revoked(&redis, &ann.access).await;

    redis.kill();
    assert_eq!(logout(&bob, 2).await.status, 200, "nobody waits for it");
    for node in &trio.nodes {
        assert_eq!(verify(&bob.access, node).await, 401, "it holds all the same");
    }
    redis.start_again().await;
    until_revoked(&redis, &bob.access).await;
    until_revoked(&redis, &ann.access).await;
}

/// What another service does to revoke a token.
fn revoke(redis: &impl Servers, token: &str) {
    let key = key(token);
    let fields = [("jti", jwt::id(token).as_str()), ("reason", "kicked")]
        .map(|(name, value)| [name, value].map(str::to_owned));
    let () = redis.about(&key, redis::cmd("HSET").arg(&key).arg(fields.concat()));
}

#[tokio::test]
async fn who_is_connected_is_dismissed_everywhere_when_another_service_revokes_his_token() {
    let mut redis = Redis::start().await;
    let trio = trio(&redis).await;
    let (ann, bob) = (Holder::of(&trio.nodes[0]).await, Holder::of(&trio.nodes[0]).await);
    let mut of_ann = Vec::new();
    let mut of_bob = Vec::new();
    for node in &trio.nodes {
        of_ann.push(ann.dial(node).session(&format!("at-{}", node.pid())).open().await);
        of_bob.push(bob.dial(node).session(&format!("at-{}", node.pid())).open().await);
    }
    for client in of_ann.iter().chain(&of_bob) {
        client.settle().await;
    }
    revoke(&redis, &ann.access);
    for client in &of_ann {
        is_dismissed(client).await;
    }
    redis.kill();
    for node in &trio.nodes {
        let known = || verify(&ann.access, node);
        eventually("a refusal without Redis", known, |status| *status == 401).await;
    }
    for client in &of_bob {
        client.settle().await;
    }

    redis.start_again().await;
    redis.pause();
    for client in &of_bob {
        client.settle().await;
    }
    redis.unpause();
    revoke(&redis, &bob.access);
    for client in &of_bob {
        is_dismissed(client).await;
    }
}

#[tokio::test]
async fn who_is_connected_is_dismissed_also_where_a_redis_cluster_has_the_blacklist() {
    let redis = ThreeMasters::start().await;
    let server = wanting_tokens(Options::default()).env("REDIS_URL", &redis.url()).start().await;
    let (ann, bob) = (Holder::of(&server).await, Holder::of(&server).await);
    let clients = (ann.dial(&server).open().await, bob.dial(&server).open().await);
    clients.0.settle().await;
    clients.1.settle().await;
    revoke(&redis, &ann.access);
    is_dismissed(&clients.0).await;
    clients.1.settle().await;
}

#[tokio::test]
async fn what_another_service_has_revoked_counts_nowhere_any_more_with_and_without_redis() {
    let mut redis = Redis::start().await;
    let trio = trio(&redis).await;
    let ann = Holder::of(&trio.nodes[0]).await;
    for node in &trio.nodes {
        assert_eq!(verify(&ann.access, node).await, 200);
    }
    revoke(&redis, &ann.access);
    let at_the_first = || verify(&ann.access, &trio.nodes[0]);
    eventually("a refusal", at_the_first, |status| *status == 401).await;
    redis.kill();
    for node in &trio.nodes {
        let known = || verify(&ann.access, node);
        eventually("a refusal without Redis", known, |status| *status == 401).await;
        assert_eq!(refusal(ann.dial(node)).await, "TOKEN_BLACKLISTED");
        assert_eq!(refresh(&ann.refresh, node).await.0, 401);
    }
}
