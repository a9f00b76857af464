//! The ways between nodes, and from nodes to Redis. Each direction of each pair can be cut, delayed, narrowed or
//! made to lose by itself; how that is done differs.
//!
//! Over *proxies* bytes wait that can't go on. On *wires* packets are dropped, and whoever sent them finds out as
//! on any other network: by waiting, and by sending them again.

pub(crate) mod proxies;
pub(crate) mod wires;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::proxies::Proxies;
use self::wires::Wires;
use super::host::Host;
use crate::broken::Broken;
use crate::mode::Mode;

/// Who is at an end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum End {
    /// The node at this place.
    Node(usize),
    Redis,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(place) => write!(f, "{}", place + 1),
            Self::Redis => f.write_str("redis"),
        }
    }
}

/// In which direction bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) from: End,
    pub(crate) to: End,
}

/// What happens to bytes on a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// They wait, or are lost.
    pub(crate) cut: bool,
    /// They come so much later, and up to `jitter` more.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// No more than so many in a second.
    pub(crate) bytes_per_second: Option<u64>,
    /// So many packets of a hundred are lost. Proxies have no packets and lose nothing.
    pub(crate) loss_percent: u8,
}

/// What ways are made of.
pub(crate) trait Fabric: Send + Sync {
    fn host(&self, end: End) -> Host;
    fn address(&self, from: End, to: End) -> Result<String, Broken>;
    /// Where all nodes reach an end, whoever they are.
    fn shared_address(&self, to: End) -> Result<String, Broken> {
        self.address(to, to)
    }
    /// Whether it is known who calls at a shared address.
    fn knows_callers(&self) -> bool {
        true
    }
    fn set(&self, ways: &[Way], condition: Condition);
    fn heal(&self, ways: &[Way]);
    fn heal_all(&self) -> Result<(), Broken>;
    fn shut(&self, end: End, is_dead: bool);
    fn hindered(&self, ways: &[Way]) -> u64;
}

/// All ways of a cluster. Dropped, they are gone.
pub(crate) struct Links {
    fabric: Box<dyn Fabric>,
}

impl Links {
    /// Ways between all nodes, and from each to Redis; `targets` says at which port each end listens.
    pub(crate) fn between(mode: Mode, targets: &[(End, u16)]) -> Result<Self, Broken> {
        Ok(match mode {
            Mode::Proxy => Self { fabric: Box::new(Proxies::between(targets)?) },
            Mode::Netns => Self { fabric: Box::new(Wires::between(targets)?) },
            Mode::Compose => return Err(Broken::new("make ways", "containers bring their own")),
        })
    }

    /// Ways that are there already.
    pub(super) fn of(fabric: impl Fabric + 'static) -> Self {
        Self { fabric: Box::new(fabric) }
    }

    /// Where an end's process has to run.
    pub(crate) fn host(&self, end: End) -> Host {
        self.fabric.host(end)
    }

    /// Where one end reaches another.
    pub(crate) fn address(&self, from: End, to: End) -> Result<String, Broken> {
        self.fabric.address(from, to)
    }

    /// Where all nodes reach an end: what stands in the membership for all of them.
    pub(crate) fn shared_address(&self, to: End) -> Result<String, Broken> {
        self.fabric.shared_address(to)
    }

    /// Whether faults between two nodes reach connections to a shared address, too.
    pub(crate) fn knows_callers(&self) -> bool {
        self.fabric.knows_callers()
    }

    /// Changes the conditions on these ways.
    pub(crate) fn set(&self, ways: impl IntoIterator<Item = Way>, condition: Condition) {
        self.fabric.set(&ways.into_iter().collect::<Vec<_>>(), condition);
    }

    /// Nothing stands between these ends any more.
    pub(crate) fn heal(&self, ways: impl IntoIterator<Item = Way>) {
        self.fabric.heal(&ways.into_iter().collect::<Vec<_>>());
    }

    /// Everybody reaches everybody. Says so if any change could not be made: then nobody knows what was broken.
    pub(crate) fn heal_all(&self) -> Result<(), Broken> {
        self.fabric.heal_all()
    }

    /// A dead process's port refuses; a living one's does not.
    pub(crate) fn shut(&self, end: End, is_dead: bool) {
        self.fabric.shut(end, is_dead);
    }

    /// How much was held, delayed, slowed or lost on these ways since the beginning: bytes or packets.
    pub(crate) fn hindered(&self, ways: &[Way]) -> u64 {
        self.fabric.hindered(ways)
    }
}

/// Both directions between these ends.
pub(crate) fn both(a: End, b: End) -> [Way; 2] {
    [Way { from: a, to: b }, Way { from: b, to: a }]
}
