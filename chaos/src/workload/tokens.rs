//! Somebody who logs in, exchanges tokens, logs out, and then tries the revoked token at every door.

use std::time::{Duration, Instant};

use rand::Rng as _;
use serde_json::{Value, json};

use super::hand::{Done, Guest, Hand, code_of};
use crate::client::{Answer, Dial, Http};
use crate::history::{Call, Class};

/// Questions while the token counts.
const BEFORE: usize = 8;
/// How long a revoked token is tried.
const TRIED_FOR: Duration = Duration::from_secs(4);
const PAUSE_MS: std::ops::Range<u64> = 30..90;
/// Tries to log out, until there is an answer.
const TRIES_MAX: usize = 20;

pub(super) async fn go_on(mut hand: Hand) {
    while !hand.world.is_stopping() {
        let Some(mut guest) = hand.guest().await else { continue };
        for _ in 0..BEFORE {
            let node = hand.any_node();
            match hand.rng.random_range(0..10) {
                0 => exchange(&mut hand, node, &mut guest).await,
                1 | 2 => enter(&hand, node, &guest).await,
                _ => verify(&hand, node, &guest).await,
            }
            hand.think(PAUSE_MS).await;
        }
        log_out(&mut hand, &guest).await;
        let (began, mut node) = (Instant::now(), 0);
        while began.elapsed() < TRIED_FOR && !hand.world.is_stopping() {
            if hand.chance(0.1) {
                enter(&hand, node, &guest).await;
            } else {
                verify(&hand, node, &guest).await;
            }
            node = (node + 1) % hand.world.cluster.size();
            hand.think(PAUSE_MS).await;
        }
    }
}

async fn verify(hand: &Hand, node: usize, guest: &Guest) {
    let http = Http::get(hand.world.cluster.address(node), "/api/v1/auth/verify");
    let call = Call::Verify { family: guest.player.clone() };
    let read = |answer: &Answer| match answer.status {
        200 => Done::ok(json!({ "counts": true })),
        401 => Done::ok(json!({ "counts": false })),
        _ => Done::fail(code_of(answer)),
    };
    hand.http(node, call, http.token(&guest.access), read).await;
}

/// Connects by the token, and leaves.
async fn enter(hand: &Hand, node: usize, guest: &Guest) {
    let dial = Dial {
        address: hand.world.cluster.address(node),
        from: hand.from,
        player: guest.player.clone(),
        session: format!("door-{}", hand.actor),
        token: Some(guest.access.clone()),
        npm: None,
    };
    let call = Call::Enter { family: guest.player.clone() };
    let (_, socket) = hand
        .connect(node, call, &dial, |text| match text {
            "TOKEN_BLACKLISTED" | "INVALID_TOKEN" => {
                Done { class: Class::Ok, code: text.to_owned(), out: json!({ "counts": false }) }
            }
            _ => Done::info(text),
        })
        .await;
    if let Some(socket) = socket {
        socket.leave().await;
    }
}

/// Exchanges the refresh token, twice if need be: the second answer must be the first one.
async fn exchange(hand: &mut Hand, node: usize, guest: &mut Guest) {
    // A try without an answer may have used the token up: whoever used it again would lose the family.
    let token = std::mem::take(&mut guest.refresh);
    if token.is_empty() {
        return;
    }
    let request = hand.request();
    let mut at = node;
    for _ in 0..2 {
        let http = Http::post(hand.world.cluster.address(at), "/api/v1/auth/refresh")
            .request(Some(&request))
            .json(&json!({ "refreshToken": token }));
        let call = Call::Refresh { family: guest.player.clone(), request: request.clone() };
        let pair = parking_lot::Mutex::new(None);
        let read = |answer: &Answer| {
            let data = &answer.body["data"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if answer.status != 200 {
                return Done::fail(code_of(answer));
            }
            let (access, refresh) = (text(&data["accessToken"]), text(&data["refreshToken"]));
            // Both tokens, by their ends: enough to see whether they are the same.
            let end = |token: &str| token.chars().rev().take(12).collect::<String>();
            let out = json!({ "access": end(&access), "refresh": end(&refresh) });
            *pair.lock() = Some((access, refresh));
            Done::ok(out)
        };
        let done = hand.http(at, call, http, read).await;
        let gives_up = done.class == Class::Fail && !done.code.starts_with("unsent");
        at = hand.other_node(at);
        if let Some((access, refresh)) = pair.into_inner() {
            guest.access = access;
            guest.refresh = refresh;
            if !hand.chance(0.3) {
                return;
            }
        } else if gives_up {
            return;
        }
    }
}

/// Gives the token up, through one node after the other until one says so.
async fn log_out(hand: &mut Hand, guest: &Guest) {
    let (request, mut node) = (hand.request(), hand.any_node());
    for _ in 0..TRIES_MAX {
        let http = Http::post(hand.world.cluster.address(node), "/api/v1/auth/logout")
            .request(Some(&request))
            .token(&guest.access);
        let call = Call::Logout { family: guest.player.clone(), request: request.clone() };
        let done = hand
            .http(node, call, http, |answer| match answer.status {
                200 => Done::ok(Value::Null),
                _ => Done::fail(code_of(answer)),
            })
            .await;
        let is_known = done.is_ok() || done.code.starts_with("401");
        if is_known || hand.world.is_stopping() {
            return;
        }
        hand.again().await;
        node = hand.other_node(node);
    }
}
