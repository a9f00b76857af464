//! What a node's process writes: each line goes to `logs/node-N.log`, behind its time, the number of the
//! process's life and the stream.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::broken::{Broken, Doing as _};

/// The folder of logs in the evidence.
pub(crate) const FOLDER: &str = "logs";

/// Where the log of a node is.
pub(crate) fn path(evidence: &Path, place: usize) -> PathBuf {
    evidence.join(FOLDER).join(format!("node-{}.log", place + 1))
}

/// A log that is being written.
#[derive(Clone)]
pub(crate) struct Log {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    began: Instant,
    /// The last life that has said that it is ready.
    ready: watch::Sender<u32>,
}

impl Log {
    pub(crate) fn make(evidence: &Path, place: usize, began: Instant) -> Result<Self, Broken> {
        std::fs::create_dir_all(evidence.join(FOLDER)).doing("make the folder of logs")?;
        let path = path(evidence, place);
        let file = File::create(&path).doing("make a log")?;
        Ok(Self { path, file: Arc::new(Mutex::new(file)), began, ready: watch::Sender::new(0) })
    }

    /// Whether some life has written this.
    pub(crate) fn says(&self, life: u32, words: &str) -> bool {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().filter_map(parse).filter(|line| line.life == life);
        lines.any(|line| line.text.contains(words))
    }

    /// Reads what a process writes until it ends.
    pub(crate) fn follow(
        &self,
        life: u32,
        stream: &'static str,
        from: impl Read + Send + 'static,
    ) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line);
                let at = log.began.elapsed().as_nanos();
                // One write for each line, so that nothing is lost if this program dies.
                let _ =
                    log.file.lock().write_all(format!("{at} {life} {stream} {text}\n").as_bytes());
                if text.starts_with("READY ") {
                    log.ready.send_replace(life);
                }
            }
        })
    }

    /// Waits until this life has said that it is ready.
    pub(crate) async fn ready(&self, life: u32) {
        // The sender is our own.
        let _ = self.ready.subscribe().wait_for(|ready| *ready >= life).await;
    }
}

/// A line that was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) at: u64,
    pub(crate) life: u32,
    pub(crate) text: String,
}

/// Reads a kept log.
pub(crate) fn read(evidence: &Path, place: usize) -> Result<Vec<Written>, Broken> {
    let text = std::fs::read(path(evidence, place)).doing("read a node's log")?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Written> {
    let mut parts = line.splitn(4, ' ');
    let at = parts.next()?.parse().ok()?;
    let life = parts.next()?.parse().ok()?;
    let _stream = parts.next()?;
    Some(Written { at, life, text: parts.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_with_the_life_that_wrote_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::make(folder.path(), 0, Instant::now()).expect("a log");
        log.follow(1, "out", &b"a b c\nREADY {}\n"[..]).join().expect("it ends");
        log.ready(1).await;
        log.follow(2, "err", &b"d"[..]).join().expect("it ends");
        let lines = read(folder.path(), 0).expect("it is there");
        let told: Vec<_> = lines.iter().map(|line| (line.life, line.text.as_str())).collect();
        assert_eq!(told, [(1, "a b c"), (1, "READY {}"), (2, "d")]);
    }
}
