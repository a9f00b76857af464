//! What a server wrote, which tests search and show when they fail.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::DEADLINE;

/// Lines shown when a test fails.
const TAIL_LINES: usize = 60;

/// What a server wrote, line by line.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<LogInner>);

#[derive(Default)]
struct LogInner {
    lines: Mutex<Vec<String>>,
    grown: watch::Sender<usize>,
}

impl Log {
    /// Reads what a process writes until it ends.
    pub(super) fn follow(
        &self,
        name: &'static str,
        from: impl Read + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let log = self.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                log.lines.lock().push(String::from_utf8_lossy(&line).into_owned());
                log.grown.send_modify(|lines| *lines += 1);
            }
            log.lines.lock().push(format!("(end of {name})"));
            log.grown.send_modify(|lines| *lines += 1);
        })
    }

    /// The first line that is as wanted.
    pub(crate) fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.0.lines.lock().iter().find(|line| wanted(line)).cloned()
    }

    /// Its last lines.
    pub(crate) fn tail(&self) -> String {
        let lines = self.0.lines.lock();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Waits until there is a line as wanted, and gives what was found in it.
    pub(super) async fn wait<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let mut grown = self.0.grown.subscribe();
        let found = async {
            loop {
                grown.borrow_and_update();
                if let Some(found) = self.0.lines.lock().iter().find_map(|line| wanted(line)) {
                    return Some(found);
                }
                if self.find(|line| line == "(end of out)").is_some() {
                    return None;
                }
                grown.changed().await.expect("the log lives as long as its reader");
            }
        };
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("the server ended before {what}\n{}", self.tail()),
            Err(_) => panic!("no {what} within {DEADLINE:?}\n{}", self.tail()),
        }
    }
}
