//! Who may act as whom: tokens are signed and read here, whether one still counts is asked of the log.
//!
//! The machine decides about families of tokens and revokes them (`raft/machine/src/tokens.rs`); it
//! never sees a token, only ids. A token counts if its signature and its expiry are good, if its
//! family is not revoked, and if this node is sure to know of every revocation: one that lags
//! behind the cluster answers that it can't say.

mod check;
mod codes;
mod crypto;
mod secret;
mod tokens;

pub(crate) use check::{Refused, accept_shared, is_sure, still_counts};
pub use codes::{CodeKey, draw_code};
pub use secret::{SecretError, signing_secret};
pub use tokens::{BadToken, Claims, SignedPair, TokenKeys};
