//! Accounts. They live in the records, outside the machine's own memory; only the rules are here.

use std::sync::Arc;

use crate::applied::Rejection;
use crate::command::{CreatePlayer, RenamePlayer};
use crate::ids::PlayerId;
use crate::limits::{NAME_CHARS_MAX, PLAYERS_MAX};
use crate::machine::{Machine, Turn};
use crate::records::{Player, Records};

impl Machine {
    pub(crate) fn create_player(
        turn: &mut Turn<'_>,
        c: &CreatePlayer,
    ) -> Result<Player, Rejection> {
        check_name(&c.name)?;
        if turn.records.player(c.player).is_some() {
            return Err(Rejection::PlayerExists);
        }
        if turn.records.player_count() >= PLAYERS_MAX {
            return Err(Rejection::PlayersFull);
        }
        let player = Player {
            id: c.player,
            name: Arc::clone(&c.name),
            created: turn.wall,
            last_login: turn.wall,
            email: None,
            email_bound: None,
        };
        turn.records.put_player(&player);
        Ok(player)
    }

    pub(crate) fn rename_player(
        turn: &mut Turn<'_>,
        c: &RenamePlayer,
    ) -> Result<Player, Rejection> {
        check_name(&c.name)?;
        let player = turn.records.player(c.player).ok_or(Rejection::PlayerUnknown)?;
        let player = Player { name: Arc::clone(&c.name), ..player };
        turn.records.put_player(&player);
        Ok(player)
    }
}

/// What others see of an account; one that can't be read gets a name made of its id (contract 3.6).
/// `outside`: the name of a player who is kept outside.
pub(crate) fn display_name(
    records: &dyn Records,
    id: PlayerId,
    outside: Option<Arc<str>>,
) -> Arc<str> {
    match outside.or_else(|| records.player(id).map(|player| player.name)) {
        Some(name) => name,
        None => format!("Player {}", &id.as_str()[..8]).into(),
    }
}

fn check_name(name: &str) -> Result<(), Rejection> {
    // Bytes first: a name of megabytes is not worth counting.
    let bounded = name.len() <= 4 * NAME_CHARS_MAX && name.chars().count() <= NAME_CHARS_MAX;
    if bounded && !name.is_empty() { Ok(()) } else { Err(Rejection::NameInvalid) }
}
