//! What the log says of itself: one value, written last in every commit.
//!
//! sled recovers what it can and says nothing about the rest: a flipped bit may take the end of the log,
//! or a stretch of its middle, entries and votes. So everything that is not an entry stands in a single
//! value with a running number, and the entries are a chain: each one's checksum goes on from the one
//! before. Whatever is missing then shows: a newer number is known ([`crate::witness`]), or the chain
//! breaks.

use crate::error::StorageError;
use crate::log_store::Purged;

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Counts the values that this one followed.
    pub(crate) number: u64,
    /// How often the folder was opened.
    pub(crate) boots: u64,
    /// The first index that can be read.
    pub(crate) start: u64,
    /// Behind the last one.
    pub(crate) end: u64,
    /// The link of the entry before the first one.
    pub(crate) base: u32,
    /// The link of the last entry; that of the base if there is none.
    pub(crate) link: u32,
    /// The last vote.
    pub(crate) vote: Option<Vec<u8>>,
    /// How far entries are known to be committed.
    pub(crate) committed: Option<Vec<u8>>,
    /// How far the log is gone.
    pub(crate) purged: Option<Purged>,
}

impl Tail {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        for number in [self.number, self.boots, self.start, self.end] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.base.to_be_bytes());
        bytes.extend_from_slice(&self.link.to_be_bytes());
        let purged = self.purged.as_ref();
        let purged = purged.map(|at| [&at.index.to_be_bytes()[..], &at.about].concat());
        for part in [&self.vote, &self.committed, &purged] {
            // One more than its length; 0: there is none.
            let length = part.as_ref().map_or(0, |part| part.len() + 1);
            let length = u32::try_from(length).expect("votes and positions are short");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part.as_deref().unwrap_or_default());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let damaged = || StorageError::Corrupt("what the log says of itself can't be read".into());
        Self::parse(bytes).ok_or_else(damaged)
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let mut tail = Self {
            number: u64_of(from)?,
            boots: u64_of(from)?,
            start: u64_of(from)?,
            end: u64_of(from)?,
            base: u32_of(from)?,
            link: u32_of(from)?,
            ..Self::default()
        };
        tail.vote = part_of(from)?;
        tail.committed = part_of(from)?;
        tail.purged = match part_of(from)? {
            None => None,
            Some(bytes) => {
                let (index, about) = bytes.split_first_chunk()?;
                Some(Purged { index: u64::from_be_bytes(*index), about: about.to_vec() })
            }
        };
        let is_right = from.is_empty()
            && tail.start <= tail.end
            && tail.purged.as_ref().is_none_or(|purged| purged.index < tail.start);
        is_right.then_some(tail)
    }
}

fn u64_of(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_be_bytes(*number))
}

fn u32_of(from: &mut &[u8]) -> Option<u32> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_be_bytes(*number))
}

fn part_of(from: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let Some(length) = u32_of(from)?.checked_sub(1) else { return Some(None) };
    let (part, rest) = from.split_at_checked(length as usize)?;
    *from = rest;
    Some(Some(part.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_not() {
        let purged = Purged { index: 7, about: b"about".to_vec() };
        let tail = Tail {
            number: 1,
            start: 8,
            end: 9,
            vote: Some(Vec::new()),
            purged: Some(purged),
            ..Tail::default()
        };
        for tail in [tail, Tail::default()] {
            let bytes = tail.encode();
            assert_eq!(Tail::decode(&bytes).unwrap(), tail);
            assert!((0..bytes.len()).all(|length| Tail::decode(&bytes[..length]).is_err()));
        }
    }
}
