//! What the stores called durable is there after a power cut, and nothing that is there is wrong.
//!
//! A child process of this test writes and replaces entries of 200 B, 24 KB and 256 KB, votes, purges, snapshots
//! and records as fast as it can and says what it was told is durable; it is killed at a random moment,
//! and what was not synced is undone. `POWERCUT_CYCLES` asks for more cycles, `SEED` for a certain plan.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

mod common;
#[path = "../../tests/faults/library.rs"]
mod library;
#[path = "../../tests/faults/powercut.rs"]
mod powercut;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serverv2_storage::{Folder, LogStore, Purged, RecordStore, SnapshotStore, StorageError};

use self::common::{Line, from_env, waiter};
use self::powercut::PowerCut;

const CYCLES: u64 = 6;
const SIZES: [usize; 3] = [200, 24 * 1024, 256 * 1024];
/// Set in the child: it is the one that writes.
const CHILD: &str = "POWERCUT_CHILD_FOLDER";

/// The entry with this index.
fn line(index: u64) -> Line {
    Line::filled(index, SIZES[(index % 3) as usize], index as u8)
}

/// An entry that another one takes the place of.
fn replaced(index: u64) -> Line {
    Line::filled(index, SIZES[(index % 3) as usize], !index as u8)
}

/// What the child was told is durable.
#[derive(Debug, Default)]
struct Acknowledged {
    entry: Option<u64>,
    vote: u64,
    snapshot: u64,
    records: u64,
}

#[test]
fn what_was_called_durable_survives_power_cuts() {
    let cycles = from_env("POWERCUT_CYCLES").unwrap_or(CYCLES);
    let outcome = cut_power(cycles, false);
    println!("{cycles} power cuts: {outcome:?}");
    assert_eq!(outcome.lost, None);
    assert!(outcome.undone > 0, "there was something to lose");
}

/// Without the newest of these sled takes a log that has gone around its file for an empty one.
#[test]
fn the_databases_own_snapshots_are_durable_before_anything_is_written_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let power = PowerCut::new();
    let mut known = Acknowledged::default();
    for life in 0..3 {
        write_for("started", Duration::from_millis(50), dir.path(), &power, false, &mut known);
        let before = names(&dir.path().join("log"));
        power.roll_back(dir.path());
        assert_eq!(names(&dir.path().join("log")), before, "life {life}");
        assert_eq!(before.iter().any(|name| name.starts_with("snap.")), life > 0);
    }
    check(dir.path(), &known).unwrap();
}

fn names(folder: &Path) -> BTreeSet<String> {
    let items = std::fs::read_dir(folder).unwrap();
    items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_sync_that_does_nothing_is_noticed() {
    let outcome = cut_power(3, true);
    assert!(outcome.lost.is_some(), "everything was lost, and nobody noticed: {outcome:?}");
}

#[derive(Debug, Default)]
struct Outcome {
    /// Entries that were called durable.
    entries: u64,
    /// Names and files that were not what they had been.
    undone: usize,
    /// What was called durable and is not there.
    lost: Option<String>,
}

fn cut_power(cycles: u64, lies: bool) -> Outcome {
    let seed = from_env("SEED").unwrap_or_else(|| rand::rng().random());
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let power = PowerCut::new();
    let (mut known, mut outcome) = (Acknowledged::default(), Outcome::default());
    for _ in 0..cycles {
        let moment = Duration::from_micros(rng.random_range(5_000..400_000));
        // While it opens the folder, too; of a liar's it must have said something.
        let word = if lies { "entry" } else { "" };
        write_for(word, moment, dir.path(), &power, lies, &mut known);
        outcome.undone += power.roll_back(dir.path());
        outcome.entries = known.entry.map_or(0, |last| last + 1);
        outcome.lost = check(dir.path(), &known).err();
        if outcome.lost.is_some() {
            break;
        }
    }
    outcome
}

/// Lets the child write for so long after the first line that begins so.
fn write_for(
    word: &str,
    moment: Duration,
    folder: &Path,
    power: &PowerCut,
    lies: bool,
    known: &mut Acknowledged,
) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"]);
    child.env(CHILD, folder).envs(power.env(folder)).stdout(Stdio::piped());
    if lies {
        child.env("POWERCUT_LIES", "1");
    }
    let mut child = child.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (told, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| told.send(line).unwrap());
    });
    let mut all = Vec::new();
    while let Ok(line) = heard.recv_timeout(Duration::from_secs(20)) {
        let is_it = line.starts_with(word);
        all.push(line);
        if is_it {
            break;
        }
    }
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    all.extend(heard.iter());
    for line in all {
        let Some((what, number)) = line.rsplit_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match what {
            "entry" => known.entry = known.entry.max(Some(number)),
            "vote" => known.vote = known.vote.max(number),
            "snapshot" => known.snapshot = known.snapshot.max(number),
            "records" => known.records = known.records.max(number),
            _ => {}
        }
    }
}

/// Opens the folder as a node does; an error is what is not as it should be.
fn check(path: &Path, known: &Acknowledged) -> Result<(), String> {
    let text = |error: StorageError| error.to_string();
    let must = |right: bool, what: String| if right { Ok(()) } else { Err(what) };
    let mut folder = Folder::open(path, 1).map_err(text)?;
    let log = LogStore::<Line>::open(&mut folder).map_err(text)?;
    let vote = log.vote().map_or(0, |vote| u64::from_be_bytes(vote.try_into().unwrap()));
    must(vote >= known.vote, format!("vote {vote}, {known:?}"))?;
    let range = log.range();
    must(known.entry.is_none_or(|last| range.end > last), format!("{range:?}, {known:?}"))?;
    for read in log.read(range, usize::MAX).map_err(text)? {
        let is_last = known.entry.is_none_or(|last| read.index > last);
        let right = read == line(read.index) || is_last && read == replaced(read.index);
        must(right, format!("entry {} was changed", read.index))?;
    }
    let snapshots = SnapshotStore::open(&folder).map_err(text)?;
    must(snapshots.position() >= known.snapshot, format!("no such snapshot, {known:?}"))?;
    if let Some(file) = snapshots.current() {
        let body = file.read().map_err(text)?;
        must(body == line(snapshots.position()).bytes, "the snapshot was changed".into())?;
    }
    let base = RecordStore::open(&folder, 0).map_err(text)?.valid();
    let newest = base.position();
    must(newest >= known.records, format!("records {newest}, {known:?}"))?;
    for record in base.iter() {
        let (key, value) = record.map_err(text)?;
        let written = u64::from_be_bytes(value[..8].try_into().unwrap());
        let right = key == record_key(written) && value == record_value(written);
        must(right, format!("record {written} was changed"))?;
    }
    let found = base.get(&record_key(newest)).map_err(text)?;
    must(newest == 0 || found.is_some(), format!("the records say {newest} and lack it"))
}

fn record_key(position: u64) -> Vec<u8> {
    format!("key-{:03}", position % 50).into_bytes()
}

fn record_value(position: u64) -> Vec<u8> {
    let size = [10, 4_000, 30_000][(position % 3) as usize];
    let mut value = position.to_be_bytes().to_vec();
    value.resize(size.max(8), position as u8);
    value
}

#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut folder = Folder::open(Path::new(&path), 1).unwrap();
    let log = LogStore::<Line>::open(&mut folder).unwrap();
    let snapshots = SnapshotStore::open(&folder).unwrap();
    let records = RecordStore::open(&folder, 0).unwrap();
    println!("\nstarted 0");
    let found = log.read(log.range(), usize::MAX).unwrap();
    if let Some(wrong) = found.iter().find(|found| **found != line(found.index)) {
        log.truncate_from(wrong.index).unwrap();
    }
    let first = log.range().end.max(log.purged().map_or(0, |purged| purged.index + 1));
    let mut position = records.valid().position();
    for index in first.. {
        let (entry_done, until_entry) = waiter();
        let (vote_done, until_vote) = waiter();
        if index % 4 == 1 {
            // As at a follower who is told otherwise by the next leader.
            log.append(vec![replaced(index), replaced(index + 1)], Box::new(|_| {})).unwrap();
            if index % 8 == 1 {
                std::thread::sleep(Duration::from_millis(2));
            }
            log.truncate_from(index).unwrap();
        }
        log.append(vec![line(index)], entry_done).unwrap();
        log.save_vote((index + 1).to_be_bytes().to_vec(), vote_done).unwrap();
        log.save_committed(index.to_be_bytes().to_vec()).unwrap();
        until_entry();
        println!("entry {index}");
        until_vote();
        println!("vote {index}");
        if index % 7 == 6 {
            log.purge(Purged { index: index - 5, about: Vec::new() }).unwrap();
        }
        if index % 5 == 0 && index > 0 {
            snapshots.save(index, b"about", &line(index).bytes[..]).unwrap();
            println!("snapshot {index}");
        }
        position += 1;
        let (key, value) = (record_key(position), record_value(position));
        records.valid().redo(position, [(&key[..], Some(&value[..]))].into_iter()).unwrap();
        println!("records {position}");
    }
}
