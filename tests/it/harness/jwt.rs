//! Tokens as whoever knows the secret can make them: the existing server did, with the same claims.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The secret of the nodes that tests start with one.
pub(crate) const SECRET: &str = "a secret for tokens";

/// An access token of the existing server for this player, valid for a day.
pub(crate) fn access(player: &str, jti: &str) -> String {
    signed(
        SECRET,
        &json!({
            "playerId": player, "isRegistered": false, "jti": jti, "iat": now(), "exp": now() + 86_400,
        }),
    )
}

/// A refresh token of the existing server for this player, valid for a day.
pub(crate) fn refresh(player: &str, jti: &str) -> String {
    signed(
        SECRET,
        &json!({
            "playerId": player, "type": "refresh", "jti": jti, "iat": now(), "exp": now() + 86_400,
        }),
    )
}

/// These claims, signed with this secret.
pub(crate) fn signed(secret: &str, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let message = format!("{}.{}", part(&header), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", base64url(&signature))
}

/// The id in a token.
pub(crate) fn id(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("a token has three parts");
    let claims: Value = serde_json::from_slice(&from_base64url(claims)).expect("claims are JSON");
    claims["jti"].as_str().expect("a token has an id").to_owned()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs()
}

const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64url(bytes: &[u8]) -> String {
    let digits = DIGITS.as_bytes();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut padded = [0; 3];
        padded[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for digit in 0..=chunk.len() {
            text.push(char::from(digits[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

fn from_base64url(text: &str) -> Vec<u8> {
    let bits = text.chars().map(|char| DIGITS.find(char).expect("a digit") as u32);
    let (mut bytes, mut waiting, mut count) = (Vec::new(), 0u32, 0);
    for six in bits {
        (waiting, count) = (waiting << 6 | six, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((waiting >> count & 255) as u8);
        }
    }
    bytes
}
