//! Battles: the seam to whatever knows the rules, the built-in rules, and the shapes clients see.
//!
//! [`engine`] is the seam: a battle is a deterministic state machine advanced by numbered inputs.
//! [`builtin`] implements it for game data read by [`pack`]. [`view`], [`message`] and [`delta`] are
//! what clients get; [`team`] and [`selection`] check what clients send. All of this is free of
//! clocks, chance and IO (reading a pack at start excepted): whoever calls brings time and seed.
//! [`host`] plays the battles seen by this node as [`replica`]s, on threads of its own.

pub mod builtin;
pub mod delta;
pub mod engine;
pub mod engines;
pub mod host;
pub mod message;
pub mod pack;
#[cfg(test)]
mod patch;
pub mod replica;
pub mod schema;
pub mod selection;
pub mod starter;
pub mod team;
pub mod view;

pub use builtin::BuiltinEngine;
pub use engine::{Battle, BattleEngine};
pub use pack::Pack;
