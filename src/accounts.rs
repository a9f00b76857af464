//! Looking an account up, wherever it was made.

use serverv2_machine::{Player, PlayerId};
use serverv2_raft::{Cluster, ProposeError};

/// The account as this node knows it. One that is unknown here may have been made through another node
/// a moment ago: nobody is told that it does not exist before the leader was asked.
pub(crate) async fn find(
    cluster: &Cluster,
    player: PlayerId,
) -> Result<Option<Player>, ProposeError> {
    if let Some(account) = cluster.read(|_, records| records.player(player)).value {
        return Ok(Some(account));
    }
    Ok(cluster.read_linearizable(|_, records| records.player(player)).await?.value)
}
