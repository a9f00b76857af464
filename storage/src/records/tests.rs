//! A base moves on, is read meanwhile, is replaced by another generation, and comes back.

use std::collections::BTreeMap;

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A folder that is complete but for its log.
fn folder(path: &std::path::Path) -> Folder {
    let mut folder = Folder::open(path, 1).unwrap();
    folder.set_ready().unwrap();
    folder
}

/// Compares without printing megabytes.
fn assert_holds(base: &Base, position: u64, model: &Model) {
    assert_eq!(base.position(), position);
    let found = all(base);
    let differs = found.iter().zip(model).find(|(a, b)| a != b).map(|(a, _)| a.0.clone());
    assert!(found == *model, "{} of {} records, {differs:?}", found.len(), model.len());
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:06}").into_bytes()
}

fn value(number: u32, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at as u32 ^ number) as u8).collect()
}

fn all(base: &Base) -> Model {
    base.iter().collect::<Result<_, _>>().unwrap()
}

/// Moves a base on, and the model with it.
fn redo(base: &Base, model: &mut Model, position: u64, changes: &[(Vec<u8>, Option<Vec<u8>>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(model.insert(key.clone(), value.clone())),
            None => drop(model.remove(key)),
        }
    }
    let changes = changes.iter().map(|(key, value)| (&key[..], value.as_deref()));
    base.redo(position, changes).unwrap();
}

/// Some new, some changed, some removed, of all sizes.
fn mixed(seed: u32) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let sizes = [0, 1, 150, 4088, 4089, 40_000];
    (0..200u32)
        .map(|at| {
            let number = at.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) % 500;
            let size = sizes[(number.wrapping_add(seed) % 6) as usize];
            (key(number), (!(number + seed).is_multiple_of(4)).then(|| value(seed, size)))
        })
        .collect()
}

#[test]
fn a_base_moves_on_and_is_what_it_was_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    for position in 1..6 {
        let folder = folder(dir.path());
        let store = RecordStore::open(&folder, 0).unwrap();
        let base = store.valid();
        assert_holds(&base, position - 1, &model);
        redo(&base, &mut model, position, &mixed(position as u32));
        assert_holds(&base, position, &model);
        for number in 0..500 {
            assert!(base.get(&key(number)).unwrap() == model.get(&key(number)).cloned());
        }
    }
}

#[test]
fn a_range_is_read_in_order_and_against_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = RecordStore::open(&folder(dir.path()), 0).unwrap();
    let (base, mut model) = (store.valid(), Model::new());
    redo(&base, &mut model, 1, &mixed(1));
    // Keys of other lengths are none of a range's business.
    redo(&base, &mut model, 2, &[(b"key".to_vec(), Some(value(1, 9))), (key(1_000_000), None)]);
    for (from, to) in [(0, 999_999), (17, 300), (300, 300), (600, 700)] {
        let expected: Vec<KeyValue> =
            model.range(key(from)..=key(to)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let read = |backward| -> Vec<KeyValue> {
            base.range(&key(from), &key(to), backward).collect::<Result<_, _>>().unwrap()
        };
        assert!(read(false) == expected, "{from} to {to}");
        assert!(read(true).into_iter().rev().eq(expected), "{to} down to {from}");
    }
}

#[test]
fn changes_that_were_written_in_part_are_written_again_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let store = RecordStore::open(&folder, 0).unwrap();
    let base = store.valid();
    let mut model = Model::new();
    redo(&base, &mut model, 1, &mixed(1));
    let next = mixed(2);
    // As a process does that dies in the middle.
    let before = *base.progress.lock();
    let last: BTreeMap<_, _> =
        next.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
    let sum = base.sum_after(before.sum, &last).unwrap();
    base.put_progress(Progress { target: Some((2, sum)), ..before }).unwrap();
    let part = next[..120].iter().map(|(key, value)| (&key[..], value.as_deref()));
    base.write(&part.collect::<Vec<_>>()).unwrap();
    drop((base, store));
    let base = RecordStore::open(&folder, 0).unwrap().valid();
    assert_eq!(base.position(), 1);
    redo(&base, &mut model, 2, &next);
    assert_holds(&base, 2, &model);
}

#[test]
fn a_stream_gives_the_state_of_its_beginning_while_the_base_moves_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let store = RecordStore::open(&folder, 0).unwrap();
    let base = store.valid();
    let mut model = Model::new();
    for position in 1..=3 {
        redo(&base, &mut model, position, &mixed(position as u32));
    }
    let at_beginning = model.clone();
    let mut stream = base.stream(3).unwrap();
    assert!(base.stream(3).is_none(), "one at a time");
    let mut streamed = Model::new();
    for position in 4.. {
        let records = stream.next(60_000).unwrap();
        if records.is_empty() {
            break;
        }
        streamed.extend(records);
        redo(&base, &mut model, position, &mixed(position as u32));
    }
    assert!(streamed == at_beginning);
    assert!(streamed != model, "it did move on");
    drop(stream);
    assert!(base.stream(3).is_none(), "the base is elsewhere now");
    assert!(base.stream(base.position()).is_some());
}

#[test]
fn a_record_is_read_whole_or_not_at_all_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = RecordStore::open(&folder(dir.path()), 0).unwrap();
    let base = store.valid();
    let sizes = [20, 40_000, 4_088, 9_000];
    let (writer, done) = (base.clone(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for position in 1..=60 {
                let size = sizes[position as usize % 4];
                let changes: Vec<_> = (0..20)
                    .map(|at| (key(at), (at + position) % 7 != 0, value(position, size)))
                    .collect();
                let changes = changes
                    .iter()
                    .map(|(key, is_there, value)| (&key[..], is_there.then_some(&value[..])));
                writer.redo(u64::from(position), changes).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let is_right = |found: &[u8]| {
            sizes.contains(&found.len())
                && (1..=60).any(|position| value(position, found.len()) == found)
        };
        let mut seen = 0;
        while !done.load(Ordering::Acquire) {
            for backward in [false, true] {
                for record in base.range(&key(0), &key(19), backward) {
                    assert!(is_right(&record.unwrap().1), "backward: {backward}");
                    seen += 1;
                }
            }
            for number in 0..20 {
                assert!(base.get(&key(number)).unwrap().is_none_or(|found| is_right(&found)));
            }
        }
        assert!(seen > 0, "nothing was read meanwhile");
    });
}

#[test]
fn a_stream_that_would_have_to_remember_too_much_is_cancelled_and_the_base_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let store = RecordStore::open(&folder, 0).unwrap();
    let base = store.valid();
    let large: Vec<_> = (0..90).map(|number| (key(number), Some(value(number, 1 << 20)))).collect();
    let mut model = Model::new();
    redo(&base, &mut model, 1, &large);
    let mut stream = base.stream(1).unwrap();
    stream.next(1).unwrap();
    let removed: Vec<_> = (0..90).map(|number| (key(number), None)).collect();
    redo(&base, &mut model, 2, &removed);
    assert!(matches!(stream.next(1), Err(StorageError::Stopped(_))));
    assert!(all(&base).is_empty());
    assert!(base.stream(2).is_some(), "another one may begin");
}

#[test]
fn another_generation_is_valid_only_once_it_is_complete_and_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let old = folder(dir.path());
    let store = RecordStore::open(&old, 0).unwrap();
    let mut model = Model::new();
    redo(&store.valid(), &mut model, 1, &mixed(1));
    let mut filling = store.begin().unwrap().unwrap();
    assert!(store.begin().unwrap().is_none(), "one at a time");
    let generation = filling.generation();
    filling.put(b"other", b"state").unwrap();
    drop(filling);
    assert!(store.switch_to(generation).is_err(), "it is not complete");
    assert_holds(&store.valid(), 1, &model);

    let mut filling = store.begin().unwrap().unwrap();
    filling.put(b"new", b"state").unwrap();
    filling.finish(9).unwrap();
    assert_holds(&store.valid(), 1, &model);
    let base = store.switch_to(generation).unwrap();
    store.drop_others().unwrap();
    let expected = Model::from([(b"new".to_vec(), b"state".to_vec())]);
    assert_holds(&base, 9, &expected);
    drop((store, base, old));

    let store = RecordStore::open(&folder(dir.path()), generation).unwrap();
    assert_holds(&store.valid(), 9, &expected);
}

#[test]
fn a_changed_byte_is_never_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let store = RecordStore::open(&folder, 0).unwrap();
    let base = store.valid();
    base.redo(1, [(&b"k"[..], Some(&b"value"[..]))].into_iter()).unwrap();
    let stored = keys::record_piece(b"k", 0);
    let mut piece = base.table.get(&stored).unwrap().unwrap().to_vec();
    *piece.last_mut().unwrap() ^= 1;
    base.table.insert(stored, piece).unwrap();
    assert!(matches!(base.get(b"k"), Err(StorageError::Corrupt(_))));
    assert!(matches!(base.iter().next(), Some(Err(StorageError::Corrupt(_)))));
}

#[test]
fn records_of_another_folder_are_refused() {
    let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in [&one, &other] {
        RecordStore::open(&folder(dir.path()), 0).unwrap();
    }
    std::fs::remove_dir_all(other.path().join("records")).unwrap();
    std::fs::rename(one.path().join("records"), other.path().join("records")).unwrap();
    let error = RecordStore::open(&folder(other.path()), 0).err().unwrap();
    assert!(error.to_string().contains("another data folder"), "{error}");
}

#[test]
fn records_that_the_database_lost_or_has_as_they_were_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let mut model = Model::new();
    let open = || RecordStore::open(&folder, 0);
    let base = open().unwrap().valid();
    redo(&base, &mut model, 1, &mixed(1));
    redo(&base, &mut model, 2, &mixed(2));
    let all: Vec<_> = base.table.iter().map(Result::unwrap).collect();
    let small = all.iter().find(|(_, piece)| piece.len() < 1000).unwrap().clone();
    base.table.remove(&small.0).unwrap();
    base.shared.db.sync().unwrap();
    drop(base);
    let error = open().err().unwrap();
    assert!(error.to_string().contains("records of position 2 are missing"), "{error}");

    // A crash in the middle of moving on, and a loss before it is made up for.
    let base = Base::open(&open_shared(&folder), 0).unwrap();
    let target = Sum::default();
    let progress = *base.progress.lock();
    base.put_progress(Progress { target: Some((3, target)), ..progress }).unwrap();
    drop(base);
    let base = open().unwrap().valid();
    let error = base.redo(3, [(&b"new"[..], None)].into_iter()).unwrap_err();
    assert!(error.to_string().contains("records of position 3 are missing"), "{error}");
}

fn open_shared(folder: &Folder) -> Arc<Shared> {
    let db = Database::open(&folder.records_path(), Of::Records).unwrap();
    let meta = db.table(keys::META).unwrap();
    Arc::new(Shared { db, meta, filling: AtomicBool::new(false) })
}
