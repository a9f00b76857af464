//! The one record of a run: who asked for what and what came back, what sockets heard, what was broken and
//! when, how the nodes stood. A line of JSON each, in `history.jsonl`.
//!
//! Times are nanoseconds of one monotonic clock since the run began. An operation has two lines: its
//! invocation is written before anything is sent, so that nothing is forgotten if this program dies.
//! Checks read these lines and the nodes' logs, nothing else: so they can be repeated on a kept folder.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broken::{Broken, Doing as _};
use crate::cluster::Status;
use crate::faults::Outcome;

/// Its name in the evidence folder.
pub(crate) const FILE: &str = "history.jsonl";

/// A moment of the run, nanoseconds.
pub(crate) type Nanos = u64;
/// Number of an operation.
pub(crate) type OpId = u64;
/// Number of an actor: one does one thing at a time, except where it says otherwise.
pub(crate) type Actor = u32;

/// What can be asked of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Make a guest.
    Guest {
        request: Option<String>,
    },
    /// Give a player another name.
    Rename {
        player: String,
        name: String,
        request: String,
    },
    /// Ask for a player's name.
    Name {
        player: String,
    },
    /// Connect a session.
    Connect {
        player: String,
        session: String,
    },
    Join {
        player: String,
        session: String,
        request: String,
    },
    Cancel {
        player: String,
        session: String,
        request: String,
    },
    Ready {
        player: String,
        session: String,
        room: String,
        request: String,
    },
    Submit {
        player: String,
        session: String,
        room: String,
        choice: String,
        request: String,
    },
    /// Ask for one's own view of the battle.
    State {
        player: String,
        session: String,
    },
    /// Ask what may be chosen.
    Choices {
        player: String,
        session: String,
    },
    /// Ask whether a token counts.
    Verify {
        family: String,
    },
    /// Connect by a token that may have been given up.
    Enter {
        family: String,
    },
    Logout {
        family: String,
        request: String,
    },
    Refresh {
        family: String,
        request: String,
    },
}

impl Call {
    /// Its kind, as it is written.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Guest { .. } => "guest",
            Self::Rename { .. } => "rename",
            Self::Name { .. } => "name",
            Self::Connect { .. } => "connect",
            Self::Join { .. } => "join",
            Self::Cancel { .. } => "cancel",
            Self::Ready { .. } => "ready",
            Self::Submit { .. } => "submit",
            Self::State { .. } => "state",
            Self::Choices { .. } => "choices",
            Self::Verify { .. } => "verify",
            Self::Enter { .. } => "enter",
            Self::Logout { .. } => "logout",
            Self::Refresh { .. } => "refresh",
        }
    }

    /// The client's own id of the request, by which a retry is known.
    pub(crate) fn request(&self) -> Option<&str> {
        match self {
            Self::Guest { request } => request.as_deref(),
            Self::Rename { request, .. }
            | Self::Join { request, .. }
            | Self::Cancel { request, .. }
            | Self::Ready { request, .. }
            | Self::Submit { request, .. }
            | Self::Logout { request, .. }
            | Self::Refresh { request, .. } => Some(request),
            _ => None,
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Class {
    /// It happened.
    Ok,
    /// It is proved that it did not happen.
    Fail,
    /// Nobody can say.
    Info,
}

/// What a socket heard without having asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum Heard {
    Matched {
        room: String,
        opponent: String,
    },
    /// A numbered message of a battle; `story` is a digest of what every viewer must be told alike.
    Battle {
        room: String,
        sequence: i64,
        kind: String,
        story: String,
        winner: Option<String>,
    },
    RoomClosed {
        room: String,
    },
    /// The battle as it is, told to who came back.
    Resumed {
        room: String,
    },
    /// The connection is gone; whether the server said goodbye.
    Gone {
        dismissed: bool,
        why: String,
    },
}

/// What became of a node's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "life", rename_all = "kebab-case")]
pub(crate) enum Life {
    Started {
        number: u32,
        pid: u32,
    },
    Ready,
    /// Killed by this program.
    Killed,
    /// Ended in an orderly way, as it was asked to.
    Stopped {
        code: Option<i32>,
    },
    /// Its folder was wiped, and what starts there next is a new node with this id.
    Replaced {
        id: u64,
    },
    /// Ended by itself.
    Died {
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "kebab-case")]
pub(crate) enum Line {
    /// The first line.
    Run {
        seed: u64,
        nodes: usize,
        seconds: f64,
        version: String,
        plan: Vec<String>,
        redis: bool,
        /// How it is run again.
        #[serde(default)]
        again: String,
        /// Players who use the official client.
        #[serde(default)]
        npm: u32,
    },
    Invoke {
        t: Nanos,
        op: OpId,
        actor: Actor,
        node: usize,
        #[serde(flatten)]
        call: Call,
    },
    Return {
        t: Nanos,
        op: OpId,
        class: Class,
        /// The server's code, or why there is no answer.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        code: String,
        #[serde(default, skip_serializing_if = "Value::is_null")]
        out: Value,
    },
    Heard {
        t: Nanos,
        actor: Actor,
        node: usize,
        player: String,
        session: String,
        /// The server's id of this connection.
        socket: String,
        #[serde(flatten)]
        heard: Heard,
    },
    FaultBegins {
        t: Nanos,
        fault: u32,
        kind: String,
        lane: String,
        nodes: Vec<String>,
    },
    FaultEnds {
        t: Nanos,
        fault: u32,
        #[serde(flatten)]
        outcome: Outcome,
    },
    Node {
        t: Nanos,
        node: usize,
        #[serde(flatten)]
        life: Life,
    },
    /// How a node stands, as it says itself.
    Sample {
        t: Nanos,
        node: usize,
        #[serde(flatten)]
        status: Status,
    },
    /// What a node's process and folder take.
    Footprint {
        t: Nanos,
        node: usize,
        resident_kib: u64,
        open_files: u64,
        folder_bytes: u64,
    },
    /// What Redis holds of the mirror.
    Mirror {
        t: Nanos,
        up: bool,
        cluster: String,
        applied: u64,
    },
    /// A part of the run begins: `healthy`, `faults`, `healed`, `converged`, `final-reads`, …
    Phase {
        t: Nanos,
        phase: String,
    },
    /// What was found at the end by asking.
    Found {
        t: Nanos,
        about: String,
        node: usize,
        item: String,
        answer: String,
    },
}

/// Where lines go while a run goes on.
pub(crate) struct History {
    folder: PathBuf,
    began: Instant,
    next: AtomicU64,
    file: Mutex<BufWriter<File>>,
}

impl History {
    pub(crate) fn begin(folder: &Path) -> Result<Self, Broken> {
        let file = File::create(folder.join(FILE)).doing("make the history")?;
        let file = Mutex::new(BufWriter::new(file));
        let folder = folder.to_owned();
        Ok(Self { folder, began: Instant::now(), next: AtomicU64::new(0), file })
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The folder of evidence.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// When the clock began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Writes a line whose time is now. Lines stand in the order of their times.
    pub(crate) fn write(&self, line: impl FnOnce(Nanos) -> Line) {
        let mut file = self.file.lock();
        let line = line(self.now());
        // A history that can't be written is found out at the end, when it is read.
        if serde_json::to_writer(&mut *file, &line).is_ok() {
            let _ = file.write_all(b"\n");
        }
    }

    /// Writes that something is being asked.
    pub(crate) fn invoke(&self, actor: Actor, node: usize, call: Call) -> OpId {
        let op = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(|t| Line::Invoke { t, op, actor, node, call });
        op
    }

    pub(crate) fn phase(&self, phase: &str) {
        self.write(|t| Line::Phase { t, phase: phase.to_owned() });
    }

    /// Makes sure that all is in the file.
    pub(crate) fn flush(&self) -> Result<(), Broken> {
        self.file.lock().flush().doing("write the history")
    }
}

/// Reads all lines of a history. The last one may be cut short: it may be being written, or the program that wrote
/// it was killed.
pub(crate) fn read(folder: &Path) -> Result<Vec<Line>, Broken> {
    let text = std::fs::read_to_string(folder.join(FILE)).doing("read the history")?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = Vec::new();
    for (number, line) in whole.lines().enumerate() {
        let read = serde_json::from_str(line);
        lines.push(read.doing(&format!("read line {} of the history", number + 1))?);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_in_the_order_of_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::begin(folder.path()).expect("a history");
        let call = Call::Verify { family: "f".into() };
        let op = history.invoke(3, 1, call.clone());
        history.write(|t| Line::Return {
            t,
            op,
            class: Class::Ok,
            code: String::new(),
            out: Value::Null,
        });
        let heard = Heard::Gone { dismissed: true, why: "said goodbye".into() };
        history.write(|t| Line::Heard {
            t,
            actor: 3,
            node: 1,
            player: "p".into(),
            session: "s".into(),
            socket: "x".into(),
            heard: heard.clone(),
        });
        history.flush().expect("written");
        let lines = read(folder.path()).expect("readable");
        let [
            Line::Invoke { t: first, call: read, .. },
            Line::Return { t: second, .. },
            Line::Heard { heard: told, .. },
        ] = &lines[..]
        else {
            panic!("{lines:?}")
        };
        assert!(first <= second);
        assert_eq!((read, told), (&call, &heard));
    }

    #[test]
    fn a_last_line_that_is_cut_short_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::begin(folder.path()).expect("a history");
        history.phase("healthy");
        history.flush().expect("written");
        let path = folder.path().join(FILE);
        let whole = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, format!("{whole}{{\"ev\":\"pha")).expect("written");
        assert_eq!(read(folder.path()).expect("readable").len(), 1);
        std::fs::write(&path, format!("{{\"ev\":\"pha\n{whole}")).expect("written");
        assert!(read(folder.path()).is_err(), "anywhere else it is a broken record");
    }
}
