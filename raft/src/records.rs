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
use std::sync::{Arc, OnceLock};

use serverv2_machine::{Player, PlayerId, Records};
use serverv2_storage::{Base, Change, KeyValue, StorageError};
use tokio::sync::Notify;

/// Bytes of a layer that ask for a checkpoint.
const LAYER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What an account takes in a layer beside its texts: itself, and its place in the tree.
const PLAYER_BYTES: usize = 200;
/// First byte of an account's key.
const PLAYER_TABLE: u8 = b'p';

/// What was written since a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    players: BTreeMap<PlayerId, Player>,
    bytes: usize,
}

impl Layer {
    fn put(&mut self, player: Player) {
        self.bytes +=
            PLAYER_BYTES + player.name.len() + player.email.as_ref().map_or(0, |it| it.len());
        self.players.insert(player.id, player);
    }

    /// Keys and values, as the base keeps them.
    pub(crate) fn encode(&self) -> Vec<KeyValue> {
        self.players.values().map(|player| (player_key(player.id), player.encode())).collect()
    }
}

/// Changes as the base takes them.
pub(crate) fn changes(encoded: &[KeyValue]) -> impl Iterator<Item = Change<'_>> {
    encoded.iter().map(|(key, value)| (&key[..], Some(&value[..])))
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
    players: u64,
    checkpoint_asked: bool,
    broken: Arc<Broken>,
}

impl OverlayRecords {
    /// The state that a base holds, with so many accounts.
    pub(crate) fn on(base: Base, players: u64, broken: Arc<Broken>) -> Self {
        Self { base: Some(base), players, broken, ..Self::default() }
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
            for player in before.players.values() {
                if !layer.players.contains_key(&player.id) {
                    layer.put(player.clone());
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

    /// The newest state of an account among the layers.
    fn layered(&self, id: PlayerId) -> Option<&Player> {
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.players.get(&id));
        self.active.players.get(&id).or_else(frozen)
    }

    fn decoded(&self, value: Result<Vec<u8>, StorageError>) -> Player {
        let decode = |bytes: Vec<u8>| {
            let damaged =
                |error| StorageError::Corrupt(format!("an account can't be read: {error}"));
            Player::decode(&bytes).map_err(damaged)
        };
        value.and_then(decode).unwrap_or_else(|error| self.broken.stop(error))
    }
}

impl Records for OverlayRecords {
    fn player(&self, id: PlayerId) -> Option<Player> {
        if let Some(player) = self.layered(id) {
            return Some(player.clone());
        }
        let found = self.base()?.get(&player_key(id)).transpose()?;
        Some(self.decoded(found))
    }

    fn put_player(&mut self, player: Player) {
        if self.player(player.id).is_none() {
            self.players += 1;
        }
        self.active.put(player);
    }

    fn player_count(&self) -> u64 {
        self.players
    }

    fn players(&self) -> Box<dyn Iterator<Item = Player> + '_> {
        let frozen = self.frozen.iter().flat_map(|layer| &layer.players);
        // The newer ones take the place of the older ones.
        let layered: BTreeMap<_, _> = frozen.chain(&self.active.players).collect();
        let base = self.base().into_iter().flat_map(Base::iter);
        let base = base
            .map(|record| self.decoded(record.map(|(_, value)| value)))
            .filter(|player| self.layered(player.id).is_none());
        let (mut base, mut layered) = (base.peekable(), layered.into_values().peekable());
        Box::new(std::iter::from_fn(move || match (base.peek(), layered.peek()) {
            (Some(a), Some(b)) if a.id < b.id => base.next(),
            (Some(_), None) => base.next(),
            _ => layered.next().cloned(),
        }))
    }
}

fn player_key(id: PlayerId) -> Vec<u8> {
    [&[PLAYER_TABLE], id.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use serverv2_machine::{MemoryRecords, NanoId, WallTime};
    use serverv2_storage::{Folder, RecordStore};

    use super::*;

    fn player(number: u8, name: &str) -> Player {
        Player {
            id: PlayerId(NanoId::from_entropy(&[number; 32])),
            name: name.into(),
            created: WallTime(1),
            last_login: WallTime(2),
            email: None,
            email_bound: None,
        }
    }

    #[test]
    fn reads_see_every_write_before_during_and_after_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let store = RecordStore::open(&Folder::open(dir.path(), 1).unwrap(), 0).unwrap();
        let base = store.valid();
        let mut records = OverlayRecords::on(base.clone(), 0, Arc::default());
        let mut model = MemoryRecords::default();
        for round in 0..4_u8 {
            let mut write = |number: u8, name: &str| {
                records.put_player(player(number, name));
                model.put_player(player(number, name));
            };
            (0..10).for_each(|number| write(number * 3 + round, "before"));
            write(round, "changed");
            let layer = records.freeze();
            let mut write = |number: u8, name: &str| {
                records.put_player(player(number, name));
                model.put_player(player(number, name));
            };
            write(1, "during");
            write(100 + round, "during");
            // The first one comes to nothing.
            if round > 0 {
                let encoded = layer.encode();
                base.redo(u64::from(round), changes(&encoded)).unwrap();
                records.forget(&layer);
            }
            assert!(records.players().eq(model.players()), "round {round}");
            assert_eq!(records.player_count(), model.player_count());
            for number in 0..=u8::MAX {
                let id = player(number, "").id;
                assert_eq!(records.player(id), model.player(id));
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
