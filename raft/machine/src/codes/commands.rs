//! What is asked about verification codes and addresses. Addresses are nobody's business who reads a
//! transcript: `Display` leaves them out.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Email, PlayerId};
use crate::tokens::Lifetimes;

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

/// What the log knows of a code: a hash under a key that only the shells have. Six digits are soon tried,
/// so without the key it would be the code itself.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeHash(pub [u8; 32]);

impl CodeHash {
    /// Whether both are the same; takes as long for any two.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How many codes may be asked for in [`crate::limits::CODE_WINDOW_MS`]; 0: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeLimits {
    /// For one e-mail address, whatever for.
    pub per_address: u32,
    /// By one source.
    pub per_source: u32,
}

/// From here on this is the code of an address and purpose, and an older one is void. It is to be mailed
/// once this is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateCode {
    /// Where it is sent.
    pub email: Email,
    /// What it is good for.
    pub purpose: Purpose,
    /// Who wants to bind the address; needed for that purpose, and the code is not tied to it.
    pub player: Option<PlayerId>,
    /// Whoever asks, as far as the network tells: for the limit.
    pub source: Arc<str>,
    /// The code.
    pub hash: CodeHash,
    /// How many there may be.
    pub limits: CodeLimits,
}

/// Whether this is the code. A wrong one counts, which is why this is a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCode {
    /// Where it was sent.
    pub email: Email,
    /// What it should be good for.
    pub purpose: Purpose,
    /// The code as given.
    pub hash: CodeHash,
}

/// Attach an address to a player, who is registered from then on. Uses the code up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindEmail {
    /// Whose it becomes.
    pub player: PlayerId,
    /// Whether the player has shown a token: needed of one who is registered. Whoever asks may not know
    /// yet that he is.
    pub authenticated: bool,
    /// The address.
    pub email: Email,
    /// The code as given.
    pub hash: CodeHash,
    /// How long the first tokens are valid.
    pub lifetimes: Lifetimes,
}

/// Tell whoever reads an address's mail which player it belongs to, and let him in. Uses the code up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverPlayer {
    /// The address.
    pub email: Email,
    /// The code as given.
    pub hash: CodeHash,
    /// How long the tokens are valid.
    pub lifetimes: Lifetimes,
}

/// Make a registered player a guest again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnbindEmail {
    /// Whom.
    pub player: PlayerId,
}

impl fmt::Display for CreateCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "create-code {}", self.purpose)
    }
}

impl fmt::Display for CheckCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check-code {}", self.purpose)
    }
}

impl fmt::Display for BindEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.authenticated { " with token" } else { "" };
        write!(f, "bind-email to {}{token} {}", self.player, self.lifetimes)
    }
}

impl fmt::Display for RecoverPlayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recover-player {}", self.lifetimes)
    }
}

impl fmt::Display for UnbindEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unbind-email of {}", self.player)
    }
}
