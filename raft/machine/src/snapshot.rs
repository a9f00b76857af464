//! The whole state as bytes and back, and its digest.
//!
//! **Formats.** A snapshot starts with its version. [`Snapshot`] has one variant for each; a variant
//! and every type in it never change once released (`testdata/` holds bytes of each and must decode
//! for ever). A type that has to change is copied into its old version first, and `restore` leads
//! from old to new. Indexes are not stored: `restore` derives them.
//!
//! A snapshot of a behaviour level that this build doesn't know is refused: see `levels.rs`.

use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::{self, CodecError};
use crate::input::Digest;
use crate::levels::LATEST_LEVEL;
use crate::machine::Machine;
use crate::planted::{self, Bug};
use crate::records::{KeyValue, Records};

const VERSION_1: u8 = 1;

/// Everything that is replicated, at one position of the log; records where it says so.
#[derive(Clone, Debug)]
pub enum Snapshot {
    /// The first version.
    V1(SnapshotV1),
}

/// Version 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotV1 {
    machine: Machine,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Snapshot {
    /// The state as it is. Cheap to take where it is large (see [`Machine`]), records aside.
    pub fn take(machine: &Machine, records: &dyn Records) -> Self {
        let records = records.all().map(|(key, value)| (key, value.to_vec())).collect();
        Self::V1(SnapshotV1 { machine: whole(machine), records })
    }

    /// The machine alone, where somebody else keeps the records of this position.
    pub fn without_records(machine: &Machine) -> Self {
        Self::V1(SnapshotV1 { machine: whole(machine), records: Vec::new() })
    }

    /// Its bytes, version first.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::V1(snapshot) => codec::encode(VERSION_1, snapshot),
        }
    }

    /// The snapshot in these bytes, whoever wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let snapshot: SnapshotV1 = codec::decode_snapshot(VERSION_1, bytes)?;
        let level = snapshot.machine.level;
        if level > LATEST_LEVEL {
            return Err(CodecError::UnknownLevel { level, known: LATEST_LEVEL });
        }
        Ok(Self::V1(snapshot))
    }

    /// The machine, ready to apply what comes next, and the records that came with it.
    pub fn restore(self) -> (Machine, Vec<KeyValue>) {
        let Self::V1(SnapshotV1 { mut machine, records }) = self;
        machine.keys.reindex();
        machine.sessions.reindex();
        machine.rooms.reindex();
        machine.queue.reindex();
        machine.tokens.reindex();
        machine.codes.reindex();
        machine.refresh_all_tickets();
        machine.rebuild_due();
        (machine, records.into_iter().map(|(key, value)| (key, value.into())).collect())
    }
}

fn whole(machine: &Machine) -> Machine {
    let mut copy = machine.clone();
    if planted::has(Bug::DedupNotInSnapshot) {
        (copy.windows, copy.keys) = Default::default();
    }
    copy
}

/// Over the encoded state and all records.
pub(crate) fn digest(machine: &Machine, records: &dyn Records) -> Digest {
    let mut hasher = Hasher(Sha256::new());
    codec::write(machine, &mut hasher);
    for (key, value) in records.all() {
        codec::write(&(&key[..], &value[..]), &mut hasher);
    }
    Digest(hasher.0.finalize().into())
}

struct Hasher(Sha256);

impl Writer for Hasher {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.update(bytes);
        Ok(())
    }
}
