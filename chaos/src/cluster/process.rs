//! One child process: exactly its pid is signalled, and it never outlives this program.
//!
//! Each child leads a process group of its own, so that Ctrl-C in a terminal reaches this program alone. A
//! small guard waits for the pipe from this program to close, which the kernel sees to however it ends,
//! and then kills the child's group.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::containers::Container;
use crate::broken::Broken;

/// Pause between two looks at whether a process has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Longest wait for the companion of a container that was killed.
const COMPANION_PATIENCE: Duration = Duration::from_secs(10);
const GUARD: &str = "read -r _; kill -s KILL -- \"-$0\"";

/// A started process; killed and reaped when this is dropped.
pub(crate) struct Process {
    child: Child,
    /// Where the process really is, of which the child is only the companion.
    container: Option<Container>,
    guard: Child,
    ended: Option<ExitStatus>,
}

/// A child's standard streams, to be read by somebody.
pub(crate) struct Streams {
    pub(crate) out: Option<std::process::ChildStdout>,
    pub(crate) err: Option<std::process::ChildStderr>,
}

impl Process {
    /// Starts it. Streams that the command pipes are handed out.
    pub(crate) fn start(mut command: Command) -> io::Result<(Self, Streams)> {
        command.stdin(Stdio::null()).process_group(0);
        let mut child = command.spawn()?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let streams = Streams { out: child.stdout.take(), err: child.stderr.take() };
        Ok((Self { child, container: None, guard, ended: None }, streams))
    }

    /// The same as the companion of a container: signals go there.
    pub(crate) fn within(mut self, container: Option<&Container>) -> Self {
        self.container = container.cloned();
        self
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, unless the process has been reaped: its id could be somebody else's by now.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.has_ended().is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(container) = &self.container {
            return tokio::task::block_in_place(|| told(container, signal))
                .map_err(io::Error::other);
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, signal)?)
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.stand_down();
            self.ended = Some(status);
        }
        self.ended
    }

    /// Ends it at once, and reaps it.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.has_ended() {
            return Ok(status);
        }
        let Some(container) = &self.container else {
            return self.end();
        };
        // Whatever holds the container, it is not there any more in a moment.
        let ends = container.signal("KILL").is_ok();
        let began = Instant::now();
        while ends && began.elapsed() < COMPANION_PATIENCE {
            if let Some(status) = self.has_ended() {
                return Ok(status);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.end()
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        // The guard must be gone before the id it would kill is free again.
        self.stand_down();
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Waits for its end; `None` if it does not come in time.
    pub(crate) async fn end_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let ended = async {
            loop {
                if let Some(status) = self.has_ended() {
                    return status;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(patience, ended).await.ok()
    }

    /// Whether the kernel has really stopped it (SIGSTOP takes effect a moment later).
    pub(crate) fn is_stopped(&self) -> bool {
        match &self.container {
            Some(container) => container.is_paused(),
            None => state(self.child.id()) == Some('T'),
        }
    }

    fn stand_down(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        self.stand_down();
    }
}

fn told(container: &Container, signal: Signal) -> Result<(), Broken> {
    match signal {
        Signal::STOP => container.pause(true),
        Signal::CONT => container.pause(false),
        Signal::TERM => container.signal("TERM"),
        _ => container.signal("KILL"),
    }
}

/// The state letter of a process, as the kernel tells it.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Resident memory in KiB and number of open files; nothing where there is no such process.
pub(crate) fn footprint(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let resident = line.split_whitespace().nth(1)?.parse().ok()?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((resident, u64::try_from(files).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        let mut command = Command::new("/bin/sleep");
        command.arg("600").stdout(Stdio::null()).stderr(Stdio::null());
        Process::start(command).expect("sleep can be started").0
    }

    #[tokio::test]
    async fn a_stopped_process_is_seen_to_be_stopped_and_goes_on() {
        let mut process = sleeper();
        process.signal(Signal::STOP).expect("it runs");
        let stopped = async {
            while !process.is_stopped() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), stopped).await.expect("it stops");
        process.signal(Signal::CONT).expect("it is there");
        assert!(process.has_ended().is_none());
    }

    #[test]
    fn who_was_reaped_is_never_signalled() {
        let mut process = sleeper();
        process.kill().expect("it runs");
        let error = process.signal(Signal::TERM).expect_err("it is gone");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_dropped_is_gone_with_its_guard() {
        let process = sleeper();
        let (child, guard) = (process.id(), process.guard.id());
        drop(process);
        assert_eq!((state(child), state(guard)), (None, None));
    }
}
