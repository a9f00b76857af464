//! The shell around the replicated core: sockets, HTTP, clocks, battle rules, configuration.
//!
//! The core (`serverv2-machine`) decides every game fact inside the log; the shell turns what comes
//! from outside into commands, and what the log says into answers. See `ARCHITECTURE.md`.

pub mod announce;
pub mod app;
pub mod auth;
pub mod balance;
pub mod battle;
mod child;
pub mod cli;
mod client;
pub mod config;
mod control;
mod cpu;
pub mod demo;
mod dispatcher;
#[cfg(test)]
mod fuzz;
pub mod gateway;
pub mod mail;
pub mod metrics;
pub mod net;
mod open_files;
mod ports;
mod random;
pub mod records;
pub mod redis;
mod reports;
pub mod rest;
pub mod run;
mod sessions;
pub mod shutdown;
pub mod telemetry;
mod timekeeper;
