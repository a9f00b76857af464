//! A write that a power cut tears: some of its first bytes are on the disk, what follows is as it was.
//!
//! The kernel writes pages in any order: either all that was written before into the same file is there as well,
//! or none of it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Disks write whole sectors; what is above them may tear anywhere.
const SECTOR: u64 = 512;
/// Bytes of a record in the order of writes: inode, offset, length.
const RECORD: usize = 24;

/// A write that was not synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Below the folder.
    file: PathBuf,
    at: u64,
    bytes: Vec<u8>,
}

/// What the dead process has written and not synced, in this order.
pub(super) fn unsynced(image: &Path, folder: &Path) -> io::Result<Vec<Write>> {
    let order = fs::read(image.join("writes").join("order"))?;
    let mut pending: Vec<[u64; 3]> = Vec::new();
    for record in order.chunks_exact(RECORD) {
        let mut numbers = record.chunks_exact(8).map(|it| it.try_into().map(u64::from_ne_bytes));
        let mut number = || numbers.next().and_then(Result::ok).unwrap_or_default();
        let (inode, at, length) = (number(), number(), number());
        if length == 0 {
            pending.retain(|[of, ..]| *of != inode);
        } else {
            pending.push([inode, at, length]);
        }
    }
    let mut files = Vec::new();
    files_below(folder, &mut files)?;
    let mut writes = Vec::new();
    for [inode, at, length] in pending {
        // Who is not there any more has lost his name: nothing of it comes back.
        let Some((_, path)) = files.iter().find(|(of, _)| *of == inode) else { continue };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let read = File::open(path)?.read_at(&mut bytes, at)?;
        bytes.truncate(read);
        let file = path.strip_prefix(folder).unwrap_or(path).to_owned();
        writes.push(Write { file, at, bytes });
    }
    Ok(writes)
}

fn files_below(folder: &Path, files: &mut Vec<(u64, PathBuf)>) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let (path, about) = item.and_then(|item| Ok((item.path(), item.metadata()?)))?;
        if about.is_dir() {
            files_below(&path, files)?;
        } else if about.is_file() {
            files.push((about.ino(), path));
        }
    }
    Ok(())
}

/// Puts the beginning of the last write that can be torn into a folder that was rolled back. Says what it was.
pub(super) fn tear(
    folder: &Path,
    writes: &[Write],
    rng: &mut ChaCha8Rng,
) -> io::Result<Option<String>> {
    for (number, write) in writes.iter().enumerate().rev() {
        let Some(cut) = place_to_cut(folder, write, rng)? else { continue };
        let of_file = writes[..number].iter().filter(|before| before.file == write.file);
        let with_former = rng.random_bool(0.5);
        let file = File::options().write(true).open(folder.join(&write.file))?;
        let mut former = 0;
        for before in of_file.filter(|_| with_former) {
            file.write_all_at(&before.bytes, before.at)?;
            former += 1;
        }
        file.write_all_at(&write.bytes[..cut], write.at)?;
        let (name, at, whole) = (write.file.display(), write.at, write.bytes.len());
        let told = format!("{cut} of {whole} bytes at {at} of {name}, behind {former} writes");
        return Ok(Some(told));
    }
    Ok(None)
}

/// How many bytes survive: some that change something, and not all of those.
fn place_to_cut(folder: &Path, write: &Write, rng: &mut ChaCha8Rng) -> io::Result<Option<usize>> {
    let Ok(file) = File::open(folder.join(&write.file)) else { return Ok(None) };
    let mut before = vec![0; write.bytes.len()];
    let read = file.read_at(&mut before, write.at)?;
    let differs = |at: &usize| *at >= read || before[*at] != write.bytes[*at];
    let (first, last) = ((0..before.len()).find(differs), (0..before.len()).rfind(differs));
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    let anywhere: Vec<usize> = (first + 1..=last).collect();
    let is_between_sectors = |cut: &&usize| (write.at + **cut as u64).is_multiple_of(SECTOR);
    let between: Vec<usize> = anywhere.iter().filter(is_between_sectors).copied().collect();
    let places = if between.is_empty() || rng.random_bool(0.5) { anywhere } else { between };
    Ok((!places.is_empty()).then(|| places[rng.random_range(0..places.len())]))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const BEFORE: [u8; 10] = [1; 10];

    /// A folder with one file, and that file.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("db");
        fs::write(&file, BEFORE).expect("a file");
        (folder, file)
    }

    #[test]
    fn only_what_was_not_synced_can_be_torn() {
        let ((image, _), (folder, file)) = (folder(), folder());
        let inode = fs::metadata(&file).expect("it is there").ino();
        let order = [[inode, 0, 4], [inode, 0, 0], [inode, 4, 2], [inode + 1, 0, 9], [inode, 6, 9]];
        let order: Vec<u8> =
            order.into_iter().flatten().flat_map(|it: u64| it.to_ne_bytes()).collect();
        fs::create_dir(image.path().join("writes")).expect("a folder");
        fs::write(image.path().join("writes").join("order"), order).expect("a file");
        let writes = unsynced(image.path(), folder.path()).expect("it can be read");
        let told: Vec<_> = writes.iter().map(|it| (it.at, it.bytes.len())).collect();
        assert_eq!(told, [(4, 2), (6, 4)]);
    }

    #[test]
    fn of_a_torn_write_some_of_what_is_new_is_there_and_not_all() {
        for seed in 0..50 {
            let (folder, path) = folder();
            let write = |at, bytes: &[u8]| Write { file: "db".into(), at, bytes: bytes.to_vec() };
            let writes = [write(0, &[2]), write(8, &[1, 3, 3, 3]), write(4, &[1; 4])];
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let told = tear(folder.path(), &writes, &mut rng).expect("it can be written");
            assert!(
                told.is_some_and(|told| told.contains("of 4 bytes at 8")),
                "the last changes nothing"
            );
            let after = fs::read(path).expect("it is there");
            assert_eq!(after[1..9], [1; 8], "what was written before is whole or not there");
            assert!(after.len() > 9 && after.len() < 12 && after[9..].iter().all(|it| *it == 3));
        }
    }
}
