//! Random values of everything that has bytes, and ways to damage bytes; the properties are in the
//! files beside.

mod disk;
mod incoming;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::leader_id_adv::LeaderId;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serverv2_machine::{
    AppendInput, Clocks, Command, CreatePlayer, Entry, Floor, Incarnation, Input, JoinQueue,
    LogTime, NanoId, NodeId, PlayerId, Proposal, RequestId, RoomId, Seat, SessionKey, Tick,
    WallTime,
};

use crate::types::{Batch, LogEntry, LogId, Member, Membership, Vote};

/// What happens to bytes between a writer and a reader.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Replace { at: usize, with: Vec<u8> },
    Insert { at: usize, bytes: Vec<u8> },
    Remove { at: usize, count: usize },
    Cut { at: usize },
    Continue { bytes: Vec<u8> },
}

impl Damage {
    fn do_to(&self, bytes: &mut Vec<u8>) {
        let place = |at: usize| at % (bytes.len() + 1);
        match self {
            Self::Flip { at, bit } => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Replace { at, with } => {
                let at = place(*at);
                let end = (at + with.len()).min(bytes.len());
                bytes.splice(at..end, with.iter().copied());
            }
            Self::Insert { at, bytes: more } => {
                let at = place(*at);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove { at, count } => {
                let at = place(*at);
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Cut { at } => bytes.truncate(place(*at)),
            Self::Continue { bytes: more } => bytes.extend_from_slice(more),
        }
    }
}

/// Numbers that claim to be huge, in the forms that lengths have here.
fn huge() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0xff; 4]),
        any::<u16>().prop_map(|n| [&[251][..], &n.to_le_bytes()].concat()),
        any::<u32>().prop_map(|n| [&[252][..], &n.to_le_bytes()].concat()),
        any::<u64>().prop_map(|n| [&[253][..], &n.to_le_bytes()].concat()),
        Just([&[253][..], &[0xff; 8]].concat()),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let few = || vec(any::<u8>(), 1..12);
    let at = any::<usize>;
    prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        2 => (at(), few()).prop_map(|(at, with)| Damage::Replace { at, with }),
        3 => (at(), huge()).prop_map(|(at, with)| Damage::Replace { at, with }),
        2 => (at(), few()).prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        1 => (at(), huge()).prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        1 => (at(), 1..40usize).prop_map(|(at, count)| Damage::Remove { at, count }),
        1 => at().prop_map(|at| Damage::Cut { at }),
        1 => few().prop_map(|bytes| Damage::Continue { bytes }),
    ]
}

/// Mostly one damage, sometimes more.
fn damages() -> impl Strategy<Value = Vec<Damage>> {
    prop_oneof![3 => vec(damage(), 1..2), 1 => vec(damage(), 2..5)]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    damages.iter().for_each(|damage| damage.do_to(&mut bytes));
    bytes
}

/// Small ones and the largest: both ends of every varying length.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, any::<u64>(), Just(u64::MAX)]
}

fn log_id() -> impl Strategy<Value = LogId> {
    (number(), number(), number())
        .prop_map(|(term, node_id, index)| LogId { leader_id: LeaderId { term, node_id }, index })
}

fn vote() -> impl Strategy<Value = Vote> {
    (number(), number(), any::<bool>()).prop_map(|(term, node_id, committed)| Vote {
        leader_id: LeaderId { term, node_id },
        committed,
    })
}

fn membership() -> impl Strategy<Value = Membership> {
    let member = (".{0,40}", any::<[u8; 16]>(), any::<[u8; 16]>())
        .prop_map(|(address, folder, cluster)| Member { address, folder, cluster });
    let nodes = btree_map(number(), member, 1..8);
    (nodes, vec(vec(any::<prop::sample::Index>(), 1..8), 1..3)).prop_map(|(nodes, picks)| {
        let ids: Vec<u64> = nodes.keys().copied().collect();
        let voters = |picks: Vec<prop::sample::Index>| -> BTreeSet<u64> {
            picks.iter().map(|pick| *pick.get(&ids)).collect()
        };
        let configs: Vec<BTreeSet<u64>> = picks.into_iter().map(voters).collect();
        Membership::new(configs, nodes).unwrap()
    })
}

fn batch() -> impl Strategy<Value = Entry> {
    let floor = (number(), number(), number()).prop_map(|(node, incarnation, lowest_open)| Floor {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        lowest_open,
    });
    (vec(floor, 0..4), vec(proposal(), 0..5))
        .prop_map(|(floors, proposals)| Entry { floors, proposals })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let numbers = (number(), number(), number(), number(), number());
    (numbers, any::<[u8; 16]>(), command()).prop_map(|(numbers, seed, command)| {
        let (node, incarnation, sequence, at, wall) = numbers;
        let (node, incarnation) = (NodeId(node), Incarnation(incarnation));
        Proposal {
            request: RequestId { node, incarnation, sequence },
            client_key: None,
            at: LogTime(at),
            wall: WallTime(wall),
            seed,
            command,
        }
    })
}

fn command() -> impl Strategy<Value = Command> {
    let id = || any::<[u8; 32]>().prop_map(|bytes| NanoId::from_entropy(&bytes));
    let session = move || {
        let session = (id(), "[a-z]{1,64}");
        session.prop_map(|(player, session)| SessionKey {
            player: PlayerId(player),
            session: session.parse().unwrap(),
        })
    };
    prop_oneof![
        Just(Tick.into()),
        (id(), ".{0,50}").prop_map(|(player, name)| {
            CreatePlayer { player: PlayerId(player), name: name.into() }.into()
        }),
        (session(), ".{0,300}", any::<u32>()).prop_map(|(session, team, turn_s)| {
            let clocks = Clocks { turn_s, total_s: turn_s, animation_max_ms: 1 };
            let socket = "socket".parse().unwrap();
            JoinQueue { session, socket, team: team.into(), clocks }.into()
        }),
        (session(), id(), ".{0,100}").prop_map(|(session, room, text)| {
            let input = Input::Select(Seat::B, text.into());
            AppendInput { session, room: RoomId(room), input }.into()
        }),
    ]
}

fn log_entry() -> impl Strategy<Value = LogEntry> {
    let payload = prop_oneof![
        1 => Just(EntryPayload::Blank),
        4 => batch().prop_map(|entry| EntryPayload::Normal(Batch(Arc::new(entry)))),
        1 => membership().prop_map(EntryPayload::Membership),
    ];
    (log_id(), payload).prop_map(|(id, payload)| {
        use openraft::entry::RaftEntry as _;
        LogEntry::new(id, payload)
    })
}
