//! Where a base is, where it is going, and what must be in it then.

use crate::error::StorageError;

/// A sum over records that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    records: u64,
    hashes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_add(1);
        self.hashes = self.hashes.wrapping_add(hash(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.hashes = self.hashes.wrapping_sub(hash(key, value));
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(key);
    hash.update(value);
    u64::from(hash.finalize())
}

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The position whose state the base is, or was before it began to move.
    pub(super) position: u64,
    /// Of its records at that position.
    pub(super) sum: Sum,
    /// The position that it is moving to, and the sum at that.
    pub(super) target: Option<(u64, Sum)>,
}

impl Progress {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (target, sum) = self.target.unwrap_or((self.position, self.sum));
        let numbers =
            [self.position, self.sum.records, self.sum.hashes, target, sum.records, sum.hashes];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        bytes.push(u8::from(self.target.is_some()));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let parse = || {
            let (is_moving, rest) = bytes.split_last()?;
            let (numbers, []) = rest.as_chunks::<8>() else { return None };
            let numbers: Vec<u64> =
                numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
            let &[position, records, hashes, target, then_records, then_hashes] = &numbers[..]
            else {
                return None;
            };
            let then = Sum { records: then_records, hashes: then_hashes };
            let target = (*is_moving == 1).then_some((target, then));
            Some(Self { position, sum: Sum { records, hashes }, target })
        };
        let damaged = || StorageError::Corrupt("the position of the records can't be read".into());
        parse().ok_or_else(damaged)
    }
}
