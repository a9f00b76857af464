//! The databases don't outgrow what they keep, however long a node runs.
//!
//! `SPACE_MIB` asks for a longer run and `SPACE_KEPT` for more that is kept; figures are printed over time.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use std::path::Path;
use std::sync::mpsc;

use serverv2_storage::{Folder, LogStore, Purged, Record, RecordStore};

const MIB: u64 = 1024 * 1024;
/// Written in all.
const WRITTEN_MIB: u64 = 96;
/// Entries of the log that are kept, and records.
const KEPT: u64 = 6_000;
const SIZES: [usize; 8] = [200, 300, 250, 400, 200, 1_500, 700, 6_000];

#[derive(Clone)]
struct Line(u64, Vec<u8>);

impl Record for Line {
    fn index(&self) -> u64 {
        self.0
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        Ok([&self.0.to_be_bytes()[..], &self.1].concat())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (index, bytes) = bytes.split_first_chunk().ok_or("too short")?;
        Ok(Self(u64::from_be_bytes(*index), bytes.to_vec()))
    }
}

fn size(index: u64) -> usize {
    SIZES[(index % 8) as usize]
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn written_mib() -> u64 {
    from_env("SPACE_MIB").unwrap_or(WRITTEN_MIB)
}

fn kept_count() -> u64 {
    from_env("SPACE_KEPT").unwrap_or(KEPT)
}

/// Bytes that the files of a folder take.
fn used(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let items = std::fs::read_dir(path).unwrap().map(|item| item.unwrap());
    items
        .map(|item| match item.file_type().unwrap().is_dir() {
            true => used(&item.path()),
            false => item.metadata().map_or(0, |about| about.blocks() * 512),
        })
        .sum()
}

fn check(what: &str, path: &Path, kept: u64, written: u64, most: &mut u64) {
    let used = used(path);
    *most = (*most).max(used);
    println!("{what}: {} MiB written, {} kept, {} used", written / MIB, kept / MIB, used / MIB);
    assert!(used <= 3 * kept + 64 * MIB, "{} MiB for {} MiB", used / MIB, kept / MIB);
}

#[test]
fn a_log_that_is_appended_and_purged_for_long_keeps_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), 1).unwrap();
    let mut log = LogStore::<Line>::open(&mut folder).unwrap();
    let (mut index, mut written, mut most) = (0u64, 0u64, 0);
    let (mut reported, mut restarted) = (0, 0);
    while written < written_mib() * MIB {
        let lines: Vec<Line> = (1..=32)
            .map(|more| Line(index + more, vec![(index + more) as u8; size(index + more)]))
            .collect();
        index += 32;
        written += lines.iter().map(|line| line.1.len() as u64).sum::<u64>();
        let (told, done) = mpsc::channel();
        log.append(lines, Box::new(move |result: Result<(), _>| told.send(result).unwrap()))
            .unwrap();
        done.recv().unwrap().unwrap();
        if index % 1024 == 0 && index > kept_count() {
            log.purge(Purged { index: index - kept_count(), about: Vec::new() }).unwrap();
        }
        if written - reported > written_mib() * MIB / 12 {
            reported = written;
            let kept = log.range().map(|index| size(index) as u64).sum();
            check("log", &dir.path().join("log"), kept, written, &mut most);
        }
        if written - restarted > written_mib() * MIB / 3 {
            restarted = written;
            drop((log, folder));
            folder = Folder::open(dir.path(), 1).unwrap();
            log = LogStore::<Line>::open(&mut folder).unwrap();
        }
    }
    println!("log: {} MiB at most", most / MIB);
}

#[test]
fn records_that_change_for_long_keep_within_their_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), 1).unwrap();
    drop(LogStore::<Line>::open(&mut folder).unwrap());
    let store = RecordStore::open(&folder, 0).unwrap();
    let (mut written, mut most, mut reported) = (0u64, 0, 0);
    let records = 6 * kept_count();
    let value = |key: u64, round: u64| vec![(key ^ round) as u8; 150 + (key % 100) as usize];
    let kept: u64 = (0..records).map(|key| 8 + value(key, 0).len() as u64).sum();
    for round in 1.. {
        // A checkpoint changes a part of them, here and there.
        let changes: Vec<_> = (0..records / 10)
            .map(|at| (at * 7_919 + round * 104_729) % records)
            .map(|key| (key.to_be_bytes(), value(key, round)))
            .collect();
        written += changes.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        let changes = changes.iter().map(|(key, value)| (&key[..], Some(&value[..])));
        store.valid().redo(round, changes).unwrap();
        if written - reported > written_mib() * MIB / 12 {
            reported = written;
            check("records", &dir.path().join("records"), kept, written, &mut most);
        }
        if written > written_mib() * MIB / 2 {
            break;
        }
    }
    println!("records: {} MiB at most", most / MIB);
}
