//! Notices: what nodes tell each other beside the log. They decide nothing, and may get lost.
//!
//! A notice is bytes that mean nothing here, at most [`NOTICE_BYTES_MAX`] of them, and has an answer of the
//! same kind. It goes over a connection of its own to each peer, so that it waits for nothing of consensus and
//! nothing of consensus waits for it; one notice at a time. Who has not answered in time may have heard it or
//! not.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use serverv2_machine::NodeId;
use tokio::time::timeout;

use crate::network::Peers;
use crate::transport::link::{CallError, Link};
use crate::transport::message::{Request, Response};

/// Bytes of a notice, and of its answer.
pub const NOTICE_BYTES_MAX: usize = 64 * 1024;

/// Answers what another node tells; must not block.
pub type Listener = Box<dyn Fn(NodeId, &[u8]) -> Vec<u8> + Send + Sync>;

/// Who listens on this node, and its ways to the others.
#[derive(Default)]
pub(crate) struct Notices {
    listener: OnceLock<Listener>,
    /// By peer, as many as there ever were members. Taken for one notice at a time.
    ways: Mutex<BTreeMap<u64, Arc<tokio::sync::Mutex<Option<Link>>>>>,
}

impl Notices {
    /// False if somebody listens already.
    pub(crate) fn listen(&self, listener: Listener) -> bool {
        self.listener.set(listener).is_ok()
    }

    /// What this node says to a peer's notice.
    pub(crate) fn answer(&self, from: u64, notice: &[u8]) -> Response {
        if notice.len() > NOTICE_BYTES_MAX {
            return Response::Failed(format!("a notice of {} bytes is too large", notice.len()));
        }
        // A node that is still starting has no sockets to tell.
        let answer = self.listener.get().map(|listener| listener(NodeId(from), notice));
        Response::Noticed(answer.filter(|answer| answer.len() <= NOTICE_BYTES_MAX))
    }

    /// Tells these peers at once, each within `patience`; gives the answers of those that listen.
    pub(crate) async fn tell(
        &self,
        peers: &Peers,
        to: &[NodeId],
        notice: &[u8],
        patience: Duration,
    ) -> BTreeMap<NodeId, Vec<u8>> {
        let telling = to.iter().map(|peer| async move {
            let told = timeout(patience, self.tell_one(peers, peer.0, notice, patience)).await;
            match told {
                Ok(Ok(answer)) => answer.map(|answer| (*peer, answer)),
                Ok(Err(error)) => {
                    tracing::debug!(peer = peer.0, %error, "a peer has not heard a notice");
                    None
                }
                Err(_) => {
                    tracing::debug!(peer = peer.0, "a peer has not answered a notice in time");
                    None
                }
            }
        });
        join_all(telling).await.into_iter().flatten().collect()
    }

    async fn tell_one(
        &self,
        peers: &Peers,
        peer: u64,
        notice: &[u8],
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let way = self.ways.lock().entry(peer).or_default().clone();
        let mut way = way.lock().await;
        let request = Request::Notice(notice.to_vec());
        // A connection that was made for an earlier notice may have died with the peer's last process.
        if let Some(mut link) = way.take() {
            match link.call(&request, patience).await {
                Ok(response) => {
                    *way = Some(link);
                    return answer_in(peer, response);
                }
                Err(CallError::Broken(..)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut link = peers.link(peer).ok_or_else(|| nowhere(peer))?;
        let response = link.call(&request, patience).await?;
        *way = Some(link);
        answer_in(peer, response)
    }
}

fn answer_in(peer: u64, response: Response) -> Result<Option<Vec<u8>>, CallError> {
    match response {
        Response::Noticed(answer) => Ok(answer),
        _ => Err(CallError::Failed(peer, "it answers another question".to_owned())),
    }
}

fn nowhere(peer: u64) -> CallError {
    CallError::Failed(peer, "nobody knows where it is".to_owned())
}
