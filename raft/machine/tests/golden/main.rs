//! The bytes of every command and of a snapshot, as released: they must decode for ever.
//!
//! `testdata/` has one file for each format version; a file never changes once its version is
//! released. `UPDATE_GOLDENFILES=1` writes those of a version that is still in the making.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use goldenfile::Mint;
use serverv2_machine::{
    ActivatePack, AppendInput, BindEmail, Blob, Clocks, CloseSession, CodeHash, CodeLimits,
    CodecError, Command, CreateCode, CreateGuestWithTokens, CreatePlayer, Digest, Effect, Email,
    EndBattle, EndReason, Entry, Incarnation, Input, Issued, JoinQueue, KeyScope, LATEST_LEVEL,
    Lifetimes, LogTime, Machine, MemoryRecords, NodeGone, NodeId, NodeUp, OpenSession, Outcome,
    PackRef, Player, PlayerId, Proposal, Purpose, RaiseLevel, Records, RecordsHome, RefreshTokens,
    Rendered, Reply, RequestId, RevokeToken, ScopedKey, Seat, SessionKey, SetRecords, SetReports,
    Snapshot, StoreReport, WallTime, decode_entry, encode_entry,
};

mod entries;

use entries::entries;

#[test]
fn every_command_keeps_its_bytes() {
    let mut mint = Mint::new(testdata());
    let mut file = mint.new_goldenfile("entries-1.txt").unwrap();
    for (name, entry) in entries() {
        writeln!(file, "{name} {}", hex(&encode_entry(&entry).unwrap())).unwrap();
    }
}

#[test]
fn bytes_of_released_commands_decode_to_equal_values() {
    let stored = std::fs::read_to_string(testdata().join("entries-1.txt")).unwrap();
    let entries = entries();
    assert_eq!(stored.lines().count(), entries.len());
    for (line, (name, entry)) in stored.lines().zip(entries) {
        let (stored_name, bytes) = line.split_once(' ').unwrap();
        assert_eq!(stored_name, name);
        assert_eq!(decode_entry(&unhex(bytes)).unwrap(), entry, "{name}");
    }
}

#[test]
fn no_command_is_without_bytes() {
    let kinds: BTreeSet<_> = entries()
        .iter()
        .flat_map(|(_, entry)| &entry.proposals)
        .map(|proposal| std::mem::discriminant(&proposal.command))
        .map(|kind| format!("{kind:?}"))
        .collect();
    // A new command changes this number, here and nowhere else.
    assert_eq!(kinds.len(), 36);
}

#[test]
fn a_snapshot_keeps_its_bytes() {
    let mut mint = Mint::new(testdata());
    let mut file = mint.new_goldenfile("snapshot-1.txt").unwrap();
    let (machine, records) = busy();
    for line in Snapshot::take(&machine, &records).encode().chunks(48) {
        writeln!(file, "{}", hex(line)).unwrap();
    }
}

#[test]
fn a_released_snapshot_decodes_to_an_equal_machine() {
    let stored = std::fs::read_to_string(testdata().join("snapshot-1.txt")).unwrap();
    let bytes: Vec<u8> = stored.lines().flat_map(unhex).collect();
    let (machine, records) = busy();
    let (restored, kept) = Snapshot::decode(&bytes).unwrap().restore();
    assert_eq!(restored, machine);
    assert_eq!(kept, records.all().collect::<Vec<_>>());
}

#[test]
fn a_stored_player_keeps_its_bytes_and_decodes_to_an_equal_one() {
    let guest = Player {
        id: player("ann"),
        name: "Ann Ø".into(),
        created: WallTime(1_750_406_400_000),
        last_login: WallTime(1_750_406_400_001),
        email: None,
        email_bound: None,
    };
    let email = Some("bob@example.com".into());
    let registered =
        Player { id: player("bob"), email, email_bound: Some(WallTime(7)), ..guest.clone() };
    let mut mint = Mint::new(testdata());
    let mut file = mint.new_goldenfile("players-1.txt").unwrap();
    for player in [&guest, &registered] {
        writeln!(file, "{}", hex(&player.encode())).unwrap();
    }
    let stored = std::fs::read_to_string(testdata().join("players-1.txt")).unwrap_or_default();
    for (line, player) in stored.lines().zip([guest, registered]) {
        assert_eq!(Player::decode(&unhex(line)), Ok(player));
    }
    assert_eq!(Player::decode(&[9]), Err(CodecError::UnknownVersion(9)));
}

#[test]
fn what_is_not_ours_is_refused_by_name() {
    assert_eq!(decode_entry(&[9, 0, 0]), Err(CodecError::UnknownVersion(9)));
    assert_eq!(Snapshot::decode(&[2, 0]).unwrap_err(), CodecError::UnknownVersion(2));
    assert!(matches!(decode_entry(&[]), Err(CodecError::Malformed(_))));
    let (_, entry) = entries().swap_remove(0);
    let mut bytes = encode_entry(&entry).unwrap();
    bytes.push(0);
    assert!(matches!(decode_entry(&bytes), Err(CodecError::Malformed(_))));
    assert!(matches!(decode_entry(&vec![1; 300_000]), Err(CodecError::TooLarge { .. })));
}

#[test]
fn a_snapshot_of_a_newer_behaviour_level_is_refused() {
    let (mut machine, mut records) = (Machine::new(), MemoryRecords::default());
    let newer = LATEST_LEVEL + 1;
    let commands: [Command; 2] = [
        NodeUp { packs: Vec::new(), level: newer, grace_ms: 0 }.into(),
        RaiseLevel { level: newer }.into(),
    ];
    let proposals =
        (1..).zip(commands).map(|(number, command)| proposal(number, None, command)).collect();
    machine.apply_entry(&mut records, 1, &Entry { floors: Vec::new(), proposals });
    let bytes = Snapshot::take(&machine, &records).encode();
    let refused = CodecError::UnknownLevel { level: newer, known: LATEST_LEVEL };
    assert_eq!(Snapshot::decode(&bytes).unwrap_err(), refused);
}

const LIFETIMES: Lifetimes = Lifetimes { access_ms: 15_552_000_000, refresh_ms: 31_536_000_000 };

/// A machine with something in every one of its parts.
fn busy() -> (Machine, MemoryRecords) {
    let (mut machine, mut records) = (Machine::new(), MemoryRecords::default());
    let mut sequence = 0;
    let mut apply = |node: u64, key: Option<&str>, command: Command| {
        sequence += 1;
        let client_key = key.map(|key| ScopedKey {
            scope: KeyScope::Player(player("cat")),
            key: key.parse().unwrap(),
        });
        let mut proposal = proposal(sequence, client_key, command);
        proposal.request.node = NodeId(node);
        let entry = Entry { floors: Vec::new(), proposals: vec![proposal] };
        let applied = machine.apply_entry(&mut records, sequence, &entry).remove(0);
        assert!(applied.outcome.is_ok(), "{applied}");
        applied
    };
    for node in 1..=2 {
        apply(node, None, NodeUp { packs: vec![pack()], level: 1, grace_ms: 0 }.into());
    }
    apply(1, None, ActivatePack { pack: pack() }.into());
    apply(1, None, SetRecords { home: RecordsHome::Cluster }.into());
    apply(1, None, SetReports { enabled: true }.into());
    let names = ["ann", "bob", "cat", "dan", "eve"];
    for (name, node) in names.into_iter().zip([1, 1, 2, 2, 2]) {
        apply(1, None, CreatePlayer { player: player(name), name: name.into() }.into());
        let open = OpenSession {
            session: session(name, "1"),
            socket: format!("{name}-1").parse().unwrap(),
            address: "192.0.2.7".into(),
            chosen: true,
            authenticated: false,
        };
        apply(node, None, open.into());
    }
    let join = |name: &str| -> Command {
        let socket = format!("{name}-1").parse().unwrap();
        let clocks = Clocks { turn_s: 30, total_s: 900, animation_max_ms: 20_000 };
        JoinQueue { session: session(name, "1"), socket, team: "[1]".into(), clocks }.into()
    };
    let mut rooms = Vec::new();
    for name in names {
        for effect in apply(1, None, join(name)).effects {
            if let Effect::RoomOpened { room, .. } = effect {
                rooms.push(room);
            }
        }
    }
    let second = rooms[1];
    let close = CloseSession {
        session: session("bob", "1"),
        socket: "bob-1".parse().unwrap(),
        grace_ms: 60_000,
    };
    apply(1, None, close.into());
    let input = AppendInput {
        session: session("cat", "1"),
        room: second,
        input: Input::Select(Seat::A, "{}".into()),
    };
    apply(2, Some("retry-1"), input.into());
    let outcome = Outcome { winner: None, reason: EndReason::AllPetFainted };
    let end = EndBattle { room: second, after: 1, outcome, digest: Digest([8; 32]) };
    apply(2, None, end.into());
    apply(2, None, StoreReport { room: second, rendered: blob(b"messages") }.into());
    for name in ["fay", "gus"] {
        let guest = CreatePlayer { player: player(name), name: name.into() };
        let reply = apply(1, None, CreateGuestWithTokens { guest, lifetimes: LIFETIMES }.into());
        let Ok(Reply::Issued(Issued { player, pair })) = reply.outcome else { panic!("{reply}") };
        let (player, token, lifetimes) = (player.id, pair.refresh, LIFETIMES);
        apply(1, None, RefreshTokens { player, token, remaining_ms: 7, lifetimes }.into());
        if name == "gus" {
            apply(1, None, RevokeToken { token: pair.access, remaining_ms: 7 }.into());
        }
    }
    apply(1, None, create_code("ann@x.co", Purpose::Bind, "fay").into());
    let (player, hash, lifetimes) = (player("fay"), HASH, LIFETIMES);
    apply(
        1,
        None,
        BindEmail { player, authenticated: false, email: email(), hash, lifetimes }.into(),
    );
    apply(1, None, create_code("ann@x.co", Purpose::Recover, "fay").into());
    let gone = NodeGone { node: NodeId(2), incarnation: Incarnation(1), grace_ms: 0 };
    apply(1, None, gone.into());
    (machine, records)
}

/// An account as a database has it.
fn registered() -> Player {
    Player {
        id: player("ann"),
        name: "Änn".into(),
        created: WallTime(1_750_406_400_000),
        last_login: WallTime(1_750_406_400_001),
        email: Some("ann@x.co".into()),
        email_bound: Some(WallTime(7)),
    }
}

fn blob(bytes: &[u8]) -> Rendered {
    Rendered::Messages(Blob(bytes.into()))
}

const HASH: CodeHash = CodeHash([12; 32]);

fn email() -> Email {
    "ann@x.co".parse().unwrap()
}

fn create_code(email: &str, purpose: Purpose, of: &str) -> CreateCode {
    CreateCode {
        email: email.parse().unwrap(),
        purpose,
        player: Some(player(of)),
        source: "192.0.2.7".into(),
        hash: HASH,
        limits: CodeLimits { per_address: 5, per_source: 20 },
    }
}

fn proposal(sequence: u64, client_key: Option<ScopedKey>, command: Command) -> Proposal {
    Proposal {
        request: RequestId { node: NodeId(1), incarnation: Incarnation(1), sequence },
        client_key,
        at: LogTime(1_000 * sequence),
        wall: WallTime(1_700_000_000_000 + sequence),
        seed: [11; 16],
        command,
    }
}

fn player(name: &str) -> PlayerId {
    format!("{name:_<21}").parse().unwrap()
}

fn session(player_name: &str, id: &str) -> SessionKey {
    SessionKey { player: player(player_name), session: id.parse().unwrap() }
}

fn pack() -> PackRef {
    PackRef { engine: "builtin/1".into(), digest: Digest([5; 32]) }
}

fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
