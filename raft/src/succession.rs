//! A leader whose process is gone is succeeded at once, not after the election timeout.
//!
//! When the connection breaks over which the leader sends its entries, a follower knocks at the leader's
//! address. *Refused* is the word of the leader's own kernel: nobody listens there any more. Then the
//! follower lets go of its promise to that leader (openraft's lease, whose only use here is to keep
//! elections from disturbing a leader that works: reads ask a quorum each time) and, in the order of
//! the ids, stands for election after a trial vote. The others have seen the same, or refuse.
//!
//! A leader that is asked to stop hands over first ([`hand_over`]): the follower that has most of the log
//! takes it up to its end and is elected at once.
//!
//! A leader that hangs, or whose host or network is gone, refuses nothing: the election timeout finds
//! it, as ever. A wrong guess costs a trial vote and changes nothing.

use std::io::ErrorKind;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::Fatal;
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::network::Peers;
use crate::types::{Raft, TypeConfig, Vote};

/// Longest wait for the answer to a knock.
const KNOCK_PATIENCE: Duration = Duration::from_millis(100);
/// Pauses before the knocks, milliseconds.
const KNOCK_PAUSES_MS: [u64; 5] = [0, 3, 6, 12, 24];
/// Pause before the first follower stands for election, so that the others have seen what it has.
const HEAD_START: Duration = Duration::from_millis(15);
/// Further pause of each next one; a successful election takes less.
const TURN: Duration = Duration::from_millis(60);
/// How often each may stand: a log that is behind, or a follower that has seen nothing yet, refuses.
const ROUNDS_MAX: u32 = 10;

/// How long a follower may take to succeed; then the next try.
const TRY: Duration = Duration::from_millis(500);

/// Gives the lead to this voter, or to the one that has most of the log, if this node leads. Tells who leads
/// then; `None` if that is nobody else yet.
pub(crate) async fn hand_over(
    raft: &Raft,
    own: u64,
    to: Option<u64>,
    patience: Duration,
) -> Option<u64> {
    let hands = async {
        loop {
            let mut metrics = raft.metrics();
            let (leader, furthest) = {
                let now = metrics.borrow_watched();
                let voters: Vec<u64> = now.membership_config.membership().voter_ids().collect();
                let others = now.replication.iter().flatten();
                let others = others.filter(|(id, _)| **id != own && voters.contains(id));
                let others = others.filter(|(id, _)| to.is_none_or(|to| to == **id));
                (now.current_leader, others.max_by_key(|(_, has)| **has).map(|(id, _)| *id))
            };
            match (leader, furthest) {
                (Some(leader), _) if leader != own => return Some(leader),
                (Some(_), Some(to)) => {
                    tracing::info!(to, "hand the lead over");
                    raft.trigger().transfer_leader(to).await.ok()?;
                }
                // Alone, or nobody leads: there is nothing to give.
                _ => return None,
            }
            let succeeded = async {
                while metrics.borrow_watched().current_leader.is_none_or(|leader| leader == own) {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
            };
            let _ = timeout(TRY, succeeded).await;
        }
    };
    timeout(patience, hands).await.ok().flatten()
}

/// What a follower needs to succeed a leader.
pub(crate) struct Succession {
    raft: Raft,
    peers: Peers,
    /// The last vote that was let go of: a leader sends entries over several connections.
    released: Mutex<Option<Vote>>,
}

impl Succession {
    pub(crate) fn new(raft: Raft, peers: Peers) -> Self {
        Self { raft, peers, released: Mutex::default() }
    }

    /// The connection broke over which this node was sent entries.
    pub(crate) async fn connection_lost(&self, node: u64) {
        let Some(vote) = self.vote_of(node) else { return };
        if !self.is_gone(node).await || self.released.lock().replace(vote) == Some(vote) {
            return;
        }
        tracing::info!(node, "the leader's process is gone");
        // To nobody: all it does is to let go of the lease of this very vote.
        let release = TransferLeaderRequest::new(vote, node, None);
        let stopped = match self.raft.handle_transfer_leader(release).await {
            Ok(_) => self.stand(node, vote).await.err(),
            Err(fatal) => Some(fatal),
        };
        if let Some(fatal) = stopped {
            tracing::debug!(%fatal, "consensus has stopped");
        }
    }

    /// Stands for election each time it is this node's turn, until somebody leads.
    async fn stand(&self, gone: u64, vote: Vote) -> Result<(), Fatal<TypeConfig>> {
        let successors: Vec<u64> = self.raft.voter_ids().filter(|id| *id != gone).collect();
        if !successors.contains(&self.peers.own.node) {
            // A learner waits for whom the voters choose.
            return Ok(());
        }
        let before = successors.iter().filter(|id| **id < self.peers.own.node).count();
        let turns = |count: usize| TURN.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        sleep(HEAD_START + turns(before)).await;
        for _ in 0..ROUNDS_MAX {
            if self.vote_of(gone) != Some(vote) {
                break;
            }
            self.raft.trigger().elect(true).await?;
            sleep(turns(successors.len())).await;
        }
        Ok(())
    }

    /// The vote that made this node the leader, if it is.
    fn vote_of(&self, node: u64) -> Option<Vote> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_leader == Some(node)).then_some(metrics.vote)
    }

    /// A dying process closes what it holds one by one: its listener may answer a moment longer.
    async fn is_gone(&self, node: u64) -> bool {
        let Some(address) = self.peers.address(node) else { return false };
        for pause in KNOCK_PAUSES_MS.map(Duration::from_millis) {
            sleep(pause).await;
            match timeout(KNOCK_PATIENCE, self.peers.own.net.connect(&address)).await {
                Ok(Err(error)) => return error.kind() == ErrorKind::ConnectionRefused,
                Ok(Ok(_)) => {}
                Err(_) => return false,
            }
        }
        false
    }
}
