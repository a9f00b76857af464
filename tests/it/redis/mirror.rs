//! Rooms, the queue and connections, as another service reads them.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::seen::{Fields, Seen, until};
use super::several::Servers;
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::redis::{Redis, ThreeMasters};
use crate::harness::{Duel, Fighter, Http, Server, eventually};
use crate::tokens::{Holder, by, wanting_tokens};

async fn trio(redis: &Redis) -> Trio {
    Trio::start_with(|_, options| options.env("REDIS_URL", redis.url())).await
}

fn told(redis: &Redis) -> Fields {
    redis.ask(redis::cmd("HGETALL").arg("arcadia:mirror:applied"))
}

fn term(redis: &Redis) -> u64 {
    told(redis).get("term").and_then(|term| term.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn rooms_queue_and_connections_come_and_go_with_what_happens() {
    let redis = Redis::start().await;
    let server = Options::default().env("REDIS_URL", redis.url()).start().await;
    let (a, b) = (Fighter::new(&server, 0).await, Fighter::new(&server, 1).await);
    a.join().await;
    let waiting = || async { Seen::of(&redis) };
    // Key by key: what was looked at first may have been written since.
    let is_told = |seen: &Seen| {
        let is_queued = seen.queue.contains(&a.id) && seen.queued.contains_key(&a.id);
        is_queued && [&a, &b].iter().all(|fighter| seen.connections.contains_key(&fighter.id))
    };
    let seen = eventually("a place in the queue", waiting, is_told).await;
    let ticket = &seen.queued[&a.id];
    let team: Value = serde_json::from_str(&ticket["playerData"]).expect("a team is JSON");
    assert_eq!(team["name"], a.team["name"]);
    assert!(ticket["joinTime"].parse::<u64>().is_ok(), "{ticket:?}");
    assert_eq!(seen.connections[&b.id]["instanceId"], "node-1");
    assert_ne!(seen.connections[&b.id]["socketId"], seen.connections[&a.id]["socketId"]);

    a.client.ok("cancelMatchmaking", &[]).await;
    let seen = || async { Seen::of(&redis) };
    eventually("an empty queue", seen, |seen| seen.queue.is_empty() && seen.queued.is_empty())
        .await;
    let duel = Duel::pair(a, b).await;
    let seen = until(&redis, &[], &[(&duel, "waiting")]).await;
    let room = &seen.rooms[&duel.room];
    let players: Vec<String> = serde_json::from_str(&room["players"]).expect("a list");
    assert_eq!(players, [duel.a.id.clone(), duel.b.id.clone()]);
    assert_eq!((&room["id"], room["instanceId"].as_str()), (&duel.room, "node-1"));

    duel.ready().await;
    until(&redis, &[], &[(&duel, "active")]).await;
    let turn = |seen: &Seen| -> Option<Value> {
        let state: Value =
            serde_json::from_str(seen.rooms.get(&duel.room)?.get("battleState")?).ok()?;
        Some(state["currentTurn"].clone())
    };
    let seen = || async { Seen::of(&redis) };
    let next = duel.attack_once(-1).await;
    eventually("the first turn's end", seen, |seen| turn(seen) == Some(1.into())).await;
    duel.play(3, next, true).await;
    let seen = until(&redis, &[], &[(&duel, "ended")]).await;
    assert!(seen.rooms[&duel.room]["metadata"].contains("AllPetFainted"), "{seen:?}");

    let player = format!("arcadia:player:connections:{}", duel.a.id);
    let Duel { a, .. } = duel;
    drop(a);
    let gone = || async { redis.ask::<Fields>(redis::cmd("HGETALL").arg(&player)) };
    let left = eventually("a goodbye", gone, |left| left.len() == 1).await;
    assert!(left.contains_key("fence"), "what is gone can't come back: {left:?}");
    let expires: i64 = redis.ask(redis::cmd("TTL").arg(&player));
    assert!((1..=3_600).contains(&expires), "{expires}");
}

#[tokio::test]
async fn the_mirror_is_whole_again_after_a_flush_an_empty_restart_a_pause_and_a_leaders_death() {
    let mut redis = Redis::start().await;
    let mut trio = trio(&redis).await;
    let leader = trio.leader(0).await;
    let (here, there) = ((leader + 1) % 3, (leader + 2) % 3);
    let duel = Duel::started(&trio.nodes[here]).await;
    let waiting = Fighter::new(&trio.nodes[there], 2).await;
    waiting.join().await;
    until(&redis, &[&waiting], &[(&duel, "active")]).await;

    let () = redis.ask(&redis::cmd("FLUSHALL"));
    let seen = || async { Seen::of(&redis) };
    let state = |seen: &Seen| {
        seen.tells(&[&waiting], &[(&duel, "active")])
            && seen.rooms[&duel.room].contains_key("battleState")
    };
    eventually("the same mirror with its battle", seen, state).await;

    redis.kill();
    waiting.client.ok("cancelMatchmaking", &[]).await;
    redis.start_again().await;
    until(&redis, &[], &[(&duel, "active")]).await;

    redis.pause();
    waiting.join().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    redis.unpause();
    until(&redis, &[&waiting], &[(&duel, "active")]).await;

    let before = term(&redis);
    trio.nodes[leader].kill9();
    waiting.client.ok("cancelMatchmaking", &[]).await;
    until(&redis, &[], &[(&duel, "active")]).await;
    let now = || async { term(&redis) };
    eventually("another writer", now, |now| *now > before).await;
    duel.play(5, -1, false).await;
    until(&redis, &[], &[(&duel, "ended")]).await;
}

#[tokio::test]
async fn a_leader_that_hung_overwrites_nothing_and_brings_nothing_back() {
    let redis = Redis::start().await;
    let trio = trio(&redis).await;
    let leader = trio.leader(0).await;
    let other = (leader + 1) % 3;
    let waiting = Fighter::new(&trio.nodes[other], 2).await;
    waiting.join().await;
    until(&redis, &[&waiting], &[]).await;
    let before = term(&redis);
    // In the middle of it all.
    let pausing = async { trio.nodes[leader].pause() };
    let (_, ()) = tokio::join!(waiting.client.ok("cancelMatchmaking", &[]), pausing);
    let duel = Duel::started(&trio.nodes[other]).await;
    let now = || async { term(&redis) };
    eventually("another writer", now, |now| *now > before).await;
    until(&redis, &[], &[(&duel, "active")]).await;

    trio.nodes[leader].unpause();
    let follows = || async {
        let status = Http::get(&trio.nodes[leader], "/health").send().await.json();
        status["cluster"]["details"]["redis"].clone()
    };
    let told = eventually("a former leader that knows it", follows, |it| {
        it["reachable"] == true && it["mirror"].is_null()
    });
    told.await;
    let seen = until(&redis, &[], &[(&duel, "active")]).await;
    assert_eq!(seen.queue.len(), 0);
    duel.play(7, -1, false).await;
    until(&redis, &[], &[(&duel, "ended")]).await;
}

#[tokio::test]
async fn fences_hold_back_who_writes_something_older() {
    let redis = Redis::start().await;
    let server = Options::default().env("REDIS_URL", redis.url()).start().await;
    let duel = Duel::paired(&server).await;
    until(&redis, &[], &[(&duel, "waiting")]).await;
    let key = format!("arcadia:room:{}", duel.room);
    let cluster = told(&redis)["cluster"].clone();
    let newer = format!("{cluster}:999999999");
    let () =
        redis.ask(redis::cmd("HSET").arg(&key).arg("fence").arg(&newer).arg("status").arg("x"));
    duel.ready().await;
    let refused = || async {
        let page = Http::get(&server, "/metrics").send().await;
        String::from_utf8(page.body.to_vec()).expect("the page is UTF-8")
    };
    let counted = |page: &String| {
        let mut lines = page.lines().filter(|line| line.contains("serverv2_mirror_writes_total"));
        lines.any(|line| line.contains("refused") && !line.ends_with(" 0"))
    };
    eventually("a refusal", refused, counted).await;
    let fields: Fields = redis.ask(redis::cmd("HGETALL").arg(&key));
    assert_eq!((&fields["status"], &fields["fence"]), (&"x".to_owned(), &newer));

    // Somebody leads in a later term: this node writes nothing any more.
    let () = redis.ask(redis::cmd("HSET").arg("arcadia:mirror:applied").arg("term").arg(999));
    let index = told(&redis)["index"].clone();
    let late = Fighter::new(&server, 2).await;
    late.join().await;
    let health = || async {
        Http::get(&server, "/health").send().await.json()["cluster"]["details"]["redis"].clone()
    };
    eventually("a node that does not write", health, |it| it["mirror"].is_null()).await;
    assert_eq!(told(&redis)["index"], index);
    assert!(Seen::of(&redis).queue.is_empty());
}

#[tokio::test]
async fn keys_of_nothing_are_removed_and_lost_ones_come_back() {
    let redis = Redis::start().await;
    let options = Options::default().env("REDIS_URL", redis.url()).env("MIRROR_SWEEP", "1s");
    let server = options.start().await;
    let waiting = Fighter::new(&server, 0).await;
    waiting.join().await;
    until(&redis, &[&waiting], &[]).await;
    let nobody = "V1StGXR8_Z5jdHi6B-myT";
    for key in ["room", "player:connections", "matchmaking:player"] {
        let key = format!("arcadia:{key}:{nobody}");
        let () = redis.ask(redis::cmd("HSET").arg(&key).arg("status").arg("active"));
    }
    let () = redis.ask(redis::cmd("SET").arg("arcadia:room:text").arg("no hash"));
    let () = redis.ask(redis::cmd("SADD").arg("arcadia:matchmaking:queue").arg(nobody));
    let () = redis.ask(redis::cmd("DEL").arg(format!("arcadia:player:connections:{}", waiting.id)));
    until_text_is_gone(&redis).await;
    let seen = until(&redis, &[&waiting], &[]).await;
    assert_eq!(seen.connections.keys().collect::<Vec<_>>(), [&waiting.id]);
}

async fn until_text_is_gone(redis: &Redis) {
    let kind = || async { redis.ask::<String>(redis::cmd("TYPE").arg("arcadia:room:text")) };
    eventually("a fence where text was", kind, |kind| kind == "hash").await;
}

#[tokio::test]
async fn another_clusters_mirror_is_refused_until_it_is_taken_over() {
    let redis = Redis::start().await;
    let first = Options::default().env("REDIS_URL", redis.url()).start().await;
    let fighter = Fighter::new(&first, 0).await;
    fighter.join().await;
    until(&redis, &[&fighter], &[]).await;

    let output = Options::default().env("REDIS_URL", redis.url()).run_to_end().await;
    assert!(!output.status.success());
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("--mirror-takeover") && text.contains("REDIS_KEY_PREFIX"), "{text}");
    until(&redis, &[&fighter], &[]).await;

    let apart = Options::default().env("REDIS_URL", redis.url()).env("REDIS_KEY_PREFIX", "b:");
    drop(apart.start().await);
    drop(first);
    let second: Server =
        Options::default().env("REDIS_URL", redis.url()).arg("--mirror-takeover").start().await;
    until(&redis, &[], &[]).await;
    let fighter = Fighter::new(&second, 1).await;
    fighter.join().await;
    until(&redis, &[&fighter], &[]).await;
}

#[tokio::test]
async fn nobody_waits_for_the_mirror() {
    let redis = Redis::start().await;
    // Whoever waited for it would wait for longer than a client is told that its request is lost.
    let options = Options::default().env("REDIS_URL", redis.url()).env("REDIS_TIMEOUT_MS", "10000");
    let server = options.start().await;
    let first = Duel::started(&server).await;
    until(&redis, &[], &[(&first, "active")]).await;
    redis.pause();
    let second = Duel::started(&server).await;
    second.play(1, -1, false).await;
    redis.unpause();
    until(&redis, &[], &[(&first, "active"), (&second, "ended")]).await;
}

/// A trio's rooms, queue and instances, in several servers that are one Redis.
pub(super) async fn all_in(redis: &ThreeMasters) {
    let trio = Trio::start_with(|_, options| options.env("REDIS_URL", &redis.url())).await;
    let instances = || async { redis.keys("arcadia:service:instance:*").len() };
    eventually("three instances", instances, |instances| *instances == 3).await;
    let duels = [Duel::started(&trio.nodes[0]).await, Duel::started(&trio.nodes[1]).await];
    let waiting = Fighter::new(&trio.nodes[2], 2).await;
    waiting.join().await;
    let both = [(&duels[0], "active"), (&duels[1], "active")];
    until(redis, &[&waiting], &both).await;
    for master in &redis.masters {
        let () = master.ask(&redis::cmd("FLUSHALL"));
    }
    until(redis, &[&waiting], &both).await;
    duels[0].play(9, -1, false).await;
    waiting.client.ok("cancelMatchmaking", &[]).await;
    until(redis, &[], &[(&duels[0], "ended"), (&duels[1], "active")]).await;
    eventually("three instances", instances, |instances| *instances == 3).await;
}

/// A trio's logins and revocations, in several servers that are one Redis.
pub(super) async fn logins_in(redis: &impl Servers, url: &str) {
    let trio = Trio::start_with(|_, options| wanting_tokens(options).env("REDIS_URL", url)).await;
    let ann = Holder::of(&trio.nodes[0]).await;
    let logins = || async { redis.keys("arcadia:session:*") };
    let told = eventually("a login", logins, |keys| keys.len() == 2).await;
    for key in &told {
        let login: Fields = redis.about(key, redis::cmd("HGETALL").arg(key));
        assert_eq!(login["playerId"], ann.id);
        assert!(
            ann.access.len() > 100 && login.values().all(|value| value.len() < 60),
            "{login:?}"
        );
        let expires: i64 = redis.about(key, redis::cmd("TTL").arg(key));
        assert!(expires > 60, "{expires}");
    }
    let logout = by(&ann.access, &trio.nodes[1], Method::POST, "/api/v1/auth/logout").send().await;
    assert_eq!(logout.status, 200);
    let revoked = || async { redis.keys("arcadia:auth:blacklist:*").len() };
    eventually("a revocation", revoked, |revoked| *revoked == 1).await;
    let left = || async {
        let fields = |key: &String| redis.about::<Fields>(key, redis::cmd("HGETALL").arg(key));
        told.iter().map(fields).all(|fields| fields.len() == 1 && fields.contains_key("fence"))
    };
    eventually("a login that is over", left, |left| *left).await;
}

#[tokio::test]
async fn a_login_is_told_without_its_tokens_until_it_is_over() {
    let redis = Redis::start().await;
    logins_in(&redis, redis.url()).await;
}
