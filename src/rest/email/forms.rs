//! The bodies of these routes, for the document: they are read by hand ([`super::fields`]).

use utoipa::ToSchema;

/// Whom to send a code, and what for.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
pub(super) struct SendCodeForm {
    #[schema(format = "email", max_length = 254)]
    email: String,
    /// Whose address it shall be: needed to bind it.
    #[schema(nullable = false, min_length = 1)]
    player_id: Option<String>,
    purpose: CodePurpose,
}

/// What a code is good for.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
enum CodePurpose {
    Bind,
    Recover,
}

/// A code to check.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
pub(super) struct VerifyCodeForm {
    #[schema(min_length = 1)]
    player_id: String,
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(pattern = "^[0-9]{6}$")]
    code: String,
    purpose: CodePurpose,
}

/// A code that was sent to bind an address.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
pub(super) struct BindForm {
    #[schema(min_length = 1)]
    player_id: String,
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(pattern = "^[0-9]{6}$")]
    code: String,
}

/// A code that was sent to recover a player.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a form, read by hand")]
pub(super) struct RecoverForm {
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(pattern = "^[0-9]{6}$")]
    code: String,
}

/// Whose address to unbind.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
pub(super) struct UnbindForm {
    #[schema(min_length = 1)]
    player_id: String,
}
