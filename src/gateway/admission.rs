//! Who may connect (contract 3.2), and when a token that was good at the door is good no longer.
//!
//! A revocation reaches a socket from two sides, and one of them always does: whoever connects looks for
//! revocations after the socket is in the table, and whoever applies one looks through the table.

use std::time::Duration;

use axum::extract::Query;
use serde::Deserialize;
use serverv2_machine::{Player, PlayerId};
use serverv2_raft::Cluster;
use socketioxide::extract::SocketRef;
use tokio::sync::watch;
use tracing::warn;

use super::Gateway;
use super::counters::Cut;
use super::socket::{HeldToken, LocalSocket};
use super::wire::{HandshakeAuth, HandshakeError};
use crate::auth::{self, Refused};
use crate::random;
use crate::sessions::LocalSessions;

/// Without word from a majority for this long, a node lets go of who is here by token: other nodes
/// would know better.
const ISOLATION_MAX: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// What the query of a handshake may say (contract 3.2).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Handshake {
    player_id: Option<String>,
    session_id: Option<String>,
    token: Option<String>,
}

/// Who is let in.
pub(super) struct Identity {
    pub(super) account: Player,
    /// The session id that the client chose.
    pub(super) session: Option<String>,
    /// The token by which the player proved to be himself.
    pub(super) token: Option<HeldToken>,
}

impl Gateway {
    /// The rows of contract 3.2, in its order.
    pub(super) async fn identify(
        &self,
        socket: &SocketRef,
        auth: HandshakeAuth,
    ) -> Result<Identity, HandshakeError> {
        let uri = &socket.req_parts().uri;
        let Query(handshake) = Query::<Handshake>::try_from_uri(uri).unwrap_or_default();
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let player = given(handshake.player_id).ok_or(HandshakeError::PlayerIdRequired)?;
        let player: PlayerId = player.parse().map_err(|_| HandshakeError::PlayerNotFound)?;
        let account = self.records.player_at_door(player).await;
        let account = account.map_err(|_| HandshakeError::AuthenticationError)?;
        let account = account.ok_or(HandshakeError::PlayerNotFound)?;
        let needs_token = account.is_registered() || self.settings.guests_need_tokens;
        let token = if needs_token {
            let text = auth.token().or_else(|| given(handshake.token));
            let text = text.ok_or(HandshakeError::TokenRequired)?;
            let claims =
                auth::accept_shared(&self.tokens, &self.cluster, self.blacklist.as_deref(), &text)
                    .await?;
            if claims.player != player {
                return Err(HandshakeError::TokenMismatch);
            }
            let expires_ms = random::wall_ms().saturating_add(claims.remaining_ms);
            Some(HeldToken { id: claims.token, expires_ms })
        } else {
            None
        };
        Ok(Identity { account, session: given(handshake.session_id), token })
    }

    /// Whether this socket, which is in the table now, may stay; if not, it is made to go.
    pub(super) fn may_stay(&self, socket: &LocalSocket) -> bool {
        let Some(token) = socket.token else { return true };
        match auth::still_counts(&self.cluster, token.id) {
            Ok(()) => return true,
            Err(Refused::Unsure) => socket.cut(Cut::Isolated),
            Err(Refused::Revoked | Refused::Invalid) => socket.dismiss(Cut::Revoked),
        }
        false
    }
}

impl From<Refused> for HandshakeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid => Self::InvalidToken,
            Refused::Revoked => Self::TokenBlacklisted,
            Refused::Unsure => Self::AuthenticationError,
        }
    }
}

/// Lets go of all who are here by token once this node has been alone for too long. Ends with the
/// dispatcher, whose progress `delivered` tells.
pub(super) async fn watch_isolation(
    cluster: Cluster,
    sessions: std::sync::Arc<LocalSessions>,
    delivered: watch::Receiver<u64>,
) {
    while delivered.has_changed().is_ok() {
        tokio::time::sleep(LOOK_PERIOD).await;
        if cluster.uncertainty().is_none_or(|age| age <= ISOLATION_MAX) {
            continue;
        }
        let held = sessions.with_token(|_| true);
        if !held.is_empty() {
            warn!(sockets = held.len(), "no majority is reached: who is here by token is cut");
        }
        held.iter().for_each(|socket| socket.cut(Cut::Isolated));
    }
}
