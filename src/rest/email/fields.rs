//! What the bodies of these routes must hold, checked field by field as the contract words it.

use serverv2_machine::{Email, Purpose};

use super::refusal::Refusal;
use crate::rest::body::{Fields, Given};

/// What is said of an address that is none.
pub(super) const EMAIL_BAD: &str = "邮箱格式不正确";
const CODE_DIGITS: usize = 6;
/// Of a wrong text that is shown again.
const SHOWN_CHARS_MAX: usize = 64;

/// `email`.
pub(super) fn email(body: &Fields) -> Result<Email, Refusal> {
    well_formed(text(body, "email", "string")?).ok_or_else(|| Refusal::validation(EMAIL_BAD))
}

/// `code`: 6 characters as clients count them, then digits.
pub(super) fn code(body: &Fields) -> Result<&str, Refusal> {
    let code = text(body, "code", "string")?;
    if code.encode_utf16().count() != CODE_DIGITS {
        return Err(Refusal::validation("验证码必须是6位数字"));
    }
    if !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::validation("验证码只能包含数字"));
    }
    Ok(code)
}

/// `purpose`.
pub(super) fn purpose(body: &Fields) -> Result<Purpose, Refusal> {
    match text(body, "purpose", "'bind' | 'recover'")? {
        "bind" => Ok(Purpose::Bind),
        "recover" => Ok(Purpose::Recover),
        other => {
            let shown: String = other.chars().take(SHOWN_CHARS_MAX).collect();
            Err(Refusal::validation(format!(
                "Invalid enum value. Expected 'bind' | 'recover', received '{shown}'"
            )))
        }
    }
}

/// `playerId`, which the guard has looked up; it may have found it elsewhere.
pub(super) fn player_id(body: &Fields) -> Result<(), Refusal> {
    if text(body, "playerId", "string")?.is_empty() {
        return Err(Refusal::validation("String must contain at least 1 character(s)"));
    }
    Ok(())
}

/// Whether there is a `playerId`.
pub(super) fn optional_player_id(body: &Fields) -> Result<bool, Refusal> {
    match body.get("playerId") {
        Given::Absent => Ok(false),
        Given::Text(_) | Given::Other(..) => player_id(body).map(|()| true),
    }
}

fn text<'a>(body: &'a Fields, field: &str, expected: &str) -> Result<&'a str, Refusal> {
    match body.get(field) {
        Given::Absent => Err(Refusal::validation("Required")),
        Given::Other(found, _) => {
            Err(Refusal::validation(format!("Expected {expected}, received {found}")))
        }
        Given::Text(text) => Ok(text),
    }
}

/// An address as the database takes it (contract 1.7, *later*, and 6.2).
pub(super) fn well_formed(text: &str) -> Option<Email> {
    let (local, domain) = text.split_once('@')?;
    let (host, top) = domain.rsplit_once('.')?;
    let among = |text: &str, others: &[u8]| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let top_fine = top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    // Whether it is too long, its type knows.
    let fine = among(local, b"._%+-") && among(host, b".-") && top_fine;
    fine.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_the_database_takes() {
        let longest = format!("{}@x.co", "l".repeat(249));
        for good in ["a@b.co", "A.b_c%d+e-f@a-b.c.museum", "1@2.ab", "a..b@x..co", &longest] {
            assert_eq!(well_formed(good).unwrap().as_str(), good);
        }
        let too_long = format!("{}@x.co", "l".repeat(250));
        for bad in [
            "",
            "a",
            "@",
            "a@b",
            "@b.co",
            "a@.co",
            "a@b.c",
            "a@b.c0",
            "a@b@c.co",
            "a b@c.co",
            "o'neil@b.co",
            "a@b_c.co",
            "é@b.co",
            "a@é.co",
            "a@b.co ",
            " a@b.co",
            "a@b.co\n",
            "\"a\"@b.co",
            "<a@b.co>",
            &too_long,
        ] {
            assert_eq!(well_formed(bad), None, "{bad:?}");
        }
    }
}
