//! Files that are whole, cut, changed and somebody else's.

use proptest::collection::vec;
use proptest::prelude::*;
use serverv2_machine::{Machine, Snapshot};

use super::*;

/// A file of an empty machine and a few records, in pieces of this size.
fn file(about: impl FnOnce(&mut BackupAbout), piece_bytes: usize) -> Vec<u8> {
    let machine = Snapshot::without_records(&Machine::new()).encode();
    let mut said = BackupAbout {
        cluster_name: "serverv2".to_owned(),
        cluster: [1; 16],
        node: 2,
        term: 3,
        leader: 1,
        index: 70_000,
        level: 1,
        wall_ms: 1_750_406_400_000,
        build: "0.1.0".to_owned(),
        machine_bytes: machine.len() as u64,
    };
    about(&mut said);
    let mut bytes = head(&said);
    let mut hash = crc32fast::Hasher::new();
    let mut add = |content: &[u8]| {
        hash.update(content);
        bytes.extend_from_slice(&piece(content));
    };
    machine.chunks(piece_bytes).for_each(&mut add);
    for number in 0..3u8 {
        let mut record = Vec::new();
        crate::checkpoint::push_record(&mut record, &[b'p', number], &[number; 9]);
        add(&record);
    }
    bytes.extend_from_slice(&end(hash.finalize(), 3));
    bytes
}

fn check(bytes: &[u8]) -> Result<BackupAbout, String> {
    Reader::open(bytes)?.check()
}

#[test]
fn a_whole_file_says_whose_it_is() {
    for piece_bytes in [7, 1 << 20] {
        let about = check(&file(|_| (), piece_bytes)).unwrap();
        assert_eq!((about.node, about.index, about.level), (2, 70_000, 1));
    }
}

#[test]
fn a_file_that_is_cut_anywhere_or_continued_is_refused() {
    let whole = file(|_| (), 16);
    for length in 0..whole.len() {
        check(&whole[..length]).expect_err("cut");
    }
    let why = check(&[&whole[..], &[0]].concat()).unwrap_err();
    assert!(why.contains("behind its end"), "{why}");
}

#[test]
fn a_file_with_any_flipped_bit_is_refused() {
    let whole = file(|_| (), 64);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            assert!(check(&flipped).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn pieces_that_are_missing_doubled_or_exchanged_are_refused() {
    let whole = file(|_| (), 1 << 20);
    let records: Vec<usize> = (1..=3).map(|back| whole.len() - 16 - back * 24).collect();
    let (end, record) = (whole.len() - 16, 24);
    assert!(check(&[&whole[..records[0]], &whole[end..]].concat()).is_err(), "one is missing");
    let doubled = [&whole[..end], &whole[end - record..]].concat();
    assert!(check(&doubled).is_err(), "one is there twice");
    let exchanged = [
        &whole[..records[1]],
        &whole[records[0]..end],
        &whole[records[1]..records[0]],
        &whole[end..],
    ];
    assert!(check(&exchanged.concat()).is_err(), "two are exchanged");
}

#[test]
fn newer_formats_and_levels_and_other_files_are_refused_by_name() {
    let mut newer = file(|_| (), 64);
    newer[11] = 2;
    let why = check(&newer).unwrap_err();
    assert!(why.contains("format 2") && why.contains("a newer one"), "{why}");
    let why = check(&file(|about| about.level = 99, 64)).unwrap_err();
    assert!(why.contains("behaviour level 99"), "{why}");
    for foreign in [&b"SV2SNAP1 and so on"[..], b"", b"x"] {
        assert_eq!(check(foreign).unwrap_err(), "it is no backup of this server");
    }
    for machine_bytes in [0, 1, u64::MAX] {
        assert!(check(&file(|about| about.machine_bytes = machine_bytes, 64)).is_err());
    }
}

#[test]
fn the_first_bytes_of_the_format_stay_as_they_are() {
    let bytes = file(|_| (), 1 << 20);
    let stored = concat!(
        "5356324241434b50",
        "00000001",
        "00000033",
        "CRC",
        "01",
        "087365727665727632",
        "01010101010101010101010101010101",
        "02",
        "03",
        "01",
        "fc70110100",
        "01",
        "fd00085a8c97010000",
        "05302e312e30",
    );
    let hex: String = bytes[..20 + 50].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.replace(&hex[32..40], "CRC"), stored);
}

proptest! {
    #[test]
    fn no_bytes_bring_the_reader_down(
        bytes in vec(any::<u8>(), 0..400),
        at in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut file = file(|_| (), 32);
        if whole {
            let at = at.index(file.len());
            let end = file.len().min(at + bytes.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = check(&file);
        } else {
            prop_assert!(check(&bytes).is_err());
        }
    }
}
