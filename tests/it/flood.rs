//! Clients that send too much or what no client sends: they may be cut off, but the node lives,
//! answers others, and its memory stays bounded.

use std::time::Duration;

use crate::harness::polling::Polling;
use crate::harness::{DEADLINE, Duel, Http, Raw, Server, connected_guest, eventually, guest};

/// What a flood may cost for good, over what a quiet node needs.
const GROWTH_KIB_MAX: u64 = 96 * 1024;

/// The node answers by HTTP and websocket, and did not grow beyond the bound.
async fn assert_well(server: &Server, before_kib: u64) {
    let (_, client) = connected_guest(server).await;
    client.settle().await;
    let now = server.resident_kib();
    assert!(now < before_kib + GROWTH_KIB_MAX, "memory grew from {before_kib} to {now} KiB");
}

async fn quiet_kib(server: &Server) -> u64 {
    guest(server).await;
    server.resident_kib()
}

#[tokio::test]
async fn bodies_of_ten_megabytes_cost_bounded_memory() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    let body = vec![b'['; 10_000_000];
    let rounds = futures::future::join_all((0..8).map(|_| {
        Http::put(&server, "/api/v1/auth/update-player-name").text(body.clone()).exchange()
    }));
    for answer in rounds.await.into_iter().flatten() {
        assert!(answer.status.is_client_error(), "{}", answer.status);
    }
    assert_well(&server, before).await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_cut_off() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    let huge = format!(r#"420["joinMatchmaking","{}"]"#, "x".repeat(5_000_000));
    for _ in 0..4 {
        let mut raw = Raw::connect(&server, &guest(&server).await).await;
        raw.send(&huge).await;
        assert!(raw.is_cut_within(Duration::from_secs(10)).await, "5 MB in one message");
    }
    assert_well(&server, before).await;
}

#[tokio::test]
async fn a_large_message_within_the_limit_is_answered() {
    let server = Server::start().await;
    let (_, client) = connected_guest(&server).await;
    let answer = client.refused("joinMatchmaking", &["x".repeat(900_000).into()]).await;
    assert_eq!(answer.0, "VALIDATION_ERROR");
    client.settle().await;
}

#[tokio::test]
async fn deeply_nested_json_is_refused_or_cut_off() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [200, 10_000, 150_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let mut raw = Raw::connect(&server, &guest(&server).await).await;
            raw.send(&format!(r#"420["joinMatchmaking",{nested}]"#)).await;
            let answer =
                Http::put(&server, "/api/v1/auth/update-player-name").text(nested).send().await;
            assert_eq!(answer.status, 400, "depth {depth}");
        }
    }
    assert_well(&server, before).await;
}

/// Packets that announce attachments. The server takes none.
const ANNOUNCED: [&str; 3] = [
    r#"451-["joinMatchmaking",{"_placeholder":true,"num":0}]"#,
    r#"45999999999-["joinMatchmaking",{"_placeholder":true,"num":0}]"#,
    r#"461-0[{"_placeholder":true,"num":0}]"#,
];

#[tokio::test]
async fn binary_attachments_cut_a_websocket_off() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    for packet in ANNOUNCED {
        let mut raw = Raw::connect(&server, &guest(&server).await).await;
        raw.send(packet).await;
        assert!(raw.is_cut_within(DEADLINE).await, "the announcement alone: {packet}");

        let polling = Polling::connect(&server, &player_query(&server).await).await;
        let mut upgraded = Raw::upgrade(&server, &polling.session).await;
        upgraded.send(packet).await;
        assert!(upgraded.is_cut_within(DEADLINE).await, "after an upgrade: {packet}");

        let mut raw = Raw::connect(&server, &guest(&server).await).await;
        raw.send(packet).await;
        for _ in 0..20 {
            raw.send_binary(vec![7; 500_000]).await;
        }
        assert!(raw.is_cut_within(DEADLINE).await, "with what it announced: {packet}");
    }
    let mut raw = Raw::connect(&server, &guest(&server).await).await;
    raw.send_binary(vec![1; 100]).await;
    assert!(raw.is_cut_within(DEADLINE).await, "bytes that nobody announced");
    assert_cut_for_what_they_sent(&server).await;
    assert_well(&server, before).await;
}

#[tokio::test]
async fn binary_attachments_cut_a_polling_session_off() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    let heavy = format!("b{}", "AAAA".repeat(100_000));
    let announced = ANNOUNCED.iter().flat_map(|packet| [vec![*packet], vec![packet, &heavy]]);
    for packets in announced.chain([vec!["bAAAA"]]) {
        let sent: Vec<&str> =
            packets.iter().map(|packet| &packet[..packet.len().min(80)]).collect();
        let polling = Polling::connect(&server, &player_query(&server).await).await;
        // One poll waits while they come, as a client's does.
        tokio::join!(polling.poll(), polling.post(&packets));
        let poll = || polling.poll();
        eventually(&format!("end after {sent:?}"), poll, Option::is_none).await;
        assert!(!polling.post(&["3"]).await, "nor can anything be sent after {sent:?}");
    }
    assert_cut_for_what_they_sent(&server).await;
    assert_well(&server, before).await;
}

async fn player_query(server: &Server) -> String {
    format!("playerId={}&", guest(server).await)
}

/// Their sessions are over, and none of them was cut because it answered no heartbeat.
async fn assert_cut_for_what_they_sent(server: &Server) {
    let online = || async {
        let status = Http::get(server, "/cluster/status").send().await.json();
        status["stats"]["players"]["connected"].clone()
    };
    eventually("their goodbyes", online, |connected| *connected == 0).await;
    assert!(!server.says("does not answer the heartbeat"), "{}", server.log().tail());
}

#[tokio::test]
async fn frames_that_no_client_sends_do_no_harm() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    let garbage = [
        "",
        "x",
        "4",
        "42",
        "42[",
        "42{}",
        "42[]",
        "42[5]",
        "42null",
        "420",
        "4299999999999999999999[\"getState\"]",
        "42-1[\"getState\"]",
        "43",
        "430[]",
        "44{}",
        "45",
        "46",
        "47",
        "48",
        "49",
        "40",
        "40/admin,",
        "42/admin,[\"x\"]",
        "41/admin,",
        "0{}",
        "1",
        "3probe",
        "5",
        "6",
        "7",
        "9",
        "b",
        "bAAAA",
        "42[\"\\ud800\"]",
        "42[\"getState\",",
        "42[\"getState\"]]",
        "\u{0}",
        "🐠",
        "42[\"disconnect\"]",
        "42[\"connect\"]",
        "42[\"error\"]",
        "42[\"ping\"]",
    ];
    for frame in garbage {
        let mut raw = Raw::connect(&server, &guest(&server).await).await;
        raw.send(frame).await;
        raw.send(r#"421["getServerState"]"#).await;
        raw.drain().await;
    }
    assert_well(&server, before).await;
}

#[tokio::test]
async fn a_thousand_events_a_second_are_cut_off_while_others_play_on() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    let before = server.resident_kib();
    let mut flooder = Raw::connect(&server, &guest(&server).await).await;
    let began = tokio::time::Instant::now();
    let mut sent = 0;
    // Pauses make a thousand a second of it; the server needs a few seconds to call it a flood.
    while began.elapsed() < Duration::from_secs(15)
        && flooder.send(r#"420["getServerState"]"#).await
    {
        sent += 1;
        if sent % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(
        flooder.is_cut_within(Duration::from_secs(5)).await,
        "{sent} events and still connected"
    );
    assert!(sent > 60, "a burst of 60 is allowed, cut after {sent}");
    duel.attack_once(-1).await;
    assert_well(&server, before).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_or_costs_little() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    let mut deaf = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::connect(&server, &guest(&server).await).await;
        for _ in 0..50 {
            raw.send(r#"420["getServerState"]"#).await;
        }
        deaf.push(raw);
    }
    assert_well(&server, before).await;
}

#[tokio::test]
async fn many_transports_without_a_namespace_do_no_harm() {
    let server = Server::start().await;
    let before = quiet_kib(&server).await;
    let id = guest(&server).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Raw::open(&server, &id).await);
    }
    assert_well(&server, before).await;
}
