//! Somebody who repeats requests long after they were answered, through whichever node: between the two there may
//! have been a restart and a snapshot, and the answer must be the first one all the same.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::hand::Hand;

/// How old a request is when it is repeated, and again at twice this age and so on.
const LATE: Duration = Duration::from_secs(3);
/// Requests in mind; older ones are repeated no more.
const IN_MIND: usize = 12;
const PAUSE_MS: std::ops::Range<u64> = 100..250;

pub(super) async fn go_on(mut hand: Hand) {
    let mut in_mind: VecDeque<(Instant, String)> = VecDeque::new();
    while !hand.world.is_stopping() {
        let node = hand.any_node();
        let due = in_mind.front().is_some_and(|(since, _)| since.elapsed() >= LATE);
        if due && let Some((_, request)) = in_mind.pop_front() {
            hand.make_guest(node, Some(request.clone())).await;
            in_mind.push_back((Instant::now(), request));
        } else {
            let request = hand.request();
            if hand.make_guest(node, Some(request.clone())).await.is_some() {
                in_mind.push_back((Instant::now(), request));
            }
        }
        if in_mind.len() > IN_MIND {
            in_mind.pop_front();
        }
        hand.think(PAUSE_MS).await;
    }
}
