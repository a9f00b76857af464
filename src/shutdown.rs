//! How the program ends: gracefully when asked (by a signal, or as a child by its parent's end), by force
//! when that takes too long.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::config::Settings;

/// Time for a graceful stop; then the process ends anyway (contract 8.1).
pub const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// What of it is left at least once clients have been sent elsewhere, however long the settings let that last.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Listens for SIGTERM and SIGINT from the moment it is made.
pub struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
    input_closed: Option<oneshot::Receiver<()>>,
}

impl StopSignal {
    /// Takes over both signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            input_closed: None,
        })
    }

    /// The end of standard input counts as one, too: whoever holds its other end has ended.
    pub fn listen_to_input(&mut self) -> std::io::Result<()> {
        let (tell, told) = oneshot::channel();
        // A thread of its own: nothing can be waited for here but by blocking.
        std::thread::Builder::new().name("lifeline".into()).spawn(move || {
            // An error is an end as well.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(tell);
        })?;
        self.input_closed = Some(told);
        Ok(())
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = closed(&mut self.input_closed) => "end of input",
        };
        info!(signal = name, "asked to stop");
    }

    /// Waits until a graceful stop has lasted too long, or somebody asks again.
    pub async fn overdue(&mut self, settings: &Settings) {
        let sent_away = settings.drain_notice + settings.drain_period;
        let patience = STOP_PATIENCE.max(sent_away + LAST_PATIENCE);
        tokio::select! {
            () = tokio::time::sleep(patience) => {
                warn!(seconds = patience.as_secs(), "stopping takes too long, end by force");
            }
            () = self.next() => warn!("asked twice, end by force"),
        }
    }
}

/// Ends once.
async fn closed(input: &mut Option<oneshot::Receiver<()>>) {
    match input {
        Some(open) => {
            let _ = open.await;
            *input = None;
        }
        None => std::future::pending().await,
    }
}
