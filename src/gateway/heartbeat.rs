//! The application's own heartbeat (contract 3.4): a `ping` every 5 s, and a client silent for more
//! than 10 s is cut. With every second beat a client is told the cluster's counts.
//!
//! Beats are spread over the period by connection time, and so are the counts that come with them: told
//! to all clients at one moment, those of a full node would keep everybody's turn waiting meanwhile.

use std::sync::Arc;
use std::time::Duration;

use serverv2_raft::Cluster;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::counters::Cut;
use super::socket::LocalSocket;
use super::state::server_state;
use super::wire::Push;

/// Time between two beats.
const PERIOD: Duration = Duration::from_secs(5);
/// Silence after which a client is gone, milliseconds.
const SILENT_MS_MAX: u64 = 10_000;
/// A check that comes this late says something about this process, not about the client.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Beats until the socket is gone.
pub(super) async fn beat(cluster: Cluster, socket: Arc<LocalSocket>, closed: CancellationToken) {
    let mut tells_counts = true;
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
            socket.cut(Cut::Silent);
            return;
        }
        socket.ping();
        if tells_counts {
            socket.push(Push::UpdateState, &server_state(&cluster));
        }
        tells_counts = !tells_counts;
    }
}
