//! Whoever is connected by a token that another service revokes is made to go.
//!
//! What this cluster revokes comes as an effect of the log, at once. What others put into Redis nobody tells: so
//! the tokens of the sockets that are open here are looked up, all of them within [`ROUND`] and a moment, a page at a
//! time and never faster than [`PAUSE`] allows, beside all requests. A socket whose token is found is dismissed at
//! once, and the log is told, so that it holds at all nodes and without Redis. While Redis is away nobody is cut
//! for it: the log alone decides then, as at the door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serverv2_machine::{RevokeToken, TokenId};
use serverv2_raft::Cluster;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::counters::Cut;
use crate::random;
use crate::redis::blacklist::{Blacklist, PAGE};
use crate::sessions::LocalSessions;

/// From the beginning of one look at all tokens to that of the next.
const ROUND: Duration = Duration::from_secs(3);
/// Between two pages: at most 10,000 tokens a second are asked for.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks for as long as the dispatcher, whose progress `delivered` tells, is there.
pub(super) async fn watch(
    cluster: Cluster,
    (sessions, blacklist): (Arc<LocalSessions>, Arc<Blacklist>),
    delivered: watch::Receiver<u64>,
) {
    while delivered.has_changed().is_ok() {
        let next = Instant::now() + ROUND;
        let held = sessions.with_token(|_| true);
        // Several sockets may be there by one token.
        let tokens: BTreeMap<TokenId, u64> = held
            .iter()
            .filter_map(|socket| socket.token)
            .map(|it| (it.id, it.expires_ms))
            .collect();
        drop(held);
        let all: Vec<TokenId> = tokens.keys().copied().collect();
        for page in all.chunks(PAGE) {
            let revoked = match blacklist.those_of(page).await {
                Ok(revoked) => revoked,
                Err(error) => {
                    debug!(%error, "the tokens of open sockets could not be looked up");
                    break;
                }
            };
            // First of all, and whatever becomes of the rest.
            for token in &revoked {
                dismiss(&sessions, *token);
            }
            let expires = |token| tokens.get(&token).copied().unwrap_or_default();
            join_all(revoked.into_iter().map(|token| tell(&cluster, token, expires(token)))).await;
            sleep(PAUSE).await;
        }
        sleep_until(next).await;
    }
}

fn dismiss(sessions: &LocalSessions, token: TokenId) {
    for socket in sessions.with_token(|held| held == token) {
        info!(player.id = %socket.session.player, "another service has revoked a token in use");
        socket.dismiss(Cut::Revoked);
    }
}

/// Until it is in the log the token is asked for at each door.
async fn tell(cluster: &Cluster, token: TokenId, expires_ms: u64) {
    let remaining_ms = expires_ms.saturating_sub(random::wall_ms()).max(1);
    if let Err(error) = cluster.propose(RevokeToken { token, remaining_ms }, None).await {
        warn!(%error, "a revocation of another service is not in the log");
    }
}
