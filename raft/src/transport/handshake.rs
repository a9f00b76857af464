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
//!
//! A caller that was removed from the cluster is told so by `Removed`, with HMAC-SHA256(secret, "removed"
//! Hello): it acts on it, so it must not be anybody's to say. Who is unknown here but in the same cluster is
//! let in: this node may be behind.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serverv2_storage::FolderId;
use sha2::Sha256;

use super::frame::{self, HANDSHAKE_BYTES_MAX, Kind};
use crate::applier::Replica;
use crate::codec;
use crate::ground::{Net, Stream};
use crate::membership::Removal;

/// Of the handshake alone, and never changed: what messages a node understands, it says behind it
/// (`versions.rs`).
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
    /// Whether this node was removed from the cluster.
    pub(crate) removal: Removal,
    /// How it reaches others.
    pub(crate) net: Arc<dyn Net>,
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
    /// This node was removed; a member has proved it.
    #[error("this node was removed from the cluster")]
    Removed,
}

/// Why this node does not talk to that one.
enum Objection {
    Other(String),
    /// The other was removed from the cluster.
    Removed,
}

impl From<String> for Objection {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Member,
    /// A node that is to be taken in.
    Newcomer,
}

/// The caller's side; `expected` is the node that was called. `first` is what it is sent with the proof, to be
/// read when it has accepted that: it costs no way there and back of its own.
pub(crate) async fn call(
    stream: &mut Stream,
    own: &Identity,
    expected: u64,
    called: Called,
    first: &[u8],
) -> Result<PeerCard, HandshakeError> {
    let card = own.card();
    let hello = codec::encode(&card);
    frame::write(stream, Kind::Hello, &hello).await?;
    let (welcome, rest) = match receive(stream, Kind::Welcome).await? {
        Received::Wanted(welcome, rest) => (welcome, rest),
        Received::Removed(proof) => {
            own.verify("removed", &hello, &[], &proof).map_err(HandshakeError::Refused)?;
            own.removal.told();
            return Err(HandshakeError::Removed);
        }
    };
    let check = |peer: Card| {
        own.verify("callee", &hello, &welcome, &rest)?;
        if peer.node != expected {
            let text = format!("node {} answers where node {expected} was expected", peer.node);
            return Err(text.into());
        }
        own.check(&peer, called)?;
        Ok(peer)
    };
    let checked = decode(&welcome).map_err(Objection::from).and_then(check);
    let peer = refuse_unless(stream, own, &[], checked).await?;
    frame::write(stream, Kind::Proof, &own.proof("caller", &hello, &welcome)).await?;
    if !first.is_empty() {
        frame::write(stream, Kind::Request, first).await?;
    }
    wanted(receive(stream, Kind::Accepted).await?)?;
    Ok(peer.into())
}

/// The callee's side.
pub(crate) async fn answer(
    stream: &mut Stream,
    own: &Identity,
) -> Result<PeerCard, HandshakeError> {
    let (hello, _) = wanted(receive(stream, Kind::Hello).await?)?;
    let check = |peer: Card| own.check(&peer, Called::Member).map(|()| peer);
    let checked = decode(&hello).map_err(Objection::from).and_then(check);
    let peer = refuse_unless(stream, own, &hello, checked).await?;
    let welcome = codec::encode(&own.card());
    let mut body = Vec::with_capacity(welcome.len() + 36);
    body.extend_from_slice(&u32::try_from(welcome.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(&welcome);
    body.extend_from_slice(&own.proof("callee", &hello, &welcome));
    frame::write(stream, Kind::Welcome, &body).await?;
    let (proof, _) = wanted(receive(stream, Kind::Proof).await?)?;
    let proved = own.verify("caller", &hello, &welcome, &proof).map_err(Objection::from);
    refuse_unless(stream, own, &hello, proved).await?;
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
    fn check(&self, peer: &Card, called: Called) -> Result<(), Objection> {
        self.check_cluster(peer)?;
        let state = self.replica.read();
        let member = state.members.membership().get_node(&peer.node).map(|member| member.folder);
        drop(state);
        match member {
            Some(folder) if folder != peer.folder => Err(Objection::Other(format!(
                "node {} has another data folder ({} instead of {}): what it has promised is lost with \
                 the old one. Start the new folder under a new node id, let it join as a learner, and \
                 promote it",
                peer.node,
                FolderId(peer.folder),
                FolderId(folder),
            ))),
            None if self.has_removed(peer.node) => Err(Objection::Removed),
            None if self.has_removed_me() => {
                Err(Objection::Other(format!("node {} was removed from the cluster", self.node)))
            }
            None if peer.cluster.is_none()
                && called == Called::Member
                && self.cluster().is_some() =>
            {
                Err(Objection::Other(format!("node {} is no member of the cluster", peer.node)))
            }
            // A member, or one that this node has not heard of yet.
            Some(_) | None => Ok(()),
        }
    }

    /// Whether both are, or may be, of the same cluster.
    fn check_cluster(&self, peer: &Card) -> Result<(), String> {
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
                return Err("it belongs to another cluster. A node whose cluster was recovered or \
                            restored without it can't come back with its old folder: start it on an \
                            empty one under a new node id, and add it to the cluster"
                    .to_owned());
            }
            (None, None) if peer.listed != self.listed => {
                return Err(format!(
                    "PEERS lists the nodes {:?} there and {:?} here",
                    peer.listed, self.listed
                ));
            }
            _ => {}
        }
        Ok(())
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

/// A card's bytes.
#[cfg(test)]
pub(crate) fn card_for_golden() -> Vec<u8> {
    codec::encode(&Card {
        version: VERSION,
        cluster_name: "serverv2".to_owned(),
        cluster: Some([1; 16]),
        node: 2,
        folder: [3; 16],
        listed: BTreeSet::from([1, 2, 3]),
        nonce: [4; 32],
    })
}

/// The bytes of the card that these bytes are.
#[cfg(test)]
pub(crate) fn card_again(bytes: &[u8]) -> Vec<u8> {
    codec::encode(&decode(bytes).expect("it is a card"))
}

fn decode(bytes: &[u8]) -> Result<Card, String> {
    codec::decode(bytes)
}

/// A frame that was waited for, or what may come instead of any.
enum Received {
    /// The body; of a `Welcome` the card and the proof behind it.
    Wanted(Vec<u8>, Vec<u8>),
    /// The proof.
    Removed(Vec<u8>),
}

async fn receive(stream: &mut Stream, wanted: Kind) -> Result<Received, HandshakeError> {
    match frame::read(stream, HANDSHAKE_BYTES_MAX).await? {
        (Kind::Refused, text) => {
            Err(HandshakeError::RefusedThere(String::from_utf8_lossy(&text).into_owned()))
        }
        (Kind::Removed, proof) => Ok(Received::Removed(proof)),
        (Kind::Welcome, body) if wanted == Kind::Welcome => {
            let (length, rest) = body
                .split_first_chunk::<4>()
                .ok_or_else(|| frame::invalid("a welcome that is too short"))?;
            let length = u32::from_be_bytes(*length) as usize;
            if length > rest.len() {
                return Err(frame::invalid("a welcome that is cut").into());
            }
            let (card, proof) = rest.split_at(length);
            Ok(Received::Wanted(card.to_vec(), proof.to_vec()))
        }
        (kind, body) if kind == wanted => Ok(Received::Wanted(body, Vec::new())),
        (kind, _) => {
            Err(HandshakeError::Refused(format!("{kind:?} came where {wanted:?} was expected")))
        }
    }
}

/// What was waited for, where `Removed` makes no sense.
fn wanted(received: Received) -> Result<(Vec<u8>, Vec<u8>), HandshakeError> {
    match received {
        Received::Wanted(body, rest) => Ok((body, rest)),
        Received::Removed(_) => Err(frame::invalid("a removal out of place").into()),
    }
}

/// Tells the other side why not, before it is told here; `hello` is the caller's, where it is known.
async fn refuse_unless<T>(
    stream: &mut Stream,
    own: &Identity,
    hello: &[u8],
    checked: Result<T, Objection>,
) -> Result<T, HandshakeError> {
    // It may be gone; the reason stands in this node's log in any case.
    match checked {
        Ok(value) => Ok(value),
        Err(Objection::Other(reason)) => {
            let _ = frame::write(stream, Kind::Refused, reason.as_bytes()).await;
            Err(HandshakeError::Refused(reason))
        }
        Err(Objection::Removed) => {
            let reason = "it was removed from the cluster".to_owned();
            let _ = if hello.is_empty() {
                frame::write(stream, Kind::Refused, reason.as_bytes()).await
            } else {
                frame::write(stream, Kind::Removed, &own.proof("removed", hello, &[])).await
            };
            Err(HandshakeError::Refused(reason))
        }
    }
}
