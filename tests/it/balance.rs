//! Where new clients are sent: what `/api/v1/cluster/assign` names, and what HAProxy's agent checks are told. A real
//! HAProxy asks in `tests/js/agent.test.mjs`.

use futures::future::join_all;
use hyper::Method;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::harness::cluster::Trio;
use crate::harness::ports::Port;
use crate::harness::process::Options;
use crate::harness::redis::Redis;
use crate::harness::{Answer, Client, Http, Server, connected_guest, eventually};

const ASSIGN: &str = "/api/v1/cluster/assign";
/// Of so many answers in a row each is as wanted.
const IN_A_ROW: usize = 10;

/// Nodes that are soon full, and that only their own word takes out.
fn small(options: Options) -> Options {
    options.env("CONNECTIONS_MAX", "100").env("NODE_GONE_AFTER_MS", "600000")
}

async fn clients(node: &Server, count: usize) -> Vec<Client> {
    let connecting = (0..count).map(|_| connected_guest(node));
    join_all(connecting).await.into_iter().map(|(_, client)| client).collect()
}

async fn ask(node: &Server) -> Answer {
    Http::get(node, ASSIGN).send().await
}

/// The instance that this node names.
async fn named(node: &Server) -> String {
    let answer = ask(node).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"]["instanceId"].as_str().expect("an instance has a name").to_owned()
}

async fn until_it_names(node: &Server, instance: &str) {
    eventually(instance, || named(node), |named| named == instance).await;
}

/// Waits until this node names the others and never this one.
async fn until_it_never_names(node: &Server, instance: &str) {
    let row = || async {
        let mut row = Vec::new();
        for _ in 0..IN_A_ROW {
            row.push(named(node).await);
        }
        row
    };
    let others = |row: &Vec<String>| row.iter().all(|named| named != instance);
    eventually("others in a row", row, others).await;
}

#[tokio::test]
async fn any_node_names_the_one_with_most_room_by_where_clients_reach_it() {
    let trio = Trio::start_with(|at, options| {
        small(options).env("CLUSTER_INSTANCE_HOST", &format!("game{at}.example"))
    })
    .await;
    let (_first, second) = (clients(&trio.nodes[0], 12).await, clients(&trio.nodes[1], 12).await);
    for node in &trio.nodes {
        until_it_names(node, "node-3").await;
    }
    let _third = clients(&trio.nodes[2], 24).await;
    drop(second);
    for node in &trio.nodes {
        until_it_names(node, "node-2").await;
    }
    let told = || async { ask(&trio.nodes[0]).await.json()["data"].clone() };
    let told = eventually("the second", told, |told| told["instanceId"] == "node-2").await;
    let port = trio.nodes[1].address().port();
    let expected =
        serde_json::json!({"instanceId": "node-2", "host": "game1.example", "port": port});
    assert_eq!(told, expected, "and nothing of how full anybody is");
}

#[tokio::test]
async fn a_crowd_that_asks_at_once_is_spread() {
    let trio = Trio::start_with(|_, options| small(options)).await;
    for other in ["node-2", "node-3"] {
        until_it_names(&trio.nodes[0], other).await;
    }
    let crowd: Vec<_> = join_all((0..60).map(|_| named(&trio.nodes[0]))).await;
    for instance in ["node-1", "node-2", "node-3"] {
        let count = crowd.iter().filter(|named| *named == instance).count();
        // Not just a third: a node that is busy gets less.
        assert!((8..=40).contains(&count), "{instance}: {count} of 60");
    }
}

#[tokio::test]
async fn nobody_is_sent_to_a_node_that_hangs_drains_or_is_dead() {
    let mut trio = Trio::start_with(|_, options| small(options).env("DRAIN_NOTICE", "3")).await;
    let leader = trio.leader(0).await;
    let [second, third] = [(leader + 1) % 3, (leader + 2) % 3];
    let instance = |at: usize| format!("node-{}", at + 1);
    let _clients = (clients(&trio.nodes[leader], 8).await, clients(&trio.nodes[second], 8).await);
    until_it_names(&trio.nodes[leader], &instance(third)).await;
    trio.nodes[third].pause();
    until_it_never_names(&trio.nodes[leader], &instance(third)).await;
    trio.nodes[third].unpause();
    until_it_names(&trio.nodes[leader], &instance(third)).await;

    let going = trio.nodes[third].address();
    let stays = &trio.nodes[leader].address();
    let from = |address| async move {
        Http::to(address, Method::GET, ASSIGN).send().await.json()["data"]["instanceId"].clone()
    };
    let watching = async {
        let ready = || async { Http::to(going, Method::GET, "/ready").send().await.status };
        eventually("not ready", ready, |ready| *ready == 503).await;
        for _ in 0..IN_A_ROW {
            assert_ne!(from(going).await, instance(third), "it knows better at once");
        }
        let row = || async {
            let mut row = Vec::new();
            for _ in 0..IN_A_ROW {
                row.push(from(*stays).await);
            }
            row
        };
        let others = |row: &Vec<_>| row.iter().all(|named| *named != instance(third));
        eventually("others in a row", row, others).await;
        assert_eq!(ready().await, 503, "and it was still there");
    };
    let (status, ()) = tokio::join!(trio.nodes[third].terminate(), watching);
    assert!(status.success());

    trio.nodes[third].restart().await;
    until_it_names(&trio.nodes[leader], &instance(third)).await;
    trio.nodes[third].kill9();
    until_it_never_names(&trio.nodes[leader], &instance(third)).await;
    trio.nodes[second].kill9();
    let alone = || ask(&trio.nodes[leader]);
    let none = eventually("a node that can't serve", alone, |answer| answer.status == 503).await;
    none.assert_error(503, "NO_INSTANCE_AVAILABLE", Some("暂无可用实例"));
    assert_eq!(none.header("retry-after"), "1");
}

#[tokio::test]
async fn a_node_that_is_full_is_not_named_and_a_lone_one_names_itself() {
    let full = Options::default().env("CONNECTIONS_MAX", "8").start().await;
    assert_eq!(named(&full).await, "node-1");
    // Polling sessions hold no connection, so that there is one left to ask by.
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let id = crate::harness::guest(&full).await;
        let poll = format!("/socket.io/?EIO=4&transport=polling&playerId={id}");
        let opened = Http::get(&full, &poll).send().await;
        let text = String::from_utf8_lossy(&opened.body).into_owned();
        let sid = text.split("\"sid\":\"").nth(1).and_then(|it| it.split('"').next());
        let sid = sid.unwrap_or_else(|| panic!("{text}")).to_owned();
        let join = Http::post(&full, &format!("{poll}&sid={sid}")).body("40").send().await;
        assert_eq!(join.status, 200, "{join:?}");
        sessions.push(sid);
    }
    let refused = || ask(&full);
    let none = eventually("a full node", refused, |answer| answer.status == 503).await;
    none.assert_error(503, "NO_INSTANCE_AVAILABLE", None);

    let alone = Server::with("CLUSTER_ENABLED", "false").start().await;
    assert_eq!(named(&alone).await, "node-1", "out of cluster mode, too");
}

#[tokio::test]
async fn a_redis_that_hangs_or_dies_changes_nothing_of_it() {
    let mut redis = Redis::start().await;
    let trio = Trio::start_with(|_, options| small(options).env("REDIS_URL", redis.url())).await;
    let first = clients(&trio.nodes[0], 12).await;
    until_it_names(&trio.nodes[0], "node-3").await;
    redis.pause();
    let _third = clients(&trio.nodes[2], 12).await;
    until_it_names(&trio.nodes[0], "node-2").await;
    redis.unpause();
    redis.kill();
    let _second = clients(&trio.nodes[1], 12).await;
    drop(first);
    for node in &trio.nodes {
        until_it_names(node, "node-1").await;
    }
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_so_and_others_are_not() {
    let options = Options::default().env("RATE_LIMIT_ASSIGN", "2").env("TRUST_PROXY", "127.0.0.1");
    let server = options.start().await;
    for _ in 0..2 {
        assert_eq!(ask(&server).await.status, 200);
    }
    let refused = ask(&server).await;
    refused.assert_error(429, "RATE_LIMIT_EXCEEDED", None);
    let other = Http::get(&server, ASSIGN).header("x-forwarded-for", "203.0.113.9").send().await;
    assert_eq!(other.status, 200);
    assert_eq!(Http::get(&server, "/cluster/status").send().await.status, 200);
}

/// What the agent on this port says.
async fn agent(port: u16) -> String {
    let mut text = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the agent listens");
    stream.read_to_string(&mut text).await.expect("the agent says it in text");
    text
}

/// The weight it gives its node.
fn weight(said: &str) -> Option<u32> {
    said.strip_prefix("ready up ")?.strip_suffix("%\n")?.parse().ok()
}

#[tokio::test]
async fn an_agent_check_is_told_how_much_is_left_and_that_a_node_goes() {
    let ports: Vec<Port> = (0..3).map(|_| Port::take()).collect();
    let bind = |at: usize| format!("127.0.0.1:{}", ports[at].number);
    let mut trio = Trio::start_with(|at, options| {
        options.env("CONNECTIONS_MAX", "40").env("AGENT_BIND", &bind(at)).env("DRAIN_NOTICE", "2")
    })
    .await;
    let [first, second, third] = [0, 1, 2].map(|at| ports[at].number);
    let idle = |said: &String| weight(said).is_some_and(|left| (60..=100).contains(&left));
    for port in [first, second, third] {
        eventually("an idle node", || agent(port), idle).await;
    }
    let held = clients(&trio.nodes[0], 20).await;
    let half = |said: &String| weight(said).is_some_and(|left| (1..=50).contains(&left));
    eventually("half of a node", || agent(first), half).await;
    drop(held);
    eventually("an idle node", || agent(first), idle).await;

    let address = trio.nodes[0].address();
    let watching = async {
        eventually("a node that drains", || agent(first), |said| said == "drain\n").await;
        let ready = Http::to(address, Method::GET, "/ready").send().await;
        assert_eq!(ready.json()["state"], "draining");
    };
    let (status, ()) = tokio::join!(trio.nodes[0].terminate(), watching);
    assert!(status.success());
    trio.nodes[1].kill9();
    let alone = || agent(third);
    eventually("a node without a majority", alone, |said| said == "down#unhealthy\n").await;
    trio.restart_dead().await;
    eventually("an idle node", || agent(first), idle).await;
}

#[tokio::test]
async fn a_leaders_death_takes_no_other_node_out_of_a_balancer() {
    let ports: Vec<Port> = (0..3).map(|_| Port::take()).collect();
    let bind = |at: usize| format!("127.0.0.1:{}", ports[at].number);
    let mut trio = Trio::start_with(|at, options| options.env("AGENT_BIND", &bind(at))).await;
    let leader = trio.leader(0).await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let says = |at: usize| agent(ports[at].number);
    for at in others {
        let serves = |said: &String| weight(said).is_some();
        eventually("a node that serves", || says(at), serves).await;
    }
    let addresses = others.map(|at| trio.nodes[at].address());
    trio.nodes[leader].kill9();
    let has_other_leader = |address| async move {
        let status = Http::to(address, Method::GET, "/cluster/status").send().await.json();
        let led = status["raft"]["leader"].as_u64();
        status["raft"]["ready"] == true && led.is_some_and(|led| led != leader as u64 + 1)
    };
    let look = || async {
        for at in others {
            let said = says(at).await;
            assert!(weight(&said).is_some(), "node-{} says {said:?}", at + 1);
        }
        has_other_leader(addresses[0]).await && has_other_leader(addresses[1]).await
    };
    eventually("another leader", look, |led| *led).await;
}

#[tokio::test]
async fn an_agents_address_that_is_taken_ends_the_start() {
    let port = Port::take();
    let address = format!("127.0.0.1:{}", port.number);
    let _first = Server::with("AGENT_BIND", &address).start().await;
    let output = Options::default().env("AGENT_BIND", &address).run_to_end().await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("listen on {address}")), "{text}");
}
