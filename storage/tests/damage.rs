//! Every file of a data folder is cut, changed, emptied, removed and exchanged: what opens is exactly what
//! was written, and everything else is refused with a text.
//!
//! `DAMAGE_CASES` asks for more places in each file, `SEED` for certain ones.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serverv2_storage::{Done, Folder, LogStore, Purged, RecordStore, SnapshotStore, StorageError};

use self::common::{Line, filled, from_env, waiter};

const CASES: u64 = 5;
const SIZES: [usize; 4] = [200, 900, 5_000, 24_000];

/// One of several entries with its index.
fn line(index: u64, version: u8) -> Line {
    Line::filled(index, SIZES[(index % 4) as usize], index as u8 ^ version)
}

/// All that a folder says.
#[derive(PartialEq, Debug)]
struct Contents {
    vote: Option<Vec<u8>>,
    purged: Option<Purged>,
    lines: Vec<Line>,
    snapshot: (u64, Option<Vec<u8>>),
    records: (u64, BTreeMap<Vec<u8>, Vec<u8>>),
}

#[test]
fn no_damage_is_ever_served() {
    let seed = from_env("SEED").unwrap_or_else(|| rand::rng().random());
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (whole, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(whole.path(), 0);
    write(other.path(), 1);
    let written = {
        let copy = copy(whole.path());
        open(copy.path()).unwrap()
    };
    assert_eq!(written.lines.last().unwrap().index, LAST);
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::<(String, bool), usize>::new();
    for file in files(whole.path()) {
        for (what, damage) in damages(&whole.path().join(&file), other.path(), &file, &mut rng) {
            let copy = copy(whole.path());
            damage.apply(&copy.path().join(&file));
            let what = format!("{} {what}", file.display());
            for time in ["first", "second"] {
                let path = copy.path().to_owned();
                let (told, outcome) = mpsc::channel();
                let opening = std::thread::spawn(move || told.send(open(&path)).unwrap());
                let outcome = outcome.recv_timeout(Duration::from_secs(60));
                match &outcome {
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: it hangs"),
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        wrong.push(format!("{what}: panic"));
                    }
                    Ok(Err(_)) => {}
                    Ok(Ok(found)) if *found == written => {}
                    Ok(Ok(found)) => {
                        wrong.push(format!("{what}: {time} {}", differs(found, &written)));
                    }
                }
                let name = format!("{} {}", file.display(), what.split(' ').nth(1).unwrap());
                *counts.entry((name, matches!(outcome, Ok(Ok(_))))).or_default() += 1;
                let _ = opening.join();
            }
        }
    }
    for ((what, opened), count) in &counts {
        println!("{what}: {count} {}", if *opened { "opened" } else { "refused" });
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

fn differs(found: &Contents, written: &Contents) -> String {
    let indexes = |contents: &Contents| {
        contents.lines.first().map(|line| line.index)..contents.lines.last().map(|line| line.index)
    };
    format!(
        "votes {:?} {:?}, purged {:?}, lines {:?} of {:?} same {}, snapshots same {}, records at {} of {} same {}",
        found.vote,
        written.vote,
        found.purged,
        indexes(found),
        indexes(written),
        found.lines == written.lines,
        found.snapshot == written.snapshot,
        found.records.0,
        written.records.0,
        found.records == written.records,
    )
}

enum Damage {
    Cut(u64),
    Flip(u64, u8),
    Remove,
    Replace(PathBuf),
}

impl Damage {
    fn apply(&self, path: &Path) {
        match self {
            Self::Cut(length) => {
                fs::File::options().write(true).open(path).unwrap().set_len(*length).unwrap();
            }
            Self::Flip(at, bit) => {
                let mut bytes = fs::read(path).unwrap();
                bytes[*at as usize] ^= 1 << bit;
                fs::write(path, bytes).unwrap();
            }
            Self::Remove => fs::remove_file(path).unwrap(),
            Self::Replace(by) => drop(fs::copy(by, path).unwrap()),
        }
    }
}

fn damages(file: &Path, other: &Path, name: &Path, rng: &mut StdRng) -> Vec<(String, Damage)> {
    let length = fs::metadata(file).unwrap().len();
    let mut all = vec![("removed".to_owned(), Damage::Remove)];
    if other.join(name).exists() {
        all.push(("replaced".to_owned(), Damage::Replace(other.join(name))));
    }
    if length == 0 {
        return all;
    }
    all.push(("emptied".to_owned(), Damage::Cut(0)));
    // In a database most is elsewhere: more places there.
    let cases = from_env("DAMAGE_CASES").unwrap_or(CASES) * if length > 100_000 { 8 } else { 1 };
    for _ in 0..cases {
        let cut = rng.random_range(0..length);
        all.push((format!("cut to {cut} of {length}"), Damage::Cut(cut)));
        let (at, bit) = (rng.random_range(0..length), rng.random_range(0..8));
        all.push((format!("flipped at {at} of {length}"), Damage::Flip(at, bit)));
    }
    all
}

const LAST: u64 = 150;

/// Writes what a node might have written, in several starts.
fn write(path: &Path, salt: u8) {
    for part in 0..3u8 {
        let mut folder = Folder::open(path, 1).unwrap();
        let log = LogStore::<Line>::open(&mut folder).unwrap();
        let snapshots = SnapshotStore::open(&folder).unwrap();
        let records = RecordStore::open(&folder, 0).unwrap();
        let wait = |ask: &dyn Fn(Done) -> Result<(), StorageError>| {
            let (done, until_done) = waiter();
            ask(done).unwrap();
            until_done();
        };
        for step in 0..50 {
            let index = u64::from(part) * 50 + step + 1;
            wait(&|done| log.save_vote(vec![salt, part, step as u8], done));
            if step % 10 == 7 {
                // Another leader's, which it then loses.
                let lost = (0..3).map(|more| line(index + more, salt ^ 0x80));
                wait(&|done| log.append(lost.clone().collect(), done));
                log.truncate_from(index).unwrap();
            }
            wait(&|done| log.append(vec![line(index, salt)], done));
            log.save_committed(index.to_be_bytes().to_vec()).unwrap();
            if step == 20 {
                log.purge(Purged { index: index - 12, about: b"about".to_vec() }).unwrap();
            }
        }
        let position = u64::from(part + 1) * 50 - 3;
        snapshots.save(position, b"meta", &filled(60_000, part ^ salt)[..]).unwrap();
        for step in 0..4u8 {
            let changes: Vec<_> = (0..120u8)
                .map(|at| {
                    (vec![b'k', at.wrapping_mul(step + 1)], filled(900, at ^ step ^ part ^ salt))
                })
                .collect();
            let changes = changes.iter().map(|(key, value)| (&key[..], Some(&value[..])));
            records.valid().redo(position - 3 + u64::from(step), changes).unwrap();
        }
        drop((log, snapshots, records));
    }
}

/// Opens a folder as a node does and reads all of it.
fn open(path: &Path) -> Result<Contents, StorageError> {
    let mut folder = Folder::open(path, 1)?;
    let log = LogStore::<Line>::open(&mut folder)?;
    let snapshots = SnapshotStore::open(&folder)?;
    let records = RecordStore::open(&folder, 0)?.valid();
    // Records must be those that the snapshot says: who opens them refuses others.
    if records.position() != snapshots.position() {
        return Err(StorageError::Stopped("the caller refuses these records".into()));
    }
    Ok(Contents {
        vote: log.vote(),
        purged: log.purged(),
        lines: log.read(0..u64::MAX, usize::MAX)?,
        snapshot: (snapshots.position(), snapshots.current().map(|file| file.read()).transpose()?),
        records: (records.position(), records.iter().collect::<Result<_, _>>()?),
    })
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in files(from) {
        fs::create_dir_all(to.path().join(&file).parent().unwrap()).unwrap();
        fs::copy(from.join(&file), to.path().join(&file)).unwrap();
    }
    to
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let item = item.unwrap().path();
            if item.is_dir() {
                folders.push(item);
            } else {
                found.push(item.strip_prefix(path).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
