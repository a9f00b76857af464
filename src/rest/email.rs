//! `/api/v1/email`: verification codes, and the addresses they prove (contract 1.7 and 9).
//!
//! What is decided is decided in the log, in the contract's order; here stand the checks of what comes
//! in, and the texts. Answers of these routes have no `code` key; those of the guards and of a cluster
//! that can't say have theirs, as everywhere.
//!
//! There is no `Idempotency-Key` here. Whoever repeats a request that gives tokens must show a code that
//! is still good, and never gets what was given to somebody else under the same key.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serverv2_machine::{CodeLimits, Issued, Purpose, Rejection};
use utoipa::{IntoParams, ToSchema};

use super::body::{self, Fields};
use super::error::{ApiError, ErrorBody, json};
use super::player_row::PlayerRow;
use super::tokens::AuthResult;
use super::{answers, guard};
use crate::app::App;
use crate::auth::draw_code;
use crate::client;
use crate::records::{Binding, GivenCode, NewCode, RecordsError};

mod fields;
mod forms;
mod refusal;
#[cfg(test)]
mod tests;

use forms::{BindForm, RecoverForm, SendCodeForm, UnbindForm, VerifyCodeForm};
use refusal::{EmailRefusal, EmailTooOften, Plain, Refusal};

const CODE_BAD: &str = "验证码无效或已过期";
const EMAIL_TAKEN: &str = "该邮箱已被其他玩家绑定";
const EMAIL_UNBOUND: &str = "该邮箱未绑定任何玩家账户";
const PLAYER_UNKNOWN: &str = "玩家不存在";
const NOT_SENT: &str = "验证码发送失败，请稍后重试";

/// A success with nothing but a text.
#[derive(Serialize, ToSchema)]
struct Done {
    #[schema(schema_with = answers::always_true)]
    success: bool,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    valid: Option<bool>,
}

/// Send a new code, which takes the place of the last one, by mail.
#[utoipa::path(
    post, path = "/api/v1/email/send-verification-code", tag = "E-mail",
    request_body(content((SendCodeForm = "application/json"), (SendCodeForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is on its way.", body = Done),
        (status = 400, description = "Also `PLAYER_ID_MISSING`, `MALFORMED_BODY`.", body = EmailRefusal),
        (status = 404, description = "No player has this address, or `PLAYER_NOT_FOUND`.", body = EmailRefusal),
        (status = 429, description = "Codes are asked for too often, or `RATE_LIMIT_EXCEEDED`.", body = EmailTooOften),
        (status = 500, description = "The mail can't be sent, or `CHECK_PLAYER_ERROR`.", body = EmailRefusal),
        answers::NotThePlayer, answers::BodyRefused, answers::Unsure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn send_code(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = read(&app, request, &["email", "playerId", "purpose"]).await?;
    let email = fields::email(&body)?;
    let named = fields::optional_player_id(&body)?;
    let purpose = fields::purpose(&body)?;
    let player = match purpose {
        Purpose::Recover => None,
        Purpose::Bind if !named => {
            return Err(Refusal::plain(StatusCode::BAD_REQUEST, "绑定操作需要提供玩家ID"));
        }
        Purpose::Bind => Some(guard::smart(&app, &parts.headers, &parts.uri, &body).await?),
    };
    let code = draw_code();
    let mail = &app.settings.mail;
    let create = NewCode {
        email: email.clone(),
        purpose,
        player: player.as_ref().map(|player| player.id),
        source: source(&app, &parts),
        code: code.clone(),
        limits: CodeLimits { per_address: mail.codes_per_address, per_source: mail.codes_per_ip },
    };
    let player = app.records.create_code(create).await.map_err(|error| match error {
        RecordsError::Rejected(Rejection::EmailTaken) => {
            Refusal::plain(StatusCode::BAD_REQUEST, EMAIL_TAKEN)
        }
        RecordsError::Rejected(Rejection::EmailUnbound) => {
            Refusal::plain(StatusCode::NOT_FOUND, EMAIL_UNBOUND)
        }
        RecordsError::Rejected(Rejection::CodeTooSoon | Rejection::CodesLimited) => {
            Refusal::too_often()
        }
        RecordsError::Rejected(Rejection::CodesFull) => {
            tracing::warn!("no more verification codes can be kept");
            Refusal::plain(StatusCode::INTERNAL_SERVER_ERROR, NOT_SENT)
        }
        RecordsError::Rejected(Rejection::PlayerUnknown) => ApiError::player_unknown().into(),
        other => Refusal::proposal(other),
    })?;
    let name = player.as_ref().map(|player| &*player.name);
    if let Err(error) = app.mailer.send_code(&email, &code, purpose, name).await {
        tracing::warn!(%error, %purpose, "a verification code could not be mailed");
        return Err(Refusal::plain(StatusCode::INTERNAL_SERVER_ERROR, NOT_SENT));
    }
    Ok(done("验证码已发送，请查收邮件", None))
}

/// Whether this is the code; it can be used afterwards.
#[utoipa::path(
    post, path = "/api/v1/email/verify-code", tag = "E-mail",
    request_body(content((VerifyCodeForm = "application/json"), (VerifyCodeForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is.", body = Done),
        (status = 400, description = "It is not, or `PLAYER_ID_MISSING`, `MALFORMED_BODY`.", body = EmailRefusal),
        (status = 404, description = "`PLAYER_NOT_FOUND`.", body = ErrorBody<'static>),
        (status = 500, description = "Also `CHECK_PLAYER_ERROR`.", body = EmailRefusal),
        answers::NotThePlayer, answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn verify_code(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = read(&app, request, &["playerId", "email", "code", "purpose"]).await?;
    guard::smart(&app, &parts.headers, &parts.uri, &body).await?;
    let email = fields::email(&body)?;
    let code = fields::code(&body)?;
    let purpose = fields::purpose(&body)?;
    match app.records.check_code(GivenCode { email, purpose, code: code.to_owned() }).await {
        Ok(()) => Ok(done("验证码验证成功", Some(true))),
        Err(RecordsError::Rejected(Rejection::CodeInvalid)) => Err(Refusal::not_valid(CODE_BAD)),
        Err(other) => Err(Refusal::proposal(other)),
    }
}

/// Bind an address to a player, who is registered from then on.
#[utoipa::path(
    post, path = "/api/v1/email/bind", operation_id = "bind_email", tag = "E-mail",
    request_body(content((BindForm = "application/json"), (BindForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is bound.", body = LoggedIn<'static>),
        (
            status = 400, body = EmailRefusal,
            description = "The code is not good, the address somebody else's, or `PLAYER_ID_MISSING`, `MALFORMED_BODY`."
        ),
        (status = 404, description = "Also `PLAYER_NOT_FOUND`.", body = EmailRefusal),
        (status = 500, description = "Also `CHECK_PLAYER_ERROR`.", body = EmailRefusal),
        answers::NotThePlayer, answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn bind(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = read(&app, request, &["playerId", "email", "code"]).await?;
    let player = guard::smart(&app, &parts.headers, &parts.uri, &body).await?;
    let email = fields::email(&body)?;
    let code = fields::code(&body)?;
    fields::player_id(&body)?;
    let auth = &app.settings.auth;
    let binding = Binding {
        player: player.id,
        authenticated: player.is_registered() || auth.guests_need_tokens,
        code: GivenCode { email, purpose: Purpose::Bind, code: code.to_owned() },
        lifetimes: auth.lifetimes(),
    };
    let issued = app.records.bind_email(binding).await.map_err(logging_in)?;
    Ok(logged_in(&app, "邮箱绑定成功", &issued).await)
}

/// Tell whoever reads an address's mail whose it is, and let him in.
#[utoipa::path(
    post, path = "/api/v1/email/recover", tag = "E-mail",
    request_body(content((RecoverForm = "application/json"), (RecoverForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is this player's.", body = LoggedIn<'static>),
        (status = 400, description = "The code is not good, or `MALFORMED_BODY`.", body = EmailRefusal),
        (status = 404, description = "No player has this address.", body = Plain),
        (status = 500, description = "It failed.", body = Plain),
        answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
)]
pub(super) async fn recover(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (_, body) = read(&app, request, &["email", "code"]).await?;
    let email = fields::email(&body)?;
    let code = fields::code(&body)?;
    let given = GivenCode { email, purpose: Purpose::Recover, code: code.to_owned() };
    let lifetimes = app.settings.auth.lifetimes();
    let issued = app.records.recover(given, lifetimes).await.map_err(logging_in)?;
    Ok(logged_in(&app, "玩家ID恢复成功", &issued).await)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    #[param(format = "email")]
    email: String,
}

/// Whose an address is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Binding)]
struct Bound<'a> {
    bound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    player_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    player_name: Option<&'a str>,
}

/// Whose an address is, without an envelope.
#[utoipa::path(
    get, path = "/api/v1/email/check-binding", tag = "E-mail",
    params(Asked),
    responses(
        (status = 200, description = "This player's, or nobody's.", body = Bound<'static>),
        (status = 400, description = "That is no address.", body = Plain),
        (status = 500, description = "It failed.", body = Plain),
        answers::Limited, answers::Unsure,
    ),
)]
pub(super) async fn check_binding(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Query::<Asked>::try_from_uri(request.uri()).ok();
    let email = asked.and_then(|Query(Asked { email })| fields::well_formed(&email));
    let email = email.ok_or_else(|| Refusal::validation(fields::EMAIL_BAD))?;
    let player = app.records.player_by_email(email).await.map_err(looking)?;
    let bound = Bound {
        bound: player.is_some(),
        player_id: player.as_ref().map(|player| player.id.as_str()),
        player_name: player.as_ref().map(|player| &*player.name),
    };
    Ok(json(StatusCode::OK, &bound))
}

/// Unbind a player's address: it is a guest again, and the address is free.
#[utoipa::path(
    post, path = "/api/v1/email/unbind", operation_id = "unbind_email", tag = "E-mail",
    request_body(content((UnbindForm = "application/json"), (UnbindForm = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is free.", body = Done),
        (
            status = 400, body = EmailRefusal,
            description = "The player has no address, or `PLAYER_ID_MISSING`, `MALFORMED_BODY`."
        ),
        answers::NotThePlayer,
        (
            status = 403, body = ErrorBody<'static>,
            description = "`PLAYER_ID_TOKEN_MISMATCH`, `REGISTERED_USER_REQUIRED`."
        ),
        (status = 404, description = "Also `PLAYER_NOT_FOUND`.", body = EmailRefusal),
        (status = 500, description = "Also `CHECK_PLAYER_ERROR`.", body = EmailRefusal),
        answers::BodyRefused, answers::Limited, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn unbind(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = read(&app, request, &["playerId"]).await?;
    let player = guard::smart(&app, &parts.headers, &parts.uri, &body).await?;
    guard::registered(&player)?;
    fields::player_id(&body)?;
    match app.records.unbind_email(player.id).await {
        Ok(()) => Ok(done("邮箱解绑成功", None)),
        Err(RecordsError::Rejected(Rejection::PlayerUnknown)) => {
            Err(Refusal::plain(StatusCode::NOT_FOUND, PLAYER_UNKNOWN))
        }
        Err(RecordsError::Rejected(Rejection::EmailUnbound)) => {
            Err(Refusal::plain(StatusCode::BAD_REQUEST, "该玩家未绑定邮箱"))
        }
        Err(other) => Err(Refusal::proposal(other)),
    }
}

async fn read(
    app: &App,
    request: Request,
    names: &'static [&'static str],
) -> Result<(Parts, Fields), ApiError> {
    let (parts, body) = request.into_parts();
    let fields = body::fields(app, Request::from_parts(parts.clone(), body), names).await?;
    Ok((parts, fields))
}

fn done(message: &'static str, valid: Option<bool>) -> Response {
    json(StatusCode::OK, &Done { success: true, message, valid })
}

/// Why nobody can say whose an address is.
fn looking(error: RecordsError) -> Refusal {
    match error {
        RecordsError::Failed => Refusal::proposal(error),
        _ => ApiError::looking(&error).into(),
    }
}

/// Why nobody is let in.
fn logging_in(error: impl Into<RecordsError>) -> Refusal {
    match error.into() {
        RecordsError::Rejected(Rejection::CodeInvalid) => {
            Refusal::plain(StatusCode::BAD_REQUEST, CODE_BAD)
        }
        RecordsError::Rejected(Rejection::PlayerUnknown) => {
            Refusal::plain(StatusCode::NOT_FOUND, PLAYER_UNKNOWN)
        }
        RecordsError::Rejected(Rejection::TokenRequired) => guard::token_required().into(),
        RecordsError::Rejected(Rejection::EmailTaken) => {
            Refusal::plain(StatusCode::BAD_REQUEST, EMAIL_TAKEN)
        }
        RecordsError::Rejected(Rejection::EmailUnbound) => {
            Refusal::plain(StatusCode::NOT_FOUND, EMAIL_UNBOUND)
        }
        other => Refusal::proposal(other),
    }
}

#[derive(Serialize, ToSchema)]
struct LoggedIn<'a> {
    #[schema(schema_with = answers::always_true)]
    success: bool,
    message: &'static str,
    player: PlayerRow<'a>,
    auth: AuthResult,
}

async fn logged_in(app: &App, message: &'static str, issued: &Issued) -> Response {
    // It has happened: what can't be read now is left out.
    let metadata = app.records.metadata(issued.player.id).await.ok().flatten();
    let player = PlayerRow::of(&issued.player).with_metadata(metadata.as_deref());
    let auth = AuthResult::of(app, issued);
    json(StatusCode::OK, &LoggedIn { success: true, message, player, auth })
}

/// Who asks, for the limit: an address, or of IPv6 the network that one customer is given.
fn source(app: &App, parts: &Parts) -> Arc<str> {
    match client::address(parts, &app.settings.auth.trusted_proxies) {
        None => "unknown".into(),
        Some(IpAddr::V4(address)) => address.to_string().into(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64").into()
        }
    }
}
