//! Who is there: both sides prove that they know the secret, and agree on which cluster they are in.
//!
//! ```text
//! caller  Hello   { version, cluster name and id, node, folder, nonce }
//! callee  Welcome { the same about itself } + HMAC-SHA256(secret, "callee" Hello Welcome)
//! caller  Proof   HMAC-SHA256(secret, "caller" Hello Welcome)
//! callee  Accepted
//! ```
//!
//! Either side may answer `Refused` with a text instead, so that the reason stands in both logs. Nonces
//! make each proof good for one connection. A node that is in a cluster knows the data folder of each
//! member: another folder under a member's id is refused, since it lacks what that member has promised.

use std::collections::BTreeSet;
use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serverv2_storage::FolderId;
use sha2::Sha256;
use tokio::net::TcpStream;

use super::frame::{self, HANDSHAKE_BYTES_MAX, Kind};
use crate::applier::Replica;
use crate::codec;

/// Changes whenever messages between nodes do.
const VERSION: u32 = 1;

/// What this node says of itself, and knows of others.
pub(crate) struct Identity {
    pub(crate) node: u64,
    pub(crate) folder: [u8; 16],
    pub(crate) cluster_name: String,
    pub(crate) secret: Vec<u8>,
    /// The nodes that form the cluster.
    pub(crate) listed: BTreeSet<u64>,
    pub(crate) replica: Replica,
}

/// One side's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Card {
    version: u32,
    cluster_name: String,
    /// `None`: in no cluster yet.
    cluster: Option<[u8; 16]>,
    node: u64,
    folder: [u8; 16],
    listed: BTreeSet<u64>,
    nonce: [u8; 32],
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct PeerCard {
    pub(crate) node: u64,
    pub(crate) folder: [u8; 16],
    /// Whether it is in a cluster already.
    pub(crate) formed: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The line is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// This side does not want the other.
    #[error("{0}")]
    Refused(String),
    /// The other side does not want this one.
    #[error("it refuses this node: {0}")]
    RefusedThere(String),
}

/// The caller's side; `expected` is the node that was called.
pub(crate) async fn call(
    stream: &mut TcpStream,
    own: &Identity,
    expected: u64,
) -> Result<PeerCard, HandshakeError> {
    let card = own.card();
    let hello = codec::encode(&card);
    frame::write(stream, Kind::Hello, &hello).await?;
    let (welcome, rest) = receive(stream, Kind::Welcome).await?;
    let checked = decode(&welcome).and_then(|peer| {
        own.verify("callee", &hello, &welcome, &rest)?;
        if peer.node != expected {
            return Err(format!("node {} answers where node {expected} was expected", peer.node));
        }
        own.check(&peer)?;
        Ok(peer)
    });
    let peer = refuse_unless(stream, checked).await?;
    frame::write(stream, Kind::Proof, &own.proof("caller", &hello, &welcome)).await?;
    receive(stream, Kind::Accepted).await?;
    Ok(peer.into())
}

/// The callee's side.
pub(crate) async fn answer(
    stream: &mut TcpStream,
    own: &Identity,
) -> Result<PeerCard, HandshakeError> {
    let (hello, _) = receive(stream, Kind::Hello).await?;
    let checked = decode(&hello).and_then(|peer| own.check(&peer).map(|()| peer));
    let peer = refuse_unless(stream, checked).await?;
    let welcome = codec::encode(&own.card());
    let mut body = Vec::with_capacity(welcome.len() + 36);
    body.extend_from_slice(&u32::try_from(welcome.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(&welcome);
    body.extend_from_slice(&own.proof("callee", &hello, &welcome));
    frame::write(stream, Kind::Welcome, &body).await?;
    let (proof, _) = receive(stream, Kind::Proof).await?;
    refuse_unless(stream, own.verify("caller", &hello, &welcome, &proof)).await?;
    frame::write(stream, Kind::Accepted, &[]).await?;
    Ok(peer.into())
}

impl Identity {
    /// The cluster this node is in.
    pub(crate) fn cluster(&self) -> Option<[u8; 16]> {
        let state = self.replica.read();
        let member = state.members.membership().nodes().next();
        member.map(|(_, member)| member.cluster)
    }

    fn card(&self) -> Card {
        Card {
            version: VERSION,
            cluster_name: self.cluster_name.clone(),
            cluster: self.cluster(),
            node: self.node,
            folder: self.folder,
            listed: self.listed.clone(),
            nonce: rand::random(),
        }
    }

    /// Whether this node may talk to that one.
    fn check(&self, peer: &Card) -> Result<(), String> {
        if peer.version != VERSION {
            return Err(format!("peer protocol {} is not {VERSION}", peer.version));
        }
        if peer.cluster_name != self.cluster_name {
            return Err(format!(
                "the cluster's name is {:?} there and {:?} here",
                peer.cluster_name, self.cluster_name
            ));
        }
        if peer.node == self.node {
            return Err(format!("two nodes have the id {}", self.node));
        }
        let own = self.cluster();
        match (own, peer.cluster) {
            (Some(own), Some(other)) if own != other => {
                return Err("it belongs to another cluster".to_owned());
            }
            (None, None) if peer.listed != self.listed => {
                return Err(format!(
                    "PEERS lists the nodes {:?} there and {:?} here",
                    peer.listed, self.listed
                ));
            }
            _ => {}
        }
        let state = self.replica.read();
        match state.members.membership().get_node(&peer.node) {
            Some(member) if member.folder != peer.folder => Err(format!(
                "node {} has another data folder ({} instead of {}): what it has promised is lost with \
                 the old one. Start the new folder under a new node id, let it join as a learner, and \
                 promote it",
                peer.node,
                FolderId(peer.folder),
                FolderId(member.folder),
            )),
            None if own.is_some() => Err(format!("node {} is no member of the cluster", peer.node)),
            _ => Ok(()),
        }
    }

    fn proof(&self, side: &str, hello: &[u8], welcome: &[u8]) -> [u8; 32] {
        self.mac(side, hello, welcome).finalize().into_bytes().into()
    }

    fn verify(&self, side: &str, hello: &[u8], welcome: &[u8], proof: &[u8]) -> Result<(), String> {
        let proved = self.mac(side, hello, welcome).verify_slice(proof);
        proved.map_err(|_| "the secret does not match".to_owned())
    }

    fn mac(&self, side: &str, hello: &[u8], welcome: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length is a key");
        mac.update(side.as_bytes());
        mac.update(hello);
        mac.update(welcome);
        mac
    }
}

impl From<Card> for PeerCard {
    fn from(card: Card) -> Self {
        Self { node: card.node, folder: card.folder, formed: card.cluster.is_some() }
    }
}

fn decode(bytes: &[u8]) -> Result<Card, String> {
    codec::decode(bytes)
}

/// The wanted frame's body; of a `Welcome` the card and the proof behind it.
async fn receive(
    stream: &mut TcpStream,
    wanted: Kind,
) -> Result<(Vec<u8>, Vec<u8>), HandshakeError> {
    match frame::read(stream, HANDSHAKE_BYTES_MAX).await? {
        (Kind::Refused, text) => {
            Err(HandshakeError::RefusedThere(String::from_utf8_lossy(&text).into_owned()))
        }
        (Kind::Welcome, body) if wanted == Kind::Welcome => {
            let (length, rest) = body
                .split_first_chunk::<4>()
                .ok_or_else(|| frame::invalid("a welcome that is too short"))?;
            let length = u32::from_be_bytes(*length) as usize;
            if length > rest.len() {
                return Err(frame::invalid("a welcome that is cut").into());
            }
            let (card, proof) = rest.split_at(length);
            Ok((card.to_vec(), proof.to_vec()))
        }
        (kind, body) if kind == wanted => Ok((body, Vec::new())),
        (kind, _) => {
            Err(HandshakeError::Refused(format!("{kind:?} came where {wanted:?} was expected")))
        }
    }
}

/// Tells the other side why not, before it is told here.
async fn refuse_unless<T>(
    stream: &mut TcpStream,
    checked: Result<T, String>,
) -> Result<T, HandshakeError> {
    match checked {
        Ok(value) => Ok(value),
        Err(reason) => {
            // It may be gone; the reason stands in this node's log in any case.
            let _ = frame::write(stream, Kind::Refused, reason.as_bytes()).await;
            Err(HandshakeError::Refused(reason))
        }
    }
}
