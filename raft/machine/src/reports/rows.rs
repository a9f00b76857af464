//! What is stored of a battle: its report, what its players' reports are, and what waits to be rendered.
//!
//! Each stored value starts with its format. Fields and variants never change once released.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::clock::{LogTime, WallTime};
use crate::ids::{NodeId, PlayerId, RoomId, Seat};
use crate::input::{Digest, Outcome};

/// Names the format of all values of this file.
pub(super) const ROW_FORMAT: u8 = 1;

/// Separates our names from everybody else's names of the same form.
const NAMESPACE: [u8; 16] = *b"serverv2-reports";

/// A report's public id: a UUID of version 5, made of its room's id. So whoever stores a room's report
/// again, in whichever store, finds the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId(pub [u8; 16]);

impl ReportId {
    /// The id of this room's report.
    pub fn of(room: RoomId) -> Self {
        Self(uuid_v5(&NAMESPACE, room.as_str().as_bytes()))
    }

    /// The id in this text, if it is a UUID in its usual form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        let groups: Vec<&str> = text.split('-').collect();
        let right = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
        let digits = groups.concat();
        if !right || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

fn uuid_v5(namespace: &[u8; 16], name: &[u8]) -> [u8; 16] {
    let hash = Sha1::new().chain_update(namespace).chain_update(name).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id[6] = id[6] & 0x0f | 0x50;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// The report of one battle, its messages aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Where it was fought.
    pub room: RoomId,
    /// A, then B.
    pub players: [PlayerId; 2],
    /// Their names when they were paired.
    pub names: [Arc<str>; 2],
    /// When the room was made, for display.
    pub started: WallTime,
    /// The same in log time: ages are measured in it.
    pub opened: LogTime,
    /// The how manieth report of A and of B it is.
    pub(super) numbers: [u64; 2],
    /// `None` while the battle runs.
    pub end: Option<ReportEnd>,
    /// What there is of its messages.
    pub messages: ReportMessages,
}

impl ReportRow {
    /// Its public id.
    pub fn id(&self) -> ReportId {
        ReportId::of(self.room)
    }
}

/// How a reported battle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEnd {
    /// For display; not before the start, whatever the clocks say.
    pub at: WallTime,
    /// Rounded, at least 1 (contract 6.1).
    pub seconds: u32,
    /// Who won, if it was played to its end.
    pub result: ReportResult,
}

/// What a battle came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportResult {
    /// It was played to its end.
    Played(Outcome),
    /// It was aborted.
    Abandoned {
        /// Since it had become too old; otherwise nobody could go on with it.
        timeout: bool,
    },
}

/// What there is of a battle's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportMessages {
    /// None: it runs, or was abandoned.
    None,
    /// It waits to be played once more for an observer.
    Pending,
    /// All, in so many bytes.
    Stored(u32),
    /// There will never be any.
    Missing(WhyMissing),
}

impl fmt::Display for ReportMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Pending => f.write_str("pending"),
            Self::Stored(bytes) => write!(f, "{bytes} bytes"),
            Self::Missing(why) => write!(f, "missing: {why}"),
        }
    }
}

/// Why a report has no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyMissing {
    /// Too many reports waited already when the battle ended.
    TooManyPending,
    /// The battle, or what was made of it, is too large.
    TooLarge,
    /// Playing it once more failed, or gave other messages than the first time.
    ReplayFailed,
}

impl fmt::Display for WhyMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyPending => "too many pending",
            Self::TooLarge => "too large",
            Self::ReplayFailed => "replay failed",
        })
    }
}

/// What a player's battles came to (contract 6.2, `player_stats`). Outlives the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerStats {
    /// Won.
    pub wins: u64,
    /// Lost.
    pub losses: u64,
    /// Neither.
    pub draws: u64,
    /// When the last one ended.
    pub updated: WallTime,
}

impl PlayerStats {
    /// All battles that were played to their end.
    pub fn battles(&self) -> u64 {
        self.wins.saturating_add(self.losses).saturating_add(self.draws)
    }

    pub(super) fn count(&mut self, outcome: Outcome, seat: Seat, at: WallTime) {
        let which = match outcome.winner {
            None => &mut self.draws,
            Some(winner) if winner == seat => &mut self.wins,
            Some(_) => &mut self.losses,
        };
        *which = which.saturating_add(1);
        self.updated = self.updated.max(at);
    }
}

/// What is known of one player's reports. They are numbered densely from 0; the oldest go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OfPlayer {
    /// Number of the oldest one kept.
    pub(super) first: u64,
    /// Number of the next one.
    pub(super) next: u64,
    /// Ended ones that are kept, as A and as B.
    pub(super) ended: [u64; 2],
    /// `None` before the first battle was played to its end.
    pub(super) stats: Option<PlayerStats>,
}

/// An ended battle that waits to be played once more. Set-up and inputs are kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReport {
    /// Its room.
    pub room: RoomId,
    /// The node that had played it anyway: it renders first.
    pub home: NodeId,
    /// Since when it waits.
    pub since: LogTime,
    /// Of all events; what is rendered must have it.
    pub digest: Digest,
    pub(super) bytes: u32,
}

impl PendingReport {
    /// One of which nothing is stored yet.
    pub fn new(room: RoomId, home: NodeId, since: LogTime, digest: Digest) -> Self {
        Self { room, home, since, digest, bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_5_and_read_back() {
        // RFC 9562, A.4.
        let dns = ReportId::parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8").unwrap();
        let known = ReportId(uuid_v5(&dns.0, b"www.example.com"));
        assert_eq!(known.to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        let id = ReportId::of("room-________________".parse().unwrap());
        assert_eq!(ReportId::parse(&id.to_string()), Some(id));
        let no_ids =
            ["", "x", "2ed6657de927568b95e12665a8aea6a2", "ééééééé0-9dad-11d1-80b4-00c04fd430c8"];
        for text in no_ids {
            assert_eq!(ReportId::parse(text), None, "{text}");
        }
    }
}
