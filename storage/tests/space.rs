//! A data folder does not outgrow what it keeps, however long a node runs: log, records and snapshots
//! together take at most three times the kept log and the snapshot, and 64 MiB.
//!
//! The run ends when each of the three parts alone was given more than that bound to write. Nothing is
//! compressed, so a part that frees nothing then takes more than all three may: it is found out for sure. `SPACE_MIB` asks for a longer
//! run; figures are printed over time.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serverv2_storage::{Folder, LogStore, Purged, RecordStore, SnapshotStore};

use self::common::{Line, filled, from_env, waiter};

const MIB: u64 = 1024 * 1024;
/// Entries from one checkpoint to the next.
const CHECKPOINT: u64 = 1_024;
/// Entries of one append, which waits for the disk.
const BATCH: u64 = 128;
/// Entries of the log that are kept behind one.
const KEPT: u64 = 1_500;
/// Records, of which each checkpoint changes most.
const RECORDS: u64 = 6_000;
/// Bytes of a snapshot beside the records that it changes.
const MACHINE: usize = 512 * 1024;
/// Checkpoints between two restarts.
const RESTART: u64 = 12;

/// Most entries are small, some are not.
fn size(index: u64) -> usize {
    match index {
        index if index % 512 == 0 => 256 * 1024,
        index if index % 32 == 0 => 24 * 1024,
        index => [200, 300, 250, 400, 200, 1_500, 700, 6_000][(index % 8) as usize],
    }
}

/// An open folder, as a node has it.
struct Stores {
    // Before the folder, which the next one opens.
    log: LogStore<Line>,
    snapshots: SnapshotStore,
    records: RecordStore,
    _folder: Folder,
}

impl Stores {
    fn open(path: &Path) -> Self {
        let mut folder = Folder::open(path, 1).unwrap();
        Self {
            log: LogStore::open(&mut folder).unwrap(),
            snapshots: SnapshotStore::open(&folder).unwrap(),
            records: RecordStore::open(&folder, 0).unwrap(),
            _folder: folder,
        }
    }

    fn append(&self, index: u64, count: u64) -> u64 {
        let lines =
            (index..index + count).map(|index| Line::filled(index, size(index), index as u8));
        let (done, until_done) = waiter();
        self.log.append(lines.collect(), done).unwrap();
        until_done();
        (index..index + count).map(|index| size(index) as u64).sum()
    }

    /// Saves a snapshot with what it changes, and brings the records there.
    fn checkpoint(&self, number: u64, position: u64, written: &mut Written) {
        let changes = changes(number);
        let mut body = filled(MACHINE, number as u8);
        changes.iter().for_each(|(key, value)| body.extend([&key[..], value].concat()));
        self.snapshots.save(position, b"about", &body[..]).unwrap();
        let changes = changes.iter().map(|(key, value)| (&key[..], Some(&value[..])));
        self.records.valid().redo(position, changes).unwrap();
        written.snapshots += body.len() as u64;
        written.records += (body.len() - MACHINE) as u64;
    }

    /// Bytes of entries that can be read.
    fn kept_log(&self) -> u64 {
        self.log.range().map(|index| size(index) as u64).sum()
    }

    /// Bytes of the state: the snapshot and its records.
    fn kept_state(&self) -> u64 {
        let records = self.records.valid();
        let records =
            records.iter().map(|record| record.map(|(key, value)| key.len() + value.len()));
        let snapshot = self.snapshots.current().map_or(0, |file| file.read().unwrap().len());
        (snapshot + records.sum::<Result<usize, _>>().unwrap()) as u64
    }
}

/// What a checkpoint changes, here and there.
fn changes(checkpoint: u64) -> Vec<([u8; 8], Vec<u8>)> {
    let keys = (0..RECORDS).filter(|key| key % 10 != checkpoint % 10);
    let value = |key: u64| filled(300 + (key % 100) as usize, (key ^ checkpoint) as u8);
    keys.map(|key| (key.to_be_bytes(), value(key))).collect()
}

/// Bytes that the files of a folder take.
fn used(path: &Path) -> u64 {
    let items = std::fs::read_dir(path).unwrap().map(|item| item.unwrap());
    items
        .map(|item| match item.file_type().unwrap().is_dir() {
            true => used(&item.path()),
            false => item.metadata().map_or(0, |about| about.blocks() * 512),
        })
        .sum()
}

/// Bytes given to each part.
#[derive(Default, Debug)]
struct Written {
    log: u64,
    records: u64,
    snapshots: u64,
}

impl Written {
    fn least(&self) -> u64 {
        self.log.min(self.records).min(self.snapshots)
    }
}

#[test]
fn a_folder_that_is_written_for_long_keeps_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut stores = Stores::open(dir.path());
    let (mut written, mut index, mut most) = (Written::default(), 1, 0);
    let longer = from_env("SPACE_MIB").unwrap_or_default() * MIB;
    for checkpoint in 1.. {
        for _ in 0..CHECKPOINT / BATCH {
            written.log += stores.append(index, BATCH);
            index += BATCH;
        }
        let position = index - 1;
        stores.checkpoint(checkpoint, position, &mut written);
        // Most is used now, with what is about to be purged.
        let (kept_log, kept_state) = (stores.kept_log(), stores.kept_state());
        let bound = 3 * (kept_log + kept_state) + 64 * MIB;
        let [all, log, records, snapshots] =
            ["", "log", "records", "snapshots"].map(|part| used(&dir.path().join(part)));
        most = most.max(all);
        println!(
            "{} MiB given, {} + {} kept, {} used: {} + {} + {}; {} allowed",
            written.least() / MIB,
            kept_log / MIB,
            kept_state / MIB,
            all / MIB,
            log / MIB,
            records / MIB,
            snapshots / MIB,
            bound / MIB,
        );
        assert!(all <= bound, "{} MiB, {} are allowed", all / MIB, bound / MIB);
        if written.least() > bound.max(longer) {
            break;
        }
        let purged = position.saturating_sub(KEPT);
        stores.log.purge(Purged { index: purged, about: Vec::new() }).unwrap();
        if checkpoint % RESTART == 0 {
            drop(stores);
            stores = Stores::open(dir.path());
        }
    }
    println!("{} MiB at most; {written:?}", most / MIB);
}
