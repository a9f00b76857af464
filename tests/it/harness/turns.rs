//! Tests that keep all processors busy for a minute take turns, so that what they say of a server is not what a machine
//! with a tenth of a processor is like.

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many go on at once; what else runs meanwhile mostly waits for something.
const AT_ONCE: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Waits for a turn, which lasts as long as this is held.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("nobody closes it")
}
