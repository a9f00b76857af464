//! Verification codes as players type them, and the keyed hashes by which the log knows them.

use hmac::{Hmac, KeyInit, Mac};
use rand::rngs::OsRng;
use rand::{Rng, TryRngCore};
use serverv2_machine::{CodeHash, Email, Purpose};
use sha2::Sha256;

use crate::config::Secret;

/// All codes there are (contract 9).
const CODES: std::ops::Range<u32> = 100_000..1_000_000;
/// Keeps this use of the tokens' secret apart from all others.
const USE: &[u8] = b"serverv2 verification codes 1";

/// Makes hashes of codes; the same on all nodes that share a secret.
pub struct CodeKey(Hmac<Sha256>);

/// Characters of a short hash.
const SHORT: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl CodeKey {
    /// A key of its own, derived from the secret of the tokens.
    pub fn new(secret: &Secret) -> Self {
        let of_tokens = keyed(secret.reveal().as_bytes());
        Self(keyed(&of_tokens.chain_update(USE).finalize().into_bytes()))
    }

    /// The hash of a code for this address and purpose; it says nothing about the same code elsewhere.
    pub fn hash(&self, email: &Email, purpose: Purpose, code: &str) -> CodeHash {
        // No address has a line break, so no two triples look the same.
        let text = format!("{purpose}\n{}\n{code}", email.as_str());
        CodeHash(self.0.clone().chain_update(text).finalize().into_bytes().into())
    }

    /// The same in six characters, for a table that has room for no more. They are never six digits, and
    /// of a thousand million wrong codes one has the same.
    pub fn short_hash(&self, email: &Email, purpose: Purpose, code: &str) -> String {
        let CodeHash(hash) = self.hash(email, purpose, code);
        let character = |byte: &u8| char::from(SHORT[usize::from(byte % 64)]);
        std::iter::once('h').chain(hash.iter().take(5).map(character)).collect()
    }
}

/// A fresh code; nobody can guess it.
pub fn draw_code() -> String {
    OsRng.unwrap_err().random_range(CODES).to_string()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any text makes a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        text.parse().unwrap()
    }

    #[test]
    fn a_hash_is_of_one_secret_address_purpose_and_code() {
        let key = CodeKey::new(&Secret::new("secret"));
        let hash = key.hash(&email("a@x.co"), Purpose::Bind, "123456");
        let again = CodeKey::new(&Secret::new("secret"));
        assert_eq!(again.hash(&email("a@x.co"), Purpose::Bind, "123456"), hash);
        let other = CodeKey::new(&Secret::new("Secret"));
        for different in [
            other.hash(&email("a@x.co"), Purpose::Bind, "123456"),
            key.hash(&email("A@x.co"), Purpose::Bind, "123456"),
            key.hash(&email("a@x.co"), Purpose::Recover, "123456"),
            key.hash(&email("a@x.co"), Purpose::Bind, "123457"),
        ] {
            assert_ne!(different, hash);
        }
    }

    #[test]
    fn codes_have_six_digits_and_are_not_always_the_same() {
        let codes: std::collections::BTreeSet<_> = (0..100).map(|_| draw_code()).collect();
        assert!(codes.len() > 90, "{codes:?}");
        assert!(codes.iter().all(|code| CODES.contains(&code.parse().unwrap())));
    }
}
