//! The commands about battle reports.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rows::WhyMissing;
use crate::clock::WallTime;
use crate::ids::RoomId;

/// From here on battles get reports, or none. Those that run keep what they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReports {
    /// Whether they get some.
    pub enabled: bool,
}

/// What playing an ended battle once more for an observer came to. Only the first answer counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Whose room's report.
    pub room: RoomId,
    /// The messages, or why there are none.
    pub rendered: Rendered,
}

/// See [`StoreReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rendered {
    /// What the shells make of a battle's messages; the machine doesn't look inside. At most
    /// [`crate::limits::REPORT_BYTES_MAX`], or it counts as [`WhyMissing::TooLarge`].
    Messages(Blob),
    /// There will never be any.
    Nothing(WhyMissing),
    /// The whole report is in the database that keeps the players: nothing of it is needed here any more.
    /// Refused where the cluster keeps them, and the others where a database does.
    Elsewhere,
}

/// Delete reports of battles that began too long ago, the oldest first, up to the first one that is
/// still open or young enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireReports {
    /// Those that began before this go.
    pub before: WallTime,
    /// So do those that began this long ago by log time, milliseconds: no wrong clock keeps a report.
    pub older_than_ms: u64,
    /// At most so many at once, and never more than [`crate::limits::REPORTS_SWEPT_MAX`].
    pub at_most: u32,
}

/// Close reports that are open for too long although their battle doesn't run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseStaleReports {
    /// How long is too long by log time, milliseconds.
    pub older_than_ms: u64,
    /// Number of the first report to look at; one call looks at
    /// [`crate::limits::REPORTS_SWEPT_MAX`] of them.
    pub from: u64,
}

/// What became of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// How many reports were deleted or closed.
    pub reports: u32,
    /// Where to go on; `None`: there is nothing left to sweep now.
    pub next: Option<u64>,
}

/// Bytes, stored as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Arc<[u8]>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl fmt::Display for SetReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.enabled { "set-reports on" } else { "set-reports off" })
    }
}

impl fmt::Display for StoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rendered {
            Rendered::Messages(blob) => {
                write!(f, "store-report {} bytes={}", self.room, blob.0.len())
            }
            Rendered::Nothing(why) => write!(f, "store-report {} nothing: {why}", self.room),
            Rendered::Elsewhere => write!(f, "store-report {} elsewhere", self.room),
        }
    }
}

impl fmt::Display for ExpireReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, older_than_ms, at_most } = self;
        write!(f, "expire-reports before={} age={older_than_ms}ms at-most={at_most}", before.0)
    }
}

impl fmt::Display for CloseStaleReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "close-stale-reports age={}ms from={}", self.older_than_ms, self.from)
    }
}
