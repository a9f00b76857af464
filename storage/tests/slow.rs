//! A slow disk makes durable late, and nothing else: what is read and written in memory waits for no flush.
//!
//! A child process of this test, on whose disk each sync takes a second more, makes checkpoints of its records and
//! appends to its log, over and over; meanwhile it reads. So somebody is writing to one database at most moments at
//! which somebody else flushes the other one.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

#[expect(dead_code, reason = "shared with the other tests")]
mod common;
#[expect(dead_code, reason = "shared with the tests of the server")]
#[path = "../../tests/faults/disk.rs"]
mod disk;
#[path = "../../tests/faults/library.rs"]
mod library;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serverv2_storage::{Base, Folder, LogStore, RecordStore};

use self::common::{Line, filled, waiter};
use self::disk::{Disk, FaultyDisk};

/// What each sync takes more.
const SYNC: Duration = Duration::from_secs(1);
const ROUNDS: u64 = 4;
const RECORDS: u64 = 500;
/// Set in the child: the folder it works on, on the slow disk.
const CHILD: &str = "SLOW_CHILD_FOLDER";

#[test]
fn nothing_but_durability_waits_for_a_slow_disk() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::new());
    let mut folder = Folder::open(dir.path(), 1).unwrap();
    drop(LogStore::<Line>::open(&mut folder).unwrap());
    redo(&RecordStore::open(&folder, 0).unwrap().valid(), 1);
    drop(folder);
    disk.becomes(Disk::Slow(SYNC.as_millis() as u32));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_on_a_slow_disk", "--nocapture"]);
    child.env(CHILD, dir.path()).envs(disk.env(dir.path()));
    assert!(child.status().unwrap().success());
}

/// A checkpoint that changes all records.
fn redo(base: &Base, position: u64) {
    let changes: Vec<_> =
        (0..RECORDS).map(|number| (key(number), filled(300, position as u8))).collect();
    base.redo(position, changes.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:04}").into_bytes()
}

#[test]
fn child_on_a_slow_disk() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut folder = Folder::open(Path::new(&path), 1).unwrap();
    let log = LogStore::<Line>::open(&mut folder).unwrap();
    let records = RecordStore::open(&folder, 0).unwrap();
    let base = records.valid();
    let (done, appended) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|threads| {
        threads.spawn(|| {
            let began = Instant::now();
            (2..2 + ROUNDS).for_each(|position| redo(&base, position));
            assert!(began.elapsed() > SYNC * ROUNDS as u32, "the disk is slow");
            done.store(true, Ordering::Release);
        });
        threads.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let index = appended.fetch_add(1, Ordering::AcqRel);
                let (said, until_durable) = waiter();
                log.append(vec![Line::filled(index, 300, 0)], said).unwrap();
                until_durable();
            }
        });
        let (mut reads, mut longest) = (0, Duration::ZERO);
        while !done.load(Ordering::Acquire) {
            let began = Instant::now();
            assert!(base.get(&key(reads % RECORDS)).unwrap().is_some());
            assert_eq!(base.range(&key(10), &key(14), reads % 2 == 0).count(), 5);
            longest = longest.max(began.elapsed());
            reads += 1;
            thread::sleep(Duration::from_millis(1));
        }
        println!("{reads} reads, the longest took {longest:?}");
        assert!(longest < SYNC / 2, "a read took {longest:?}: it waited for the disk");
    });
    // Each entry waits for its own sync, and for those that are in front of it.
    assert!(appended.into_inner() > 1, "the log was written meanwhile");
}
