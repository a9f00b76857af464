//! Ports that must be known before anybody listens on them.

use std::fs::File;
use std::net::TcpListener;

const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port of ours for as long as this lives: other tests see the lock.
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    pub(crate) fn take() -> Self {
        let folder = std::env::temp_dir().join("serverv2-test-ports");
        std::fs::create_dir_all(&folder).expect("make the folder of port locks");
        let first = PORTS.start + u16::try_from(std::process::id() % 10_000).expect("it is small");
        let mut candidates = (first..PORTS.end).chain(PORTS.start..first);
        let free = candidates.find_map(|number| {
            let lock = File::create(folder.join(number.to_string())).ok()?;
            lock.try_lock().ok()?;
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self { number, _lock: lock })
        });
        free.expect("a port is free")
    }
}
