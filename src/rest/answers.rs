//! Answers and parameters that many routes have in common, for the document.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, IntoResponses};

use super::error::ErrorBody;
use super::rate::TooMany;

/// A body can't be read, whatever is in it.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes `body::fields`")]
pub(super) enum BodyRefused {
    /// `BODY_TIMEOUT`.
    #[response(status = 408)]
    Late(ErrorBody<'static>),
    /// `PAYLOAD_TOO_LARGE`.
    #[response(status = 413)]
    TooLarge(ErrorBody<'static>),
    /// `UNSUPPORTED_ENCODING`: it is compressed.
    #[response(status = 415)]
    Compressed(ErrorBody<'static>),
}

/// `RATE_LIMIT_EXCEEDED`: this address asks too often.
#[derive(IntoResponses)]
#[response(status = 429)]
#[expect(dead_code, reason = "describes `rate::limit`")]
pub(super) struct Limited(TooMany);

/// `CLUSTER_UNAVAILABLE`, `DATABASE_UNAVAILABLE`: nobody can say now. It may have happened; with the same
/// `Idempotency-Key`, where the route takes one, a retry is harmless.
#[derive(IntoResponses)]
#[response(status = 503, headers(("Retry-After" = u32, description = "Seconds.")))]
#[expect(dead_code, reason = "describes `ApiError::unavailable`")]
pub(super) struct Unsure(ErrorBody<'static>);

/// `CLUSTER_UNAVAILABLE`: the node's log is still being replayed.
#[derive(IntoResponses)]
#[response(status = 503, headers(("Retry-After" = u32, description = "Seconds.")))]
#[expect(dead_code, reason = "describes what a starting node answers")]
pub(super) struct Starting(ErrorBody<'static>);

/// `TOKEN_MISSING`, `TOKEN_INVALID`.
#[derive(IntoResponses)]
#[response(status = 401)]
#[expect(dead_code, reason = "describes `guard::token`")]
pub(super) struct NoToken(ErrorBody<'static>);

/// The caller may not act as this player.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes `guard::smart`")]
pub(super) enum NotThePlayer {
    /// `TOKEN_REQUIRED_FOR_REGISTERED_USER`, `TOKEN_INVALID`.
    #[response(status = 401)]
    NoToken(ErrorBody<'static>),
    /// `PLAYER_ID_TOKEN_MISMATCH`.
    #[response(status = 403)]
    SomebodyElse(ErrorBody<'static>),
}

/// The player a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path")]
pub(super) struct PlayerInPath {
    #[param(rename = "playerId", pattern = "^[A-Za-z0-9_-]{21}$")]
    player_id: String,
}

/// `true`, in every answer of its kind.
pub(super) fn always_true() -> Object {
    constant(true)
}

/// `false`, in every answer of its kind.
pub(super) fn always_false() -> Object {
    constant(false)
}

fn constant(value: bool) -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([value])).build()
}
