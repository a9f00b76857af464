//! Three who rename one player and ask for its name, through whichever nodes: a register that must be
//! linearizable wherever a majority can be reached.

use std::sync::Arc;

use serde_json::{Value, json};

use super::World;
use super::hand::{Done, Guest, Hand, code_of};
use crate::client::{Answer, Http};
use crate::history::Call;

/// What each of the three does with one player: few enough for a checker that tries orders.
const DEEDS: usize = 40;
const PAUSE_MS: std::ops::Range<u64> = 20..120;

pub(super) async fn go_on(world: World, first: u32) {
    let mut maker = Hand::new(&world, first);
    let mut round = 0;
    while !world.is_stopping() {
        let Some(guest) = maker.guest().await else { continue };
        let guest = Arc::new(guest);
        let mut three = tokio::task::JoinSet::new();
        for number in 1..=3 {
            let hand = Hand::new(&world, first + number);
            three.spawn(use_name(hand, guest.clone(), round));
        }
        three.join_all().await;
        round += 1;
    }
}

async fn use_name(mut hand: Hand, guest: Arc<Guest>, round: u64) {
    // Each player finds other chances.
    hand.rng.set_word_pos(u128::from(round) << 32);
    for deed in 0..DEEDS {
        if hand.world.is_stopping() {
            break;
        }
        let node = hand.any_node();
        if hand.chance(0.4) {
            let name = format!("{}-{round}-{deed}", hand.actor);
            let request = hand.request();
            let done = rename(&hand, node, &guest, &name, &request).await;
            // Who was not answered asks again, and sometimes who was: through another node.
            if done.class == crate::history::Class::Info || (done.is_ok() && hand.chance(0.2)) {
                let other = hand.other_node(node);
                rename(&hand, other, &guest, &name, &request).await;
            }
        } else {
            ask(&hand, node, &guest).await;
        }
        hand.think(PAUSE_MS).await;
    }
}

async fn rename(hand: &Hand, node: usize, guest: &Guest, name: &str, request: &str) -> Done {
    let player = guest.player.clone();
    let address = hand.world.cluster.address(node);
    let http = Http::put(address, "/api/v1/auth/update-player-name")
        .request(Some(request))
        .token(&guest.access)
        .json(&json!({ "playerId": player, "name": name }));
    let call = Call::Rename { player, name: name.to_owned(), request: request.to_owned() };
    hand.http(node, call, http, |answer| match answer.status {
        200 => Done::ok(json!({ "name": answer.body["data"]["playerName"] })),
        // It was sure that the token counts no more, which is never true here: a finding for the checks.
        _ => Done::fail(code_of(answer)),
    })
    .await
}

async fn ask(hand: &Hand, node: usize, guest: &Guest) {
    let player = guest.player.clone();
    let address = hand.world.cluster.address(node);
    let http = Http::get(address, format!("/api/v1/auth/check-player/{player}"));
    let read = |answer: &Answer| match answer.status {
        200 => Done::ok(json!({ "name": answer.body["data"]["playerName"] })),
        404 => Done::ok(json!({ "name": Value::Null })),
        _ => Done::fail(code_of(answer)),
    };
    hand.http(node, Call::Name { player }, http, read).await;
}
