//! How the program ends: gracefully when asked, by force when that takes too long.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Time for a graceful stop; then the process ends anyway (contract 8.1).
pub const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Listens for SIGTERM and SIGINT from the moment it is made.
pub struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// Takes over both signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "asked to stop");
    }

    /// Waits until a graceful stop has lasted too long, or somebody asks again.
    pub async fn overdue(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(STOP_PATIENCE) => {
                warn!(seconds = STOP_PATIENCE.as_secs(), "stopping takes too long, end by force");
            }
            () = self.next() => warn!("asked twice, end by force"),
        }
    }
}
