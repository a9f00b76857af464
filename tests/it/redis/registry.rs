//! The registry of instances, as another service reads it.

use std::collections::BTreeMap;

use crate::harness::cluster::Trio;
use crate::harness::redis::Redis;
use crate::harness::{connected_guest, eventually};

/// Ids of all instances, in order.
pub(super) fn instances(redis: &Redis) -> Vec<String> {
    let mut ids: Vec<String> = redis.ask(redis::cmd("SMEMBERS").arg("arcadia:service:instances"));
    ids.sort();
    ids
}

/// What one of them says of itself.
pub(super) fn instance(redis: &Redis, id: &str) -> BTreeMap<String, String> {
    redis.ask(redis::cmd("HGETALL").arg(format!("arcadia:service:instance:{id}")))
}

async fn until_all(redis: &Redis, ids: &[&str]) {
    let there = || async {
        instances(redis) == ids && ids.iter().all(|id| !instance(redis, id).is_empty())
    };
    eventually("the instances", there, |there| *there).await;
}

#[tokio::test]
async fn each_node_is_registered_with_its_load_again_after_a_flush_and_not_after_its_stop() {
    let redis = Redis::start().await;
    let mut trio = Trio::start_with(|_, options| options.env("REDIS_URL", redis.url())).await;
    let all = ["node-1", "node-2", "node-3"];
    until_all(&redis, &all).await;
    let (_, _client) = connected_guest(&trio.nodes[1]).await;
    let told = || async { instance(&redis, "node-2") };
    let told = eventually("its socket", told, |told| told["connections"] == "1").await;
    let port = trio.nodes[1].address().port().to_string();
    assert_eq!((told["id"].as_str(), &told["port"]), ("node-2", &port));
    assert_eq!(told["status"], "healthy");
    assert!(told["load"].parse::<f64>().is_ok() && told["lastHeartbeat"].parse::<u64>().is_ok());
    let expires: i64 = redis.ask(redis::cmd("TTL").arg("arcadia:service:instance:node-2"));
    assert!((1..=120).contains(&expires), "{expires}");

    let () = redis.ask(&redis::cmd("FLUSHALL"));
    until_all(&redis, &all).await;

    assert!(trio.nodes[2].terminate().await.success());
    until_all(&redis, &all[..2]).await;
}
