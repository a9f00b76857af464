//! Every bound that a test can reach: what is refused when it is full, and that it empties again.

#![expect(clippy::unwrap_used, reason = "in a test a failure may as well panic here")]

use std::sync::Arc;

use serverv2_machine::limits::{
    ANSWERS_PER_NODE_MAX, CODE_LIFE_MS, CODE_RESEND_MS, CODE_WINDOW_MS, CODE_WINDOWS_MAX,
    CODES_MAX, INPUTS_MAX, NODES_MAX, PACKS_PER_NODE_MAX, PENDING_REPORTS_MAX, REFRESH_REPEAT_MS,
    REVOCATIONS_MAX, ROOMS_MAX, SESSIONS_PER_PLAYER_MAX, TICKETS_MAX, TOKEN_FAMILIES_MAX,
};
use serverv2_machine::{
    ActivatePack, AppendInput, Applied, Blob, Clocks, CodeHash, CodeLimits, Command, CreateCode,
    CreatePlayer, Digest, Effect, EndBattle, EndReason, Entry, Floor, Incarnation, Input,
    JoinQueue, Lifetimes, LogTime, Machine, MemoryRecords, NodeId, NodeUp, OpenSession, Outcome,
    PackRef, PlayerId, Proposal, Purpose, RefreshTokens, Rejection, Rendered, ReportId,
    ReportMessages, ReportsView, RequestId, RevokeToken, RoomId, Seat, SessionKey, SetReports,
    StoreReport, Tick, TickBattle, TokenId, WallTime, WhyMissing,
};

/// A machine that forgets answers as they are given, as a well-behaved node lets it.
struct World {
    machine: Machine,
    records: MemoryRecords,
    index: u64,
    now: u64,
}

impl World {
    fn new() -> Self {
        let (machine, records) = (Machine::new(), MemoryRecords::default());
        let mut world = Self { machine, records, index: 0, now: 0 };
        world.ok(NodeUp { packs: vec![pack(0)], level: 1, grace_ms: 0 });
        world.ok(ActivatePack { pack: pack(0) });
        world
    }

    fn apply_keeping_answers(&mut self, command: impl Into<Command>, floor: u64) -> Applied {
        self.index += 1;
        let (node, incarnation) = (NodeId(1), Incarnation(1));
        let proposal = Proposal {
            request: RequestId { node, incarnation, sequence: self.index },
            client_key: None,
            at: LogTime(self.now),
            wall: WallTime(self.now),
            seed: [1; 16],
            command: command.into(),
        };
        let floors = vec![Floor { node, incarnation, lowest_open: floor }];
        let entry = Entry { floors, proposals: vec![proposal] };
        self.machine.apply_entry(&mut self.records, self.index, &entry).remove(0)
    }

    fn apply(&mut self, command: impl Into<Command>) -> Applied {
        self.apply_keeping_answers(command, self.index)
    }

    fn ok(&mut self, command: impl Into<Command>) -> Applied {
        let applied = self.apply(command);
        assert!(applied.outcome.is_ok(), "{applied}");
        applied
    }

    fn refused(&mut self, command: impl Into<Command>, why: &Rejection) -> Applied {
        let applied = self.apply(command);
        assert_eq!(applied.outcome.as_ref(), Err(why), "{applied}");
        applied
    }

    /// Players with all the sessions they may have, as many as asked for in all.
    fn connect(&mut self, sessions: usize) -> Vec<SessionKey> {
        let keys: Vec<_> = (0..sessions).map(session).collect();
        for (number, key) in keys.iter().enumerate() {
            if number % SESSIONS_PER_PLAYER_MAX == 0 {
                self.ok(CreatePlayer { player: key.player, name: "p".into() });
            }
            self.ok(OpenSession {
                session: key.clone(),
                socket: "k".parse().unwrap(),
                address: "home".into(),
                chosen: true,
                authenticated: false,
            });
        }
        keys
    }
}

#[test]
fn a_full_house_refuses_and_empties_again() {
    let mut world = World::new();
    // Two sessions a room, and some more. Players come in pairs of numbers far apart, so that
    // joining in this order pairs each time.
    let keys = world.connect(2 * ROOMS_MAX + 128);
    let (seated, spare) = keys.split_at(2 * ROOMS_MAX);
    let (first, second) = seated.split_at(ROOMS_MAX);
    let mut rooms = Vec::new();
    for (a, b) in first.iter().zip(second) {
        world.ok(join(a));
        rooms.extend(opened(&world.ok(join(b))));
    }
    assert_eq!(rooms.len(), ROOMS_MAX);

    // No room is left: tickets wait, up to their own bound.
    let (last, spare) = spare.split_last().unwrap();
    for key in spare.iter().chain(seated).take(TICKETS_MAX) {
        assert_eq!(opened(&world.ok(join(key))), []);
    }
    assert_eq!(world.machine.counts().tickets, TICKETS_MAX);
    world.refused(join(last), &Rejection::QueueFull);

    // An ended room still counts; a removed one makes place for the oldest pair of two players.
    world.now = 1_000;
    let draw = Outcome { winner: None, reason: EndReason::AllPetFainted };
    let digest = Digest([3; 32]);
    assert_eq!(
        opened(&world.ok(EndBattle { room: rooms[0], after: 0, outcome: draw, digest })),
        []
    );
    world.now = 6_000;
    let applied = world.ok(Tick);
    let [room] = opened(&applied)[..] else { panic!("one pair for one place: {applied}") };
    let setup = world.machine.room(room).unwrap().setup;
    assert_eq!(setup.players[0].player, spare[0].player);
    assert_eq!(setup.players[1].player, spare[SESSIONS_PER_PLAYER_MAX].player);
    world.ok(join(last));
}

#[test]
fn one_input_too_many_aborts_the_battle() {
    let mut world = World::new();
    let keys = world.connect(SESSIONS_PER_PLAYER_MAX + 1);
    let (a, b) = (&keys[0], &keys[SESSIONS_PER_PLAYER_MAX]);
    world.ok(join(a));
    let room = opened(&world.ok(join(b)))[0];
    let ready = || AppendInput { session: a.clone(), room, input: Input::Ready(Seat::A) };
    for _ in 0..INPUTS_MAX {
        world.ok(ready());
    }
    let applied = world.refused(ready(), &Rejection::InputsFull);
    assert!(matches!(applied.effects[..], [Effect::BattleEnded { outcome: None, .. }]));
    world.refused(ready(), &Rejection::BattleOver);
    world.refused(TickBattle { room, after: INPUTS_MAX }, &Rejection::BattleOver);
}

#[test]
fn a_node_that_keeps_all_its_requests_open_is_refused() {
    let mut world = World::new();
    let floor = world.index + 1;
    for _ in 0..ANSWERS_PER_NODE_MAX {
        let applied = world.apply_keeping_answers(Tick, floor);
        assert!(applied.outcome.is_ok());
    }
    let applied = world.apply_keeping_answers(Tick, floor);
    assert_eq!(applied.outcome, Err(Rejection::WindowFull));
    world.ok(Tick);
}

#[test]
fn a_full_store_of_codes_refuses_new_ones_and_empties_again() {
    let mut world = World::new();
    let player: PlayerId = format!("{:_<21}", "ann").parse().unwrap();
    world.ok(CreatePlayer { player, name: "Ann".into() });
    let create = |number: usize| CreateCode {
        email: format!("a{number}@x.co").parse().unwrap(),
        purpose: Purpose::Bind,
        player: Some(player),
        source: "192.0.2.7".into(),
        hash: CodeHash([1; 32]),
        limits: CodeLimits { per_address: 0, per_source: 0 },
    };
    let mut numbers = 0..;
    let mut next = || create(numbers.next().unwrap());
    for _ in 0..CODES_MAX {
        world.ok(next());
    }
    world.refused(next(), &Rejection::CodesFull);
    // One that takes another's place needs none of its own.
    world.now = CODE_RESEND_MS;
    world.ok(create(0));
    // The codes are gone long before what is counted; that fills up, too.
    while world.machine.code_counts().1 < CODE_WINDOWS_MAX {
        if world.machine.code_counts().0 == CODES_MAX {
            world.now += CODE_LIFE_MS;
        }
        world.ok(next());
    }
    world.now += CODE_RESEND_MS;
    world.refused(next(), &Rejection::CodesFull);
    world.now += CODE_WINDOW_MS;
    world.ok(next());
    assert_eq!(world.machine.code_counts(), (1, 2));
}

#[test]
fn nodes_and_packs_are_bounded() {
    let mut world = World::new();
    let up = |packs: usize| NodeUp { packs: (0..packs).map(pack).collect(), level: 1, grace_ms: 0 };
    let mut start = |node: usize, command: NodeUp| {
        let incarnation = Incarnation(1);
        let proposal = Proposal {
            request: RequestId { node: NodeId(node as u64), incarnation, sequence: 1 },
            client_key: None,
            at: LogTime(0),
            wall: WallTime(0),
            seed: [1; 16],
            command: command.into(),
        };
        let entry = Entry { floors: Vec::new(), proposals: vec![proposal] };
        world.machine.apply_entry(&mut world.records, 1_000, &entry).remove(0).outcome
    };
    assert_eq!(start(2, up(PACKS_PER_NODE_MAX + 1)), Err(Rejection::NodesFull));
    let long = PackRef { engine: "e".repeat(65).as_str().into(), digest: Digest([0; 32]) };
    let packs = vec![pack(0), long];
    let refused = start(2, NodeUp { packs, level: 1, grace_ms: 0 });
    assert_eq!(refused, Err(Rejection::InputInvalid));
    for node in 2..=NODES_MAX {
        assert!(start(node, up(PACKS_PER_NODE_MAX)).is_ok());
    }
    assert_eq!(start(NODES_MAX + 1, up(1)), Err(Rejection::NodesFull));
}

#[test]
fn the_family_refreshed_least_recently_makes_place_and_revocations_never_do() {
    let mut world = World::new();
    let lifetimes = Lifetimes { access_ms: 1_000_000_000, refresh_ms: 1_000_000_000 };
    let player = session(0).player;
    world.ok(CreatePlayer { player, name: "p".into() });
    let refresh = |number: usize| {
        let token = token(number);
        RefreshTokens { player, token, remaining_ms: 1_000_000_000, lifetimes }
    };
    for number in 0..TOKEN_FAMILIES_MAX {
        world.now += 1;
        world.ok(refresh(number));
    }
    assert_eq!(world.machine.token_counts(), (TOKEN_FAMILIES_MAX, 0));
    // One more: the first is unknown from here on, the second is still known to have been exchanged.
    world.now += REFRESH_REPEAT_MS;
    world.ok(refresh(TOKEN_FAMILIES_MAX));
    assert_eq!(world.machine.token_counts(), (TOKEN_FAMILIES_MAX, 0));
    world.refused(refresh(1), &Rejection::TokenReused);
    world.ok(refresh(0));

    let revoke = |number: usize| RevokeToken {
        token: token(10_000_000 + number),
        remaining_ms: 2_000_000_000,
    };
    for number in 1..REVOCATIONS_MAX {
        world.ok(revoke(number));
    }
    world.refused(revoke(0), &Rejection::RevocationsFull);
    world.ok(revoke(1));
    // What can't be revoked is not given out either.
    world.refused(refresh(2), &Rejection::RevocationsFull);
    assert!(world.machine.is_revoked(token(1)) && world.machine.is_revoked(token(10_000_001)));
    world.now += 3_000_000_000;
    world.ok(revoke(0));
    assert_eq!(world.machine.token_counts(), (0, 1));
}

fn token(number: usize) -> TokenId {
    format!("{number:_<21}").parse().unwrap()
}

fn join(key: &SessionKey) -> JoinQueue {
    JoinQueue {
        session: key.clone(),
        socket: "k".parse().unwrap(),
        team: Arc::from("[]"),
        clocks: Clocks { turn_s: 30, total_s: 900, animation_max_ms: 20_000 },
    }
}

fn opened(applied: &Applied) -> Vec<RoomId> {
    let opened = |effect: &Effect| match effect {
        Effect::RoomOpened { room, .. } => Some(*room),
        _ => None,
    };
    applied.effects.iter().filter_map(opened).collect()
}

fn session(number: usize) -> SessionKey {
    let player: PlayerId = format!("{:_<21}", number / SESSIONS_PER_PLAYER_MAX).parse().unwrap();
    SessionKey { player, session: format!("{number}").parse().unwrap() }
}

fn pack(number: usize) -> PackRef {
    PackRef { engine: format!("builtin/{number}").as_str().into(), digest: Digest([0; 32]) }
}

#[test]
fn too_many_battles_that_wait_to_be_rendered_cost_the_next_ones_their_messages() {
    let mut world = World::new();
    world.ok(SetReports { enabled: true });
    let keys = world.connect(SESSIONS_PER_PLAYER_MAX + 1);
    let (a, b) = (&keys[0], &keys[SESSIONS_PER_PLAYER_MAX]);
    let fight = |world: &mut World| {
        world.ok(join(a));
        let room = opened(&world.ok(join(b))).remove(0);
        let outcome = Outcome { winner: Some(Seat::A), reason: EndReason::Surrender };
        let applied = world.ok(EndBattle { room, after: 0, outcome, digest: Digest([3; 32]) });
        world.now += 10_000;
        let closed = applied.effects.iter().find_map(|effect| match effect {
            Effect::ReportClosed { messages, .. } => Some(*messages),
            _ => None,
        });
        (room, closed.unwrap())
    };
    for _ in 0..PENDING_REPORTS_MAX {
        assert_eq!(fight(&mut world).1, ReportMessages::Pending);
    }
    let full = ReportMessages::Missing(WhyMissing::TooManyPending);
    let (first, one_too_many) = fight(&mut world);
    assert_eq!(one_too_many, full);
    let view = ReportsView::of(&world.records);
    assert_eq!(view.pending_count().0, PENDING_REPORTS_MAX);
    assert_eq!(view.find(ReportId::of(first)).unwrap().messages, full);
    let fought = PENDING_REPORTS_MAX + 1;
    assert_eq!(view.stats(a.player).unwrap().wins, fought, "it counts all the same");

    // One that has been rendered makes place.
    let room = ReportsView::of(&world.records).pending(1)[0].room;
    world.ok(StoreReport { room, rendered: Rendered::Messages(Blob([1].into())) });
    assert_eq!(fight(&mut world).1, ReportMessages::Pending);
    assert_eq!(fight(&mut world).1, full);
}
