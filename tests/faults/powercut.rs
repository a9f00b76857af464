//! Power cuts: a process runs on a disk that forgets what was not synced.
//!
//! `powercut.c` is preloaded into the process and keeps an image of what is durable; when the process
//! was killed, its folder is put together again from that. It is the worst that the interface of the
//! system permits, not what each disk does.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const SOURCE: &str = include_str!("powercut.c");

/// What a disk remembers of one folder.
pub(crate) struct PowerCut {
    image: tempfile::TempDir,
}

impl PowerCut {
    pub(crate) fn new() -> Self {
        Self { image: tempfile::tempdir().expect("make a folder for the image") }
    }

    /// What the process must find in its environment.
    pub(crate) fn env(&self, folder: &Path) -> [(&'static str, PathBuf); 3] {
        // As the kernel names it.
        let folder = folder.canonicalize().expect("the folder is there");
        [
            ("LD_PRELOAD", library().to_owned()),
            ("POWERCUT_DIR", folder),
            ("POWERCUT_IMAGE", self.image.path().to_owned()),
        ]
    }

    /// Undoes what the dead process had not synced. Gives the number of names and files that are not
    /// what they were.
    pub(crate) fn roll_back(&self, folder: &Path) -> usize {
        self.finish_syncs();
        let inode = fs::metadata(folder).expect("the folder is there").ino();
        let rebuilt = self.image.path().join("rebuilt");
        fs::create_dir(&rebuilt).expect("make a folder");
        self.rebuild(&rebuilt, inode);
        let undone = differences(folder, &rebuilt);
        for item in fs::read_dir(folder).expect("list it").flatten() {
            let path = item.path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("remove what was there");
        }
        for item in fs::read_dir(&rebuilt).expect("list it").flatten() {
            fs::rename(item.path(), folder.join(item.file_name())).expect("put it in its place");
        }
        for item in fs::read_dir(self.image.path()).expect("list it").flatten() {
            fs::remove_dir_all(item.path()).expect("forget the image");
        }
        undone
    }

    /// A sync that was under way when the process died has happened, or has not.
    fn finish_syncs(&self) {
        for item in fs::read_dir(self.image.path().join("pending")).into_iter().flatten().flatten()
        {
            let name = item.file_name();
            let Some(inode) = name.to_str().filter(|name| !name.contains('.')) else { continue };
            let path = self.image.path().join("files").join(inode);
            let file = fs::File::options().write(true).create(true).truncate(false).open(path);
            let file = file.expect("open the image");
            let pending = fs::read(item.path()).expect("read what is pending");
            let mut rest = &pending[..];
            while let Some((head, behind)) = rest.split_first_chunk::<16>() {
                let number = |at: usize| {
                    i64::from_ne_bytes(head[at..at + 8].try_into().expect("eight bytes"))
                };
                let count = u64::try_from(number(8)).expect("a length");
                rest = behind;
                if let Ok(at) = u64::try_from(number(0)) {
                    let bytes = &behind[..usize::try_from(count).expect("it is in memory")];
                    file.write_all_at(bytes, at).expect("write the image");
                    rest = &behind[bytes.len()..];
                } else {
                    file.set_len(count).expect("cut the image");
                }
            }
        }
    }

    fn rebuild(&self, to: &Path, inode: u64) {
        let list = self.image.path().join("lists").join(inode.to_string());
        for line in fs::read_to_string(list).unwrap_or_default().lines() {
            let mut parts = line.splitn(3, ' ');
            let mut part = || parts.next().expect("a line has three parts");
            let (inode, kind, name) = (part(), part(), part());
            if kind == "d" {
                fs::create_dir(to.join(name)).expect("make a folder");
                self.rebuild(&to.join(name), inode.parse().expect("an inode"));
            } else {
                let bytes = fs::read(self.image.path().join("files").join(inode));
                // Its name was synced, nothing in it ever was.
                fs::write(to.join(name), bytes.unwrap_or_default()).expect("write a file");
            }
        }
    }
}

fn differences(before: &Path, after: &Path) -> usize {
    let names = |path: &Path| -> std::collections::BTreeSet<_> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|item| item.file_name()).collect()
    };
    let (was, is) = (names(before), names(after));
    let in_common = was.intersection(&is).map(|name| {
        let (before, after) = (before.join(name), after.join(name));
        match before.is_dir() {
            true => differences(&before, &after),
            false => usize::from(fs::read(before).ok() != fs::read(after).ok()),
        }
    });
    in_common.sum::<usize>() + was.symmetric_difference(&is).count()
}

/// The compiled library.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| super::library::compiled("powercut", SOURCE))
}
