//! Reads a base from end to end as it is at one position, while it moves on.

use std::collections::BTreeMap;
use std::ops::Bound;

use sled::IVec;

use super::{Base, KeyValue, whole};
use crate::error::StorageError;
use crate::keys;
use crate::table::Pair;

/// Bytes that a stream may have to remember; one more cancels it.
const REMEMBERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is known of a base's reader.
#[derive(Default)]
pub(super) struct Streaming {
    reader: Option<Reader>,
    /// The base is between two positions.
    pub(super) moving: bool,
    /// Another generation is valid now.
    pub(super) retired: bool,
    /// Tells readers apart, since one may be dropped when another has its place.
    readers: u64,
}

struct Reader {
    id: u64,
    /// Where it stands: the last key that it gave out, as it is stored.
    given: Vec<u8>,
    /// What was overwritten before it was read, by stored key.
    remembered: BTreeMap<Vec<u8>, Former>,
    bytes: usize,
}

/// A record's key, and what it was; `None`: there was nothing.
type Former = (Vec<u8>, Option<Vec<u8>>);

impl Streaming {
    /// Whether a record that is about to be changed is still to be read.
    pub(super) fn wants(&self, key: &[u8]) -> bool {
        let stored = keys::record_prefix(key);
        self.reader
            .as_ref()
            .is_some_and(|reader| stored > reader.given && !reader.remembered.contains_key(&stored))
    }

    /// Remembers what a record was.
    pub(super) fn remember(&mut self, key: &[u8], before: Option<Vec<u8>>) {
        let Some(reader) = &mut self.reader else { return };
        reader.bytes += 2 * key.len() + before.as_ref().map_or(0, Vec::len);
        reader.remembered.insert(keys::record_prefix(key), (key.to_vec(), before));
        if reader.bytes > REMEMBERED_BYTES_MAX {
            tracing::warn!("the records change faster than they are read: the stream is cancelled");
            self.reader = None;
        }
    }
}

/// Reads all records as they were at the position where it began. One at a time.
pub struct RecordStream {
    base: Base,
    id: u64,
    ended: bool,
}

impl Base {
    /// Begins to read the state at this position. `None`: somebody reads already, or this is not (or
    /// no longer) the position of the base.
    pub fn stream(&self, position: u64) -> Option<RecordStream> {
        let mut streaming = self.streaming.lock();
        if streaming.reader.is_some() || self.position() != position || streaming.moving {
            return None;
        }
        streaming.readers += 1;
        let id = streaming.readers;
        streaming.reader =
            Some(Reader { id, given: Vec::new(), remembered: BTreeMap::new(), bytes: 0 });
        Some(RecordStream { base: self.clone(), id, ended: false })
    }
}

impl RecordStream {
    /// The next records, of about so many bytes; empty at the end. An error of the disk, or
    /// [`StorageError::Stopped`] when the stream was cancelled.
    pub fn next(&mut self, bytes: usize) -> Result<Vec<KeyValue>, StorageError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let mut streaming = self.base.streaming.lock();
        let Some(reader) = streaming.reader.as_mut().filter(|reader| reader.id == self.id) else {
            return Err(StorageError::Stopped("the stream of records was overtaken".into()));
        };
        // What is there now, with what is remembered in its place.
        let mut found = BTreeMap::new();
        let (mut size, mut last) = (0, None);
        let from = keys::after_record(&reader.given);
        let pieces = self.base.table.range::<Vec<u8>>((Bound::Included(from), Bound::Unbounded));
        // Nobody writes while the lock is held.
        for record in records(pieces, |_, error| Err(error)) {
            let (key, value) = record?;
            let stored = keys::record_prefix(&key);
            size += key.len() + value.len();
            last = Some(stored.clone());
            found.insert(stored, (key, Some(value)));
            if size > bytes {
                break;
            }
        }
        let upto = match last {
            Some(last) if size > bytes => Bound::Included(last),
            _ => Bound::Unbounded,
        };
        self.ended = upto == Bound::Unbounded;
        let past = (Bound::Excluded(reader.given.clone()), upto.clone());
        for (stored, remembered) in reader.remembered.range(past) {
            found.insert(stored.clone(), remembered.clone());
        }
        if let Bound::Included(last) = upto {
            reader.given = last;
        }
        let records: Vec<_> =
            found.into_values().filter_map(|(key, value)| Some((key, value?))).collect();
        drop(streaming);
        // A stretch of which nothing is left is not the end.
        if records.is_empty() { self.next(bytes) } else { Ok(records) }
    }
}

impl Drop for RecordStream {
    fn drop(&mut self) {
        let mut streaming = self.base.streaming.lock();
        if streaming.reader.as_ref().is_some_and(|reader| reader.id == self.id) {
            streaming.reader = None;
        }
    }
}

/// Puts the pieces of records together. Of one whose pieces are not those of one value `again` says what it is.
pub(super) fn records(
    pieces: impl Iterator<Item = Result<Pair, StorageError>>,
    again: impl Fn(&[u8], StorageError) -> Result<Option<Vec<u8>>, StorageError>,
) -> impl Iterator<Item = Result<KeyValue, StorageError>> {
    together(pieces, again, |_| {})
}

/// The same where the last piece of the last record comes first.
pub(super) fn records_backward(
    pieces: impl Iterator<Item = Result<Pair, StorageError>>,
    again: impl Fn(&[u8], StorageError) -> Result<Option<Vec<u8>>, StorageError>,
) -> impl Iterator<Item = Result<KeyValue, StorageError>> {
    together(pieces, again, |pieces| pieces.reverse())
}

fn together(
    pieces: impl Iterator<Item = Result<Pair, StorageError>>,
    again: impl Fn(&[u8], StorageError) -> Result<Option<Vec<u8>>, StorageError>,
    put_in_order: fn(&mut [IVec]),
) -> impl Iterator<Item = Result<KeyValue, StorageError>> {
    let mut pieces = pieces.peekable();
    std::iter::from_fn(move || {
        loop {
            let (first, piece) = match pieces.next()? {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            let Some(key) = keys::parse_record(&first).map(<[u8]>::to_vec) else {
                return Some(Err(StorageError::Corrupt("a record's key can't be read".into())));
            };
            let mut found = vec![piece];
            while let Some(Ok((_, piece))) = pieces.next_if(|next| {
                next.as_ref().is_ok_and(|(stored, _)| keys::parse_record(stored) == Some(&key[..]))
            }) {
                found.push(piece);
            }
            put_in_order(&mut found);
            match whole(&key, &found).map(Some).or_else(|error| again(&key, error)) {
                Ok(Some(value)) => return Some(Ok((key, value))),
                // It was being removed.
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    })
}
