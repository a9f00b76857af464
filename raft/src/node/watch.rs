//! Follows openraft while a node runs.

use std::sync::{Arc, Weak};

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use serverv2_storage::StorageError;
use tokio::sync::watch;

use crate::error::StopReason;
use crate::figures::Counters;
use crate::ground;
use crate::log_adapter::Stores;
use crate::log_clock::LogClock;
use crate::records::Broken;
use crate::types::{Raft, TypeConfig};

/// Follows openraft's state: starts and stops the log clock, and tells when all is over.
pub(super) async fn supervise(
    raft: Raft,
    clock: Arc<LogClock>,
    broken: Arc<Broken>,
    stores: Weak<Stores>,
    stop: watch::Sender<Option<StopReason>>,
) {
    let mut metrics = raft.metrics();
    drop(raft);
    let reason = loop {
        let (running, leading) = {
            let metrics = metrics.borrow_watched();
            (metrics.running_state.clone(), metrics.state == ServerState::Leader)
        };
        clock.set_leading(leading && running.is_ok(), ground::now());
        if let Err(fatal) = running {
            break reason(&fatal, &stores);
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                break StopReason::Shutdown;
            },
            error = broken.happened() => break storage(&error),
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

/// Counts the leaders that this node gets to know, until consensus stops. One that followed another at once
/// may be missed; the term says so.
pub(super) async fn count_elections(raft: Raft, counters: Arc<Counters>) {
    let mut metrics = raft.metrics();
    drop(raft);
    let mut last = None;
    loop {
        let seen = {
            let metrics = metrics.borrow_watched();
            metrics.current_leader.map(|leader| (metrics.current_term, leader))
        };
        if seen.is_some() && seen != last {
            counters.elected();
            last = seen;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

fn storage(error: &StorageError) -> StopReason {
    StopReason::Storage(format!("{error}; {}", error.advice()))
}

fn reason(fatal: &Fatal<TypeConfig>, stores: &Weak<Stores>) -> StopReason {
    match fatal {
        Fatal::Stopped => StopReason::Shutdown,
        Fatal::Panicked => StopReason::Panicked,
        Fatal::StorageError(error) => {
            // What came first, in its own words, if the stores aren't closed already.
            let failed = stores.upgrade().and_then(|stores| stores.failed());
            storage(&failed.unwrap_or_else(|| StorageError::Stopped(error.to_string())))
        }
    }
}
