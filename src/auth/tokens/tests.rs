//! What passes as a token, and all that must not.

use proptest::prelude::*;
use serde_json::{Value, json};
use serverv2_machine::WallTime;

use super::*;

const NOW_MS: u64 = 1_750_406_400_000;
const PLAYER: &str = "V1StGXR8_Z5jdHi6B-myT";

fn keys(secret: &str) -> TokenKeys {
    TokenKeys::new(&Secret::new(secret), None)
}

/// Signed by whoever knows the secret, with any header.
fn token(secret: &str, header: &Value, claims: &Value) -> String {
    crypto::install();
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut padded = [0; 3];
        padded[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for digit in 0..=chunk.len() {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[index as usize]));
        }
    }
    text
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn access() -> Value {
    let iat = NOW_MS / 1_000;
    json!({
        "playerId": PLAYER, "isRegistered": true, "email": "a@b.co", "jti": "Uakgb_J5m9g-0JDMbcJqL",
        "iat": iat, "exp": iat + 60,
    })
}

fn changed(claim: &str, value: Value) -> Value {
    let mut claims = access();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = access();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

fn issued(email: Option<&str>) -> Issued {
    let player = Player {
        id: PLAYER.parse().unwrap(),
        name: "Ann".into(),
        created: WallTime(0),
        last_login: WallTime(0),
        email: email.map(Into::into),
        email_bound: email.map(|_| WallTime(0)),
    };
    let id = |byte| TokenId(NanoId::from_entropy(&[byte; 32]));
    let issued_s = NOW_MS / 1_000;
    let pair = TokenPair {
        access: id(1),
        refresh: id(2),
        issued_s,
        access_expires_s: issued_s + 60,
        refresh_expires_s: issued_s + 600,
    };
    Issued { player, pair }
}

#[test]
fn what_is_signed_reads_back_and_has_exactly_the_claims_of_the_contract() {
    let keys = keys("secret");
    for email in [Some("a@b.co"), None] {
        let issued = issued(email);
        let SignedPair { access, refresh } = keys.sign(&issued);
        let read = keys.access(&access, NOW_MS).unwrap();
        assert_eq!(read.player, issued.player.id);
        assert_eq!((read.registered, read.email.as_deref()), (email.is_some(), email));
        assert_eq!((read.token, read.remaining_ms), (issued.pair.access, 60_000));
        let read = keys.refresh(&refresh, NOW_MS).unwrap();
        assert_eq!((read.token, read.remaining_ms), (issued.pair.refresh, 600_000));
        let names = |token: &str| -> Vec<String> {
            let claims: Value = jsonwebtoken::dangerous::insecure_decode(token).unwrap().claims;
            claims.as_object().unwrap().keys().cloned().collect()
        };
        let expected: &[&str] = match email {
            Some(_) => &["email", "exp", "iat", "isRegistered", "jti", "playerId"],
            None => &["exp", "iat", "isRegistered", "jti", "playerId"],
        };
        assert_eq!(names(&access), expected);
        assert_eq!(names(&refresh), ["exp", "iat", "jti", "playerId", "type"]);
    }
}

#[test]
fn a_token_of_the_existing_server_is_accepted_until_it_expires() {
    let keys = keys("secret");
    let text = token("secret", &hs256(), &access());
    let read = keys.access(&text, NOW_MS).unwrap();
    assert_eq!(read.token.as_str(), "Uakgb_J5m9g-0JDMbcJqL");
    assert!(keys.access(&text, NOW_MS + 59_999).is_ok());
    assert_eq!(keys.access(&text, NOW_MS + 60_000), Err(BadToken));
    let refresh = token("secret", &hs256(), &changed("type", json!("refresh")));
    assert!(keys.refresh(&refresh, NOW_MS).is_ok());
}

#[test]
fn no_other_algorithm_and_no_other_secret_is_accepted() {
    let keys = keys("secret");
    for alg in [
        json!("none"),
        json!("None"),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("ES256"),
        json!("EdDSA"),
        json!("hs256"),
        json!(null),
        json!(5),
    ] {
        let text = token("secret", &json!({"alg": alg, "typ": "JWT"}), &access());
        assert_eq!(keys.access(&text, NOW_MS), Err(BadToken), "{alg}");
        // Nor without a signature.
        let (message, _) = text.rsplit_once('.').unwrap();
        assert_eq!(keys.access(&format!("{message}."), NOW_MS), Err(BadToken), "{alg}");
    }
    assert_eq!(keys.access(&token("secret", &json!({}), &access()), NOW_MS), Err(BadToken));
    for secret in ["", "Secret", "secret ", "default-secret-key"] {
        let text = token(secret, &hs256(), &access());
        assert_eq!(keys.access(&text, NOW_MS), Err(BadToken), "{secret}");
    }
}

#[test]
fn a_token_that_says_too_little_or_the_wrong_thing_is_refused() {
    let keys = keys("secret");
    for claims in [
        without("playerId"),
        without("exp"),
        changed("playerId", json!("")),
        changed("playerId", json!("too-short")),
        changed("playerId", json!(5)),
        changed("exp", json!("9999999999")),
        changed("exp", json!(-1)),
        changed("exp", json!(0)),
        changed("type", json!("refresh")),
        changed("type", json!("access")),
        changed("type", json!(["refresh"])),
        json!([]),
        json!("text"),
    ] {
        let text = token("secret", &hs256(), &claims);
        assert_eq!(keys.access(&text, NOW_MS), Err(BadToken), "{claims}");
    }
    // The access token that all of them were made from is no refresh token.
    let text = token("secret", &hs256(), &access());
    assert!(keys.access(&text, NOW_MS).is_ok());
    assert_eq!(keys.refresh(&text, NOW_MS), Err(BadToken));
    // Claims that others may have added, and an expiry at the end of time, do no harm.
    for claims in [
        changed("aud", json!("others")),
        changed("iss", json!(["others"])),
        changed("exp", json!(u64::MAX)),
        without("isRegistered"),
        without("iat"),
    ] {
        let text = token("secret", &hs256(), &claims);
        assert!(keys.access(&text, NOW_MS).is_ok(), "{claims}");
    }
}

#[test]
fn a_token_without_an_id_of_ours_is_known_by_its_text() {
    let keys = keys("secret");
    let mut ids = std::collections::BTreeSet::new();
    for claims in [without("jti"), changed("jti", json!("7")), changed("jti", json!("é"))] {
        let text = token("secret", &hs256(), &claims);
        let id = keys.access(&text, NOW_MS).unwrap().token;
        assert_eq!(keys.access(&text, NOW_MS + 1).unwrap().token, id);
        ids.insert(id);
    }
    assert_eq!(ids.len(), 3);
}

#[test]
fn the_secret_before_is_accepted_and_no_longer_signed_with() {
    let (old, new) = (Secret::new("old"), Secret::new("new"));
    let turning = TokenKeys::new(&new, Some(&old));
    let before = keys("old").sign(&issued(None));
    assert!(turning.access(&before.access, NOW_MS).is_ok());
    assert!(turning.refresh(&before.refresh, NOW_MS).is_ok());
    let after = turning.sign(&issued(None));
    assert!(keys("new").access(&after.access, NOW_MS).is_ok());
    assert_eq!(keys("old").access(&after.access, NOW_MS), Err(BadToken));
    assert_eq!(keys("new").access(&before.access, NOW_MS), Err(BadToken));
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let keys = keys("secret");
    let huge = changed("email", json!("x".repeat(TOKEN_LEN_MAX)));
    assert_eq!(keys.access(&token("secret", &hs256(), &huge), NOW_MS), Err(BadToken));
}

proptest! {
    /// No byte of a token can be changed. Only the last digit of the signature has bits that say nothing;
    /// those are refused too.
    #[test]
    fn a_token_that_was_tampered_with_is_refused(place in any::<usize>(), byte in 1..=127u8) {
        let keys = keys("secret");
        let text = keys.sign(&issued(Some("a@b.co"))).access;
        let mut bytes = text.clone().into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        let other = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(keys.access(&other, NOW_MS).is_ok(), other == text);
    }

    #[test]
    fn noise_is_no_token(text in "(.|[a-zA-Z0-9_.-]){0,300}") {
        prop_assert_eq!(keys("secret").access(&text, NOW_MS), Err(BadToken));
    }
}
