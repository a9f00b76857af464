//! Whatever clients can send, at random, while others play: what wants an answer gets one with a
//! stable code, and an honest battle in the same server goes on to its end.
//!
//! The seed is printed when the test fails; `FUZZ_SEED` plays it again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{Client, Duel, Http, Raw, Server, codec, connected_guest, guest, team};

/// Events that are always answered.
const ANSWERED: &[&str] = &[
    "getServerState",
    "joinMatchmaking",
    "cancelMatchmaking",
    "ready",
    "submitPlayerSelection",
    "getState",
    "getAvailableSelection",
    "isTimerEnabled",
    "getPlayerTimerState",
    "getAllPlayerTimerStates",
    "getTimerConfig",
    "startAnimation",
];
/// Clients that send payloads, and how many each.
const CLIENTS: u64 = 5;
const PAYLOADS: usize = 70;
/// Connections that send frames.
const WEBSOCKETS: usize = 60;
const POLLING_SESSIONS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_battle_is_played_to_its_end_beside_clients_that_send_anything() {
    let given = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("FUZZ_SEED={seed}");
    let server = Server::start().await;
    // Paired before anybody else may queue.
    let duel = Duel::started(&server).await;
    let rng = |part: u64| StdRng::seed_from_u64(seed.wrapping_add(part));
    let spoilers = futures::future::join_all((0..CLIENTS).map(|n| payloads(&server, rng(n))));
    let (ends, ..) = tokio::join!(
        duel.play(seed, -1, false),
        spoilers,
        frames(&server, rng(100)),
        polling(&server, rng(101)),
    );
    assert_eq!((&ends.0.kind[..], &ends.0.data), ("BATTLE_END", &ends.1.data));
    assert!(server.is_running());
    let (_, client) = connected_guest(&server).await;
    client.settle().await;
}

/// Sends payloads of every kind; each event that wants an answer must get one.
async fn payloads(server: &Server, mut rng: StdRng) {
    let (id, client) = connected_guest(server).await;
    for number in 0..PAYLOADS {
        let payload = payload(&id, &mut rng);
        let mut args = vec![payload];
        match rng.random_range(0..8) {
            0 => args.push(json!({"requestId": format!("r-{number}")})),
            1 => args.push(any_json(&mut rng, 3)),
            2 => args.clear(),
            _ => {}
        }
        if rng.random_ratio(1, 8) {
            let event = ["endAnimation", "reportAnimationEnd"].choose(&mut rng).expect("two");
            client.emit(event, &args).await;
        } else {
            let event = ANSWERED.choose(&mut rng).expect("some");
            assert_answered(&client, event, &args).await;
        }
    }
    client.settle().await;
}

async fn assert_answered(client: &Client, event: &str, args: &[Value]) {
    let answer = client.ask(event, args).await;
    let stable = |code: &str| {
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        !code.is_empty() && code.chars().all(fits)
    };
    let refused = answer["status"] == "ERROR" && answer["code"].as_str().is_some_and(stable);
    assert!(answer["status"] == "SUCCESS" || refused, "{event} {args:?}: {answer}");
    assert_ne!(answer["code"], "INTERNAL_ERROR", "{event} {args:?}: {answer}");
    assert_ne!(answer["details"], "INTERNAL_ERROR", "{event} {args:?}: {answer}");
}

fn payload(id: &str, rng: &mut StdRng) -> Value {
    let other = "V1StGXR8_Z5jdHi6B-myT";
    let mut value = match rng.random_range(0..6) {
        0 => team::schema(rng.random_range(0..4), id),
        1 => json!({"playerSchema": team::schema(0, id), "ruleSetId": "standard"}),
        2 => json!({"type": "use-skill", "player": id, "skill": other, "target": "opponent"}),
        3 => json!({"type": "switch-pet", "player": id, "pet": other}),
        4 => json!({"source": other, "expectedDuration": 800, "ownerId": id}),
        _ => any_json(rng, 4),
    };
    for _ in 0..rng.random_range(0..4) {
        spoil(&mut value, rng);
    }
    value
}

/// Something in it becomes something else, or is gone.
fn spoil(value: &mut Value, rng: &mut StdRng) {
    match value {
        Value::Object(object) if !object.is_empty() && rng.random_ratio(5, 6) => {
            let at = rng.random_range(0..object.len());
            let key = object.keys().nth(at).expect("so many").clone();
            if rng.random_ratio(1, 6) {
                object.remove(&key);
            } else {
                spoil(&mut object[&key], rng);
            }
        }
        Value::Array(items) if !items.is_empty() && rng.random_ratio(5, 6) => {
            let at = rng.random_range(0..items.len());
            match rng.random_range(0..6) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => spoil(&mut items[at], rng),
            }
        }
        other => *other = any_json(rng, 2),
    }
}

fn any_json(rng: &mut StdRng, depth: u32) -> Value {
    match rng.random_range(0..if depth > 0 { 12 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.random::<bool>()),
        2 => json!(rng.random::<i64>()),
        3 => json!(rng.random_range(-2..300)),
        4 => json!(rng.random::<f64>() * 10f64.powi(rng.random_range(-300..300))),
        5 => json!("x".repeat(rng.random_range(0..20_000))),
        6 => json!((0..rng.random_range(0..21)).map(|_| rng.random::<char>()).collect::<String>()),
        7 => json!("AAAAAAAAAAAAAAAAAAAAA"),
        8 => json!("use-skill"),
        9 | 10 => (0..rng.random_range(0..6)).map(|_| any_json(rng, depth - 1)).collect(),
        _ => {
            let keys = ["name", "id", "team", "type", "player", "requestId", "__proto__", ""];
            let pair = |rng: &mut StdRng| {
                let key = keys.choose(rng).expect("some");
                ((*key).to_owned(), any_json(rng, depth - 1))
            };
            Value::Object((0..rng.random_range(0..6)).map(|_| pair(rng)).collect())
        }
    }
}

/// Frames as a client sends them.
const FRAMES: &[&str] = &[
    "40",
    "41",
    "3",
    "2probe",
    r#"420["getServerState"]"#,
    r#"4217["getState",{"requestId":"x"}]"#,
    r#"42["ready"]"#,
    r#"42/admin,5["ready"]"#,
    r#"40{"token":"x"}"#,
    r#"431[{"a":1}]"#,
    r#"451-["joinMatchmaking",{"_placeholder":true,"num":0}]"#,
    r#"42["submitPlayerSelection",{"type":"surrender"}]"#,
];

/// A frame or packet with some characters lost, doubled, or put in.
fn slipped(text: &str, rng: &mut StdRng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=chars.len());
        let end = (at + rng.random_range(0..6)).min(chars.len());
        match rng.random_range(0..4) {
            0 => drop(chars.drain(at..end)),
            1 => chars.insert(at, rng.random()),
            2 => chars.insert(
                at,
                *['[', ']', '"', '{', '0', '4', '\u{1e}', ','].choose(rng).expect("some"),
            ),
            _ => {
                let again = chars[at..end].to_vec();
                chars.splice(at..at, again);
            }
        }
    }
    chars.into_iter().collect()
}

/// Sends frames; whatever comes back is a frame of the contract, and a cut connection is just that.
async fn frames(server: &Server, mut rng: StdRng) {
    let id = guest(server).await;
    for _ in 0..WEBSOCKETS {
        let mut raw = Raw::open(server, &id).await;
        let mut joined = true;
        if rng.random_ratio(3, 4) {
            joined = raw.send("40").await;
        }
        for _ in 0..rng.random_range(1..8) {
            let sent = if rng.random_ratio(1, 10) {
                let mut bytes = vec![0; rng.random_range(0..500)];
                rng.fill(&mut bytes[..]);
                raw.send_binary(bytes).await
            } else {
                raw.send(&slipped(FRAMES.choose(&mut rng).expect("some"), &mut rng)).await
            };
            if !(joined && sent) {
                break;
            }
        }
        for text in raw.drain().await {
            if let Err(why) = codec::decode(&text) {
                panic!("the server sends what no client understands: {why}");
            }
        }
    }
}

/// Posts packets by polling and asks for odd things; no answer is the server's own fault.
async fn polling(server: &Server, mut rng: StdRng) {
    let id = guest(server).await;
    for _ in 0..POLLING_SESSIONS {
        let base = format!("/socket.io/?EIO=4&transport=polling&playerId={id}");
        let opened = Http::get(server, &base).send().await;
        let text = String::from_utf8_lossy(&opened.body).into_owned();
        let Ok(codec::Frame::Open(open)) = codec::decode(&text) else {
            panic!("a polling session opens with: {text}")
        };
        let path = format!("{base}&sid={}", open["sid"].as_str().expect("a session has an id"));
        post(server, &path, "40".to_owned()).await;
        for _ in 0..rng.random_range(1..6) {
            let packets: Vec<String> = (0..rng.random_range(1..4))
                .map(|_| slipped(FRAMES.choose(&mut rng).expect("some"), &mut rng))
                .collect();
            post(server, &path, packets.join("\u{1e}")).await;
        }
        let odd = |rng: &mut StdRng| {
            let words =
                ["EIO", "sid", "transport", "=", "&", "%", "%00", "4", "3", "x", "websocket"];
            (0..rng.random_range(0..9))
                .map(|_| *words.choose(rng).expect("some"))
                .collect::<String>()
        };
        let path = format!("/socket.io/?{}", odd(&mut rng));
        assert_sane(Http::get(server, &path).exchange()).await;
    }
}

async fn post(server: &Server, path: &str, body: String) {
    let post = Http::post(server, path).header("content-type", "text/plain;charset=UTF-8");
    assert_sane(post.body(body).exchange()).await;
}

/// Answered, but not with a failure of the server; or cut; or left waiting, as a poll may be.
async fn assert_sane(
    exchange: impl Future<
        Output = Result<crate::harness::Answer, Box<dyn std::error::Error + Send + Sync>>,
    >,
) {
    if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(2), exchange).await {
        assert!(answer.status.as_u16() < 500, "{answer:?}");
    }
}
