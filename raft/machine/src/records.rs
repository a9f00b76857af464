//! Records: what outlives every session. The machine reads and writes them through a trait that the
//! applier hands in, so they can live in memory or on disk; such a read is as deterministic as memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::codec::{self, CodecError};
use crate::ids::PlayerId;

/// Names the format of a stored account.
const PLAYER_FORMAT: u8 = 1;

/// One account. Fields never change; a new version becomes a new type beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Player {
    /// Its id.
    pub id: PlayerId,
    /// Display name, 1 to 50 characters.
    pub name: Arc<str>,
    /// When it was made.
    pub created: WallTime,
    /// When it last logged in.
    pub last_login: WallTime,
    /// The bound e-mail address; an account with one is registered and needs a token.
    pub email: Option<Arc<str>>,
    /// When it was bound.
    pub email_bound: Option<WallTime>,
}

impl Player {
    /// Its bytes as a record.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(PLAYER_FORMAT, self)
    }

    /// The account in these bytes, whoever wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_record(PLAYER_FORMAT, bytes)
    }

    /// Whether a token is needed to act as this player.
    pub fn is_registered(&self) -> bool {
        self.email.is_some()
    }
}

/// Where records live. Reads give the state at exactly the position being applied, on every node.
pub trait Records {
    /// The account with this id.
    fn player(&self, id: PlayerId) -> Option<Player>;

    /// Stores an account, new or changed.
    fn put_player(&mut self, player: Player);

    /// How many accounts there are.
    fn player_count(&self) -> u64;

    /// All accounts in the order of their ids, however many: for digests, and for who has the time.
    fn players(&self) -> Box<dyn Iterator<Item = Player> + '_>;
}

/// Records in memory, for as long as it lasts.
#[derive(Clone, Debug, Default)]
pub struct MemoryRecords {
    players: BTreeMap<PlayerId, Player>,
}

impl Records for MemoryRecords {
    fn player(&self, id: PlayerId) -> Option<Player> {
        self.players.get(&id).cloned()
    }

    fn put_player(&mut self, player: Player) {
        self.players.insert(player.id, player);
    }

    fn player_count(&self) -> u64 {
        self.players.len() as u64
    }

    fn players(&self) -> Box<dyn Iterator<Item = Player> + '_> {
        Box::new(self.players.values().cloned())
    }
}
