//! Commands that no node of ours proposes: foreign sessions, wrong values, too much of everything.

use serverv2_machine::limits::{
    ADDRESS_LEN_MAX, ANIMATION_TEXT_MAX, NAME_CHARS_MAX, PACK_ENGINE_LEN_MAX, PACKS_PER_NODE_MAX,
    SELECTION_BYTES_MAX, TEAM_BYTES_MAX,
};
use serverv2_machine::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, Clocks, CloseSession, Command,
    CreatePlayer, Digest, DrainNode, EndBattle, EndReason, ForgetNode, Incarnation, Input,
    JoinQueue, LeaveReason, NanoId, NodeGone, NodeId, NodeUp, OpenSession, OpenSessionOutside,
    Outcome, PackRef, PlayerId, RaiseLevel, RecordsHome, RenamePlayer, RoomId, Seat, SessionKey,
    SetRecords, SocketId, StateDigest, TickBattle,
};

/// One of them, about this session and room, through this socket.
pub(crate) fn command(what: u8, session: SessionKey, socket: SocketId, room: RoomId) -> Command {
    let by = if what.is_multiple_of(2) { Seat::A } else { Seat::B };
    let input = |input| AppendInput { session: session.clone(), room, input }.into();
    let nobody: PlayerId = "nobody_______________".parse().unwrap();
    let clocks = Clocks { turn_s: 0, total_s: u32::MAX, animation_max_ms: u32::MAX };
    match what % 29 {
        0 => input(Input::Select(by, "x".repeat(SELECTION_BYTES_MAX + 1).as_str().into())),
        1 => input(Input::Select(by, "x".repeat(SELECTION_BYTES_MAX).as_str().into())),
        2 => input(animation(by, ANIMATION_TEXT_MAX + 1)),
        3 => input(animation(by, ANIMATION_TEXT_MAX)),
        4 => input(Input::EndAnimation { by, id: NanoId::from_entropy(&[what; 32]) }),
        5 => input(Input::Leave(by, LeaveReason::GraceExpired)),
        6 => input(Input::Leave(by.opponent(), LeaveReason::Disconnected)),
        7 => JoinQueue { session, socket, team: text(TEAM_BYTES_MAX + 1), clocks }.into(),
        8 => JoinQueue { session, socket, team: text(TEAM_BYTES_MAX), clocks }.into(),
        9 => open(session, socket, ADDRESS_LEN_MAX + 1).into(),
        10 => open(SessionKey { player: nobody, ..session }, socket, 1).into(),
        11 => CloseSession { session, socket, grace_ms: u64::MAX }.into(),
        12 => AbandonBattle { session, socket }.into(),
        13 => RenamePlayer { player: session.player, name: text(NAME_CHARS_MAX + 1) }.into(),
        14 => RenamePlayer { player: session.player, name: "".into() }.into(),
        15 => RenamePlayer { player: nobody, name: "x".into() }.into(),
        16 => CreatePlayer { player: session.player, name: text(NAME_CHARS_MAX + 1) }.into(),
        17 => ActivatePack { pack: pack(1) }.into(),
        // Some are for levels that there are.
        18 => RaiseLevel { level: u32::from(what % 4) }.into(),
        19 => NodeUp { packs: packs(what), level: u32::from(what % 2), grace_ms: u64::MAX }.into(),
        20 => {
            let (node, incarnation) = (NodeId(u64::from(what % 5)), Incarnation(u64::from(what)));
            NodeGone { node, incarnation, grace_ms: u64::MAX }.into()
        }
        21 => TickBattle { room, after: u32::MAX }.into(),
        22 => AbortBattle { room, after: u32::MAX }.into(),
        // Players of these clusters are in their records.
        23 => {
            let open = open(SessionKey { player: nobody, ..session }, socket, 1);
            OpenSessionOutside { open, name: "x".into() }.into()
        }
        24 => SetRecords { home: RecordsHome::Database([what; 16]) }.into(),
        25 => {
            let (node, incarnation) = (NodeId(u64::from(what % 5)), Incarnation(u64::from(what)));
            DrainNode { node, incarnation }.into()
        }
        26 => {
            let digest = Digest([what; 32]);
            StateDigest { room, number: u32::from(what), digest, rebuilt: what.is_multiple_of(2) }
                .into()
        }
        27 => ForgetNode { node: NodeId(u64::from(what % 5)) }.into(),
        _ => {
            let outcome = Outcome { winner: Some(by), reason: EndReason::AllPetFainted };
            EndBattle { room, after: u32::MAX, outcome, digest: Digest([9; 32]) }.into()
        }
    }
}

fn text(length: usize) -> std::sync::Arc<str> {
    "x".repeat(length).into()
}

fn animation(by: Seat, length: usize) -> Input {
    Input::StartAnimation { by, source: text(length), expected_ms: u32::MAX, owner: by.opponent() }
}

/// The address is one of two-byte characters, so that no cut may go through the middle of one.
fn open(session: SessionKey, socket: SocketId, length: usize) -> OpenSession {
    let address = format!("x{}", "\u{e9}".repeat(length)).into();
    OpenSession { session, socket, address, chosen: true, authenticated: true }
}

fn packs(what: u8) -> Vec<PackRef> {
    match what % 3 {
        0 => Vec::new(),
        1 => vec![pack(PACK_ENGINE_LEN_MAX + 1)],
        _ => vec![pack(1); PACKS_PER_NODE_MAX + 1],
    }
}

fn pack(length: usize) -> PackRef {
    PackRef { engine: text(length), digest: Digest([8; 32]) }
}
