//! Tokens as texts: signed with one secret, accepted with that one or the one before (contract 2).
//!
//! The algorithm is HS256 and no other, whatever a token's header says. A refresh token is no access
//! token and the other way round, unlike at the existing server. A token without an id that could be
//! ours, as others may have made it with the same secret, is known by a hash of its text.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use serverv2_machine::{Issued, NanoId, Player, PlayerId, TokenId, TokenPair};
use sha2::{Digest as _, Sha256};

use super::crypto;
use crate::config::Secret;

/// Longest token that is looked at, bytes; ours are about 400.
const TOKEN_LEN_MAX: usize = 4096;
/// The `type` of a refresh token; access tokens have none.
const REFRESH: &str = "refresh";

/// Signs tokens and reads them.
pub struct TokenKeys {
    signing: EncodingKey,
    accepted: Vec<DecodingKey>,
    validation: Validation,
}

/// A token that can't be accepted, whatever the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid token, or expired")]
pub struct BadToken;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub player: PlayerId,
    /// Its id.
    pub token: TokenId,
    /// How long it is valid still, milliseconds.
    pub remaining_ms: u64,
    /// Whether the player was registered when it was given.
    pub registered: bool,
    /// The player's e-mail address when it was given.
    pub email: Option<String>,
}

/// Two signed tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPair {
    /// For acting as the player.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

/// All claims there may be; others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    player_id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    jti: Option<String>,
    exp: u64,
    #[serde(default)]
    is_registered: bool,
    email: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Access<'a> {
    player_id: &'a str,
    is_registered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    jti: &'a str,
    iat: u64,
    exp: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refresh<'a> {
    player_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    jti: &'a str,
    iat: u64,
    exp: u64,
}

impl TokenKeys {
    /// Signs with `secret`. Tokens signed with `previous` are accepted too, so that a secret can be
    /// exchanged without logging anybody out.
    pub fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        crypto::install();
        let key = |secret: &Secret| DecodingKey::from_secret(secret.reveal().as_bytes());
        let mut validation = Validation::new(Algorithm::HS256);
        // Looked at below, against a time that tests can choose; nobody else's claims matter here.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            signing: EncodingKey::from_secret(secret.reveal().as_bytes()),
            accepted: [Some(secret), previous].into_iter().flatten().map(key).collect(),
            validation,
        }
    }

    /// The tokens that the log has given.
    pub fn sign(&self, Issued { player, pair }: &Issued) -> SignedPair {
        let Player { id, email, .. } = player;
        let TokenPair { access, refresh, issued_s, access_expires_s, refresh_expires_s } = pair;
        SignedPair {
            access: self.signed(&Access {
                player_id: id.as_str(),
                is_registered: player.is_registered(),
                email: email.as_deref(),
                jti: access.as_str(),
                iat: *issued_s,
                exp: *access_expires_s,
            }),
            refresh: self.signed(&Refresh {
                player_id: id.as_str(),
                kind: REFRESH,
                jti: refresh.as_str(),
                iat: *issued_s,
                exp: *refresh_expires_s,
            }),
        }
    }

    /// Reads an access token at this moment, milliseconds since 1970.
    pub fn access(&self, text: &str, now_ms: u64) -> Result<Claims, BadToken> {
        self.read(text, now_ms, None)
    }

    /// Reads a refresh token at this moment, milliseconds since 1970.
    pub fn refresh(&self, text: &str, now_ms: u64) -> Result<Claims, BadToken> {
        self.read(text, now_ms, Some(REFRESH))
    }

    fn read(&self, text: &str, now_ms: u64, kind: Option<&str>) -> Result<Claims, BadToken> {
        if text.len() > TOKEN_LEN_MAX {
            return Err(BadToken);
        }
        let by = |key| decode::<Read>(text, key, &self.validation).ok();
        let read = self.accepted.iter().find_map(by).ok_or(BadToken)?.claims;
        let expires_ms = read.exp.saturating_mul(1_000);
        if expires_ms <= now_ms || read.kind.as_deref() != kind {
            return Err(BadToken);
        }
        let id = read.jti.and_then(|jti| jti.parse().ok());
        Ok(Claims {
            player: read.player_id.parse().map_err(|_| BadToken)?,
            token: id.unwrap_or_else(|| hashed(text)),
            remaining_ms: expires_ms - now_ms,
            registered: read.is_registered,
            email: read.email,
        })
    }

    fn signed(&self, claims: &impl Serialize) -> String {
        encode(&Header::new(Algorithm::HS256), claims, &self.signing)
            .expect("our claims are plain values, and any secret makes a key")
    }
}

fn hashed(text: &str) -> TokenId {
    TokenId(NanoId::from_entropy(&Sha256::digest(text).into()))
}

#[cfg(test)]
mod tests;
