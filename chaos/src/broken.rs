//! What goes wrong with this program itself. It is never a verdict on the server.

use std::fmt;

/// Something of the surroundings failed: no verdict can be given.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {reason}")]
pub(crate) struct Broken {
    doing: String,
    reason: String,
}

impl Broken {
    pub(crate) fn new(doing: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { doing: doing.into(), reason: reason.to_string() }
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// What it was.
    fn doing(self, what: &str) -> Result<T, Broken>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, Broken> {
        self.map_err(|error| Broken::new(what, error))
    }
}
