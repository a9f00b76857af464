//! Whatever a file can hold: no damage is handed out as what was written, none makes a reader panic.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::error::StorageError;
use crate::header::Folder;
use crate::pieces::{self, Joined, PIECE_BYTES_MAX};
use crate::snapshot_store::SnapshotStore;
use crate::{files, keys};

/// Changes one bit; in an empty text nothing.
fn flip(bytes: &mut [u8], at: usize) {
    let bits = bytes.len() * 8;
    if bits > 0 {
        bytes[at % bits / 8] ^= 1 << (at % 8);
    }
}

/// What happens to the pieces of a value.
#[derive(Clone, Debug)]
enum Loss {
    Flip(usize, usize),
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    Cut(usize, usize),
    Foreign(usize, Vec<u8>),
}

impl Loss {
    fn of(&self, pieces: &mut Vec<Vec<u8>>) {
        let count = pieces.len();
        match self {
            Self::Flip(piece, at) => flip(&mut pieces[piece % count], *at),
            Self::Drop(piece) => drop(pieces.remove(piece % count)),
            Self::Double(piece) => pieces.insert(piece % count, pieces[piece % count].clone()),
            Self::Swap(a, b) => pieces.swap(a % count, b % count),
            Self::Cut(piece, at) => {
                let piece = &mut pieces[piece % count];
                piece.truncate(at % (piece.len() + 1));
            }
            Self::Foreign(at, piece) => pieces.insert(at % (count + 1), piece.clone()),
        }
    }
}

fn loss() -> impl Strategy<Value = Loss> {
    let n = any::<usize>;
    prop_oneof![
        3 => (n(), n()).prop_map(|(piece, at)| Loss::Flip(piece, at)),
        1 => n().prop_map(Loss::Drop),
        1 => n().prop_map(Loss::Double),
        1 => (n(), n()).prop_map(|(a, b)| Loss::Swap(a, b)),
        1 => (n(), n()).prop_map(|(piece, at)| Loss::Cut(piece, at)),
        1 => (n(), vec(any::<u8>(), 0..20)).prop_map(|(at, piece)| Loss::Foreign(at, piece)),
    ]
}

/// The link of the value before.
const BEFORE: u32 = 7;

fn joined(pieces: &[Vec<u8>]) -> Joined {
    pieces::join(BEFORE, pieces.iter().map(Vec::as_slice))
}

proptest! {
    #[test]
    fn a_value_comes_back_or_its_loss_is_noticed(
        seed in vec(any::<u8>(), 1..60),
        times in 0..400usize,
        loss in loss(),
    ) {
        let value = seed.repeat(times);
        let mut pieces = pieces::cut(BEFORE, &value).unwrap();
        prop_assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
        prop_assert_eq!(joined(&pieces), Joined::Whole(value.clone(), pieces::link(BEFORE, &value)));
        let whole = pieces.clone();
        loss.of(&mut pieces);
        match joined(&pieces) {
            // An empty piece more is none; equal pieces may change places.
            Joined::Whole(found, _) => prop_assert_eq!(found, value),
            Joined::Incomplete | Joined::Damaged => prop_assert_ne!(pieces, whole),
        }
    }

    #[test]
    fn noise_is_no_value(pieces in vec(vec(any::<u8>(), 0..40), 0..4)) {
        if let Joined::Whole(value, _) = joined(&pieces) {
            prop_assert_eq!(pieces.concat().len(), value.len() + 8);
        }
    }

    #[test]
    fn keys_of_any_bytes_are_read_or_refused(stored in vec(any::<u8>(), 0..300)) {
        if let Some(key) = keys::parse_record(&stored) {
            prop_assert!(stored.starts_with(&keys::record_prefix(key)));
            prop_assert_eq!(stored.len(), key.len() + 3);
        }
        prop_assert_eq!(keys::piece_index(&stored).is_some(), stored.len() >= 8);
        let named = |parsed: Option<u64>, name: fn(u64) -> String| {
            parsed.is_none_or(|number| name(number).len() <= stored.len() + 20)
        };
        prop_assert!(named(keys::parse_segment(&stored), keys::segment_name));
        prop_assert!(named(keys::parse_generation(&stored), keys::generation_name));
    }
}

/// Reads the current snapshot of a folder.
fn served(folder: &Folder) -> Result<Option<Vec<u8>>, StorageError> {
    let current = SnapshotStore::open(folder)?.current();
    current.map(|file| file.read()).transpose()
}

proptest! {
    // Each case syncs files to the disk.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_with_any_change_is_refused(
        length in prop_oneof![0..600usize, 262_100..262_200usize],
        damages in vec((any::<usize>(), 0..4u8, vec(any::<u8>(), 1..9)), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), 1).unwrap();
        let body: Vec<u8> = (0..length).map(|at| (at % 253) as u8).collect();
        SnapshotStore::open(&folder).unwrap().save(7, b"about", &body[..]).unwrap();
        let path = dir.path().join("snapshots").join("7-1.snap");
        let whole = fs::read(&path).unwrap();
        for (at, how, bytes) in damages {
            let mut changed = whole.clone();
            let place = at % (whole.len() + 1);
            match how {
                0 => flip(&mut changed, at),
                1 => changed.truncate(at % whole.len()),
                2 => drop(changed.splice(place..place, bytes)),
                _ => {
                    let end = (place + bytes.len()).min(whole.len());
                    changed.splice(place..end, bytes);
                }
            }
            fs::write(&path, &changed).unwrap();
            let found = served(&folder);
            let refused = matches!(found, Err(StorageError::Corrupt(_)));
            prop_assert!(changed == whole || refused, "{at} {how}: {found:?}");
        }
        fs::write(&path, &whole).unwrap();
        prop_assert_eq!(served(&folder).unwrap(), Some(body));
    }

    #[test]
    fn small_files_of_any_bytes_are_refused(noise in vec(any::<u8>(), 0..200), at in any::<usize>()) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), 1).unwrap();
        SnapshotStore::open(&folder).unwrap().save(7, b"about", &b"body"[..]).unwrap();
        let current = dir.path().join("snapshots").join("current");
        let mut flipped = fs::read(&current).unwrap();
        flip(&mut flipped, at);
        for bytes in [&flipped, &noise] {
            fs::write(&current, bytes).unwrap();
            prop_assert!(served(&folder).is_err(), "{bytes:?}");
        }
        drop(folder);

        let header = dir.path().join("header");
        let whole = fs::read(&header).unwrap();
        let mut flipped = whole.clone();
        flip(&mut flipped, at);
        for bytes in [&flipped, &noise] {
            files::replace(&header, bytes).unwrap();
            prop_assert!(Folder::open(dir.path(), 1).is_err(), "{bytes:?}");
        }
        files::replace(&header, &whole).unwrap();
        Folder::open(dir.path(), 1).unwrap();
    }
}
