//! A player as the existing server's database prints it (contract 1.7 and 6.2): its rows leak into answers.

use serde::Serialize;
use serde_json::value::RawValue;
use serverv2_machine::Player;
use utoipa::ToSchema;

use super::time;

/// All columns of `players`.
#[derive(Serialize, ToSchema)]
pub(super) struct PlayerRow<'a> {
    id: &'a str,
    name: &'a str,
    created_at: String,
    last_login_at: String,
    #[schema(value_type = utoipa::openapi::Object)]
    metadata: Metadata<'a>,
    #[schema(required = true)]
    email: Option<&'a str>,
    email_verified: bool,
    #[schema(required = true)]
    email_bound_at: Option<String>,
    is_registered: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Metadata<'a> {
    /// An object without keys.
    Empty {},
    Stored(&'a RawValue),
}

impl<'a> PlayerRow<'a> {
    /// What everybody may see of it.
    pub(super) fn for_everybody(player: &'a Player) -> Self {
        Self { email: None, email_bound_at: None, ..Self::of(player) }
    }

    /// What the player himself may see of it.
    pub(super) fn with_metadata(self, metadata: Option<&'a RawValue>) -> Self {
        Self { metadata: metadata.map_or(self.metadata, Metadata::Stored), ..self }
    }

    /// The row of this player.
    pub(super) fn of(player: &'a Player) -> Self {
        Self {
            id: player.id.as_str(),
            name: &player.name,
            created_at: time::as_stored(player.created),
            last_login_at: time::as_stored(player.last_login),
            metadata: Metadata::Empty {},
            email: player.email.as_deref(),
            email_verified: player.is_registered(),
            email_bound_at: player.email_bound.map(time::as_stored),
            is_registered: player.is_registered(),
        }
    }
}
