//! Ports that must be known before anybody listens on them, and stay ours over restarts.
//!
//! Below the kernel's own range for outgoing connections; a lock file keeps other runs away.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;

use crate::broken::{Broken, Doing as _};

const PORTS: Range<u16> = 20_000..30_000;

/// A port of ours for as long as this lives.
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    pub(crate) fn take() -> Result<Self, Broken> {
        let folder = std::env::temp_dir().join("serverv2-test-ports");
        fs::create_dir_all(&folder).doing("make the folder of port locks")?;
        let length = u32::from(PORTS.end - PORTS.start);
        let first = PORTS.start + u16::try_from(std::process::id() % length).unwrap_or_default();
        let found = (first..PORTS.end).chain(PORTS.start..first).find_map(|number| {
            let lock = File::create(folder.join(number.to_string())).ok()?;
            lock.try_lock().ok()?;
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self { number, _lock: lock })
        });
        found.ok_or_else(|| Broken::new("find a free port", "all are taken"))
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
