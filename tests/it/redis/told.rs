//! What operators are told of the mirror: `/health` and the numbers on the page.

use serde_json::Value;

use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::redis::Redis;
use crate::harness::{Duel, Http, Server, connected_guest, eventually};
use crate::metrics::exposition::Page;
use crate::metrics::scrape;

/// What `/health` says of Redis.
async fn health(node: &Server) -> Value {
    Http::get(node, "/health").send().await.json()["cluster"]["details"]["redis"].clone()
}

/// The places of the nodes that say that they write the mirror, at `/health` and on their pages.
async fn writers(nodes: &[&Server]) -> (Vec<usize>, Vec<usize>) {
    let (mut by_health, mut by_page) = (Vec::new(), Vec::new());
    for (at, node) in nodes.iter().enumerate() {
        if health(node).await["mirror"].is_object() {
            by_health.push(at);
        }
        if scrape(node).await.sum("serverv2_mirror_is_writer", &[]) == 1.0 {
            by_page.push(at);
        }
    }
    (by_health, by_page)
}

fn writes(page: &Page, outcome: &str) -> f64 {
    page.sum("serverv2_mirror_writes_total", &[("outcome", outcome)])
}

#[tokio::test]
async fn the_leader_alone_says_how_far_the_mirror_is_and_the_next_leader_after_it() {
    let redis = Redis::start().await;
    let mut trio = Trio::start_with(|_, options| options.env("REDIS_URL", redis.url())).await;
    let leader = trio.leader(0).await;
    let all: Vec<&Server> = trio.nodes.iter().collect();
    let alone = (vec![leader], vec![leader]);
    eventually("one writer", || writers(&all), |now| *now == alone).await;
    let (_, _client) = connected_guest(&trio.nodes[(leader + 1) % 3]).await;
    let status = || async {
        let mirror = health(&trio.nodes[leader]).await["mirror"].clone();
        let status = Http::get(&trio.nodes[leader], "/cluster/status").send().await.json();
        (mirror, status["raft"]["appliedIndex"].as_u64())
    };
    let whole = |(mirror, applied): &(Value, Option<u64>)| {
        mirror["applied"].as_u64() == *applied && mirror["lagEntries"] == 0
    };
    eventually("a mirror without a lag", status, whole).await;

    trio.nodes[leader].kill9();
    let rest: Vec<&Server> = trio.nodes.iter().filter(|node| node.is_running()).collect();
    let one = |(by_health, by_page): &(Vec<usize>, Vec<usize>)| {
        by_health.len() == 1 && by_health == by_page
    };
    let (next, _) = eventually("another writer", || writers(&rest), one).await;
    let mirror = health(rest[next[0]]).await["mirror"].clone();
    let told: u64 = redis.ask(redis::cmd("HGET").arg("arcadia:mirror:applied").arg("term"));
    let status = Http::get(rest[next[0]], "/cluster/status").send().await.json();
    assert_eq!(status["raft"]["term"].as_u64(), Some(told), "{status} {mirror}");
}

#[tokio::test]
async fn the_page_counts_what_is_written_removed_refused_orphaned_and_projected_and_tells_the_lag()
{
    let redis = Redis::start().await;
    let options = Options::default().env("REDIS_URL", redis.url()).env("MIRROR_SWEEP", "1s");
    let server = options.start().await;
    let page = || scrape(&server);
    let first = |page: &Page| page.sum("serverv2_mirror_projections_total", &[]) >= 1.0;
    let before = eventually("a projection", page, first).await;
    for name in ["serverv2_mirror_lag_entries", "serverv2_mirror_lag_seconds"] {
        assert_eq!(before.kind(name), Some("gauge"), "{name}");
    }

    let duel = Duel::started(&server).await;
    let written = |page: &Page| writes(page, "written") >= writes(&before, "written") + 3.0;
    eventually("two connections and a room", page, written).await;
    let orphan = "arcadia:room:V1StGXR8_Z5jdHi6B-myT";
    let () = redis.ask(redis::cmd("HSET").arg(orphan).arg("status").arg("active"));
    eventually("a key of nothing", page, |page| writes(page, "orphaned") >= 1.0).await;
    let room = format!("arcadia:room:{}", duel.room);
    let cluster: String =
        redis.ask(redis::cmd("HGET").arg("arcadia:mirror:applied").arg("cluster"));
    let newer = format!("{cluster}:999999999");
    let () = redis.ask(redis::cmd("HSET").arg(&room).arg("fence").arg(&newer));
    eventually("a refusal", page, |page| writes(page, "refused") >= 1.0).await;
    let removed = writes(&page().await, "removed");
    let (id, client) = connected_guest(&server).await;
    let connection = format!("arcadia:player:connections:{id}");
    let there = || async { redis.ask::<bool>(redis::cmd("EXISTS").arg(&connection)) };
    eventually("a connection", there, |there| *there).await;
    drop(client);
    eventually("a goodbye", page, |page| writes(page, "removed") > removed).await;

    let projections = page().await.sum("serverv2_mirror_projections_total", &[]);
    let () = redis.ask(&redis::cmd("FLUSHALL"));
    let anew = |page: &Page| page.sum("serverv2_mirror_projections_total", &[]) > projections;
    eventually("everything anew", page, anew).await;
    let up_to_date = |page: &Page| {
        page.sum("serverv2_mirror_lag_entries", &[]) == 0.0
            && page.sum("serverv2_mirror_lag_seconds", &[]) == 0.0
    };
    eventually("no lag", page, up_to_date).await;
}

#[tokio::test]
async fn while_redis_does_not_answer_the_lag_grows_until_it_is_away() {
    let redis = Redis::start().await;
    // So long that the lag can be seen before Redis is taken for dead.
    let options = Options::default().env("REDIS_URL", redis.url()).env("REDIS_TIMEOUT_MS", "10000");
    let server = options.start().await;
    let page = || scrape(&server);
    let writer = |page: &Page| page.sum("serverv2_mirror_is_writer", &[]) == 1.0;
    eventually("a writer", page, writer).await;
    redis.pause();
    let (_, _client) = connected_guest(&server).await;
    let late = |page: &Page| {
        page.sum("serverv2_mirror_lag_entries", &[]) >= 1.0
            && page.sum("serverv2_mirror_lag_seconds", &[]) > 0.5
    };
    eventually("a lag", page, late).await;
    let told = health(&server).await["mirror"].clone();
    assert!(told["lagEntries"].as_u64() >= Some(1), "{told}");
    redis.unpause();
    let caught_up = |page: &Page| page.sum("serverv2_mirror_lag_entries", &[]) == 0.0;
    eventually("no lag", page, caught_up).await;
}
