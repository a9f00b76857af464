//! The records as the machine sees them: what is on disk, and in memory what was written since.
//!
//! The base on disk is the state at the newest checkpoint. What later entries write lies above it in a
//! *layer*. A checkpoint freezes that layer and lets a new one begin; once the frozen one is in the
//! base, it goes. So a read sees the state at exactly the applied index, whatever the disk is doing.
//!
//! Memory decides nothing: a layer that is full asks for a checkpoint and goes on growing until it came.
//!
//! A disk that can't be read must stop the node, and the machine can't fail: such a read unwinds, past
//! the machine or whoever else asked, and the node is told ([`Broken`]).

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;
use std::sync::{Arc, OnceLock};

use serverv2_machine::{CodecError, KeyValue, Order, RecordIter, Records, Value};
use serverv2_storage::{Base, Change, StorageError};
use tokio::sync::Notify;

/// Bytes of a layer that ask for a checkpoint.
const LAYER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a record takes in a layer beside its key and value: pointers, counts, its place in the tree.
const RECORD_BYTES: usize = 100;

/// A record as it was written; `None`: it was removed.
pub(crate) type Written = (Vec<u8>, Option<Value>);

/// What was written since a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    records: BTreeMap<Vec<u8>, Option<Value>>,
    bytes: usize,
}

impl Layer {
    fn set(&mut self, key: Vec<u8>, value: Option<Value>) {
        let length = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.len());
        self.bytes += length(&value);
        match self.records.entry(key) {
            btree_map::Entry::Occupied(mut place) => {
                self.bytes -= length(&place.insert(value));
            }
            btree_map::Entry::Vacant(place) => {
                self.bytes += RECORD_BYTES + place.key().len();
                place.insert(value);
            }
        }
    }

    fn range(&self, from: &[u8], to: &[u8], order: Order) -> WrittenIter<'_> {
        let found = self.records.range(from.to_vec()..=to.to_vec());
        let found = found.map(|(key, value)| (key.clone(), value.clone()));
        match order {
            Order::Up => Box::new(found),
            Order::Down => Box::new(found.rev()),
        }
    }

    /// What was written, as a checkpoint keeps it.
    pub(crate) fn written(&self) -> Vec<Written> {
        self.records.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Changes as the base takes them.
pub(crate) fn changes(written: &[Written]) -> impl Iterator<Item = Change<'_>> {
    written.iter().map(|(key, value)| (&key[..], value.as_deref()))
}

type WrittenIter<'a> = Box<dyn Iterator<Item = Written> + 'a>;

/// Two sources in one order; where both have a record, the newer one's counts.
struct Above<'a> {
    newer: Peekable<WrittenIter<'a>>,
    older: Peekable<WrittenIter<'a>>,
    order: Order,
}

impl<'a> Above<'a> {
    fn of(newer: WrittenIter<'a>, older: WrittenIter<'a>, order: Order) -> WrittenIter<'a> {
        Box::new(Self { newer: newer.peekable(), older: older.peekable(), order })
    }
}

impl Iterator for Above<'_> {
    type Item = Written;

    fn next(&mut self) -> Option<Written> {
        let (Some((newer, _)), Some((older, _))) = (self.newer.peek(), self.older.peek()) else {
            return self.newer.next().or_else(|| self.older.next());
        };
        let by_order = match self.order {
            Order::Up => newer.cmp(older),
            Order::Down => older.cmp(newer),
        };
        match by_order {
            std::cmp::Ordering::Less => self.newer.next(),
            std::cmp::Ordering::Greater => self.older.next(),
            std::cmp::Ordering::Equal => {
                self.older.next();
                self.newer.next()
            }
        }
    }
}

/// Tells that the disk can't be read.
#[derive(Default)]
pub(crate) struct Broken {
    error: OnceLock<StorageError>,
    told: Notify,
}

impl Broken {
    /// Waits for it.
    pub(crate) async fn happened(&self) -> StorageError {
        loop {
            let told = self.told.notified();
            if let Some(error) = self.error.get() {
                return error.clone();
            }
            told.await;
        }
    }

    fn stop(&self, error: StorageError) -> ! {
        let text = error.to_string();
        // The first one says why.
        let _ = self.error.set(error);
        self.told.notify_waiters();
        // No panic: nothing is wrong with the program.
        std::panic::resume_unwind(Box::new(text))
    }
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct OverlayRecords {
    base: Option<Base>,
    closed: bool,
    frozen: Option<Arc<Layer>>,
    active: Layer,
    checkpoint_asked: bool,
    broken: Arc<Broken>,
}

impl OverlayRecords {
    /// The state that a base holds.
    pub(crate) fn on(base: Base, broken: Arc<Broken>) -> Self {
        Self { base: Some(base), broken, ..Self::default() }
    }

    /// Whom reads that fail tell.
    pub(crate) fn broken(&self) -> Arc<Broken> {
        self.broken.clone()
    }

    /// Lets go of the disk; who reads what is not in memory unwinds from here on.
    pub(crate) fn close(&mut self) {
        (self.base, self.closed) = (None, true);
    }

    /// Begins a checkpoint: what was written since the last one, which changes no more.
    pub(crate) fn freeze(&mut self) -> Arc<Layer> {
        let mut layer = std::mem::take(&mut self.active);
        self.checkpoint_asked = false;
        // A checkpoint that came to nothing is made up for.
        if let Some(before) = self.frozen.take() {
            for (key, value) in &before.records {
                if !layer.records.contains_key(key) {
                    layer.set(key.clone(), value.clone());
                }
            }
        }
        let layer = Arc::new(layer);
        self.frozen = Some(layer.clone());
        layer
    }

    /// A frozen layer is in the base now.
    pub(crate) fn forget(&mut self, layer: &Arc<Layer>) {
        self.frozen.take_if(|frozen| Arc::ptr_eq(frozen, layer));
    }

    /// Whether a checkpoint is wanted for want of memory; says so once.
    pub(crate) fn wants_checkpoint(&mut self) -> bool {
        let wants = self.active.bytes > LAYER_BYTES_MAX && !self.checkpoint_asked;
        self.checkpoint_asked |= wants;
        wants
    }

    fn base(&self) -> Option<&Base> {
        if self.closed {
            self.broken.stop(StorageError::Stopped("the node has stopped".to_owned()));
        }
        self.base.as_ref()
    }

    /// The newest state of a record among the layers, if one of them has it.
    fn layered(&self, key: &[u8]) -> Option<&Option<Value>> {
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.records.get(key));
        self.active.records.get(key).or_else(frozen)
    }

    fn read_or_stop<T>(&self, read: Result<T, StorageError>) -> T {
        read.unwrap_or_else(|error| self.broken.stop(error))
    }
}

impl Records for OverlayRecords {
    fn get(&self, key: &[u8]) -> Option<Value> {
        if let Some(value) = self.layered(key) {
            return value.clone();
        }
        let found = self.base()?.get(key);
        self.read_or_stop(found).map(Into::into)
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Value>) {
        self.active.set(key, value);
    }

    fn range(&self, from: &[u8], to: &[u8], order: Order) -> RecordIter<'_> {
        let base: WrittenIter<'_> = match self.base() {
            None => Box::new(std::iter::empty()),
            Some(base) => {
                let found = base.range(from, to, order == Order::Down);
                Box::new(found.map(|record| {
                    let (key, value) = self.read_or_stop(record);
                    (key, Some(value.into()))
                }))
            }
        };
        let frozen = self.frozen.iter().map(|layer| layer.range(from, to, order));
        let older = frozen.fold(base, |base, frozen| Above::of(frozen, base, order));
        let all = Above::of(self.active.range(from, to, order), older, order);
        Box::new(all.filter_map(|(key, value)| -> Option<KeyValue> { Some((key, value?)) }))
    }

    fn unreadable(&self, why: &CodecError) -> ! {
        self.broken.stop(StorageError::Corrupt(format!("a record can't be read: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use serverv2_machine::MemoryRecords;
    use serverv2_storage::{Folder, RecordStore};

    use super::*;

    fn key(number: u8) -> Vec<u8> {
        vec![b'k', number]
    }

    fn all(records: &dyn Records, order: Order) -> Vec<KeyValue> {
        records.range(&key(0), &key(u8::MAX), order).collect()
    }

    #[test]
    fn reads_see_every_write_before_during_and_after_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let store = RecordStore::open(&Folder::open(dir.path(), 1).unwrap(), 0).unwrap();
        let base = store.valid();
        let mut records = OverlayRecords::on(base.clone(), Arc::default());
        let mut model = MemoryRecords::default();
        for round in 0..5_u8 {
            let mut write = |number: u8, text: Option<&str>| {
                // Some of them take several pieces on the disk.
                let length = if number.is_multiple_of(5) { 9000 } else { 20 };
                let value = text.map(|text| text.repeat(length).into_bytes().into());
                records.set(key(number), Option::clone(&value));
                model.set(key(number), value);
            };
            (0..10).for_each(|number| write(number * 3 + round, Some("b")));
            write(round, Some("c"));
            write(round + 10, None);
            let layer = records.freeze();
            let mut write = |number: u8, text: Option<&str>| {
                let value = text.map(|text| text.as_bytes().into());
                records.set(key(number), Option::clone(&value));
                model.set(key(number), value);
            };
            write(1, Some("during"));
            write(100 + round, Some("during"));
            write(round * 3 + 6, None);
            write(102, None);
            let compare = |records: &OverlayRecords| {
                for order in [Order::Up, Order::Down] {
                    assert!(all(records, order) == all(&model, order), "round {round}");
                    let (from, to) = (key(7), key(20));
                    let part = records.range(&from, &to, order).take(3);
                    assert!(part.eq(model.range(&from, &to, order).take(3)), "round {round}");
                }
                for number in 0..=u8::MAX {
                    assert!(records.get(&key(number)) == model.get(&key(number)));
                }
            };
            compare(&records);
            // The first one comes to nothing.
            if round > 0 {
                let written = layer.written();
                base.redo(u64::from(round), changes(&written)).unwrap();
                compare(&records);
                records.forget(&layer);
                compare(&records);
            }
        }
    }

    #[test]
    fn a_full_layer_asks_for_a_checkpoint_once() {
        let mut records = OverlayRecords::default();
        records.active.bytes = LAYER_BYTES_MAX + 1;
        assert!(records.wants_checkpoint());
        assert!(!records.wants_checkpoint());
        records.freeze();
        records.active.bytes = LAYER_BYTES_MAX + 1;
        assert!(records.wants_checkpoint(), "the next one is full, too");
    }
}
