//! Refusals of `/api/v1/email`: the contract's own have no `code` key, those of guards and of a cluster
//! that can't say keep theirs.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::records::RecordsError;
use crate::rest::answers::always_false;
use crate::rest::error::{ApiError, ErrorBody, json};
use crate::rest::rate::TooMany;

const FAILED: &str = "服务器内部错误";
/// What clients are told to wait, seconds: always the same (contract 1.7).
const WAIT_S: u32 = 60;

/// Why there is no success.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// As anywhere in the API.
    Api(ApiError),
    /// As these routes say it.
    Plain(StatusCode, Plain),
}

/// The envelope.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PlainRefusal)]
pub(crate) struct Plain {
    #[schema(schema_with = always_false)]
    success: bool,
    /// For people, in Chinese.
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    valid: Option<bool>,
    /// Seconds to wait before another code can be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rate_limit_seconds: Option<u32>,
}

/// A refusal of a route of these, or of what is in front of it.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes `Refusal`")]
pub(super) enum EmailRefusal {
    Coded(ErrorBody<'static>),
    Plain(Plain),
}

/// Codes, or all requests, came too often.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what two places say")]
pub(super) enum EmailTooOften {
    Requests(TooMany),
    Codes(Plain),
}

impl Refusal {
    /// A text and nothing else.
    pub(super) fn plain(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        let plain = Plain { success: false, message, valid: None, rate_limit_seconds: None };
        Self::Plain(status, plain)
    }

    /// The first thing that is wrong with a body.
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::plain(StatusCode::BAD_REQUEST, message)
    }

    /// What was checked is not valid.
    pub(super) fn not_valid(message: &str) -> Self {
        let message = message.to_owned();
        let plain = Plain { success: false, message, valid: Some(false), rate_limit_seconds: None };
        Self::Plain(StatusCode::BAD_REQUEST, plain)
    }

    /// Codes are asked for too often.
    pub(super) fn too_often() -> Self {
        let message = "发送过于频繁，请稍后再试".to_owned();
        let rate_limit_seconds = Some(WAIT_S);
        let plain = Plain { success: false, message, valid: None, rate_limit_seconds };
        Self::Plain(StatusCode::TOO_MANY_REQUESTS, plain)
    }

    /// What a proposal came to that the route has no words for.
    pub(super) fn proposal(error: RecordsError) -> Self {
        let error = ApiError::proposal(error, (FAILED, ""));
        if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
            return Self::plain(StatusCode::INTERNAL_SERVER_ERROR, FAILED);
        }
        Self::Api(error)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Api(error) => error.into_response(),
            Self::Plain(status, plain) => json(status, &plain),
        }
    }
}
