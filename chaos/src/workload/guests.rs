//! Somebody who makes guests through one node, again and again: it shows when the node serves, and each guest
//! that was acknowledged must be there at the end.

use super::hand::Hand;

/// Pause between two tries.
const PAUSE_MS: std::ops::Range<u64> = 60..140;

pub(super) async fn probe(mut hand: Hand, node: usize) {
    while !hand.world.is_stopping() {
        hand.make_guest(node, None).await;
        hand.think(PAUSE_MS).await;
    }
}
