//! What a file can hold: log records, votes, positions, what is said about snapshots, checkpoints.
//!
//! The checksums are those of the crate `storage`, which hands out nothing that changed; here bytes
//! are looked at that passed them and are wrong all the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serverv2_machine::{Machine, MemoryRecords, Snapshot};
use serverv2_storage::{Folder, Record as _, SnapshotStore};

use super::{damaged, damages, log_entry, log_id, membership, vote};
use crate::checkpoint::{self, Head, Opened};
use crate::codec::{self, LogRecord};
use crate::records::Written;
use crate::types::{SnapshotMeta, StoredMembership};

fn snapshot_meta() -> impl Strategy<Value = SnapshotMeta> {
    let maybe = || prop::option::of(log_id());
    (maybe(), maybe(), membership()).prop_map(|(last_log_id, at, members)| SnapshotMeta {
        last_log_id,
        last_membership: StoredMembership::new(at, members),
    })
}

/// What decodes says the same again.
fn is_refused_or_stable<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, String>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Result<(), TestCaseError> {
    if let Ok(value) = decode(bytes) {
        let again = encode(&value);
        prop_assert_eq!(encode(&decode(&again).map_err(TestCaseError::fail)?), again);
    }
    Ok(())
}

fn all_are_refused_or_stable(bytes: &[u8]) -> Result<(), TestCaseError> {
    is_refused_or_stable(bytes, LogRecord::decode, |record| record.encode().unwrap())?;
    is_refused_or_stable(bytes, codec::decode_vote, codec::encode_vote)?;
    is_refused_or_stable(bytes, codec::decode_log_id, |id| codec::encode_log_id(*id))?;
    is_refused_or_stable(bytes, codec::decode_snapshot_meta, codec::encode_snapshot_meta)
}

proptest! {
    #[test]
    fn what_is_stored_comes_back(
        entry in log_entry(),
        vote in vote(),
        id in log_id(),
        meta in snapshot_meta(),
    ) {
        let bytes = LogRecord(entry.clone()).encode().unwrap();
        let again = LogRecord::decode(&bytes).unwrap();
        prop_assert_eq!((again.index(), again.encode().unwrap()), (entry.log_id.index, bytes));
        prop_assert_eq!(codec::decode_vote(&codec::encode_vote(&vote)), Ok(vote));
        prop_assert_eq!(codec::decode_log_id(&codec::encode_log_id(id)), Ok(id));
        prop_assert_eq!(codec::decode_snapshot_meta(&codec::encode_snapshot_meta(&meta)), Ok(meta));
    }

    #[test]
    fn damaged_records_are_refused_or_other_records(
        entry in log_entry(),
        vote in vote(),
        meta in snapshot_meta(),
        damages in damages(),
    ) {
        let bytes = LogRecord(entry).encode().unwrap();
        let (vote, meta) = (codec::encode_vote(&vote), codec::encode_snapshot_meta(&meta));
        for bytes in [bytes, vote, meta] {
            all_are_refused_or_stable(&damaged(bytes, &damages))?;
        }
    }

    #[test]
    fn noise_is_refused_or_stable(mut bytes in vec(any::<u8>(), 1..400), format in any::<bool>()) {
        if format {
            bytes[0] = 1;
        }
        all_are_refused_or_stable(&bytes)?;
    }

    #[test]
    fn records_on_their_way_are_read_whole_or_refused(
        records in vec((vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..100)), 0..6),
        damages in damages(),
    ) {
        let mut bytes = Vec::new();
        records.iter().for_each(|(key, value)| checkpoint::push_record(&mut bytes, key, value));
        let read = |mut bytes: &[u8]| {
            let mut found = Vec::new();
            while let Some(record) = checkpoint::read_record(&mut bytes).ok().flatten() {
                found.push(record);
            }
            found
        };
        prop_assert_eq!(read(&bytes), records);
        let bytes = damaged(bytes, &damages);
        let found = read(&bytes);
        let mut again = Vec::new();
        found.iter().for_each(|(key, value)| checkpoint::push_record(&mut again, key, value));
        prop_assert!(bytes.starts_with(&again), "whatever was read stood there");
    }
}

#[test]
fn a_checkpoint_whose_machine_is_shorter_than_it_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(&Folder::open(dir.path(), 1).unwrap()).unwrap();
    let machine = Snapshot::without_records(&Machine::new()).encode();
    for (position, more) in [(1, 0), (2, 1), (3, 1_000_000)] {
        let machine_bytes = machine.len() as u64 + more;
        let head = Head { generation: 1, from: 0, machine_bytes, changes: 0 };
        let body = [head.encode(), machine.clone()].concat();
        let file = store.save(position, b"", &body[..]).unwrap();
        let read = Opened::of(&file).and_then(Opened::read);
        assert_eq!(read.is_ok(), more == 0, "{more} bytes are missing");
    }
}

proptest! {
    // Each case is a file that is synced to the disk.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_checkpoint_is_refused_or_another_one(
        changes in vec((vec(any::<u8>(), 0..30), prop::option::of(vec(any::<u8>(), 0..100))), 0..6),
        damages in damages(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(&Folder::open(dir.path(), 1).unwrap()).unwrap();
        let machine = Snapshot::take(&Machine::new(), &MemoryRecords::default()).encode();
        let changes: Vec<Written> =
            changes.into_iter().map(|(key, value)| (key, value.map(Into::into))).collect();
        let body = checkpoint::encode(1, 0, &machine, &changes);
        let file = store.save(1, b"", &body[..]).unwrap();
        let (head, _, read) = Opened::of(&file).and_then(Opened::read).unwrap();
        prop_assert_eq!((head.machine_bytes as usize, &read), (machine.len(), &changes));

        // Written with a checksum that holds, as a defect of ours would write it.
        let body = damaged(body, &damages);
        let file = store.save(2, b"", &body[..]).unwrap();
        if let Ok((head, machine, changes)) = Opened::of(&file).and_then(Opened::read) {
            prop_assert_eq!(head.changes, changes.len() as u64);
            prop_assert!(head.machine_bytes <= body.len() as u64);
            machine.restore();
        }
    }
}
