//! What the benches about Redis share: players who time what they wait for, and the book that they write it into.

#[allow(dead_code, reason = "not every bench waits for all of it")]
pub(crate) mod book;
#[allow(dead_code, reason = "not every bench counts")]
pub(crate) mod costs;
pub(crate) mod duo;
#[path = "../../it/metrics/exposition.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod exposition;
#[allow(dead_code, reason = "not every bench looks at all that comes")]
pub(crate) mod player;
