//! What Redis costs and how quick it is: commands for a match and for a turn, round trips as the nodes see them,
//! announcements and battle events from node to node, and how far behind the mirror is at a thousand matches a minute.
//!
//! Run with `cargo bench --bench redis`, or `… -- 60 500 1000` for so many seconds of each load, announcements and matches
//! a minute. Three real processes; clients share their machine. It prints and checks nothing; numbers belong to a
//! machine.

// The tests' way to start servers; they need more of it.
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests")]
mod harness;
// And what benches share.
#[path = "parts/mod.rs"]
mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::time::sleep;

use harness::cluster::Trio;
use harness::redis::Redis;
use harness::relay::Relay;
use harness::{Http, Server, guest};
use parts::book::{Book, Chapter};
use parts::costs::{Costs, print};
use parts::duo::{Duo, Manner, Queue};
use parts::player::{Heard, Player};

const SECONDS: usize = 60;
const ANNOUNCEMENTS: usize = 500;
const MATCHES_PER_MINUTE: usize = 1_000;
const ADMIN: &str = "ann@game.example";
const NEWS: &str = "announcement";
/// Duos that wait for their turn to queue: more than there are battles at once.
const DUOS: usize = 120;
/// Turns of a battle: two lengths, to tell a turn's cost from a match's.
const FEW: Manner = Manner { think_ms: (300, 900), turns_max: 2 };
const MANY: Manner = Manner { think_ms: (300, 900), turns_max: 8 };
/// Nothing is counted before the load has run for so long.
const WARM: Duration = Duration::from_secs(10);
/// Between two announcements.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() {
    harness::raise_open_files();
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let span = Duration::from_secs(number(SECONDS) as u64);
    let (announcements, per_minute) = (number(ANNOUNCEMENTS), number(MATCHES_PER_MINUTE));

    let relay = Relay::start().await;
    for with_redis in [false, true] {
        let redis = Redis::start().await;
        let trio = Trio::start_with(|_, options| {
            let options = relay.used_by(options).env("ADMIN_EMAILS", ADMIN);
            if with_redis { options.env("REDIS_URL", redis.url()) } else { options }
        })
        .await;
        announce(&trio.nodes, &relay, announcements, with_redis).await;
        if with_redis {
            loads(&redis, &trio, span, per_minute).await;
        }
    }
}

/// Announces through one node, one after the other, to a player on each.
async fn announce(nodes: &[Server], relay: &Relay, count: usize, with_redis: bool) {
    let token = admin(&nodes[0], relay).await;
    let book = Arc::<Book>::default();
    let mut players = Vec::new();
    for node in nodes {
        let id = guest(node).await;
        let mut player =
            Player::connect(node.address(), &id, None, &book).await.expect("a guest is let in");
        // Its session is open once this is answered.
        player.ask("getServerState", &[]).await.expect("it is answered");
        players.push(player);
    }
    let (mut here, mut there, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let body = json!({"to": "all", "event": NEWS, "data": number});
        let request = Http::post(&nodes[0], "/api/v1/cluster/announce").json(&body);
        let request = request.header("authorization", &format!("Bearer {token}"));
        let sent = Instant::now();
        let telling = tokio::spawn(request.send());
        let mut heard = Vec::new();
        for player in &mut players {
            let is_it = |_, heard: &mut Heard| match heard {
                Heard::Told(name, data) => name == NEWS && *data == number,
                _ => false,
            };
            heard.push(player.until(is_it).await.expect("everybody hears it"));
        }
        assert_eq!(telling.await.expect("it does not panic").status, 200);
        here.push(heard[0] - sent);
        for other in &heard[1..] {
            there.push(*other - sent);
            apart.push(other.saturating_duration_since(heard[0]));
        }
        sleep(PAUSE).await;
    }
    let way = if with_redis { "through Redis" } else { "between peers" };
    println!("announcements {way}: {count}, a socket on each of three nodes");
    print("request to a socket of the same node", &mut here, "ms");
    print("request to a socket of another node", &mut there, "ms");
    print("from the one to the other", &mut apart, "ms");
}

/// Binds the admin's address to a new player; gives his token.
async fn admin(node: &Server, relay: &Relay) -> String {
    let id = guest(node).await;
    let ask = json!({"email": ADMIN, "playerId": id, "purpose": "bind"});
    let sent = Http::post(node, "/api/v1/email/send-verification-code").json(&ask).send().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let code = relay.code_to(ADMIN).await;
    let code = json!({"email": ADMIN, "code": code, "playerId": id});
    let bound = Http::post(node, "/api/v1/email/bind").json(&code).send().await;
    bound.json()["auth"]["accessToken"].as_str().expect("an access token").to_owned()
}

/// Matches at a steady pace, with few turns and with many.
async fn loads(redis: &Redis, trio: &Trio, span: Duration, per_minute: usize) {
    let idle = Costs::over(redis, trio, span, Chapter::default).await;
    println!("\nidle: {}", idle.rates());
    let mut loads = Vec::new();
    for manner in [FEW, MANY] {
        let (book, over) = (Arc::<Book>::default(), AtomicBool::new(false));
        let queue = Queue::new(Duration::from_secs(60) / u32::try_from(per_minute).unwrap_or(1));
        let duos = (0..DUOS).map(|at| fight(&trio.nodes, at, manner, &queue, &book, &over));
        let measured = async {
            sleep(WARM).await;
            drop(book.take());
            let costs = Costs::over(redis, trio, span, || book.take()).await;
            over.store(true, Ordering::Relaxed);
            costs
        };
        let (_, mut costs) = tokio::join!(futures::future::join_all(duos), measured);
        let Chapter { times, matches, turns, lost, refusals } = &mut costs.chapter;
        println!(
            "\n{:.0} matches a minute, {:.1} turns each; lost {lost}, refused {refusals:?}",
            *matches as f64 / costs.seconds * 60.0,
            *turns as f64 / (*matches).max(1) as f64,
        );
        for (of, times) in times {
            print(of.name(), times, "ms");
        }
        println!("  {}", costs.rates());
        costs.print_times();
        loads.push(costs);
    }
    println!("\nwhat a match and a turn cost, beside what three idle nodes ask:");
    price("commands, those in scripts too", &idle, &loads, |costs| costs.commands.values().sum());
    price("scripts of the mirror", &idle, &loads, |costs| {
        costs.commands.get("evalsha").copied().unwrap_or_default()
    });
    price("round trips", &idle, &loads, |costs| costs.trips.values().sum());
}

/// Solves for the two prices: both loads have their own numbers of matches and turns.
fn price(what: &str, idle: &Costs, loads: &[Costs], of: impl Fn(&Costs) -> f64) {
    let [few, many] = loads else { return };
    let rest = of(idle) / idle.seconds;
    let above = |costs: &Costs| of(costs) - rest * costs.seconds;
    let numbers = |costs: &Costs| (costs.chapter.matches as f64, costs.chapter.turns as f64);
    let ((m1, t1), (m2, t2)) = (numbers(few), numbers(many));
    let determinant = m1 * t2 - m2 * t1;
    let a_match = (above(few) * t2 - above(many) * t1) / determinant;
    let a_turn = (m1 * above(many) - m2 * above(few)) / determinant;
    println!("  {what:36} idle {rest:6.1}/s; a match {a_match:6.2}, a turn {a_turn:6.2}");
}

/// Battles until it is over.
async fn fight(
    nodes: &[Server],
    at: usize,
    manner: Manner,
    queue: &Queue,
    book: &Arc<Book>,
    over: &AtomicBool,
) {
    let mut rng = StdRng::seed_from_u64(at as u64);
    let [here, there] = [0, 1].map(|further| &nodes[(at + further) % nodes.len()]);
    let players = [(guest(here).await, None), (guest(there).await, None)];
    let nodes = [here.address(), there.address()];
    // The book counts what was lost.
    let Ok(mut duo) = Duo::connect(nodes, &players, book).await else { return };
    while !over.load(Ordering::Relaxed) && duo.fight(queue, manner, &mut rng).await.is_ok() {}
}
