//! The answering end: a listener, and one task for each connection.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::storage::Snapshot as OpenraftSnapshot;
use serverv2_machine::Entry;
use serverv2_machine::planted::{self, Bug};
use tokio::io::BufStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::frame::{self, FRAME_BYTES_MAX, Kind};
use super::handshake::{self, HandshakeError, Identity};
use super::message::{Request, Response};
use super::snapshot::{Incoming, Part};
use crate::checkpoint::Head;
use crate::codec;
use crate::disk::Disk;
use crate::error::StopReason;
use crate::ground::{self, Listener, Stream};
use crate::log_clock::LogClock;
use crate::membership::{self, Leading};
use crate::notices::Notices;
use crate::stamp::stamp;
use crate::state_machine::position;
use crate::succession::Succession;
use crate::types::{Raft, Vote};
use crate::versions::{self, Versions};

/// Connections of peers at once; one more is ended. A cluster of seven needs about forty.
const CONNECTIONS_MAX: usize = 256;
/// Connections that have not proved yet that they are a peer's; for one more the oldest is ended, so that
/// strangers who say nothing keep nobody out.
const STRANGERS_MAX: usize = 256;
/// Time for a handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// Time between two pieces of a snapshot.
const PIECE_PATIENCE: Duration = Duration::from_secs(10);
/// Time for an index to be applied here, if a peer wants to know.
const APPLY_PATIENCE: Duration = Duration::from_secs(2);
/// Most time for a change of the membership.
const CHANGE_PATIENCE_MAX: Duration = Duration::from_secs(3600);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the answers come from.
pub(crate) struct Server {
    pub(crate) raft: Raft,
    pub(crate) own: Arc<Identity>,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) succession: Succession,
    pub(crate) leading: Leading,
    pub(crate) notices: Arc<Notices>,
}

impl Server {
    /// Accepts connections until the node stops; then it lets go of all of them, and of the disk.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: Box<dyn Listener>,
        mut stop: watch::Receiver<Option<StopReason>>,
    ) {
        tokio::select! {
            () = self.accept(listener) => {}
            _ = stop.wait_for(Option::is_some) => {}
        }
    }

    async fn accept(self: Arc<Self>, mut listener: Box<dyn Listener>) {
        let (mut strangers, mut peers) = (JoinSet::new(), JoinSet::new());
        // In the order of their arrival.
        let mut arrivals = VecDeque::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(stream) => {
                        arrivals.retain(|arrival: &AbortHandle| !arrival.is_finished());
                        if arrivals.len() >= STRANGERS_MAX
                            && let Some(oldest) = arrivals.pop_front()
                        {
                            oldest.abort();
                        }
                        let server = self.clone();
                        arrivals.push_back(
                            strangers.spawn(async move { server.greet(stream).await }),
                        );
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a peer's connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(greeted) = strangers.join_next() => {
                    let Ok(Some((stream, node))) = greeted else { continue };
                    if peers.len() >= CONNECTIONS_MAX {
                        tracing::warn!(peer = node, "a peer has too many connections, this one ends");
                        continue;
                    }
                    let server = self.clone();
                    peers.spawn(async move { server.serve(stream, node).await });
                }
                Some(_) = peers.join_next() => {}
            }
        }
    }

    /// Shakes hands: gives the connection back if it is a node's.
    async fn greet(&self, mut stream: Stream) -> Option<(Stream, u64)> {
        let greeting = handshake::answer(&mut stream, &self.own);
        match timeout(HANDSHAKE_PATIENCE, greeting).await {
            Ok(Ok(peer)) => return Some((stream, peer.node)),
            Ok(Err(HandshakeError::Io(error))) => {
                tracing::debug!(%error, "a peer's connection ended");
            }
            Ok(Err(error)) => tracing::warn!(%error, "a peer is not let in"),
            Err(_) => tracing::debug!("a peer's handshake took too long"),
        }
        None
    }

    async fn serve(&self, stream: Stream, peer: u64) {
        let mut appends = false;
        tokio::select! {
            ended = self.converse(BufStream::new(stream), peer, &mut appends) => {
                if let Err(error) = ended {
                    tracing::debug!(peer, %error, "a peer's connection ended");
                }
            }
            () = self.removed(peer) => {
                tracing::info!(peer, "a connection of a node that was removed is ended");
                return;
            }
        }
        if appends {
            self.succession.connection_lost(peer).await;
        }
    }

    /// Waits until this peer is removed from the cluster.
    async fn removed(&self, peer: u64) {
        let mut changes = self.own.replica.membership_changes();
        while !self.own.has_removed(peer) {
            // The sender lives in the replica.
            let _ = changes.changed().await;
        }
    }

    /// Answers until the connection ends; tells whether it was one of entries.
    async fn converse(
        &self,
        mut stream: BufStream<Stream>,
        peer: u64,
        appends: &mut bool,
    ) -> io::Result<()> {
        let mut versions = Versions::first();
        loop {
            let (kind, bytes) = frame::read(&mut stream, FRAME_BYTES_MAX).await?;
            if kind != Kind::Request {
                return Err(frame::invalid("a frame that is no request"));
            }
            let response = match Request::decode(&bytes) {
                Ok(Request::Introduce(theirs)) if versions::are_told() => {
                    let own = Versions::own();
                    match own.agree(&theirs, self.own.replica.level()) {
                        Ok(_) => {
                            versions = theirs;
                            Response::Introduced(own)
                        }
                        Err(why) => Response::Refused(why),
                    }
                }
                // In words that every build understands.
                Ok(_) if let Err(why) = versions.follows(self.own.replica.level()) => {
                    let response = Response::Failed(why.clone());
                    frame::write(&mut stream, Kind::Response, &response.encode()).await?;
                    tracing::warn!(peer, why, "a peer is not let in");
                    return Ok(());
                }
                Ok(Request::Snapshot { vote, meta, head }) => {
                    tracing::info!(peer, "a snapshot is coming in");
                    self.receive(&mut stream, vote, meta, head).await?
                }
                Ok(request) => {
                    *appends |= matches!(request, Request::Append(_));
                    self.answer(peer, request).await
                }
                Err(why) => Response::Failed(why),
            };
            if let Response::Failed(why) = &response {
                tracing::warn!(peer, why, "a peer's request failed");
            }
            frame::write(&mut stream, Kind::Response, &response.encode()).await?;
            if let Response::Refused(why) = response {
                tracing::warn!(peer, why, "a peer is not let in");
                return Ok(());
            }
        }
    }

    async fn answer(&self, peer: u64, request: Request) -> Response {
        let failed = |error: &dyn std::fmt::Display| Response::Failed(error.to_string());
        match request {
            Request::Append(request) => {
                let heard = ground::now();
                match self.raft.append_entries(request).await {
                    Ok(response) => {
                        if !matches!(response, openraft::raft::AppendEntriesResponse::HigherVote(_))
                        {
                            self.clock.heard(heard);
                        }
                        Response::Append(response)
                    }
                    Err(error) => failed(&error),
                }
            }
            Request::Vote { trial: false, request } => {
                self.raft.vote(request).await.map_or_else(|error| failed(&error), Response::Vote)
            }
            Request::Vote { trial: true, request } => self
                .raft
                .pre_vote(request)
                .await
                .map_or_else(|error| failed(&error), Response::Vote),
            Request::Forward(entry) => Response::Forward(self.propose(entry).await),
            Request::ReadIndex if planted::has(Bug::LeaseReadWithoutLease) => {
                Response::ReadIndex(self.own.replica.read().applied.map(|applied| applied.index))
            }
            Request::ReadIndex => {
                let index = self.raft.get_read_log_id(ReadPolicy::ReadIndex).await;
                Response::ReadIndex(index.ok().map(|(index, _)| index.log_id().index))
            }
            Request::AwaitApplied(index) => {
                let applied = self.own.replica.applied_at_least(index);
                Response::Applied(timeout(APPLY_PATIENCE, applied).await.is_ok())
            }
            Request::Transfer(request) => match self.raft.handle_transfer_leader(request).await {
                Ok(done) => {
                    if let Err(why) = &done {
                        tracing::info!(%why, "the lead was not taken over");
                    }
                    Response::Transferred(done.is_ok())
                }
                Err(error) => failed(&error),
            },
            Request::Members => {
                let Leading { raft, peers, .. } = &self.leading;
                Response::Members(membership::look(raft, &peers.own.replica, peers.own.node))
            }
            Request::Change { change, patience_ms } => {
                let patience = Duration::from_millis(patience_ms).min(CHANGE_PATIENCE_MAX);
                Response::Change(self.leading.change(change, patience).await)
            }
            Request::Notice(notice) => self.notices.answer(peer, &notice),
            Request::Snapshot { .. } | Request::Introduce(_) => {
                Response::Failed("a message out of its place".to_owned())
            }
        }
    }

    /// Another node's proposals, in an entry of their own; `None`: this node does not lead.
    async fn propose(&self, entry: Entry) -> Option<u64> {
        let written = self.raft.client_write(stamp(entry, &self.clock)).await;
        written.ok().map(|written| written.log_id.index)
    }

    /// Takes in a snapshot's parts and has it installed. An error ends the connection.
    async fn receive(
        &self,
        stream: &mut BufStream<Stream>,
        vote: Vote,
        meta: Vec<u8>,
        head: Head,
    ) -> io::Result<Response> {
        let about = codec::decode_snapshot_meta(&meta).map_err(|why| frame::invalid(&why))?;
        let incoming = Incoming::begin(self.disk.clone(), meta, position(&about), head);
        loop {
            let frame = timeout(PIECE_PATIENCE, frame::read(stream, FRAME_BYTES_MAX)).await;
            let (part, is_last) = match frame.map_err(|_| io::ErrorKind::TimedOut)?? {
                (Kind::Piece, bytes) => (Part::Piece(bytes), false),
                (Kind::End, bytes) => (end(&bytes)?, true),
                (kind, _) => return Err(frame::invalid(&format!("{kind:?} amid a snapshot"))),
            };
            let is_taken = incoming.add(part).await;
            if is_last {
                break;
            }
            if !is_taken {
                // The rest would have to be read to say so in order.
                let why = incoming.end().await.err().unwrap_or_default();
                return Err(io::Error::other(why));
            }
        }
        let snapshot = match incoming.end().await {
            Ok(file) => OpenraftSnapshot { meta: about, snapshot: file },
            Err(why) => return Ok(Response::Failed(why)),
        };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        Ok(installed.map_or_else(|error| Response::Failed(error.to_string()), Response::Snapshot))
    }
}

/// What the end of a snapshot says.
fn end(bytes: &[u8]) -> io::Result<Part> {
    let parts = bytes.split_first_chunk::<4>();
    let (crc, records) = parts.ok_or_else(|| frame::invalid("the end of a snapshot is cut"))?;
    let records: [u8; 8] =
        records.try_into().map_err(|_| frame::invalid("the end of a snapshot is cut"))?;
    Ok(Part::End { crc: u32::from_be_bytes(*crc), records: u64::from_be_bytes(records) })
}
