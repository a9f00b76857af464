//! Says when time has passed. The machine never waits: it tells its next deadline, and the leader's
//! timekeeper proposes a `Tick` once log time has reached it. A follower's timekeeper is idle.

use std::time::Duration;

use serverv2_machine::Tick;
use serverv2_raft::Cluster;
use tokio::sync::watch;
use tracing::debug;

/// Longest sleep: a deadline may have appeared, or this node may have become the leader.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Shortest pause between two ticks.
const TICK_PAUSE: Duration = Duration::from_millis(10);

/// Runs until the dispatcher ends, whose progress wakes it when the state has changed.
pub(crate) async fn keep_time(cluster: Cluster, mut delivered: watch::Receiver<u64>) {
    loop {
        let patience = if cluster.status().is_leader {
            match cluster.read(|machine, _| machine.next_deadline()).value {
                Some(deadline) => {
                    Duration::from_millis(deadline.ms_since(cluster.log_time())).min(LOOK_AGAIN)
                }
                None => LOOK_AGAIN,
            }
        } else {
            LOOK_AGAIN
        };
        if patience.is_zero() {
            if let Err(error) = cluster.propose(Tick, None).await {
                debug!(%error, "a tick did not come through");
            }
            tokio::time::sleep(TICK_PAUSE).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(patience) => {}
            changed = delivered.changed() => {
                if changed.is_err() {
                    return;
                }
                // Deadlines appear with entries; looking once a pause is enough.
                tokio::time::sleep(TICK_PAUSE).await;
            }
        }
    }
}
