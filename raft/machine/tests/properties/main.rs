//! What holds for any log: equal logs give equal machines, and the promises of the game.
//!
//! A reference machine applies random proposals one by one and is checked after each. The same log
//! then goes through other machines, entry by entry, which are replaced by a restored snapshot at
//! random points: effects, answers and digests must be the same.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

mod codes;
mod hostile;
mod invariants;
mod model;
mod reference;
mod reports;
mod steps;

use proptest::collection::vec;
use proptest::prelude::*;
use serverv2_machine::{
    Applied, Entry, Machine, MemoryRecords, Records, Snapshot, decode_entry, encode_entry,
};

use reference::Reference;
use steps::steps;

/// Applies the log, restoring from a snapshot before the entries that `points` names.
fn replay(log: &[Entry], points: &[usize]) -> (Vec<Applied>, Machine, MemoryRecords) {
    let (mut machine, mut records) = (Machine::new(), MemoryRecords::default());
    let mut answers = Vec::new();
    for (index, entry) in (1..).zip(log) {
        if points.iter().any(|point| point % log.len() + 1 == index as usize) {
            let bytes = Snapshot::take(&machine, &records).encode();
            let (restored, kept) = Snapshot::decode(&bytes).unwrap().restore();
            machine = restored;
            records = MemoryRecords::default();
            for (key, value) in kept {
                records.set(key, Some(value));
            }
        }
        let entry = decode_entry(&encode_entry(entry).unwrap()).unwrap();
        answers.extend(machine.apply_entry(&mut records, index, &entry));
    }
    (answers, machine, records)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn equal_logs_give_equal_machines(
        steps in steps(),
        first in vec(any::<usize>(), 0..4),
        second in vec(any::<usize>(), 0..12),
    ) {
        let reference = Reference::run(&steps)?;
        let digest = reference.machine.digest(&reference.records);
        for points in [&[][..], &first, &second] {
            let (answers, machine, records) = replay(&reference.log, points);
            prop_assert_eq!(&answers, &reference.answers);
            prop_assert_eq!(machine.digest(&records), digest);
            prop_assert_eq!(&machine, &reference.machine);
        }
    }

    #[test]
    fn broken_bytes_are_refused_or_harmless(
        steps in steps(),
        damage in vec((any::<usize>(), any::<u8>()), 1..6),
        cut in any::<usize>(),
    ) {
        let reference = Reference::run(&steps)?;
        for entry in &reference.log {
            let mut bytes = encode_entry(entry).unwrap();
            spoil(&mut bytes, &damage, cut);
            if let Ok(entry) = decode_entry(&bytes) {
                // What is read says the same again.
                let again = encode_entry(&entry).unwrap();
                prop_assert_eq!(decode_entry(&again), Ok(entry));
            }
        }
        let mut bytes = Snapshot::take(&reference.machine, &reference.records).encode();
        spoil(&mut bytes, &damage, cut);
        if let Ok(snapshot) = Snapshot::decode(&bytes) {
            let again = snapshot.encode();
            prop_assert_eq!(Snapshot::decode(&again).unwrap().encode(), again);
            // It may contradict itself; applying to it must still not panic.
            let (mut machine, _) = snapshot.restore();
            let mut records = reference.records.clone();
            for (index, entry) in (1_000..).zip(&reference.log) {
                machine.apply_entry(&mut records, index, entry);
            }
            machine.digest(&records);
        }
    }

    #[test]
    fn noise_is_no_entry_and_no_snapshot(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode_entry(&bytes);
        if let Ok(snapshot) = Snapshot::decode(&bytes) {
            snapshot.restore();
        }
    }
}

/// Changes some bytes, and one time in two cuts the end off.
fn spoil(bytes: &mut Vec<u8>, damage: &[(usize, u8)], cut: usize) {
    for (place, byte) in damage {
        let place = place % bytes.len();
        bytes[place] = *byte;
    }
    if cut.is_multiple_of(2) {
        bytes.truncate(cut / 2 % (bytes.len() + 1));
    }
}
