//! All keys and channels, and nowhere else.

use serverv2_machine::TokenId;

/// Longest prefix, bytes.
const PREFIX_BYTES_MAX: usize = 64;

/// Ids of all instances: a set.
pub(super) fn instances(prefix: &str) -> String {
    format!("{prefix}service:instances")
}

/// What one instance says of itself: a hash.
pub(super) fn instance(prefix: &str, id: &str) -> String {
    format!("{prefix}service:instance:{id}")
}

/// A token that counts no more: a hash that expires with it.
pub(super) fn revoked(prefix: &str, token: &TokenId) -> String {
    format!("{prefix}auth:blacklist:{token}")
}

/// Whether this may stand before all keys: nothing that Redis or its tools read in another way.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= PREFIX_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\".contains(&byte))
}
