//! The application's own heartbeat (contract 3.4): a `ping` every 5 s, and a client silent for more
//! than 10 s is cut. Beats are spread over the period by connection time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::socket::LocalSocket;

/// Time between two beats.
const PERIOD: Duration = Duration::from_secs(5);
/// Silence after which a client is gone, milliseconds.
const SILENT_MS_MAX: u64 = 10_000;
/// A check that comes this late says something about this process, not about the client.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Beats until the socket is gone.
pub(super) async fn beat(socket: Arc<LocalSocket>, closed: CancellationToken) {
    let mut due = Instant::now() + PERIOD;
    let mut period = interval_at(due, PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closed.cancelled() => return,
            _ = period.tick() => {}
        }
        let late = due.elapsed() > LATE_MAX;
        due = Instant::now() + PERIOD;
        if !late && socket.silent_ms() > SILENT_MS_MAX {
            socket.cut("does not answer the heartbeat");
            return;
        }
        socket.ping();
    }
}
