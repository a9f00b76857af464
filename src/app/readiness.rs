//! Whether traffic should come to this node: a state that `/ready`, the registry and the balancers are told.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::balance::Health;

/// Whether traffic should come to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet: the log is being replayed, or no leader is known.
    Starting,
    /// Yes.
    Ready,
    /// Not any more.
    Draining,
    /// Never again: the node was removed from its cluster.
    Removed,
}

impl State {
    /// As programs read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Removed => "removed",
        }
    }
}

/// This process's [`State`], since when, and how long the process has been serving.
pub struct LocalReadiness {
    state: watch::Sender<(State, SystemTime)>,
    started: (Instant, SystemTime),
}

impl Default for LocalReadiness {
    fn default() -> Self {
        let now = SystemTime::now();
        Self { state: watch::Sender::new((State::Starting, now)), started: (Instant::now(), now) }
    }
}

impl LocalReadiness {
    /// The state and when it began.
    pub fn now(&self) -> (State, SystemTime) {
        *self.state.borrow()
    }

    /// Time since this process began to serve.
    pub fn uptime(&self) -> Duration {
        self.started.0.elapsed()
    }

    /// The state as other instances and services are told it (contract 7.1).
    pub fn health(&self) -> Health {
        match self.now().0 {
            State::Starting => Health::Unhealthy,
            State::Ready => Health::Healthy,
            State::Draining | State::Removed => Health::Stopping,
        }
    }

    /// When this process began to serve.
    pub fn started(&self) -> SystemTime {
        self.started.1
    }

    /// The node can serve, or can't for a while. Draining is for good.
    pub fn set_ready(&self, ready: bool) {
        self.change(if ready { State::Ready } else { State::Starting });
    }

    /// The node is being stopped.
    pub fn drain(&self) {
        self.change(State::Draining);
    }

    /// The node was removed from its cluster. All that can follow is that it is stopped.
    pub fn remove(&self) {
        self.change(State::Removed);
    }

    /// Waits until this state is reached.
    pub async fn reached(&self, state: State) {
        // The sender lives in `self`, so this can't end early.
        let _ = self.state.subscribe().wait_for(|(now, _)| *now == state).await;
    }

    fn change(&self, to: State) {
        self.state.send_if_modified(|(state, since)| {
            let is_final =
                *state == State::Draining || (*state == State::Removed && to != State::Draining);
            if *state == to || is_final {
                return false;
            }
            tracing::info!(from = ?state, ?to, "readiness changes");
            (*state, *since) = (to, SystemTime::now());
            true
        });
    }
}
