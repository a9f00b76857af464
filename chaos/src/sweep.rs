//! Removes what a run has in the folder of temporary files, and control groups, also if this program is killed meanwhile.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::broken::{Broken, Doing as _};
use crate::cluster::{containers, disk};

/// Waits until the pipe from this program closes, gives whoever writes there the time to be killed, and removes it.
const SWEEP: &str = "read -r _; sleep 1; rm -rf -- \"$@\"
find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} +";

/// Whoever sweeps if nobody else can any more. Dropped, what is left has owners.
pub(crate) struct Sweeper {
    guard: Child,
}

impl Sweeper {
    /// For the nodes' data and the libraries that were compiled for them.
    pub(crate) fn of(data: &Path) -> Result<Self, Broken> {
        let guard = Command::new("/bin/sh")
            .args(["-c", SWEEP, &containers::cgroup()])
            .args([data, &disk::libraries()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Ok(Self { guard: guard.doing("start what sweeps")? })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}
