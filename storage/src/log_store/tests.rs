//! The log is opened, killed, cut and damaged.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::keys::{self, SEGMENT_ENTRIES};

/// An entry with its index in front.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line(u64, Vec<u8>);

impl Record for Line {
    fn index(&self) -> u64 {
        self.0
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        Ok([&self.0.to_be_bytes()[..], &self.1].concat())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (index, rest) = bytes.split_first_chunk().ok_or("too short")?;
        Ok(Self(u64::from_be_bytes(*index), rest.to_vec()))
    }
}

/// Sizes of the design's power-cut test, by turns.
fn line(index: u64) -> Line {
    let length = [200, 24 * 1024, 256 * 1024, 200][(index % 4) as usize];
    Line(index, (0..length).map(|at| (at as u64 * 31 + index) as u8).collect())
}

fn small(index: u64) -> Line {
    Line(index, vec![index as u8; 20])
}

fn open(dir: &Path) -> Result<LogStore<Line>, StorageError> {
    // Nothing is cached beyond what is not durable yet: reads go to the disk.
    LogStore::open_with(&mut Folder::open(dir, 1)?, 0, 0, 0)
}

fn wait(ask: impl FnOnce(Done) -> Result<(), StorageError>) {
    let (told, answer) = mpsc::channel();
    ask(Box::new(move |result| told.send(result).unwrap())).unwrap();
    answer.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
}

fn append(log: &LogStore<Line>, lines: impl Iterator<Item = Line>) {
    wait(|done| log.append(lines.collect(), done));
}

fn indexes(log: &LogStore<Line>) -> Vec<u64> {
    log.read(0..u64::MAX, usize::MAX).unwrap().into_iter().map(|line| line.0).collect()
}

#[test]
fn each_entry_is_counted_under_its_size_once_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, (1..=40).map(line));
    let counted = log.sizes().read();
    let filled: Vec<_> = counted.buckets.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(filled, [&(256, 20), &(32 * 1024, 10)]);
    assert_eq!(counted.above, 10, "the index in front makes them larger than any entry");
    let written = 20 * 200 + 10 * 24 * 1024 + 10 * 256 * 1024 + 40 * 8;
    assert_eq!(counted.sum, written);
}

#[test]
fn entries_of_200_bytes_24_and_256_kib_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, (1..=40).map(line));
    wait(|done| log.save_vote(b"vote".to_vec(), done));
    log.save_committed(b"committed".to_vec()).unwrap();
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(log.read(1..41, usize::MAX).unwrap(), (1..=40).map(line).collect::<Vec<_>>());
    assert_eq!(log.vote().unwrap(), b"vote");
    assert_eq!(log.committed().unwrap(), b"committed");
    assert_eq!(fs::read_dir(dir.path().join("log/blobs")).unwrap().count(), 0);
}

#[test]
fn an_entry_can_be_read_as_soon_as_append_returns() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for index in 1..50 {
        log.append(vec![small(index)], Box::new(|_| {})).unwrap();
        assert_eq!(log.read(index..index + 1, usize::MAX).unwrap(), [small(index)]);
    }
}

#[test]
fn each_opening_has_a_higher_number() {
    let dir = tempfile::tempdir().unwrap();
    for boots in 1..5 {
        assert_eq!(open(dir.path()).unwrap().boots(), boots);
    }
}

#[test]
fn truncating_removes_the_end_and_new_entries_take_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, (1..=12).map(line));
    log.truncate_from(6).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5]);
    append(&log, (6..=7).map(small));
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(log.read(6..7, usize::MAX).unwrap(), [small(6)]);
    log.truncate_from(1).unwrap();
    drop(log);
    assert!(indexes(&open(dir.path()).unwrap()).is_empty());
}

#[test]
fn purging_removes_the_start_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let last = SEGMENT_ENTRIES * 2 + 10;
    append(&log, (0..=last).map(small));
    let purge = |index| Purged { index, about: b"about".to_vec() };
    log.purge(purge(SEGMENT_ENTRIES + 3)).unwrap();
    log.purge(purge(4)).unwrap();
    let left: Vec<u64> = (SEGMENT_ENTRIES + 4..=last).collect();
    assert_eq!(indexes(&log), left);
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(indexes(&log), left);
    assert_eq!(log.purged(), Some(purge(SEGMENT_ENTRIES + 3)));
    log.purge(purge(last + 100)).unwrap();
    assert!(indexes(&log).is_empty());
    append(&log, std::iter::once(small(last + 101)));
    drop(log);
    assert_eq!(indexes(&open(dir.path()).unwrap()), [last + 101]);
}

#[test]
fn a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, (1..=3).map(small));
    assert!(log.append(vec![small(5)], Box::new(|_| {})).is_err());
}

#[test]
fn a_read_stops_at_its_bytes_but_gives_at_least_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, (1..=9).map(line));
    assert_eq!(log.read(1..10, 1).unwrap().len(), 1);
    assert_eq!(log.read(4..10, 1000).unwrap().len(), 1, "200 B, then 24 KiB do not fit");
}

#[test]
fn the_newest_entries_are_cached_and_the_rest_is_read_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let open = || LogStore::<Line>::open_with(&mut Folder::open(dir.path(), 1)?, 0, 5, 1 << 20);
    let log = open().unwrap();
    append(&log, (1..=20).map(small));
    assert_eq!(log.state.lock().cache.range(), 16..21);
    assert_eq!(indexes(&log), (1..=20).collect::<Vec<_>>());
    drop(log);
    let log = open().unwrap();
    assert_eq!(log.state.lock().cache.range(), 16..21);
    assert_eq!(indexes(&log), (1..=20).collect::<Vec<_>>());
}

#[test]
fn entries_of_an_unfinished_write_are_dropped_and_missing_or_damaged_ones_are_said() {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path()).unwrap(), (1..=6).map(line));
    let disk = || LogDisk::open(&mut Folder::open(dir.path(), 1).unwrap()).unwrap();
    // Beyond what the log says of itself: entry 7, and a part of the next one.
    let table = disk().segment_table(0);
    for (index, number) in [(7, 0), (8, 0), (8, 1)] {
        table.insert(keys::piece(index, number), &[1u8; 30]).unwrap();
    }
    drop(table);
    let log = open(dir.path()).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5, 6]);
    append(&log, std::iter::once(line(7)));
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5, 6, 7]);
    drop(log);

    let damage = |index, piece: &[u8]| {
        disk().segment_table(0).insert(keys::piece(index, 0), piece).unwrap();
        let read = open(dir.path()).and_then(|log| log.read(0..9, usize::MAX));
        let error = read.unwrap_err();
        assert!(error.to_string().contains(&format!("entry {index}")), "{error}");
    };
    damage(3, &[7; 30]);
    disk().segment_table(0).remove(keys::piece(7, 0)).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("entry 7"), "{error}");
}

#[test]
fn an_entry_that_had_been_replaced_is_not_taken_for_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, (1..=4).map(line));
    let stale: Vec<_> = log.disk.segment_table(0).prefix(3u64.to_be_bytes()).collect();
    log.truncate_from(2).unwrap();
    append(&log, std::iter::once(small(2)));
    append(&log, (3..=4).map(line));
    assert_eq!(indexes(&log), [1, 2, 3, 4]);
    let table = log.disk.segment_table(0);
    for pair in stale {
        let (key, value) = pair.unwrap();
        table.insert(key, value).unwrap();
    }
    let error = log.read(0..9, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("entry 3 is not what was written"), "{error}");
}

#[test]
fn a_log_that_is_older_than_its_witness_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path()).unwrap(), (1..=3).map(small));
    let (log, old) = (dir.path().join("log"), dir.path().join("old"));
    fs::create_dir(&old).unwrap();
    for name in ["db", "conf"] {
        fs::copy(log.join(name), old.join(name)).unwrap();
    }
    append(&open(dir.path()).unwrap(), std::iter::once(small(4)));
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&old, &log).unwrap();
    for _ in 0..2 {
        let error = open(dir.path()).err().unwrap();
        assert!(error.to_string().contains("has lost what was written last"), "{error}");
    }
    fs::remove_file(dir.path().join("witness")).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("witness is missing"), "{error}");
}

#[test]
fn a_log_that_was_deleted_or_exchanged_or_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    append(&open(dir.path()).unwrap(), (1..=3).map(small));
    append(&open(other.path()).unwrap(), (1..=3).map(small));
    let log = dir.path().join("log");

    fs::rename(&log, dir.path().join("aside")).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("missing"), "{error}");

    fs::rename(other.path().join("log"), &log).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("another data folder"), "{error}");

    fs::remove_dir_all(&log).unwrap();
    fs::rename(dir.path().join("aside"), &log).unwrap();
    let file = fs::OpenOptions::new().write(true).open(log.join("db")).unwrap();
    file.set_len(100).unwrap();
    assert!(open(dir.path()).is_err());
}

#[test]
fn values_in_files_that_are_never_synced_stop_the_store() {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path()).unwrap(), (1..=3).map(small));
    fs::write(dir.path().join("log/blobs/123"), "large").unwrap();
    assert!(matches!(open(dir.path()).err(), Some(StorageError::Unsynced { .. })));
}

const CHILD: &str = "SERVERV2_STORAGE_TEST_CHILD";

/// Not a test by itself: the process that the next one kills.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let log = open(Path::new(&dir)).unwrap();
    let mut next = log.range().end.max(1);
    loop {
        append(&log, std::iter::once(line(next)));
        println!("\nacknowledged {next}");
        std::io::stdout().flush().unwrap();
        next += 1;
    }
}

#[test]
fn everything_acknowledged_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log_store::tests::child_that_appends_until_it_is_killed"])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let target = acknowledged + 15 + round;
        for text in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(index) = text.unwrap().strip_prefix("acknowledged ") {
                acknowledged = index.parse().unwrap();
            }
            if acknowledged >= target {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(acknowledged >= target, "the child died by itself");

        let log = open(dir.path()).unwrap();
        let there = log.read(0..u64::MAX, usize::MAX).unwrap();
        assert!(there.len() as u64 >= acknowledged);
        assert!(there.iter().eq((1..=there.len() as u64).map(line).collect::<Vec<_>>().iter()));
        acknowledged = there.len() as u64;
    }
}
