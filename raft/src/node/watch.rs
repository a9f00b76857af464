//! Follows openraft while a node runs.

use std::sync::Arc;
use std::time::Instant;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use tokio::sync::watch;

use crate::error::StopReason;
use crate::log_clock::LogClock;
use crate::records::Broken;
use crate::types::{Raft, TypeConfig};

/// Follows openraft's state: starts and stops the log clock, and tells when all is over.
pub(super) async fn supervise(
    raft: Raft,
    clock: Arc<LogClock>,
    broken: Arc<Broken>,
    stop: watch::Sender<Option<StopReason>>,
) {
    let mut metrics = raft.metrics();
    drop(raft);
    let reason = loop {
        let (running, leading) = {
            let metrics = metrics.borrow_watched();
            (metrics.running_state.clone(), metrics.state == ServerState::Leader)
        };
        clock.set_leading(leading && running.is_ok(), Instant::now());
        if let Err(fatal) = running {
            break reason(&fatal);
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                break StopReason::Shutdown;
            },
            error = broken.happened() => break StopReason::Storage(error.to_string()),
        }
    };
    match &reason {
        StopReason::Shutdown => tracing::info!("consensus has stopped"),
        StopReason::Storage(_) | StopReason::Panicked => {
            tracing::error!(%reason, "consensus is broken, the process must be restarted");
        }
    }
    stop.send_replace(Some(reason));
}

fn reason(fatal: &Fatal<TypeConfig>) -> StopReason {
    match fatal {
        Fatal::Stopped => StopReason::Shutdown,
        Fatal::Panicked => StopReason::Panicked,
        Fatal::StorageError(error) => StopReason::Storage(error.to_string()),
    }
}
