//! A server that another process of this program starts, reads and ends.
//!
//! Promises: a child does not outlive its parent, however that ends. The parent holds the other end
//! of the child's standard input and the child, started with [`LIFELINE`], stops when that closes,
//! which the kernel sees to. Each line that it writes is handed over whole and in order, but for the
//! one that says READY, which is for the parent.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The hidden flag with which a server stops once its standard input is closed.
pub(crate) const LIFELINE: &str = "end-with-stdin";

/// Which of its outputs a child wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A started child. Dropped, it is killed.
pub(crate) struct ChildServer {
    process: Child,
    ready: Option<oneshot::Receiver<Json>>,
    readers: Vec<JoinHandle<()>>,
    lifeline: Option<ChildStdin>,
}

/// A command for `serverv2 <subcommand>`, this very program.
pub(crate) fn command(subcommand: &str) -> io::Result<Command> {
    let program = std::env::current_exe()?;
    // A program that was built anew while it runs starts its children from the file it runs itself.
    let mut command = if cfg!(target_os = "linux") {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(program);
        command
    } else {
        Command::new(program)
    };
    command.arg(subcommand).arg(format!("--{LIFELINE}"));
    Ok(command)
}

impl ChildServer {
    /// Starts a [`command`]; `hear` gets its lines.
    pub(crate) fn start<H>(mut command: Command, hear: H) -> io::Result<Self>
    where
        H: Fn(Stream, &str) + Send + Sync + 'static,
    {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C is for the parent, which stops its children in its own way.
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn()?;
        let missing = || io::Error::other("its input and output are not connected");
        let lifeline = process.stdin.take().ok_or_else(missing)?;
        let out = process.stdout.take().ok_or_else(missing)?;
        let err = process.stderr.take().ok_or_else(missing)?;
        let (tell_ready, ready) = oneshot::channel();
        let mut tell_ready = Some(tell_ready);
        let hear = Arc::new(hear);
        let heard = hear.clone();
        let readers = vec![
            tokio::spawn(each_line(out, move |line| match ready_in(line) {
                // Nobody may be waiting for it.
                Some(ready) => drop(tell_ready.take().map(|tell| tell.send(ready))),
                None => heard(Stream::Out, line),
            })),
            tokio::spawn(each_line(err, move |line| hear(Stream::Err, line))),
        ];
        Ok(Self { process, ready: Some(ready), readers, lifeline: Some(lifeline) })
    }

    /// What it says when it is ready; `None` if it ends before. To be asked once.
    pub(crate) async fn ready(&mut self) -> Option<Json> {
        self.ready.take()?.await.ok()
    }

    /// Lets it stop gracefully, without waiting for its end.
    pub(crate) fn let_go(&mut self) {
        self.lifeline = None;
    }

    /// `kill -9`, without waiting for its end.
    pub(crate) fn kill(&mut self) {
        // It can only have ended already.
        let _ = self.process.start_kill();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Waits until all that it wrote before its end has been handed over.
    pub(crate) async fn read_out(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.await;
        }
    }
}

async fn each_line(from: impl AsyncRead + Unpin, mut tell: impl FnMut(&str)) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        tell(&String::from_utf8_lossy(&line));
    }
}

/// The line `READY {json}` that a server prints for programs.
fn ready_in(line: &str) -> Option<Json> {
    serde_json::from_str(line.strip_prefix("READY ")?).ok()
}
