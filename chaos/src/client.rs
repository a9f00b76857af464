//! Clients that know the wire alone, as those of the game do.

mod frames;
mod http;
mod npm;
mod socket;

pub(crate) use http::{Answer, Http, NoAnswer};
pub(crate) use npm::Npm;
pub(crate) use socket::{Dial, Event, NotIn, Said, Socket};
