//! Honest battles beside floods of each kind.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use hyper::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Battles, one_more, patient_trio};
use crate::harness::cluster::Trio;
use crate::harness::polling::Polling;
use crate::harness::{Http, Raw, Server, guest, raise_open_files, turn};

/// What all floods together may cost one node for good.
const GROWTH_KIB_MAX: u64 = 160 * 1024;
const ASK: &str = r#"420["getServerState"]"#;
/// Events, and how their answers begin.
const ASKED: [(&str, &str); 3] =
    [(ASK, "430["), (r#"421["joinMatchmaking",{}]"#, "431["), (r#"422["getState"]"#, "432[")];
const PING: &str = r#"42["ping""#;

type Flood = for<'a> fn(&'a Server) -> BoxFuture<'a, ()>;

/// Each bounded in count; a pass takes a second or two, and they are repeated while battles go on.
const FLOODS: &[Flood] = &[
    |server| connects_and_disconnects(server).boxed(),
    |server| events_of_one_socket(server).boxed(),
    |server| sockets_below_their_limit(server).boxed(),
    |server| huge_messages(server).boxed(),
    |server| polling_bodies(server).boxed(),
    |server| accounts(server).boxed(),
    |server| unknown_namespaces(server).boxed(),
    |server| deaf_sockets(server).boxed(),
    |server| half_open_handshakes(server).boxed(),
    |server| slow_requests(server).boxed(),
];

#[tokio::test]
async fn fifty_battles_are_untouched_by_floods_of_each_kind() {
    let _turn = turn().await;
    raise_open_files();
    let trio = patient_trio().await;
    let terms = trio.terms().await;
    let before: Vec<u64> = trio.nodes.iter().map(Server::resident_kib).collect();
    let battles = Battles::begin(&trio, 50).await;
    flood_while(&trio, &battles).await;
    battles.all_end_by_play().await;
    assert_eq!(trio.terms().await, terms, "an election");
    for (node, before) in trio.nodes.iter().zip(before) {
        one_more(node).await;
        let after = node.resident_kib();
        assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
    }
}

/// Each kind against a node of its own choice, and against the next one the next time.
async fn flood_while(trio: &Trio, battles: &Battles) {
    let floods = FLOODS.iter().enumerate().map(|(first, flood)| async move {
        let mut node = first;
        loop {
            flood(&trio.nodes[node % trio.nodes.len()]).await;
            if !battles.go_on() {
                return;
            }
            node += 1;
        }
    });
    join_all(floods).await;
}

async fn connects_and_disconnects(server: &Server) {
    let id = guest(server).await;
    for _ in 0..10 {
        join_all((0..10).map(|_| Raw::connect(server, &id))).await;
    }
}

async fn events_of_one_socket(server: &Server) {
    let mut raw = Raw::connect(server, &guest(server).await).await;
    for _ in 0..10_000 {
        if !raw.send(ASK).await {
            return;
        }
    }
}

async fn sockets_below_their_limit(server: &Server) {
    let ask = || async {
        let mut raw = Raw::connect(server, &guest(server).await).await;
        for (event, answer) in ASKED.iter().cycle().take(20) {
            assert!(raw.send(event).await, "it keeps to what it may send");
            // One at a time: a server that has to wait for the processor would read several at once. And whoever waits
            // for long still answers its pings.
            let told = |text: &str| text.starts_with(answer) || text.starts_with(PING);
            while raw.text_where("answer or ping", told).await.starts_with(PING) {
                raw.send(r#"42["pong"]"#).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    join_all((0..30).map(|_| ask())).await;
}

async fn huge_messages(server: &Server) {
    let id = guest(server).await;
    for bytes in [900_000, 3_900_000, 5_000_000] {
        let mut raw = Raw::connect(server, &id).await;
        raw.send(&format!(r#"420["joinMatchmaking","{}"]"#, "x".repeat(bytes))).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn polling_bodies(server: &Server) {
    let id = guest(server).await;
    let body = format!(r#"420["joinMatchmaking","{}"]"#, "x".repeat(1_000_000));
    for _ in 0..4 {
        let polling = Polling::connect(server, &format!("playerId={id}&")).await;
        for _ in 0..4 {
            polling.post(&[&body]).await;
        }
    }
}

async fn accounts(server: &Server) {
    let id = guest(server).await;
    let rename = json!({"playerId": id, "name": "Flooder"});
    let path = "/api/v1/auth/update-player-name";
    let round = || async {
        guest(server).await;
        let answer = Http::new(server, Method::PUT, path).json(&rename).send().await;
        assert_eq!(answer.status, 200);
    };
    for _ in 0..10 {
        join_all((0..8).map(|_| round())).await;
    }
}

async fn unknown_namespaces(server: &Server) {
    let id = guest(server).await;
    for _ in 0..10 {
        let mut raw = Raw::open(server, &id).await;
        for namespace in 0..50 {
            raw.send(&format!("40/unknown-{namespace},")).await;
            raw.send(&format!(r#"42/unknown-{namespace},["getState"]"#)).await;
        }
        raw.drain().await;
    }
}

async fn deaf_sockets(server: &Server) {
    let dialing = (0..20).map(|_| async { Raw::connect(server, &guest(server).await).await });
    let mut deaf = join_all(dialing).await;
    for _ in 0..50 {
        for raw in &mut deaf {
            raw.send(r#"420["getState"]"#).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn half_open_handshakes(server: &Server) {
    let mut open = Vec::new();
    for part in ["", "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade: webs"] {
        for _ in 0..50 {
            if let Ok(mut stream) = TcpStream::connect(server.address()).await {
                // The server may have closed it already.
                let _ = stream.write_all(part.as_bytes()).await;
                open.push(stream);
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn slow_requests(server: &Server) {
    let drip = |head: &'static str| async move {
        let Ok(mut stream) = TcpStream::connect(server.address()).await else { return };
        for byte in head.as_bytes().iter().cycle().take(20) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let head = "GET /health HTTP/1.1\r\nx-slow: ";
    join_all((0..50).map(|_| drip(head))).await;
}
