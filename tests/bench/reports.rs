//! What many battle reports cost, and what it costs to ask for them beside many players.
//!
//! Run with `cargo bench --bench reports`, or `… -- 20000 200000` for so many reports and players
//! instead of 100,000 and a million. The log is filled with commands, without sockets or battles; then a
//! whole server is started on it and asked through its routes. It prints and checks nothing but that
//! answers are answers; numbers belong to a machine.

#![expect(clippy::unwrap_used, reason = "a bench that fails may as well panic here")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use serverv2::app::{App, LocalReadiness};
use serverv2::battle::engines::Engines;
use serverv2::config::{self, Mode, Sources};
use serverv2::net::LocalConnections;
use serverv2_machine::{
    ActivatePack, Blob, Clocks, CreatePlayer, Digest, EndBattle, EndReason, JoinQueue, NanoId,
    NodeId, OpenSession, Outcome, PlayerId, Rendered, Seat, SessionKey, SetReports, StoreReport,
};
use serverv2_raft::{Cluster, NodeConfig};
use tower::ServiceExt;

const REPORTS: u64 = 100_000;
const PLAYERS: u64 = 1_000_000;
const CREATORS: u64 = 1_024;
/// Pairs of players who fight at once.
const PAIRS: u64 = 256;
/// Turns of the battle that every report tells of.
const TURNS: u64 = 12;
const QUESTIONS: usize = 200;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let reports = numbers.next().unwrap_or(REPORTS);
    let players = numbers.next().unwrap_or(PLAYERS);
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(dir.path(), reports, players));
    runtime.block_on(ask(dir.path(), reports));
    runtime.shutdown_background();
}

async fn fill(folder: &Path, reports: u64, players: u64) {
    let engines = Engines::load(None).unwrap();
    let config = NodeConfig {
        packs: engines.packs().to_vec(),
        ..NodeConfig::new(NodeId(1), folder.to_path_buf())
    };
    let (cluster, mut feed) = Cluster::start(config).await.unwrap();
    tokio::spawn(async move { while feed.recv().await.is_some() {} });
    let pack = engines.packs()[0].clone();
    cluster.propose(ActivatePack { pack }, None).await.unwrap();
    cluster.propose(SetReports { enabled: true }, None).await.unwrap();
    let began = Instant::now();
    create(&cluster, players).await;
    println!("{players} accounts in {:?}, {}", began.elapsed(), costs(folder));
    let rendered = rendered();
    println!("a report of {TURNS} turns has {} bytes, compressed", rendered.len());
    let rendered = Blob(rendered.into());
    let began = Instant::now();
    // One pair after the other joins: both of a pair meet.
    let joining = Arc::new(tokio::sync::Mutex::new(()));
    let next = Arc::new(AtomicU64::new(0));
    let fighting = (0..PAIRS).map(|pair| {
        let (cluster, joining, next) = (cluster.clone(), joining.clone(), next.clone());
        let rendered = rendered.clone();
        tokio::spawn(async move {
            // Far apart among the players.
            let step = players / (2 * PAIRS);
            let both = [2 * pair, 2 * pair + 1].map(|side| session(side * step));
            for session in &both {
                open(&cluster, session).await;
            }
            while next.fetch_add(1, Ordering::Relaxed) < reports {
                fight(&cluster, &joining, &both, &rendered).await;
            }
        })
    });
    for pair in fighting.collect::<Vec<_>>() {
        pair.await.unwrap();
    }
    println!("{reports} battles and reports in {:?}, {}", began.elapsed(), costs(folder));
    cluster.shutdown().await;
}

async fn fight(
    cluster: &Cluster,
    joining: &tokio::sync::Mutex<()>,
    both: &[SessionKey; 2],
    rendered: &Blob,
) {
    let room = {
        let _alone = joining.lock().await;
        for session in both {
            let clocks = Clocks { turn_s: 30, total_s: 900, animation_max_ms: 1_000 };
            let (session, socket, team) = (session.clone(), "k".parse().unwrap(), "[]".into());
            cluster.propose(JoinQueue { session, socket, team, clocks }, None).await.unwrap();
        }
        cluster.read(|machine, _| machine.live_seat_of(&both[0])).value.unwrap().0
    };
    let outcome = Outcome { winner: Some(Seat::A), reason: EndReason::AllPetFainted };
    let end = EndBattle { room, after: 0, outcome, digest: Digest([1; 32]) };
    cluster.propose(end, None).await.unwrap();
    let rendered = Rendered::Messages(rendered.clone());
    cluster.propose(StoreReport { room, rendered }, None).await.unwrap();
}

async fn open(cluster: &Cluster, session: &SessionKey) {
    let open = OpenSession {
        session: session.clone(),
        socket: "k".parse().unwrap(),
        address: "bench".into(),
        chosen: true,
        authenticated: false,
    };
    cluster.propose(open, None).await.unwrap();
}

/// Messages like those of a battle, as they are stored.
fn rendered() -> Vec<u8> {
    let message = |number: u64| {
        let hp = 341 - number % 300;
        json!({
            "type": "DAMAGE", "sequenceId": number, "battleId": "aB3dE5fG7hI9jK1lM3nO5",
            "data": {
                "currentHp": hp, "maxHp": 341, "source": format!("pet-{}", number * 7_919 % 12),
                "target": format!("pet-{}", number * 104_729 % 12), "damage": number * 31 % 97,
                "isCrit": number.is_multiple_of(16), "effectiveness": 1, "damageType": "Physical",
            },
            "stateDelta": {"players": {"_t": "a", "1": {"team": {"_t": "a", "0": {
                "currentHp": [hp + number * 31 % 97, hp]
            }}}}},
        })
    };
    let messages = Value::from((0..17 * TURNS).map(message).collect::<Vec<_>>()).to_string();
    let mut packed = vec![1];
    packed.extend_from_slice(&u32::try_from(messages.len()).unwrap().to_be_bytes());
    let mut encoder = DeflateEncoder::new(packed, Compression::default());
    encoder.write_all(messages.as_bytes()).unwrap();
    encoder.write_all(json!({"status": "Ended"}).to_string().as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn ask(folder: &Path, reports: u64) {
    let flags = [("DATA_DIR", folder.to_str().unwrap()), ("LOG_LEVEL", "off")];
    let flags = flags.map(|(name, value)| (name, value.to_owned()));
    let sources = Sources { flags: flags.into(), env: &|_| None, file: None };
    let settings = config::load(Mode::Dev, &sources).unwrap();
    let began = Instant::now();
    let readiness = Arc::<LocalReadiness>::default();
    let app = App::start(settings, readiness, LocalConnections::new(100)).await.unwrap();
    println!("started in {:?}, {}", began.elapsed(), costs(folder));
    let service = serverv2::run::service(&app);
    let first = get(&service, "/api/v1/battles?limit=1").await;
    assert_eq!(first["total"], reports);
    let id = first["data"][0]["id"].as_str().unwrap().to_owned();
    let player = first["data"][0]["player_a_id"].as_str().unwrap().to_owned();
    let began = Instant::now();
    assert_eq!(get(&service, "/api/v1/players?search=yer%20999").await["data"][0]["wins"], 0);
    println!("first search, which reads all names: {:?}, {}", began.elapsed(), costs(folder));
    for (what, path) in [
        ("the newest 20, whole", "/api/v1/battles".to_owned()),
        ("the newest 100, whole", "/api/v1/battles?limit=100".to_owned()),
        ("20 from the middle, whole", format!("/api/v1/battles?offset={}", reports / 2)),
        ("one report", format!("/api/v1/battles/{id}")),
        ("20 of a player", format!("/api/v1/players/{player}/battles?offset=40")),
        ("a player", format!("/api/v1/players/{player}")),
        ("a player's statistics", format!("/api/v1/players/{player}/stats")),
        ("all statistics", "/api/v1/statistics".to_owned()),
        ("a search for a few", "/api/v1/players?search=YER%2099999".to_owned()),
        ("a search for all", "/api/v1/players?search=player&limit=50".to_owned()),
        ("a search for nobody", "/api/v1/players?search=nobody".to_owned()),
    ] {
        let mut took = Vec::new();
        for _ in 0..QUESTIONS {
            let began = Instant::now();
            get(&service, &path).await;
            took.push(began.elapsed());
        }
        println!("{what:<28} {}", quantiles(&mut took));
    }
    println!("after all questions: {}", costs(folder));
    app.cluster.shutdown().await;
}

async fn get(service: &Router, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// Makes accounts with many callers at once.
async fn create(cluster: &Cluster, players: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let callers = (0..CREATORS).map(|_| {
        let (cluster, next) = (cluster.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= players {
                    return;
                }
                let name = format!("Player {number}").into();
                let create = CreatePlayer { player: player(number), name };
                while cluster.propose(create.clone(), None).await.is_err() {}
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

fn session(number: u64) -> SessionKey {
    SessionKey { player: player(number), session: "s".parse().unwrap() }
}

fn player(number: u64) -> PlayerId {
    // Spread over the whole range, as drawn ids are.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&mixed.to_be_bytes());
    entropy[8..16].copy_from_slice(&number.to_be_bytes());
    PlayerId(NanoId::from_entropy(&entropy))
}

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    format!("p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0))
}

fn costs(folder: &Path) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: Option<u64> = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    let (mut bytes, mut folders) = (0, vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match item.metadata() {
                Ok(about) if about.is_dir() => folders.push(item.path()),
                Ok(about) => bytes += about.len(),
                Err(_) => {}
            }
        }
    }
    let (memory, disk) = (kib.unwrap_or_default() / 1024, bytes / 1024 / 1024);
    format!("memory {memory} MiB, disk {disk} MiB")
}
