//! Random steps, over few players, sessions, nodes and rooms, so that they meet.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::codes::{self, CodeStep};
use crate::reports::{self, ReportStep};

pub(crate) const NODES: u64 = 3;

/// One random step. Small numbers choose among the few things there are.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Up {
        node: u64,
    },
    Gone {
        by: u64,
        node: u64,
    },
    Create {
        player: u8,
    },
    Open {
        who: Who,
        socket: u8,
        address: u8,
        chosen: bool,
        authenticated: bool,
    },
    Close {
        who: Who,
        grace_ms: u64,
    },
    Join {
        who: Who,
        key: Option<u8>,
    },
    Leave {
        who: Who,
    },
    Abandon {
        who: Who,
    },
    Input {
        who: Who,
        room: usize,
        kind: u8,
    },
    TickBattle {
        room: usize,
        late: bool,
    },
    End {
        room: usize,
        late: bool,
        winner: u8,
    },
    Abort {
        room: usize,
        late: bool,
    },
    /// One of a player's sessions, or all.
    EndSessions {
        who: Who,
        all: bool,
        grace_ms: u64,
    },
    /// A guest with tokens; he exists from then on.
    Enroll {
        player: u8,
    },
    /// One of the newest tokens, or one that nobody gave.
    Refresh {
        player: u8,
        token: usize,
        remaining_ms: u64,
    },
    Revoke {
        token: usize,
        remaining_ms: u64,
    },
    /// About verification codes and addresses.
    Code(CodeStep),
    /// About battle reports.
    Report(ReportStep),
    Tick,
    /// An earlier proposal comes again.
    Repeat {
        which: usize,
    },
    /// The proposing node forgets its oldest requests.
    Floor {
        node: u64,
        back: u64,
    },
    /// What no node of ours proposes.
    Hostile {
        what: u8,
        who: Who,
        room: usize,
        name: Name,
    },
}

/// How a hostile proposal calls itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    /// As any other.
    Fresh,
    /// As one that was there before, or may come.
    Sequence(u64),
    /// As one of an earlier process.
    FormerProcess,
    /// As one of a process that did not start yet.
    NextProcess,
    /// As one of a node that never was.
    Stranger,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) player: u8,
    pub(crate) session: u8,
    pub(crate) node: u64,
    /// Acts through a node or socket that doesn't count: rare, or nothing would ever happen.
    pub(crate) stray: bool,
}

/// A step, how long after the last one it is stamped, and whether it begins a new entry.
pub(crate) type Timed = (Step, u64, bool);

pub(crate) fn who() -> impl Strategy<Value = Who> {
    (0..4u8, 0..3u8, 1..=NODES, prop::bool::weighted(0.05))
        .prop_map(|(player, session, node, stray)| Who { player, session, node, stray })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let grace =
        || prop_oneof![1 => Just(0u64), 2 => Just(700), 3 => Just(5_000), 1 => any::<u64>()];
    prop_oneof![
        3 => (1..=NODES).prop_map(|node| Step::Up { node }),
        1 => (1..=NODES, 1..=NODES).prop_map(|(by, node)| Step::Gone { by, node }),
        1 => (0..5u8).prop_map(|player| Step::Create { player }),
        12 => (who(), 0..2u8, 0..2u8, any::<bool>(), any::<bool>()).prop_map(
            |(who, socket, address, chosen, authenticated)| {
                Step::Open { who, socket, address, chosen, authenticated }
            }
        ),
        5 => (who(), grace()).prop_map(|(who, grace_ms)| Step::Close { who, grace_ms }),
        12 => (who(), prop::option::weighted(0.1, 0..9u8))
            .prop_map(|(who, key)| Step::Join { who, key }),
        1 => who().prop_map(|who| Step::Leave { who }),
        3 => who().prop_map(|who| Step::Abandon { who }),
        10 => (who(), any::<usize>(), 0..9u8)
            .prop_map(|(who, room, kind)| Step::Input { who, room, kind }),
        2 => (any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(room, late)| Step::TickBattle { room, late }),
        3 => (any::<usize>(), prop::bool::weighted(0.2), 0..3u8)
            .prop_map(|(room, late, winner)| Step::End { room, late, winner }),
        1 => (any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(room, late)| Step::Abort { room, late }),
        1 => (who(), any::<bool>(), grace())
            .prop_map(|(who, all, grace_ms)| Step::EndSessions { who, all, grace_ms }),
        1 => (4..12u8).prop_map(|player| Step::Enroll { player }),
        4 => (4..12u8, any::<usize>(), lifetime())
            .prop_map(|(player, token, remaining_ms)| Step::Refresh { player, token, remaining_ms }),
        1 => (any::<usize>(), lifetime())
            .prop_map(|(token, remaining_ms)| Step::Revoke { token, remaining_ms }),
        12 => codes::step().prop_map(Step::Code),
        5 => reports::step().prop_map(Step::Report),
        2 => Just(Step::Tick),
        2 => any::<usize>().prop_map(|which| Step::Repeat { which }),
        1 => (1..=NODES, 0..4u64).prop_map(|(node, back)| Step::Floor { node, back }),
        8 => (any::<u8>(), who(), any::<usize>(), name())
            .prop_map(|(what, who, room, name)| Step::Hostile { what, who, room, name }),
    ]
}

fn lifetime() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..3_000_000u64, 1 => any::<u64>()]
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        6 => Just(Name::Fresh),
        1 => (0..60u64).prop_map(Name::Sequence),
        1 => Just(Name::FormerProcess),
        1 => Just(Name::NextProcess),
        1 => Just(Name::Stranger),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Timed>> {
    let pause = prop_oneof![40 => 0..50u64, 5 => 500..6_000u64, 1 => 50_000..700_000u64];
    vec((step(), pause, any::<bool>()), 1..300)
}
