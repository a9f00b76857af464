//! Names of things, each a type of its own so that a room can't be passed where a player is wanted.
//!
//! Everything here is parsed at the edge and can't be wrong inside: an id that exists is well formed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{EMAIL_LEN_MAX, KEY_LEN_MAX, SESSION_ID_LEN_MAX, SOCKET_ID_LEN_MAX};

/// How many characters a [`NanoId`] has, on the wire and in every store.
pub(crate) const NANO_ID_LEN: usize = 21;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct BadId;

/// 21 characters of `A-Z a-z 0-9 _ -`: the form of player, pet, room, token and animation ids (contract 0.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoId([u8; NANO_ID_LEN]);

impl NanoId {
    /// Makes an id out of random or hashed bytes: six bits of each of the first 21 count.
    pub fn from_entropy(bytes: &[u8; 32]) -> Self {
        let mut id = [0; NANO_ID_LEN];
        for (slot, byte) in id.iter_mut().zip(bytes) {
            *slot = ALPHABET[usize::from(byte & 63)];
        }
        Self(id)
    }

    /// The id as it stands on the wire.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII is ever stored")
    }
}

impl FromStr for NanoId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bytes: [u8; NANO_ID_LEN] = text.as_bytes().try_into().map_err(|_| BadId)?;
        if is_nano(&bytes) { Ok(Self(bytes)) } else { Err(BadId) }
    }
}

fn is_nano(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for NanoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NanoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for NanoId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for NanoId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

macro_rules! nano_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub NanoId);

        impl $name {
            /// The id as it stands on the wire.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

nano_newtype!(
    /// One player account, guest or registered.
    PlayerId
);
nano_newtype!(
    /// The `jti` of a token. Its first 14 characters name the token's family, which all tokens of one
    /// login share; the rest tells the family's tokens apart.
    TokenId
);

impl TokenId {
    /// The family that this id names.
    pub fn family(&self) -> FamilyId {
        let mut family = [0; FAMILY_ID_LEN];
        family.copy_from_slice(&self.0.0[..FAMILY_ID_LEN]);
        FamilyId(family)
    }

    /// The token of this family with the end of that id.
    pub(crate) fn in_family(family: FamilyId, end: NanoId) -> Self {
        let mut id = end;
        id.0[..FAMILY_ID_LEN].copy_from_slice(&family.0);
        Self(id)
    }
}

nano_newtype!(
    /// One battle room; derived from log position and seed, so it is unique for ever.
    RoomId
);

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.chars().all(allowed) {
                    return Err(BadId);
                }
                Ok(Self(text.into()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// One login context of a player: chosen by the client (kept over a page reload) or made up by the gateway.
    SessionId, SESSION_ID_LEN_MAX, |c| !c.is_control()
);
text_newtype!(
    /// One Socket.IO connection; a session may go through many.
    SocketId, SOCKET_ID_LEN_MAX, |c| !c.is_control()
);
text_newtype!(
    /// A request id chosen by a client (`requestId`, `Idempotency-Key`).
    ClientKey, KEY_LEN_MAX, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);

text_newtype!(
    /// An e-mail address. Whether it is well formed is checked where it comes in; two are the same if
    /// their texts are (contract 9).
    Email, EMAIL_LEN_MAX, |c| c.is_ascii_graphic()
);

/// How many characters of a [`TokenId`] name its family.
const FAMILY_ID_LEN: usize = 14;

/// All tokens that follow from one login: they are revoked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FamilyId([u8; FAMILY_ID_LEN]);

impl<'de> Deserialize<'de> for FamilyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <[u8; FAMILY_ID_LEN]>::deserialize(deserializer)?;
        if is_nano(&bytes) { Ok(Self(bytes)) } else { Err(D::Error::custom(BadId)) }
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("only ASCII is ever stored"))
    }
}

/// What tickets, seats and connections belong to: a login context of a player.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// Whose.
    pub player: PlayerId,
    /// Which of this player's.
    pub session: SessionId,
}

impl SessionKey {
    /// Before all keys of this player.
    pub(crate) fn before_all_of(player: PlayerId) -> Self {
        Self { player, session: SessionId("".into()) }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.player, self.session)
    }
}

/// One server process's place in the cluster; belongs to one data folder for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Which start of a node's process; grows by one at each start, kept durably by the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// Names one intent of one process, so that a retry is applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The node whose gateway made it.
    pub node: NodeId,
    /// That node's process start.
    pub incarnation: Incarnation,
    /// Counts from 1 within the incarnation.
    pub sequence: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.incarnation.0, self.sequence)
    }
}

/// Which side of a battle: A is the older ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Seat {
    /// The older ticket.
    A,
    /// The younger ticket.
    B,
}

impl Seat {
    /// Both, in the order in which everything about them happens.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other side.
    pub fn opponent(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its place in an array of two.
    pub fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}
