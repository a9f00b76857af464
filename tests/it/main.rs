//! What a client or an operator may rely on, checked from outside: real processes, real sockets.
//!
//! The rows named in the tests are those of the compatibility checklist, contract section 10.
//! Nothing here shares a type with the server. Each test has a server of its own on a free port
//! with a temporary folder, so all may run at once.

mod harness;

mod announce;
mod balance;
mod battle;
mod clocks;
mod cluster;
mod control;
mod database;
mod demo;
mod disks;
mod docs;
mod email;
mod flood;
mod folders;
mod fuzz;
mod grace;
mod handshake;
mod heartbeat;
mod homes;
mod kept;
mod lifecycle;
mod load;
mod logs;
mod malformed;
mod members;
mod metrics;
mod openapi;
mod powercut;
mod queue;
mod reconnect;
mod redis;
mod replicas;
mod reports;
mod rest;
mod restart;
mod retry;
mod sessions;
mod settings;
mod several;
mod tokens;
