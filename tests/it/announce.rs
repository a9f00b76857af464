//! What admins tell the sockets of all nodes: by Redis, without one, and while one is away.

use hyper::Method;
use serde_json::{Value, json};

use crate::email::{access, registered};
use crate::harness::cluster::Trio;
use crate::harness::process::{Options, run_to_end};
use crate::harness::redis::{Redis, ThreeMasters};
use crate::harness::relay::Relay;
use crate::harness::{Answer, Client, Duel, Fighter, Http, Server, connected_guest, eventually};
use crate::tokens::{by, is_dismissed};

const EMAIL: &str = "ann@game.example";
const NEWS: &str = "announcement";
/// Of each eight announcements all are to be heard.
const EIGHT: usize = 8;

/// Three nodes, an admin, and a guest with a socket on each node.
struct Hall {
    trio: Trio,
    token: String,
    guests: Vec<(String, Client)>,
    _relay: Relay,
}

impl Hall {
    async fn open(change: impl Fn(Options) -> Options) -> Self {
        Self::open_each(|_, options| change(options)).await
    }

    /// Each node's options may be changed by its place.
    async fn open_each(change: impl Fn(usize, Options) -> Options) -> Self {
        let relay = Relay::start().await;
        let trio = Trio::start_with(|at, options| {
            change(at, relay.used_by(options).env("ADMIN_EMAILS", EMAIL))
        })
        .await;
        let (_, bound) = registered(&trio.nodes[0], &relay, EMAIL).await;
        let token = access(&bound).to_owned();
        let mut guests = Vec::new();
        for node in &trio.nodes {
            guests.push(connected_guest(node).await);
        }
        for (_, client) in &guests {
            client.settle().await;
        }
        Self { trio, token, guests, _relay: relay }
    }

    async fn with(redis: &Redis) -> Self {
        Self::open(|options| options.env("REDIS_URL", redis.url())).await
    }

    async fn post(&self, at: usize, path: &str, body: &Value) -> Answer {
        let path = format!("/api/v1/cluster/{path}");
        by(&self.token, &self.trio.nodes[at], Method::POST, &path).json(body).send().await
    }

    /// Announces a number through this node, which says that all have heard.
    async fn announce(&self, at: usize, to: Value, number: usize) {
        let body = json!({"to": to, "event": NEWS, "data": {"number": number, "of": [at]}});
        let answer = self.post(at, "announce", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let data = &answer.json()["data"];
        assert_eq!(*data, json!({"nodesReached": 3, "nodes": 3}));
    }

    /// Waits until everybody has heard exactly these numbers, in this order.
    async fn all_have_heard(&self, numbers: &[usize]) {
        for (_, client) in &self.guests {
            has_heard(client, numbers).await;
        }
    }
}

async fn has_heard(client: &Client, numbers: &[usize]) {
    let told = || async { heard(client) };
    let told = eventually("the news", told, |told| told.len() >= numbers.len()).await;
    assert_eq!(told, numbers);
}

fn heard(client: &Client) -> Vec<usize> {
    let number = |event: &Value| event["number"].as_u64().expect("a number") as usize;
    client.events(NEWS).iter().map(|event| number(event.arg())).collect()
}

/// One of the counts of notices on the node's page.
async fn notices(node: &Server, outcome: &str) -> u64 {
    let page = Http::get(node, "/metrics").send().await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let is_it = |line: &&str| line.starts_with("serverv2_notices_total") && line.contains(outcome);
    let line = page.lines().find(is_it).unwrap_or_else(|| panic!("{page}"));
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count")
}

async fn everybody_hears(hall: &Hall) {
    for at in 0..3 {
        hall.announce(at, json!("all"), at).await;
        hall.all_have_heard(&(0..=at).collect::<Vec<_>>()).await;
    }
    let (id, one) = &hall.guests[2];
    hall.announce(0, json!({"player": id}), 3).await;
    has_heard(one, &[0, 1, 2, 3]).await;

    let nodes = &hall.trio.nodes;
    let (ann, bob) = (Fighter::new(&nodes[0], 0).await, Fighter::new(&nodes[1], 1).await);
    let duel = Duel::pair(ann, bob).await;
    hall.announce(2, json!({"room": duel.room}), 4).await;
    has_heard(&duel.a.client, &[4]).await;
    has_heard(&duel.b.client, &[4]).await;
    hall.announce(1, json!("all"), 5).await;
    has_heard(&duel.a.client, &[4, 5]).await;
    has_heard(&hall.guests[0].1, &[0, 1, 2, 5]).await;
    has_heard(one, &[0, 1, 2, 3, 5]).await;
}

#[tokio::test]
async fn an_announcement_through_any_node_reaches_everybody_without_redis() {
    everybody_hears(&Hall::open(|options| options).await).await;
}

#[tokio::test]
async fn an_announcement_through_any_node_reaches_everybody_by_redis() {
    let redis = Redis::start().await;
    let hall = Hall::with(&redis).await;
    let channels = || async {
        let found: Vec<String> = redis.ask(redis::cmd("PUBSUB").arg("CHANNELS"));
        let count: (String, usize) = match found.first() {
            Some(channel) => redis.ask(redis::cmd("PUBSUB").arg("NUMSUB").arg(channel)),
            None => Default::default(),
        };
        (found.len(), count)
    };
    let (_, (channel, _)) =
        eventually("three subscriptions", channels, |(all, it)| *all == 1 && it.1 == 3).await;
    let id = channel.strip_prefix("arcadia:serverv2:").and_then(|it| it.strip_suffix(":notices"));
    assert_eq!(id.map(str::len), Some(32), "product and cluster: {channel}");
    everybody_hears(&hall).await;
    for node in &hall.trio.nodes {
        assert_eq!((notices(node, "done").await, notices(node, "lost").await), (6, 0));
        // Its own come back from Redis; by the other way nothing came.
        assert_eq!(notices(node, "repeated").await, 2);
    }
}

#[tokio::test]
async fn an_announcement_through_any_node_reaches_everybody_by_a_redis_cluster() {
    let redis = ThreeMasters::start().await;
    // Each node subscribes at the first: at another one.
    let hall = Hall::open_each(|at, options| options.env("REDIS_URL", &redis.url_from(at))).await;
    let subscribed = || async { redis.masters.iter().map(subscribers).sum::<usize>() };
    eventually("three subscriptions", subscribed, |count| *count == 3).await;
    everybody_hears(&hall).await;
    for node in &hall.trio.nodes {
        assert_eq!((notices(node, "done").await, notices(node, "lost").await), (6, 0));
        // From whichever master to whichever: each notice comes through Redis, and another way.
        let repeated = || notices(node, "repeated");
        eventually("all notices twice", repeated, |count| *count == 6).await;
    }
}

/// How many hear the nodes' notices at this server.
fn subscribers(redis: &Redis) -> usize {
    let found: Vec<String> = redis.ask(redis::cmd("PUBSUB").arg("CHANNELS"));
    let Some(channel) = found.first() else { return 0 };
    redis.ask::<(String, usize)>(redis::cmd("PUBSUB").arg("NUMSUB").arg(channel)).1
}

#[tokio::test]
async fn eight_of_eight_are_heard_before_during_and_after_the_death_of_redis() {
    let mut redis = Redis::start().await;
    let hall = Hall::with(&redis).await;
    let eight = |from: usize| async move { from..from + EIGHT };
    for number in eight(0).await {
        hall.announce(number % 3, json!("all"), number).await;
    }
    redis.kill();
    for number in eight(EIGHT).await {
        hall.announce(number % 3, json!("all"), number).await;
    }
    hall.all_have_heard(&(0..2 * EIGHT).collect::<Vec<_>>()).await;

    redis.start_again().await;
    let subscribed = || async { subscribers(&redis) };
    eventually("three subscriptions", subscribed, |count| *count == 3).await;
    let connected = || async {
        let mut up = 0;
        for node in &hall.trio.nodes {
            let health = Http::get(node, "/health").send().await.json();
            up += usize::from(health["cluster"]["status"] == "healthy");
        }
        up
    };
    eventually("three connections", connected, |up| *up == 3).await;
    for number in eight(2 * EIGHT).await {
        hall.announce(number % 3, json!("all"), number).await;
    }
    hall.all_have_heard(&(0..3 * EIGHT).collect::<Vec<_>>()).await;
    for node in &hall.trio.nodes {
        assert_eq!(notices(node, "lost").await, 0);
        let published: Vec<u64> = vec![notices(node, "sent").await, notices(node, "done").await];
        assert_eq!(published, [EIGHT as u64, 3 * EIGHT as u64]);
    }
}

#[tokio::test]
async fn a_redis_that_hangs_delays_no_socket_of_the_node_that_announces() {
    let redis = Redis::start().await;
    let hall = Hall::with(&redis).await;
    redis.pause();
    let telling = hall.announce(0, json!("all"), 0);
    let hearing = has_heard(&hall.guests[0].1, &[0]);
    tokio::join!(telling, hearing);
    hall.all_have_heard(&[0]).await;
    redis.unpause();
}

#[tokio::test]
async fn a_player_is_told_to_leave_whichever_node_he_is_on_and_sockets_are_counted() {
    let mut hall = Hall::open(|options| options).await;
    let count = || async {
        let path = "/api/v1/cluster/sockets";
        by(&hall.token, &hall.trio.nodes[0], Method::GET, path).send().await.json()["data"].clone()
    };
    let of = |node: u64, sockets: u64| json!({"nodeId": node, "sockets": sockets});
    let counted = |third: u64| {
        let nodes = [of(1, 1), of(2, 1), of(3, third)];
        json!({"total": 2 + third, "complete": true, "nodes": nodes})
    };
    assert_eq!(count().await, counted(1));
    let (id, client) = &hall.guests[2];
    let answer = hall.post(0, "disconnect", &json!({"playerId": id})).await;
    assert_eq!(answer.json()["data"], json!({"nodesReached": 3, "nodes": 3}));
    is_dismissed(client).await;
    eventually("two sockets", count, |now| *now == counted(0)).await;
    assert!(!hall.guests[0].1.is_closed() && !hall.guests[1].1.is_closed());

    hall.trio.nodes[2].kill9();
    let answer = hall.post(0, "announce", &json!({"to": "all", "event": NEWS})).await;
    assert_eq!(answer.status, 200, "whoever is there hears it");
    hall.guests[1].1.event(NEWS).await;
}

#[tokio::test]
async fn only_admins_announce_and_only_what_is_on_the_list() {
    let hall = Hall::open(|options| options.env("ANNOUNCE_EVENTS", "shop,news")).await;
    for event in [NEWS, "matchSuccess", "battleEvent", "ping", ""] {
        let answer = hall.post(1, "announce", &json!({"to": "all", "event": event})).await;
        answer.assert_error(403, "EVENT_NOT_ALLOWED", None);
    }
    let large = json!({"to": "all", "event": "shop", "data": "x".repeat(70_000)});
    hall.post(1, "announce", &large).await.assert_error(413, "PAYLOAD_TOO_LARGE", None);
    let answer = hall.post(1, "announce", &json!({"to": "all", "event": "shop"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(hall.guests[0].1.event("shop").await.args, [Value::Null]);
    let bad = [("ANNOUNCE_EVENTS", "roomClosed"), ("NODE_INTEROP", "true")];
    for setting in bad {
        let output = run_to_end(&["dev", "--port", "0", "--data-dir", "."], &[setting]).await;
        assert_eq!(output.status.code(), Some(2), "{setting:?}");
    }
}
