//! The official Socket.IO client, from npm: one process of Node holds the sockets of all who use it, and says in lines
//! what they hear. What it is told and what it tells are the protocol's frames, so that whoever plays does not know
//! which client he has.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::socket::Dial;
use crate::broken::{Broken, Doing as _};
use crate::cluster::host::client_address;

/// What Node runs.
const SCRIPT: &str = include_str!("npm.js");
/// Where the packages are, of which the tests of `tests/js` have a list.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/js");
/// Lines to Node, and to one socket, that nobody has read yet; more than a battle has.
const UNREAD_MAX: usize = 8_192;

/// Who reads which socket's lines; `None` once Node is gone.
type Readers = Arc<Mutex<Option<BTreeMap<u64, mpsc::Sender<String>>>>>;

/// The process of Node. It ends with the last who has it.
#[derive(Clone, Debug)]
pub(crate) struct Npm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next: AtomicU64,
    /// Whether somebody was let in.
    connected: AtomicBool,
    lines: mpsc::Sender<String>,
    readers: Readers,
    _node: Child,
}

impl Npm {
    /// Whether Node and the package are here.
    pub(crate) fn is_installed() -> bool {
        let node = std::process::Command::new("node").arg("--version").output();
        node.is_ok_and(|said| said.status.success())
            && Path::new(PACKAGES).join("node_modules/socket.io-client").is_dir()
    }

    /// Starts Node.
    pub(crate) fn start() -> Result<Self, Broken> {
        let mut node = Command::new("node")
            .args(["-e", SCRIPT])
            .current_dir(PACKAGES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing("start Node for the official client")?;
        let (Some(mut stdin), Some(stdout)) = (node.stdin.take(), node.stdout.take()) else {
            return Err(Broken::new("start Node for the official client", "it has no pipes"));
        };
        let (lines, mut unsent) = mpsc::channel::<String>(UNREAD_MAX);
        tokio::spawn(async move {
            while let Some(line) = unsent.recv().await {
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let readers: Readers = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let all = Arc::clone(&readers);
        tokio::spawn(async move {
            let mut heard = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = heard.next_line().await {
                deliver(&all, &line);
            }
            drop(all.lock().take());
        });
        let (next, connected) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { next, connected, lines, readers, _node: node })))
    }

    /// Somebody was let in by this client.
    pub(super) fn connected(&self) {
        self.0.connected.store(true, Ordering::Relaxed);
    }

    /// Whether somebody was let in, and Node is still there.
    pub(crate) fn has_served(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed) && self.0.readers.lock().is_some()
    }

    /// Begins to connect: what is said from then on, and what is heard, frame by frame.
    pub(crate) fn open(&self, dial: &Dial) -> (Line, BoxStream<'static, Result<String, String>>) {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (reader, heard) = mpsc::channel(UNREAD_MAX);
        if let Some(readers) = self.0.readers.lock().as_mut() {
            readers.insert(number, reader);
        }
        let line = Line { number, npm: self.clone() };
        let opening = json!({
            "url": format!("http://{}", dial.address),
            "query": { "playerId": dial.player, "sessionId": dial.session },
            "auth": dial.token.as_ref().map(|token| json!({ "token": token })),
            "localAddress": client_address(dial.from, dial.address),
        });
        line.say(&format!("open {opening}"));
        let heard = stream::unfold(heard, |mut heard| async move {
            let frame: String = heard.recv().await?;
            let frame = match frame.strip_prefix("gone ") {
                Some(why) => Err(why.to_owned()),
                None => Ok(frame),
            };
            Some((frame, heard))
        });
        (line, heard.boxed())
    }
}

fn deliver(readers: &Readers, line: &str) {
    let Some((number, frame)) = line.split_once(' ') else { return };
    let Ok(number) = number.parse::<u64>() else { return };
    let mut readers = readers.lock();
    let Some(readers) = readers.as_mut() else { return };
    // Who reads so little is cut, as a slow client is.
    if readers.get(&number).is_some_and(|reader| reader.try_send(frame.to_owned()).is_err()) {
        readers.remove(&number);
    }
}

/// What one socket says. Dropped, its connection is cut without a word.
pub(crate) struct Line {
    number: u64,
    npm: Npm,
}

impl Line {
    /// Says a frame; false if Node is gone, or does not read.
    pub(crate) fn say(&self, frame: &str) -> bool {
        self.npm.0.lines.try_send(format!("{} {frame}\n", self.number)).is_ok()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.say("cut");
        if let Some(readers) = self.npm.0.readers.lock().as_mut() {
            readers.remove(&self.number);
        }
    }
}
