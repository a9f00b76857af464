//! Whether a token counts now, by all that the cluster knows.

use serverv2_machine::planted::{self, Bug};
use serverv2_machine::{RevokeToken, TokenId};
use serverv2_raft::{Cluster, SURE_FOR};

use super::{Claims, TokenKeys};
use crate::random;
use crate::redis::blacklist::Blacklist;

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not one of ours, or expired.
    Invalid,
    /// Its family is revoked.
    Revoked,
    /// It may be revoked and this node not know it.
    Unsure,
}

/// What an access token says, if it counts.
fn accept(keys: &TokenKeys, cluster: &Cluster, text: &str) -> Result<Claims, Refused> {
    let claims = keys.access(text, random::wall_ms()).map_err(|_| Refused::Invalid)?;
    still_counts(cluster, claims.token)?;
    Ok(claims)
}

/// The same, where other services may have revoked it. What they have is put into the log.
pub(crate) async fn accept_shared(
    keys: &TokenKeys,
    cluster: &Cluster,
    blacklist: Option<&Blacklist>,
    text: &str,
) -> Result<Claims, Refused> {
    let claims = accept(keys, cluster, text)?;
    let Some(blacklist) = blacklist else { return Ok(claims) };
    if !blacklist.has(claims.token).await {
        // That may have taken a while.
        still_counts(cluster, claims.token)?;
        return Ok(claims);
    }
    let revoke = RevokeToken { token: claims.token, remaining_ms: claims.remaining_ms };
    match cluster.propose(revoke, None).await {
        Ok(_) => tracing::info!(player.id = %claims.player, "another service has revoked a token"),
        Err(error) => tracing::warn!(%error, "a revocation of another service is not in the log"),
    }
    Err(Refused::Revoked)
}

/// Looks again at a token that was accepted: for whoever has had something else to do since.
pub(crate) fn still_counts(cluster: &Cluster, token: TokenId) -> Result<(), Refused> {
    if planted::has(Bug::BlacklistFailOpen) {
        return Ok(());
    }
    if cluster.read(|machine, _| machine.is_revoked(token)).value {
        return Err(Refused::Revoked);
    }
    if is_sure(cluster) { Ok(()) } else { Err(Refused::Unsure) }
}

/// Whether this node is sure to know of every revocation that anybody was told of. A logout is acknowledged
/// everywhere after longer than its knowledge may be old (`rest/tokens.rs`).
pub(crate) fn is_sure(cluster: &Cluster) -> bool {
    cluster.uncertainty().is_some_and(|age| age < SURE_FOR)
}
