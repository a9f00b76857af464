//! Verification codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a verification code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// Attaching an address to a player.
    Bind,
    /// Getting a player's id back.
    Recover,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Recover => "recover",
        })
    }
}
