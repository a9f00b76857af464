//! Every command and whatever else an entry may hold, each under the name of its bytes.

use serverv2_machine::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, BindEmail, CheckCode, Clocks,
    CloseSession, CloseStaleReports, Command, CreateGuestWithTokens, CreatePlayer, Digest,
    DrainNode, EndBattle, EndReason, EndSessions, Entry, ExpireReports, Floor, ForgetNode,
    Incarnation, Input, IssueTokens, JoinQueue, KeyScope, LeaveQueue, NanoId, NodeGone, NodeId,
    NodeUp, OpenSession, OpenSessionOutside, Outcome, Purpose, RaiseLevel, RecordsHome,
    RecoverPlayer, RefreshTokens, RefreshTokensOutside, RenamePlayer, Rendered, RevokeToken,
    RoomId, ScopedKey, Seat, SetRecords, SetReports, StateDigest, StoreReport, Tick, TickBattle,
    TokenId, UnbindEmail, WallTime, WhyMissing,
};

use crate::{
    HASH, LIFETIMES, blob, create_code, email, pack, player, proposal, registered, session,
};

/// Every command once, every field set to something that tells it apart.
pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let ann = session("ann", "tab-1");
    let socket = || "sock-17".parse().unwrap();
    let room: RoomId = "room-________________".parse().unwrap();
    let append = |input| AppendInput { session: session("ann", "tab-1"), room, input };
    let outcome = Outcome { winner: Some(Seat::B), reason: EndReason::TotalTimeTimeout };
    let clocks = Clocks { turn_s: 30, total_s: 900, animation_max_ms: 20_000 };
    let id = NanoId::from_entropy(&[4; 32]);
    let (owner, token) = (ann.player, TokenId(NanoId::from_entropy(&[6; 32])));
    let commands: Vec<(&'static str, Command)> = vec![
        ("node-up", NodeUp { packs: vec![pack()], level: 1, grace_ms: 60_000 }.into()),
        (
            "node-gone",
            NodeGone { node: NodeId(3), incarnation: Incarnation(7), grace_ms: 1 }.into(),
        ),
        ("activate-pack", ActivatePack { pack: pack() }.into()),
        ("raise-level", RaiseLevel { level: 2 }.into()),
        ("create-player", CreatePlayer { player: ann.player, name: "Ann".into() }.into()),
        ("rename-player", RenamePlayer { player: ann.player, name: "Änn".into() }.into()),
        (
            "open-session",
            OpenSession {
                session: ann.clone(),
                socket: socket(),
                address: "192.0.2.7".into(),
                chosen: true,
                authenticated: false,
            }
            .into(),
        ),
        (
            "close-session",
            CloseSession { session: ann.clone(), socket: socket(), grace_ms: 60_000 }.into(),
        ),
        (
            "join-queue",
            JoinQueue {
                session: ann.clone(),
                socket: socket(),
                team: r#"[{"id":1}]"#.into(),
                clocks,
            }
            .into(),
        ),
        ("leave-queue", LeaveQueue { session: ann.clone() }.into()),
        ("abandon-battle", AbandonBattle { session: ann, socket: socket() }.into()),
        ("append-ready", append(Input::Ready(Seat::A)).into()),
        ("append-select", append(Input::Select(Seat::B, r#"{"type":"x"}"#.into())).into()),
        (
            "append-start-animation",
            append(Input::StartAnimation {
                by: Seat::A,
                source: "pet_fox".into(),
                expected_ms: 1_500,
                owner: Seat::B,
            })
            .into(),
        ),
        ("append-end-animation", append(Input::EndAnimation { by: Seat::A, id }).into()),
        ("tick-battle", TickBattle { room, after: 3 }.into()),
        ("end-battle", EndBattle { room, after: 4_000, outcome, digest: Digest([6; 32]) }.into()),
        ("abort-battle", AbortBattle { room, after: 0 }.into()),
        ("tick", Tick.into()),
        (
            "refresh-tokens",
            RefreshTokens { player: owner, token, remaining_ms: 5, lifetimes: LIFETIMES }.into(),
        ),
        ("revoke-token", RevokeToken { token, remaining_ms: 15_552_000_000 }.into()),
        (
            "create-guest-with-tokens",
            CreateGuestWithTokens {
                guest: CreatePlayer { player: owner, name: "Ann".into() },
                lifetimes: LIFETIMES,
            }
            .into(),
        ),
        ("end-sessions", EndSessions { player: owner, session: None, grace_ms: 60_000 }.into()),
        (
            "end-session",
            EndSessions { player: owner, session: Some("tab-1".parse().unwrap()), grace_ms: 0 }
                .into(),
        ),
        ("create-code", create_code("ann@x.co", Purpose::Bind, "ann").into()),
        ("check-code", CheckCode { email: email(), purpose: Purpose::Recover, hash: HASH }.into()),
        (
            "bind-email",
            BindEmail {
                player: owner,
                authenticated: true,
                email: email(),
                hash: HASH,
                lifetimes: LIFETIMES,
            }
            .into(),
        ),
        (
            "recover-player",
            RecoverPlayer { email: email(), hash: HASH, lifetimes: LIFETIMES }.into(),
        ),
        ("unbind-email", UnbindEmail { player: owner }.into()),
        ("set-records-cluster", SetRecords { home: RecordsHome::Cluster }.into()),
        ("set-records-database", SetRecords { home: RecordsHome::Database([7; 16]) }.into()),
        (
            "open-session-outside",
            OpenSessionOutside {
                open: OpenSession {
                    session: session("ann", "tab-1"),
                    socket: socket(),
                    address: "192.0.2.7".into(),
                    chosen: false,
                    authenticated: true,
                },
                name: "Änn".into(),
            }
            .into(),
        ),
        ("issue-tokens", IssueTokens { player: registered(), lifetimes: LIFETIMES }.into()),
        (
            "refresh-tokens-outside",
            RefreshTokensOutside {
                refresh: RefreshTokens {
                    player: owner,
                    token,
                    remaining_ms: 5,
                    lifetimes: LIFETIMES,
                },
                player: registered(),
            }
            .into(),
        ),
        ("set-reports", SetReports { enabled: true }.into()),
        ("store-report", StoreReport { room, rendered: blob(b"messages") }.into()),
        (
            "store-report-without-messages",
            StoreReport { room, rendered: Rendered::Nothing(WhyMissing::ReplayFailed) }.into(),
        ),
        (
            "expire-reports",
            ExpireReports {
                before: WallTime(1_750_406_400_000),
                older_than_ms: 604_800_000,
                at_most: 100,
            }
            .into(),
        ),
        (
            "close-stale-reports",
            CloseStaleReports { older_than_ms: 86_400_000, from: 70_000 }.into(),
        ),
    ];
    let floors = vec![Floor { node: NodeId(1), incarnation: Incarnation(2), lowest_open: 70_000 }];
    let mut entries = vec![("floors", Entry { floors, proposals: Vec::new() })];
    for (number, (name, command)) in (1..).zip(commands) {
        let proposals = vec![proposal(number, None, command)];
        entries.push((name, Entry { floors: Vec::new(), proposals }));
    }
    let scopes = [KeyScope::Player(player("ann")), KeyScope::Address("192.0.2.7".into())];
    let keyed = scopes.map(|scope| {
        let key = ScopedKey { scope, key: "retry-1".parse().unwrap() };
        proposal(300, Some(key), Tick.into())
    });
    entries.push(("client-keys", Entry { floors: Vec::new(), proposals: keyed.to_vec() }));
    let elsewhere = StoreReport { room, rendered: Rendered::Elsewhere }.into();
    let proposals = vec![proposal(301, None, elsewhere)];
    entries.push(("store-report-elsewhere", Entry { floors: Vec::new(), proposals }));
    let drain = DrainNode { node: NodeId(3), incarnation: Incarnation(7) }.into();
    let stated = StateDigest { room, number: 64, digest: Digest([8; 32]), rebuilt: true }.into();
    let forget = ForgetNode { node: NodeId(3) }.into();
    for (number, name, command) in
        [(302, "drain-node", drain), (303, "state-digest", stated), (304, "forget-node", forget)]
    {
        let proposals = vec![proposal(number, None, command)];
        entries.push((name, Entry { floors: Vec::new(), proposals }));
    }
    entries
}
