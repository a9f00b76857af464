//! Records: what outlives every session. The machine reads and writes them through a trait that the
//! applier hands in, so they can live in memory or on disk; such a read is as deterministic as memory.
//!
//! They are one ordered space of keys. A key's first byte is its *kind* ([`Kind`]), and all keys of a
//! kind have one length, so a range within a kind is the same in memory and on every disk. What a kind
//! means stands in the file of its area; here are the space itself, its counters, and *blobs*: values
//! too large for one record, cut into pieces.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::WallTime;
use crate::codec::{self, CodecError};
use crate::ids::{Email, PlayerId};
use crate::limits::RECORD_BYTES_MAX;

/// Names the format of a stored account.
const PLAYER_FORMAT: u8 = 1;

/// A record's value; layers and readers share it.
pub type Value = Arc<[u8]>;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Value);

/// Records in the order of their keys, or against it.
pub type RecordIter<'a> = Box<dyn Iterator<Item = KeyValue> + 'a>;

/// What a key is about: its first byte, and how many bytes follow. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    tag: u8,
    rest: usize,
}

impl Kind {
    /// All accounts, by id.
    pub(crate) const PLAYER: Self = Self::new(b'p', PLAYER_KEY);
    /// Whose an e-mail address is, by the address's hash: all keys of a kind have one length.
    pub(crate) const EMAIL: Self = Self::new(b'e', EMAIL_KEY);
    /// Numbers of everything, by [`Counter`].
    pub(crate) const COUNTER: Self = Self::new(b'c', 1);
    /// Battle reports, by number.
    pub(crate) const REPORT: Self = Self::new(b'r', NUMBER_KEY);
    /// The number of a report, by its public id.
    pub(crate) const REPORT_ID: Self = Self::new(b'i', 16);
    /// Messages of a report: a blob.
    pub(crate) const REPORT_PIECE: Self = Self::new(b'a', BLOB_KEY);
    /// The number of a report, by player and the player's own number of it.
    pub(crate) const PLAYER_REPORT: Self = Self::new(b'b', PLAYER_KEY + NUMBER_KEY);
    /// What is known of a player's reports, by his id.
    pub(crate) const OF_PLAYER: Self = Self::new(b's', PLAYER_KEY);
    /// How many of the ended battles began on a day.
    pub(crate) const REPORT_DAY: Self = Self::new(b'd', 4);
    /// Numbers of the reports whose battles have not ended.
    pub(crate) const OPEN_REPORT: Self = Self::new(b'o', NUMBER_KEY);
    /// Reports whose messages are still to be rendered, by number.
    pub(crate) const PENDING_REPORT: Self = Self::new(b'q', NUMBER_KEY);
    /// What they are rendered from: a blob.
    pub(crate) const PENDING_PIECE: Self = Self::new(b'w', BLOB_KEY);

    /// All of them, in the order of their first bytes.
    pub(crate) const ALL: [Self; 12] = [
        Self::REPORT_PIECE,
        Self::PLAYER_REPORT,
        Self::COUNTER,
        Self::REPORT_DAY,
        Self::EMAIL,
        Self::REPORT_ID,
        Self::OPEN_REPORT,
        Self::PLAYER,
        Self::PENDING_REPORT,
        Self::REPORT,
        Self::OF_PLAYER,
        Self::PENDING_PIECE,
    ];

    pub(crate) const fn new(tag: u8, rest: usize) -> Self {
        Self { tag, rest }
    }

    /// The key with these parts, one behind the other.
    pub(crate) fn key(self, parts: &[&[u8]]) -> Vec<u8> {
        let key = [&[&[self.tag][..]], parts].concat().concat();
        debug_assert_eq!(key.len(), 1 + self.rest, "all keys of a kind have one length");
        key
    }

    /// The first and the last key that can begin with these parts.
    pub(crate) fn span(self, parts: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let mut first = [&[&[self.tag][..]], parts].concat().concat();
        let mut last = first.clone();
        first.resize(1 + self.rest, 0);
        last.resize(1 + self.rest, u8::MAX);
        (first, last)
    }
}

/// Bytes of an e-mail address's hash in a key.
const EMAIL_KEY: usize = 32;
/// Bytes of a number in a key.
const NUMBER_KEY: usize = 8;
/// Bytes of a blob's piece in a key: the number of what it belongs to, and the piece's own.
const BLOB_KEY: usize = NUMBER_KEY + 2;
/// Bytes of a player's id in a key.
pub(crate) const PLAYER_KEY: usize = crate::ids::NANO_ID_LEN;

/// Numbers that are kept so that nobody has to count. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Counter {
    /// Accounts.
    Players = 0,
    /// Number of the oldest report kept; they are dense.
    FirstReport = 1,
    /// Number of the next report.
    NextReport = 2,
    /// Ended battles whose reports are kept.
    ReportsEnded = 3,
    /// How long they took in all.
    ReportSeconds = 4,
    /// How many different A players they have.
    ReportPlayersA = 5,
    /// How many different B players they have.
    ReportPlayersB = 6,
    /// Ended battles that wait to be rendered.
    PendingReports = 7,
    /// Bytes of what they are rendered from.
    PendingBytes = 8,
}

/// Which way a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key.
    Up,
    /// From the largest key.
    Down,
}

/// Where records live. Reads give the state at exactly the position being applied, on every node.
///
/// The first four are what a store has to offer; the rest is made of them.
pub trait Records {
    /// A record's value.
    fn get(&self, key: &[u8]) -> Option<Value>;

    /// Stores a record, new or changed; `None` removes it, if it is there.
    fn set(&mut self, key: Vec<u8>, value: Option<Value>);

    /// The records from one key to another, both included and of one kind. Read lazily.
    fn range(&self, from: &[u8], to: &[u8], order: Order) -> RecordIter<'_>;

    /// What is stored was not written by any version of this program: it can't go on.
    fn unreadable(&self, why: &CodecError) -> !;

    /// All records, however many: for digests, and for who has the time.
    fn all(&self) -> RecordIter<'_> {
        Box::new(Kind::ALL.into_iter().flat_map(|kind| {
            let (from, to) = kind.span(&[]);
            self.range(&from, &to, Order::Up)
        }))
    }

    /// The account with this id.
    fn player(&self, id: PlayerId) -> Option<Player> {
        let value = self.get(&player_key(id))?;
        Some(Player::decode(&value).unwrap_or_else(|error| self.unreadable(&error)))
    }

    /// Stores an account, new or changed, and whose its address is. That it is nobody else's is for the
    /// caller to know.
    fn put_player(&mut self, player: &Player) {
        let before = self.player(player.id);
        if before.is_none() {
            let count = self.player_count().saturating_add(1);
            self.set(counter_key(Counter::Players), Some(number(count)));
        }
        let old_email = before.and_then(|before| before.email);
        if old_email != player.email {
            if let Some(old) = &old_email {
                self.set(email_key(old), None);
            }
            if let Some(new) = &player.email {
                self.set(email_key(new), Some(player.id.as_str().as_bytes().into()));
            }
        }
        self.set(player_key(player.id), Some(player.encode().into()));
    }

    /// The account that this address is bound to.
    fn player_by_email(&self, email: &Email) -> Option<Player> {
        let value = self.get(&email_key(email.as_str()))?;
        let id = std::str::from_utf8(&value).ok()?.parse().ok()?;
        self.player(id).filter(|player| player.email.as_deref() == Some(email.as_str()))
    }

    /// How many accounts there are.
    fn player_count(&self) -> u64 {
        let value = self.get(&counter_key(Counter::Players));
        value.map_or(0, |value| read_number(&value))
    }

    /// All accounts in the order of their ids, however many; for who has the time.
    fn players(&self) -> Box<dyn Iterator<Item = Player> + '_> {
        let (from, to) = Kind::PLAYER.span(&[]);
        let decode = |(_, value): KeyValue| {
            Player::decode(&value).unwrap_or_else(|error| self.unreadable(&error))
        };
        Box::new(self.range(&from, &to, Order::Up).map(decode))
    }
}

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

fn player_key(id: PlayerId) -> Vec<u8> {
    Kind::PLAYER.key(&[id.as_str().as_bytes()])
}

fn email_key(email: &str) -> Vec<u8> {
    Kind::EMAIL.key(&[&Sha256::digest(email)])
}

pub(crate) fn counter_key(counter: Counter) -> Vec<u8> {
    Kind::COUNTER.key(&[&[counter as u8]])
}

pub(crate) fn number(number: u64) -> Value {
    number.to_be_bytes()[..].into()
}

/// Bytes that hold no number count as 0: nothing but a number is ever stored under such a key.
pub(crate) fn read_number(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_be_bytes)
}

/// Records in memory, for as long as it lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRecords(BTreeMap<Vec<u8>, Value>);

impl Records for MemoryRecords {
    fn get(&self, key: &[u8]) -> Option<Value> {
        self.0.get(key).cloned()
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Value>) {
        debug_assert!(value.as_ref().is_none_or(|value| value.len() <= RECORD_BYTES_MAX));
        match value {
            Some(value) => self.0.insert(key, value),
            None => self.0.remove(&key),
        };
    }

    fn range(&self, from: &[u8], to: &[u8], order: Order) -> RecordIter<'_> {
        let found = self.0.range(from.to_vec()..=to.to_vec());
        let found = found.map(|(key, value)| (key.clone(), Arc::clone(value)));
        match order {
            Order::Up => Box::new(found),
            Order::Down => Box::new(found.rev()),
        }
    }

    fn unreadable(&self, why: &CodecError) -> ! {
        panic!("a record can't be read: {why}")
    }
}
