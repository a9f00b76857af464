//! The tokens themselves in `session:*`, where the operator wants them there (`REDIS_SESSION_TOKENS`): whoever can read
//! that Redis can then act as any player who is logged in.
//!
//! No token is kept anywhere in the cluster. They are signed again from what the log has given, which gives the same
//! text for as long as what is known of the player is the same. Where the player can't be looked up now, the login
//! is told without its tokens until it is written the next time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use serverv2_machine::{Issued, Player, PlayerId};
use tracing::debug;

use super::project::Wanted;
use crate::auth::{SignedPair, TokenKeys};
use crate::records::Records;

/// Players who are looked up at once.
const AT_ONCE: usize = 32;

/// Signs what is to be written.
pub struct Signer {
    /// With what.
    pub keys: Arc<TokenKeys>,
    /// For whom.
    pub records: Arc<dyn Records>,
}

impl Signer {
    /// Puts their tokens into these logins.
    pub(super) async fn sign(&self, wanted: &mut [Wanted]) {
        let whose = wanted.iter().filter_map(|wanted| match wanted {
            Wanted::Login(login) => Some((login.player, None)),
            _ => None,
        });
        let mut players: BTreeMap<PlayerId, Option<Player>> = whose.collect();
        let ids: Vec<PlayerId> = players.keys().copied().collect();
        for some in ids.chunks(AT_ONCE) {
            let looking = some.iter().map(|id| async move { (*id, self.player(*id).await) });
            players.extend(join_all(looking).await);
        }
        for wanted in wanted {
            if let Wanted::Login(login) = wanted
                && let Some(Some(player)) = players.get(&login.player)
            {
                let issued = Issued { player: player.clone(), pair: login.pair };
                let SignedPair { access, refresh } = self.keys.sign(&issued);
                login.fields.extend([("accessToken", access), ("refreshToken", refresh)]);
            }
        }
    }

    async fn player(&self, id: PlayerId) -> Option<Player> {
        let found = self.records.player(id).await;
        found.inspect_err(|error| debug!(%error, "a login is told without its tokens")).ok()?
    }
}
