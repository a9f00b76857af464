//! The envelopes of `/api/v1/auth` (contract 1.2): the one place where an outcome becomes an HTTP answer.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serverv2_machine::Rejection;
use utoipa::ToSchema;

use super::answers::{always_false, always_true};
use crate::records::RecordsError;

/// JSON as the existing server labels it.
pub(super) const JSON_UTF8: HeaderValue =
    HeaderValue::from_static("application/json; charset=utf-8");

/// A value as a JSON answer.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, JSON_UTF8);
    response
}

/// A success of `/auth`.
#[derive(Serialize, ToSchema)]
pub(super) struct Success<T> {
    #[schema(schema_with = always_true)]
    success: bool,
    /// For people, in Chinese.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    message: Option<&'static str>,
    data: T,
}

impl<T: Serialize> Success<T> {
    /// 200 with data and, where the route has one, a text.
    pub(super) fn answer(message: Option<&'static str>, data: T) -> Response {
        json(StatusCode::OK, &Self { success: true, message, data })
    }
}

/// What a refusal or a failure of `/auth` looks like.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(super) struct ErrorBody<'a> {
    #[schema(schema_with = always_false)]
    success: bool,
    /// For people, in Chinese.
    message: &'a str,
    /// For programs.
    code: &'a str,
}

/// A refusal or a failure of `/auth`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    code: &'static str,
    retry_after: Option<u32>,
}

/// Pause after which a request that could not be decided may be repeated, seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

impl ApiError {
    /// An answer that stands.
    pub(super) fn new(status: StatusCode, message: impl Into<String>, code: &'static str) -> Self {
        Self { status, message: message.into(), code, retry_after: None }
    }

    /// The same request may be answered otherwise in so many seconds.
    pub(super) fn repeatable_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The first thing that is wrong with a body.
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, "VALIDATION_ERROR")
    }

    /// More than may be sent.
    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "请求体过大", "PAYLOAD_TOO_LARGE")
    }

    /// No account has this id.
    pub(super) fn player_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "玩家不存在", "PLAYER_NOT_FOUND")
    }

    /// Nobody can say now. It may have happened: with the same `Idempotency-Key` a retry is harmless.
    pub(super) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "集群暂时不可用，请稍后重试",
            "CLUSTER_UNAVAILABLE",
        )
        .repeatable_after(RETRY_AFTER_SECONDS)
    }

    /// The database can't be reached now. It may have happened, as above.
    fn no_database() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "数据库暂时不可用，请稍后重试",
            "DATABASE_UNAVAILABLE",
        )
        .repeatable_after(RETRY_AFTER_SECONDS)
    }

    /// Why nobody can say whether there is such an account.
    pub(super) fn looking(error: &RecordsError) -> Self {
        match error {
            RecordsError::NoDatabase => Self::no_database(),
            RecordsError::Failed => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "检查玩家状态失败",
                "CHECK_PLAYER_ERROR",
            ),
            _ => Self::unavailable(),
        }
    }

    /// Its HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What a proposal came to. `failed` is the route's own text and code for what should not happen.
    pub(super) fn proposal(
        error: impl Into<RecordsError>,
        failed: (&'static str, &'static str),
    ) -> Self {
        let rejection = match error.into() {
            RecordsError::Rejected(rejection) => rejection,
            RecordsError::NoCluster => return Self::unavailable(),
            RecordsError::NoDatabase => return Self::no_database(),
            RecordsError::TooLarge => {
                return Self::new(StatusCode::PAYLOAD_TOO_LARGE, failed.0, "PAYLOAD_TOO_LARGE");
            }
            RecordsError::Failed => {
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, failed.0, failed.1);
            }
        };
        match rejection {
            Rejection::PlayerUnknown => Self::player_unknown(),
            // Not decided for good: another process or an answered window is in the way.
            Rejection::StaleIncarnation | Rejection::StaleRequest | Rejection::WindowFull => {
                Self::unavailable()
            }
            Rejection::PlayersFull | Rejection::RevocationsFull => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, failed.0, rejection.code())
            }
            Rejection::NameInvalid => Self::validation("名称长度不能超过30个字符"),
            other => {
                tracing::error!(rejection = %other, "a route's command was refused unexpectedly");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, failed.0, failed.1)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { success: false, message: &self.message, code: self.code };
        let mut response = json(self.status, &body);
        if let Some(seconds) = self.retry_after {
            retry_after(&mut response, seconds);
        }
        response
    }
}

/// Tells the caller when to come back.
pub(super) fn retry_after(response: &mut Response, seconds: u32) {
    const HEADER: HeaderName = RETRY_AFTER;
    response.headers_mut().insert(HEADER, HeaderValue::from(seconds));
}

#[cfg(test)]
mod tests {
    use serverv2_raft::ProposeError;

    use super::*;

    #[test]
    fn what_may_have_happened_is_retryable_and_a_refusal_is_not() {
        let rejected = ProposeError::Rejected;
        for (error, status, code) in [
            (ProposeError::Busy, 503, "CLUSTER_UNAVAILABLE"),
            (ProposeError::Unknown, 503, "CLUSTER_UNAVAILABLE"),
            (ProposeError::Stopped, 503, "CLUSTER_UNAVAILABLE"),
            (rejected(Rejection::StaleIncarnation), 503, "CLUSTER_UNAVAILABLE"),
            (rejected(Rejection::WindowFull), 503, "CLUSTER_UNAVAILABLE"),
            (ProposeError::TooLarge, 413, "PAYLOAD_TOO_LARGE"),
            (rejected(Rejection::PlayerUnknown), 404, "PLAYER_NOT_FOUND"),
            (rejected(Rejection::PlayersFull), 507, "PLAYERS_FULL"),
            (rejected(Rejection::RevocationsFull), 507, "REVOCATIONS_FULL"),
            (rejected(Rejection::NameInvalid), 400, "VALIDATION_ERROR"),
            (rejected(Rejection::PlayerExists), 500, "FAILED"),
        ] {
            let answer = ApiError::proposal(&error, ("text", "FAILED"));
            assert_eq!((answer.status.as_u16(), answer.code), (status, code), "{error}");
            let retryable = answer.into_response().headers().contains_key(RETRY_AFTER);
            assert_eq!(retryable, status == 503, "{error}");
        }
    }
}
