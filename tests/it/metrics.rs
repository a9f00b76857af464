//! `/metrics` as Prometheus reads it: the text is well formed, the names are there, the numbers move with
//! what players do, and nobody's id is among them (contract 1.3 and 8.6).

pub(crate) mod exposition;

use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use tokio::task::JoinSet;

use self::exposition::Page;
use crate::harness::cluster::Trio;
use crate::harness::process::Options;
use crate::harness::{Dial, Duel, Http, Server, connected_guest, eventually, guest};

/// Names of the existing server that its dashboards ask for.
const CONTRACT: [(&str, &str); 12] = [
    ("http_request_duration_seconds", "histogram"),
    ("http_requests_total", "counter"),
    ("socket_connections_active", "gauge"),
    ("battle_rooms_active", "gauge"),
    ("matchmaking_queue_size", "gauge"),
    ("redis_operation_duration_seconds", "histogram"),
    ("memory_usage_bytes", "gauge"),
    ("cpu_usage_percent", "gauge"),
    ("errors_total", "counter"),
    ("nodejs_process_cpu_seconds_total", "counter"),
    ("nodejs_process_resident_memory_bytes", "gauge"),
    ("nodejs_process_open_fds", "gauge"),
];

/// The page as it is now, or was 200 ms ago.
pub(crate) async fn scrape(server: &Server) -> Page {
    let answer = Http::get(server, "/metrics").send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    Page::parse(std::str::from_utf8(&answer.body).expect("the page is UTF-8"))
}

/// Scrapes until this series has this value at least.
async fn reaches(server: &Server, series: &str, labels: &[(&str, &str)], least: f64) -> Page {
    let what = format!("{series}{labels:?} of {least}");
    eventually(&what, || scrape(server), |page| page.sum(series, labels) >= least).await
}

/// What stands in labels, by label.
fn label_values(page: &Page) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut values = BTreeMap::<_, BTreeSet<_>>::new();
    for (label, value) in page.samples.iter().flat_map(|sample| &sample.labels) {
        values.entry(label.as_str()).or_default().insert(value.as_str());
    }
    values
}

#[tokio::test]
async fn the_names_of_the_contract_are_there_with_their_types_labels_and_buckets() {
    let server = Server::start().await;
    guest(&server).await;
    let page = reaches(&server, "http_requests_total", &[], 1.0).await;
    for (name, kind) in CONTRACT {
        assert_eq!(page.kind(name), Some(kind), "{name}");
    }
    for sample in &page.samples {
        assert_eq!(sample.label("instance_id"), Some("node-1"), "{sample:?}");
    }
    let create =
        [("method", "POST"), ("route", "/api/v1/auth/create-guest"), ("status_code", "200")];
    assert_eq!(page.sum("http_requests_total", &create), 1.0);
    assert_eq!(page.sum("serverv2_http_requests_total", &create), 1.0, "the alias says the same");
    let bounds: Vec<_> = page
        .of("http_request_duration_seconds_bucket", &create)
        .filter_map(|sample| sample.label("le"))
        .collect();
    assert_eq!(bounds, ["0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "10", "+Inf"]);
    for kind in ["heap_used", "heap_total", "external", "rss"] {
        assert!(page.sum("memory_usage_bytes", &[("type", kind)]) > 0.0, "{kind}");
    }
}

#[tokio::test]
async fn the_numbers_move_when_guests_are_made_and_players_pair_and_fight() {
    let server = Server::start().await;
    let before = scrape(&server).await;
    let duel = Duel::started(&server).await;
    let page = reaches(&server, "battle_rooms_active", &[], 1.0).await;
    let is = |series: &str, labels: &[(&str, &str)]| page.sum(series, labels);
    assert_eq!((is("serverv2_ready", &[]), is("serverv2_raft_is_leader", &[])), (1.0, 1.0));
    assert_eq!(is("serverv2_state", &[("state", "ready")]), 1.0);
    assert_eq!(is("socket_connections_active", &[]), 2.0);
    assert_eq!((is("serverv2_sockets", &[]), is("serverv2_sessions", &[])), (2.0, 2.0));
    assert_eq!(is("serverv2_cluster_players", &[("state", "connected")]), 2.0);
    assert_eq!(is("serverv2_cluster_rooms", &[("state", "active")]), 1.0);
    assert_eq!(
        (is("serverv2_battle_replicas", &[]), is("matchmaking_queue_size", &[])),
        (1.0, 0.0)
    );
    for event in ["joinMatchmaking", "ready"] {
        assert_eq!(is("serverv2_socket_events_total", &[("event", event)]), 2.0, "{event}");
    }
    assert!(is("serverv2_raft_elections_total", &[]) >= 1.0);
    for (grows, labels) in [
        ("serverv2_raft_index", &[("upto", "applied")][..]),
        ("serverv2_raft_entries_applied_total", &[]),
        ("serverv2_raft_commands_applied_total", &[]),
        ("serverv2_raft_proposals_total", &[("outcome", "acknowledged")]),
        ("serverv2_raft_proposal_duration_seconds_count", &[]),
        ("serverv2_log_sync_duration_seconds_count", &[]),
        ("serverv2_log_entry_size_bytes_count", &[]),
        ("serverv2_log_entry_size_bytes_sum", &[]),
        ("process_cpu_seconds_total", &[]),
    ] {
        assert!(is(grows, labels) > before.sum(grows, labels), "{grows}{labels:?} grows");
    }
    assert!(
        is("process_open_fds", &[]) > 2.0
            && is("process_open_fds", &[]) < is("process_max_fds", &[])
    );
    let resident = is("process_resident_memory_bytes", &[]) / 1024.0;
    let kernel = server.resident_kib() as f64;
    assert!(resident > kernel / 2.0 && resident < kernel * 2.0, "{resident} KiB, not {kernel}");

    duel.play(3, -1, false).await;
    let ended = [("state", "ended")];
    let page = reaches(&server, "serverv2_cluster_rooms", &ended, 1.0).await;
    assert_eq!(page.sum("battle_rooms_active", &[]), 0.0);
}

#[tokio::test]
async fn a_socket_that_is_cut_is_counted_under_its_reason_once() {
    let options = Options::default().env("SOCKET_EVENTS_PER_SECOND", "1");
    let options = options.env("SOCKET_EVENTS_BURST", "2").env("SOCKET_OVERRUNS_MAX", "1");
    let server = options.start().await;
    let (_, client) = connected_guest(&server).await;
    for _ in 0..20 {
        client.emit("getServerState", &[]).await;
    }
    let page = reaches(&server, "serverv2_sockets_cut_total", &[("reason", "flood")], 1.0).await;
    assert_eq!(page.sum("serverv2_sockets_cut_total", &[]), 1.0);
    eventually("no socket", || scrape(&server), |page| page.sum("serverv2_sockets", &[]) == 0.0)
        .await;
}

#[tokio::test]
async fn events_above_the_rate_are_counted() {
    let options = Options::default().env("SOCKET_EVENTS_PER_SECOND", "1");
    let options = options.env("SOCKET_EVENTS_BURST", "2").env("SOCKET_OVERRUNS_MAX", "1000");
    let server = options.start().await;
    let (_, client) = connected_guest(&server).await;
    for _ in 0..20 {
        client.emit("getServerState", &[]).await;
    }
    let what = [("what", "socket_events")];
    let page = reaches(&server, "serverv2_rate_limited_total", &what, 10.0).await;
    let event = [("event", "getServerState")];
    assert!(page.sum("serverv2_socket_events_total", &event) >= 10.0, "the refused are among them");
}

#[tokio::test]
async fn who_is_not_let_in_and_who_asks_too_often_is_counted() {
    let server = Options::default().env("RATE_LIMIT_AUTH", "1").start().await;
    let id = guest(&server).await;
    let refused = Http::get(&server, &format!("/api/v1/auth/check-player/{id}")).send().await;
    assert_eq!(refused.status, 429);
    let what = [("what", "http_requests")];
    reaches(&server, "serverv2_rate_limited_total", &what, 1.0).await;
    let unknown = Dial::player(&server, "AAAAAAAAAAAAAAAAAAAAA").try_open().await;
    assert_eq!(unknown.err().as_deref(), Some("PLAYER_NOT_FOUND"));
    let reason = [("reason", "PLAYER_NOT_FOUND")];
    let page = reaches(&server, "serverv2_handshakes_refused_total", &reason, 1.0).await;
    assert_eq!(page.sum("serverv2_handshakes_refused_total", &[]), 1.0);
}

#[tokio::test]
async fn nobodys_id_is_on_the_page_and_clients_cannot_make_up_series() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    Http::get(&server, &format!("/api/v1/auth/check-player/{}", duel.a.id)).send().await;
    let before = reaches(&server, "battle_rooms_active", &[], 1.0).await;
    for made_up in ["one", "two", "three"] {
        Http::get(&server, &format!("/{made_up}/{}", duel.b.id)).send().await;
        let method = hyper::Method::from_bytes(made_up.as_bytes()).expect("any word will do");
        Http::new(&server, method, "/health").send().await;
    }
    let page = reaches(&server, "http_requests_total", &[("route", "none")], 3.0).await;
    for id in [&duel.a.id, &duel.b.id, &duel.a.session, &duel.b.session, &duel.room] {
        assert!(!page.text.contains(id.as_str()), "{id} is on the page");
    }
    let labels = label_values(&page);
    assert!(labels["route"].contains("/api/v1/auth/check-player/{playerId}"), "{labels:?}");
    assert!(labels["method"].contains("other") && !labels["method"].contains("one"), "{labels:?}");
    let new = page.samples.len() - before.samples.len();
    let series_of_a_request = 2 * (1 + 10 + 2);
    assert!(new <= 3 * series_of_a_request, "{new} new series for two new kinds of requests");
}

#[tokio::test]
async fn many_scrapes_at_once_get_one_page_while_players_fight() {
    let server = Server::start().await;
    let duel = Duel::started(&server).await;
    let address = server.address();
    let scraping = async {
        let mut scrapes = JoinSet::new();
        for _ in 0..20 {
            scrapes.spawn(async move {
                let mut pages = BTreeSet::new();
                for _ in 0..20 {
                    let request = Http::to(address, hyper::Method::GET, "/metrics");
                    pages.insert(request.send().await.body);
                }
                pages
            });
        }
        scrapes.join_all().await.into_iter().flatten().collect::<BTreeSet<_>>()
    };
    let began = std::time::Instant::now();
    let (pages, (end, same)) = tokio::join!(scraping, duel.play(5, -1, false));
    // One page in 200 ms at most, whatever else the machine was doing.
    let bound = began.elapsed().as_millis() / 200 + 1;
    assert!((pages.len() as u128) <= bound, "{} pages, {bound} at most", pages.len());
    assert_eq!(end.data, same.data);
    for page in pages {
        Page::parse(std::str::from_utf8(&page).expect("the page is UTF-8"));
    }
}

#[tokio::test]
async fn a_node_outside_of_cluster_mode_tells_the_same() {
    let server = Server::with("CLUSTER_ENABLED", "false").start().await;
    let page = scrape(&server).await;
    assert_eq!(page.kind("socket_connections_active"), Some("gauge"));
    assert_eq!(page.sum("serverv2_ready", &[]), 1.0);
}

#[tokio::test]
async fn one_of_three_nodes_leads_and_all_agree_on_the_cluster() {
    let trio = Trio::start().await;
    Duel::started(&trio.nodes[0]).await;
    let mut leaders = 0.0;
    let mut homes = 0.0;
    for (at, node) in trio.nodes.iter().enumerate() {
        let page = reaches(node, "serverv2_cluster_rooms", &[("state", "active")], 1.0).await;
        assert_eq!(page.samples[0].label("instance_id"), Some(&*format!("node-{}", at + 1)));
        assert_eq!(page.sum("serverv2_raft_members", &[]), 3.0);
        assert_eq!(page.sum("serverv2_cluster_nodes", &[("state", "healthy")]), 3.0);
        assert_eq!(page.sum("serverv2_raft_has_leader", &[]), 1.0);
        leaders += page.sum("serverv2_raft_is_leader", &[]);
        homes += page.sum("battle_rooms_active", &[]);
    }
    assert_eq!((leaders, homes), (1.0, 1.0));
}
