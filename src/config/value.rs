//! Types of setting values that need more than a number or a text.

use std::collections::BTreeMap;
use std::fmt;

/// A text that must not be shown: it prints as `(hidden)` wherever it is logged by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that computes with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for collectors.
    Json,
}

/// Comma-separated origins as browsers send them, or `None`. A wildcard is no origin: credentials are
/// allowed, and browsers refuse both together.
pub(super) fn origins(text: &str) -> Option<Vec<String>> {
    let mut origins = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let part = part.strip_suffix('/').unwrap_or(part);
        let (scheme, host) = part.split_once("://")?;
        let scheme_fine = !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let host_fine = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_graphic() && !b"/*?#\\\"@<>".contains(&b));
        if !(scheme_fine && host_fine) {
            return None;
        }
        origins.push(part.to_owned());
    }
    Some(origins)
}

/// A word that stands in names of nodes and clusters, in file names and on dashboards.
pub(super) fn is_label(text: &str) -> bool {
    (1..=LABEL_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

const LABEL_LEN_MAX: usize = 64;

/// Nodes and their addresses, `1=host:port,2=host:port`; `None` if it is not that.
pub(super) fn peers(text: &str) -> Option<BTreeMap<u64, String>> {
    const PEERS_MAX: usize = 7;
    let mut peers = BTreeMap::new();
    for part in text.split(',') {
        let (id, address) = part.trim().split_once('=')?;
        let (host, port) = address.rsplit_once(':')?;
        let id: u64 = id.parse().ok().filter(|id| *id > 0)?;
        let port: u16 = port.parse().ok()?;
        if host.is_empty() || port == 0 || peers.insert(id, address.to_owned()).is_some() {
            return None;
        }
    }
    (peers.len() <= PEERS_MAX).then_some(peers)
}
