//! All keys and channels, and nowhere else.

/// Longest prefix, bytes.
const PREFIX_BYTES_MAX: usize = 64;

/// Whether this may stand before all keys: nothing that Redis or its tools read in another way.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= PREFIX_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\".contains(&byte))
}
