//! Every part of a running server, by name. Handlers get an `Arc<App>` and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::config::Settings;
use crate::net::LocalConnections;

/// The parts.
pub struct App {
    /// What the operator asked for.
    pub settings: Settings,
    /// Whether traffic should come here.
    pub readiness: LocalReadiness,
    /// The open connections of this process.
    pub connections: Arc<LocalConnections>,
    started: Instant,
}

impl App {
    /// Puts the parts together.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            readiness: LocalReadiness::new(),
            connections: LocalConnections::new(settings.connections_max),
            started: Instant::now(),
            settings,
        })
    }

    /// Time since this process started serving.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Whether traffic should come to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet: the log is being replayed, or no leader is known.
    Starting,
    /// Yes.
    Ready,
    /// Not any more.
    Draining,
}

/// This node's [`State`] and since when.
pub struct LocalReadiness(watch::Sender<(State, SystemTime)>);

impl LocalReadiness {
    fn new() -> Self {
        Self(watch::Sender::new((State::Starting, SystemTime::now())))
    }

    /// The state and when it began.
    pub fn now(&self) -> (State, SystemTime) {
        *self.0.borrow()
    }

    /// The node can serve, or can't for a while. Draining is for good.
    pub fn set_ready(&self, ready: bool) {
        self.change(if ready { State::Ready } else { State::Starting });
    }

    /// The node is being stopped.
    pub fn drain(&self) {
        self.change(State::Draining);
    }

    /// Waits until this state is reached.
    pub async fn reached(&self, state: State) {
        // The sender lives in `self`, so this can't end early.
        let _ = self.0.subscribe().wait_for(|(now, _)| *now == state).await;
    }

    fn change(&self, to: State) {
        self.0.send_if_modified(|(state, since)| {
            if *state == to || *state == State::Draining {
                return false;
            }
            tracing::info!(from = ?state, ?to, "readiness changes");
            (*state, *since) = (to, SystemTime::now());
            true
        });
    }
}
