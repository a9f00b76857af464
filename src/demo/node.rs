//! A real server process of the demo, killed without mercy.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::DemoError;
use super::transcript::Transcript;

/// A folder that goes when the demo does.
pub(super) struct DataFolder(PathBuf);

impl DataFolder {
    pub(super) fn make() -> Result<Self, DemoError> {
        let path = std::env::temp_dir().join(format!("serverv2-demo-{}", crate::random::nano_id()));
        std::fs::create_dir(&path).map_err(|e| DemoError::failed("make a temporary folder")(&e))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // A folder left behind in the temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running node. Dropped, it is killed.
pub(super) struct Node {
    child: Child,
    url: String,
}

impl Node {
    /// Starts this very program as a node and waits until it says that it is ready.
    pub(super) async fn start(
        number: u64,
        folder: &Path,
        transcript: &Transcript,
    ) -> Result<Self, DemoError> {
        let failed = DemoError::failed("start a node");
        let program = std::env::current_exe().map_err(|e| failed(&e))?;
        let mut child = Command::new(program)
            .args([
                "dev",
                "--port",
                "0",
                "--log-format",
                "json",
                "--log-level",
                "warn,transcript=debug",
            ])
            .args(["--node-id", &number.to_string()])
            .arg("--data-dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(&e))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(&"its output is not connected"));
        };
        let transcript = transcript.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                transcript.node_line(&line);
            }
        });
        let mut lines = BufReader::new(stdout).lines();
        let url = ready_url(&mut lines).await?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, url })
    }

    /// Where it serves.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9`, and nothing is left of the process.
    pub(super) async fn kill(&mut self) {
        // It can only have ended already.
        let _ = self.child.kill().await;
    }
}

/// The line `READY {json}` that a node prints for programs.
async fn ready_url(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String, DemoError> {
    let failed = DemoError::failed("wait for a node");
    loop {
        let line = lines.next_line().await.map_err(|e| failed(&e))?;
        let line = line.ok_or_else(|| failed(&"it ended before it was ready"))?;
        let Some(ready) = line.strip_prefix("READY ") else { continue };
        let ready: serde_json::Value = serde_json::from_str(ready).map_err(|e| failed(&e))?;
        return ready["http"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| failed(&"it says no address"));
    }
}
