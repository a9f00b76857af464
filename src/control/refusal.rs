//! What a command is told that was not done: a code for programs, a text for people.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serverv2_raft::Unchanged;

/// Why a command was not done, or not seen to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// Always `false`, as in the answers of `/api/v1/auth`.
    success: bool,
    /// For people.
    pub(crate) message: String,
    /// For programs; stable.
    pub(crate) code: String,
    /// Whether the same command may succeed later.
    pub(crate) retryable: bool,
}

impl Refusal {
    /// It stands: the same command is refused again.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), code: code.to_owned(), retryable: false }
    }

    /// It may be different later.
    pub(crate) fn for_now(code: &str, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(code, message) }
    }
}

impl From<Unchanged> for Refusal {
    fn from(Unchanged { code, message, retryable }: Unchanged) -> Self {
        Self { success: false, message, code, retryable }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            if self.retryable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
        (status, Json(self)).into_response()
    }
}
