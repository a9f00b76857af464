//! The shell around the replicated core: sockets, HTTP, clocks, battle rules, configuration.
//!
//! The core (`serverv2-machine`) decides every game fact inside the log; the shell turns what comes
//! from outside into commands, and what the log says into answers. See `ARCHITECTURE.md`.

pub mod app;
pub mod battle;
pub mod cli;
pub mod config;
pub mod net;
pub mod rest;
pub mod run;
pub mod shutdown;
pub mod telemetry;
