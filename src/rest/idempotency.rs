//! The header `Idempotency-Key` (contract 3.3): with one, a retry through any node gets the same answer.

use axum::http::{HeaderMap, StatusCode};
use serverv2_machine::{KeyScope, ScopedKey};
use utoipa::IntoParams;

use super::error::ApiError;

const HEADER: &str = "idempotency-key";

/// The header, as the document has it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by hand")]
pub(super) struct Key {
    /// Makes a retry harmless: with the same key it gets the first answer, from any node.
    #[param(rename = "Idempotency-Key", pattern = "^[A-Za-z0-9_-]{1,64}$", nullable = false)]
    key: Option<String>,
}

/// The caller's key within `scope`, if it sent one. A malformed one is refused rather than ignored:
/// its sender believes that a retry is safe.
pub(super) fn key(headers: &HeaderMap, scope: KeyScope) -> Result<Option<ScopedKey>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(HEADER) {
            true => Err(malformed()),
            false => Ok(None),
        };
    };
    let key = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
    Ok(Some(ScopedKey { scope, key }))
}

fn malformed() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "Idempotency-Key 必须是 1 到 64 个字符（A-Z a-z 0-9 _ -）",
        "INVALID_IDEMPOTENCY_KEY",
    )
}
