//! The calling end: one connection to one peer, made when it is needed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serverv2_storage::StorageError;
use tokio::io::BufStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::frame::{self, FRAME_BYTES_MAX, Kind};
use super::handshake::{self, Called, HandshakeError, Identity, PeerCard};
use super::message::{Request, Response};
use super::snapshot::Part;
use crate::ground::Stream;
use crate::versions::{self, Versions};

/// Time to connect and shake hands.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// Time to send a piece of a snapshot.
const PIECE_PATIENCE: Duration = Duration::from_secs(10);
/// Time to install one that was sent.
const INSTALL_PATIENCE: Duration = Duration::from_secs(120);

/// Why a call has no answer. The peer may or may not have acted on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("connect to node {0} at {1}: {2}")]
    Connect(u64, String, HandshakeError),
    #[error("talk to node {0}: {1}")]
    Broken(u64, io::Error),
    #[error("node {0} did not answer in time")]
    Late(u64),
    #[error("node {0}: {1}")]
    Failed(u64, String),
}

/// A way to one peer; what it carries is answered in order.
pub(crate) struct Link {
    own: Arc<Identity>,
    peer: u64,
    address: String,
    stream: Option<BufStream<Stream>>,
    /// What the peer said of itself on the newest connection, and the protocol that both speak.
    versions: (Versions, u32),
}

impl Link {
    pub(crate) fn new(own: Arc<Identity>, peer: u64, address: String) -> Self {
        Self { own, peer, address, stream: None, versions: (Versions::first(), 1) }
    }

    /// Who is at its other end.
    pub(crate) fn peer(&self) -> u64 {
        self.peer
    }

    /// Says who is there, if it is somebody that may be taken in.
    pub(crate) async fn greet_newcomer(&mut self) -> Result<PeerCard, CallError> {
        let connected = self.connect(Instant::now() + CONNECT_PATIENCE, Called::Newcomer).await?;
        Ok(connected.1)
    }

    /// Connects anew, and says who is there.
    pub(crate) async fn greet(&mut self) -> Result<PeerCard, CallError> {
        let deadline = Instant::now() + CONNECT_PATIENCE;
        let (stream, card) = self.connect(deadline, Called::Member).await?;
        self.stream = Some(stream);
        Ok(card)
    }

    /// Asks, within a time. A connection on which anything goes wrong, or whose call is dropped before
    /// its answer came, is not used again.
    pub(crate) async fn call(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, CallError> {
        let deadline = Instant::now() + patience;
        let mut stream = self.ready(deadline).await?;
        self.check(request)?;
        self.send(&mut stream, request, deadline).await?;
        self.answer(stream, deadline).await
    }

    /// Sends a snapshot behind its announcement. There is a time for each step, not for the whole.
    pub(crate) async fn send_snapshot(
        &mut self,
        request: &Request,
        mut parts: mpsc::Receiver<Result<Part, StorageError>>,
    ) -> Result<Response, CallError> {
        let peer = self.peer;
        let mut stream = self.ready(Instant::now() + CONNECT_PATIENCE).await?;
        self.check(request)?;
        self.send(&mut stream, request, Instant::now() + PIECE_PATIENCE).await?;
        while let Some(part) = parts.recv().await {
            let part = part.map_err(|error| CallError::Failed(peer, error.to_string()))?;
            let deadline = Instant::now() + PIECE_PATIENCE;
            let sent = match part {
                Part::Piece(bytes) => {
                    timeout_at(deadline, frame::write(&mut stream, Kind::Piece, &bytes)).await
                }
                Part::End { crc, records } => {
                    let body = [&crc.to_be_bytes()[..], &records.to_be_bytes()].concat();
                    timeout_at(deadline, frame::write(&mut stream, Kind::End, &body)).await
                }
            };
            let sent = sent.map_err(|_| CallError::Late(peer))?;
            sent.map_err(|error| CallError::Broken(peer, error))?;
        }
        self.answer(stream, Instant::now() + INSTALL_PATIENCE).await
    }

    /// The connection, or a new one.
    async fn ready(&mut self, deadline: Instant) -> Result<BufStream<Stream>, CallError> {
        match self.stream.take() {
            Some(stream) => Ok(stream),
            None => {
                let deadline = deadline.min(Instant::now() + CONNECT_PATIENCE);
                Ok(self.connect(deadline, Called::Member).await?.0)
            }
        }
    }

    /// The level may have been raised, and the peer be of a build that does not know it.
    fn check(&self, request: &Request) -> Result<(), CallError> {
        let (versions, protocol) = &self.versions;
        let since = request.since_protocol();
        let speaks = if since > *protocol {
            Err(format!("it speaks peer protocol {protocol}, this message is of {since}"))
        } else {
            versions.follows(self.own.replica.level())
        };
        speaks.map_err(|why| CallError::Failed(self.peer, why))
    }

    async fn send(
        &self,
        stream: &mut BufStream<Stream>,
        request: &Request,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let peer = self.peer;
        let message = request.encode().map_err(|why| CallError::Failed(peer, why))?;
        let sent = timeout_at(deadline, frame::write(stream, Kind::Request, &message)).await;
        sent.map_err(|_| CallError::Late(peer))?.map_err(|error| CallError::Broken(peer, error))
    }

    async fn answer(
        &mut self,
        mut stream: BufStream<Stream>,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        let peer = self.peer;
        let answered = timeout_at(deadline, frame::read(&mut stream, FRAME_BYTES_MAX)).await;
        let answered = answered.map_err(|_| CallError::Late(peer))?;
        let (kind, bytes) = answered.map_err(|error| CallError::Broken(peer, error))?;
        if kind != Kind::Response {
            return Err(CallError::Failed(peer, format!("{kind:?} came instead of an answer")));
        }
        let response = Response::decode(&bytes).map_err(|why| CallError::Failed(peer, why))?;
        self.stream = Some(stream);
        match response {
            Response::Failed(why) => Err(CallError::Failed(peer, why)),
            response => Ok(response),
        }
    }

    async fn connect(
        &mut self,
        deadline: Instant,
        called: Called,
    ) -> Result<(BufStream<Stream>, PeerCard), CallError> {
        if self.own.removal.is_known() {
            // It would be told so each time.
            let error = HandshakeError::Removed;
            return Err(CallError::Connect(self.peer, self.address.clone(), error));
        }
        let connecting = async {
            let mut stream = self.own.net.connect(&self.address).await?;
            let said = versions::are_told().then(Versions::own);
            let first = said.clone().map(|said| Request::Introduce(said).encode());
            let first = first.transpose().map_err(HandshakeError::Refused)?.unwrap_or_default();
            let card = handshake::call(&mut stream, &self.own, self.peer, called, &first).await?;
            let mut stream = BufStream::new(stream);
            let versions = introduced(&mut stream, &self.own, said.as_ref()).await?;
            Ok((stream, card, versions))
        };
        match timeout_at(deadline, connecting).await {
            Ok(Ok((stream, card, versions))) => {
                self.versions = versions;
                Ok((stream, card))
            }
            Ok(Err(error)) => {
                if !matches!(error, HandshakeError::Io(_)) {
                    tracing::warn!(peer = self.peer, %error, "a peer and this node don't go together");
                }
                Err(CallError::Connect(self.peer, self.address.clone(), error))
            }
            Err(_) => Err(CallError::Late(self.peer)),
        }
    }
}

/// What the other side answers to what this one said of itself; whoever does not understand that is of the
/// first builds.
async fn introduced(
    stream: &mut BufStream<Stream>,
    own: &Identity,
    said: Option<&Versions>,
) -> Result<(Versions, u32), HandshakeError> {
    let Some(said) = said else { return Ok((Versions::first(), 1)) };
    let (kind, bytes) = frame::read(stream, FRAME_BYTES_MAX).await?;
    if kind != Kind::Response {
        return Err(frame::invalid("a frame that is no answer").into());
    }
    let theirs = match Response::decode(&bytes).map_err(HandshakeError::Refused)? {
        Response::Introduced(versions) => versions,
        Response::Refused(why) => return Err(HandshakeError::RefusedThere(why)),
        _ => Versions::first(),
    };
    let protocol = said.agree(&theirs, own.replica.level()).map_err(HandshakeError::Refused)?;
    Ok((theirs, protocol))
}
