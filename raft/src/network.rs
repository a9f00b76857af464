//! How openraft reaches peers: each of its clients is a [`Link`] of its own.
//!
//! A peer that can't be reached, is late or answers nonsense is *unreachable*: openraft backs off, and
//! counts no vote, not even a trial one. A node never connects to itself; openraft does not ask it to.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use parking_lot::Mutex;
use serverv2_storage::StorageError;
use tokio::time::Instant;

use crate::codec;
use crate::disk::Shot;
use crate::log_adapter::Stores;
use crate::node::snapshots::Receivers;
use crate::transport::handshake::Identity;
use crate::transport::link::{CallError, Link};
use crate::transport::message::{Request, Response};
use crate::transport::snapshot::Outgoing;
use crate::types::{Member, TypeConfig, Vote};

/// Time for a follower to store entries: a slow disk is no lost peer.
const APPEND_PATIENCE: Duration = Duration::from_secs(2);

/// Makes links to peers.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) own: Arc<Identity>,
    /// Where this node reaches the listed ones; of others the membership says it.
    pub(crate) addresses: Arc<BTreeMap<u64, String>>,
    /// By peer; as many as there ever were members.
    reaches: Arc<Mutex<BTreeMap<u64, Arc<Reach>>>>,
    /// Who is getting snapshots.
    pub(crate) receivers: Arc<Receivers>,
    /// Whence snapshots come; weak, as the node's end must not wait for whoever holds this.
    stores: Weak<Stores>,
}

/// The way to one peer.
pub(crate) struct Peer {
    link: Link,
    stores: Weak<Stores>,
    reach: Arc<Reach>,
    receivers: Arc<Receivers>,
}

/// Whether a peer is reached, so that the log says when that changes and not each time.
#[derive(Default)]
pub(crate) struct Reach(AtomicBool);

impl Reach {
    fn tell<T>(&self, peer: u64, called: &Result<T, CallError>) {
        let lost = called.is_err();
        if self.0.swap(lost, Ordering::Relaxed) != lost {
            match called {
                Ok(_) => tracing::info!(peer, "a peer is reached again"),
                Err(error) => tracing::warn!(peer, %error, "a peer is not reached"),
            }
        }
    }
}

impl Peers {
    /// Ways from this node to peers at these addresses.
    pub(crate) fn new(
        own: Arc<Identity>,
        addresses: BTreeMap<u64, String>,
        stores: Weak<Stores>,
    ) -> Self {
        Self {
            own,
            addresses: Arc::new(addresses),
            reaches: Arc::default(),
            receivers: Arc::default(),
            stores,
        }
    }

    /// A link to this peer, if an address of it is known.
    pub(crate) fn link(&self, target: u64) -> Option<Link> {
        Some(Link::new(self.own.clone(), target, self.address(target)?))
    }

    /// A link to whoever answers at this address under this id.
    pub(crate) fn link_to(&self, target: u64, address: String) -> Link {
        Link::new(self.own.clone(), target, address)
    }

    /// Where this node reaches a peer.
    pub(crate) fn address(&self, target: u64) -> Option<String> {
        self.addresses.get(&target).cloned().or_else(|| {
            let state = self.own.replica.read();
            state.members.membership().get_node(&target).map(|member| member.address.clone())
        })
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer {
        let address = self.addresses.get(&target).unwrap_or(&member.address).clone();
        let reach = self.reaches.lock().entry(target).or_default().clone();
        let link = Link::new(self.own.clone(), target, address);
        Peer { link, stores: self.stores.clone(), reach, receivers: self.receivers.clone() }
    }
}

/// An answer to another question than the one that was asked.
fn foreign() -> Unreachable<TypeConfig> {
    Unreachable::new(&std::io::Error::other("the peer answers another question"))
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Shot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        // openraft's time is a heartbeat's: fine for a heartbeat, while entries wait for a disk.
        let patience = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_PATIENCE };
        match self.call(&Request::Append(request), patience).await {
            Ok(Response::Append(response)) => Ok(response),
            Ok(_) => Err(foreign().into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(false, request, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(true, request, &option).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(&Request::Transfer(request), option.hard_ttl()).await {
            Ok(Response::Transferred(true)) => Ok(Ok(())),
            Ok(_) => Err(foreign().into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, Shot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let position = snapshot.meta.last_log_id.map_or(0, |last| last.index);
        let meta = codec::encode_snapshot_meta(&snapshot.meta);
        let Outgoing { head, parts } = match self.outgoing(&snapshot.snapshot, position) {
            Ok(outgoing) => outgoing,
            Err(error) => {
                tracing::debug!(peer = self.link.peer(), %error, "a snapshot can't be sent now");
                return Err(Unreachable::new(&error).into());
            }
        };
        let began = Instant::now();
        let request = Request::Snapshot { vote, meta, head };
        let node = self.link.peer();
        self.receivers.begins(node);
        let mut receiving = Receiving { receivers: self.receivers.clone(), node, got_it: false };
        let sending = self.link.send_snapshot(&request, parts);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = sending => match answer {
                Ok(Response::Snapshot(response)) => {
                    receiving.got_it = true;
                    let ms = began.elapsed().as_millis();
                    tracing::info!(peer = node, raft.index = position, ms, "a snapshot was sent");
                    Ok(response)
                }
                Ok(_) => Err(foreign().into()),
                Err(error) => Err(Unreachable::new(&error).into()),
            },
        }
    }
}

/// A node is getting a snapshot for as long as this lives.
struct Receiving {
    receivers: Arc<Receivers>,
    node: u64,
    got_it: bool,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.got_it {
            self.receivers.got_it(self.node);
        } else {
            self.receivers.lost(self.node);
        }
    }
}

impl Peer {
    fn outgoing(&self, snapshot: &Shot, position: u64) -> Result<Outgoing, StorageError> {
        match snapshot {
            Shot::File(file) => {
                let stopping = || StorageError::Stopped("this node is stopping".to_owned());
                Outgoing::read(&self.stores.upgrade().ok_or_else(stopping)?, file, position)
            }
            #[cfg(feature = "simulation")]
            Shot::Simulated(image) => Ok(image.outgoing()),
        }
    }

    async fn call(&mut self, request: &Request, patience: Duration) -> Result<Response, CallError> {
        let called = self.link.call(request, patience).await;
        self.reach.tell(self.link.peer(), &called);
        called
    }

    async fn ask_vote(
        &mut self,
        trial: bool,
        request: VoteRequest<TypeConfig>,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(&Request::Vote { trial, request }, option.hard_ttl()).await {
            Ok(Response::Vote(response)) => Ok(response),
            Ok(_) => Err(foreign().into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }
}
