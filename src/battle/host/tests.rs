//! Workers that do not come: what is ordered meanwhile, in any amount, and what becomes of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::json;
use serverv2_machine::{
    AppendInput, BattleSetup, CreatePlayer, Incarnation, Input, JoinQueue, LogTime, NodeId,
    NumberedInput, OpenSession, PackRef, PlayerId, RequestId, RoomId, Seat, SessionKey, SetupSeat,
    SocketId, WallTime,
};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::timeout;

use super::mailbox::{Letter, Mailbox, QUESTIONS_MAX};
use super::{Audience, BattleHost, Cause, Ending, Opening, Watcher};
use crate::app::testing::Node;
use crate::battle::builtin::tests::sample_setup;
use crate::battle::engine::{TimerState, Verdict};
use crate::battle::engines::Engines;
use crate::battle::message::OnWire;
use crate::battle::replica::InputResult;
use crate::battle::view::BattleView;

/// How long something is waited for that must come.
const DEADLINE: Duration = Duration::from_secs(20);
/// Other rooms that have something to say meanwhile.
const MANY: usize = 40_000;
const HOME: NodeId = NodeId(1);
const CAUSE: Cause = Cause {
    request: RequestId { node: HOME, incarnation: Incarnation(1), sequence: 1 },
    index: 1,
    term: 1,
};

fn room(name: char) -> RoomId {
    name.to_string().repeat(21).parse().unwrap()
}

fn surrender(seat: Seat) -> Input {
    Input::Select(seat, r#"{"type":"surrender"}"#.into())
}

/// Inputs as the log numbers them.
fn numbered(inputs: impl IntoIterator<Item = Input>) -> Vec<NumberedInput> {
    let numbered =
        |(number, input)| NumberedInput { number, at: LogTime(0), wall: WallTime(0), input };
    (1..).zip(inputs).map(numbered).collect()
}

/// A whole battle: both are ready, and both give up.
fn battle() -> Vec<NumberedInput> {
    let [a, b] = Seat::BOTH;
    numbered([Input::Ready(a), Input::Ready(b), surrender(a), surrender(b)])
}

/// What a socket hears.
#[derive(Debug, PartialEq)]
enum Heard {
    Event(i64, String),
    Closed,
    /// What was to be said behind the room's last word.
    Sequel,
}

struct Socket {
    id: SocketId,
    heard: Sender<Heard>,
}

impl Socket {
    fn new(id: &str) -> (Arc<Self>, Receiver<Heard>) {
        let (heard, ear) = channel();
        (Arc::new(Self { id: id.parse().unwrap(), heard }), ear)
    }
}

impl Audience for Socket {
    fn id(&self) -> &SocketId {
        &self.id
    }

    fn battle_event(&self, message: &OnWire<'_>) {
        let message = json!(message);
        let kind = message["type"].as_str().unwrap().to_owned();
        self.heard.send(Heard::Event(message["sequenceId"].as_i64().unwrap(), kind)).unwrap();
    }

    fn room_closed(&self, _: RoomId) {
        self.heard.send(Heard::Closed).unwrap();
    }

    fn returned(&self, _: RoomId, _: &BattleView, _: &[TimerState; 2]) {}
}

fn watcher(socket: Arc<Socket>) -> Watcher {
    Watcher { audience: socket, returned: false }
}

/// Everything up to the sequel.
fn listen(ear: &Receiver<Heard>) -> Vec<Heard> {
    let next = || ear.recv_timeout(DEADLINE).expect("what was ordered is done");
    std::iter::repeat_with(next).take_while(|heard| *heard != Heard::Sequel).collect()
}

/// The messages from this number on without a gap, then the end, then the closing, once.
fn assert_whole_story(heard: &[Heard], first: i64) {
    let numbers: Vec<i64> = heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Event(number, _) => Some(*number),
            _ => None,
        })
        .collect();
    let last = first + i64::try_from(numbers.len()).unwrap();
    assert_eq!(numbers, (first..last).collect::<Vec<_>>(), "no gap: {heard:?}");
    let end = Heard::Event(last - 1, "BATTLE_END".into());
    assert!(heard.ends_with(&[end, Heard::Closed]), "{heard:?}");
    assert_eq!(heard.iter().filter(|heard| **heard == Heard::Closed).count(), 1);
}

/// A host of a real node.
struct Stage {
    host: BattleHost,
    node: Node,
}

impl Stage {
    async fn new() -> Self {
        let node = Node::start(&[]).await;
        let host = BattleHost::start(&node.app.cluster, &Engines::load(None).unwrap()).unwrap();
        Self { host, node }
    }

    fn open(&self, inputs: &[NumberedInput], audience: [Option<&Arc<Socket>>; 2]) {
        let audience = audience.map(|socket| Some(watcher(socket?.clone())));
        let (setup, inputs) = (Arc::new(sample_setup()), inputs.to_vec());
        self.host.open(room('r'), Opening { setup, inputs, home: HOME, audience });
    }

    fn inputs(&self, inputs: &[NumberedInput]) {
        inputs.iter().for_each(|input| self.host.input(room('r'), input.clone(), CAUSE));
    }

    fn ended(&self, audience: &[&Arc<Socket>]) {
        let told = |socket: &&Arc<Socket>| (*socket).clone() as Arc<dyn Audience>;
        let audience = audience.iter().map(told).collect();
        self.host.ended(room('r'), Ending { digest: None, audience });
    }

    fn sequel(&self, sockets: &[&Arc<Socket>]) {
        for socket in sockets {
            let socket = (*socket).clone();
            self.host.after(room('r'), move || socket.heard.send(Heard::Sequel).unwrap());
        }
    }

    /// Lets the room's worker stand still until the answer is dropped.
    fn hang(&self) -> Sender<()> {
        let ((release, released), (entered, hanging)) = (channel::<()>(), channel());
        self.host.visit(room('r'), move |_| {
            entered.send(()).unwrap();
            // Ends with an error when the other side is dropped.
            let _ = released.recv();
        });
        hanging.recv_timeout(DEADLINE).unwrap();
        release
    }
}

#[tokio::test]
async fn whatever_is_ordered_while_a_worker_hangs_is_done_once_and_in_order() {
    let stage = Stage::new().await;
    let (a, hears_a) = Socket::new("a");
    let (b, hears_b) = Socket::new("b");
    let release = stage.hang();
    for other in 0..MANY {
        stage.host.home_moved(format!("{other:021}").parse().unwrap(), HOME);
    }
    // By the state, which may be ahead of the log's feed; then by the feed.
    stage.open(&battle()[..2], [None, None]);
    stage.open(&[], [Some(&a), Some(&b)]);
    let (answer, answers) = channel();
    for input in battle() {
        let answer = answer.clone();
        let waiter = move |result: Option<&InputResult>| answer.send(result.cloned()).unwrap();
        stage.host.on_input(room('r'), input.number, Box::new(waiter));
        stage.host.input(room('r'), input, CAUSE);
    }
    stage.ended(&[&a, &b]);
    stage.sequel(&[&a, &b]);
    stage.host.removed(room('r'));
    drop(release);

    assert_whole_story(&listen(&hears_a), 0);
    assert_whole_story(&listen(&hears_b), 0);
    let answers: Vec<_> = answers.try_iter().flatten().collect();
    let accepted = InputResult::Choice(Verdict::Accepted);
    assert_eq!(answers, [InputResult::Ready, InputResult::Ready, accepted.clone(), accepted]);
}

#[tokio::test]
async fn who_comes_back_while_a_worker_hangs_watches_from_there_and_the_other_from_the_start() {
    let stage = Stage::new().await;
    let (a, hears_a) = Socket::new("a");
    let (b, hears_b) = Socket::new("b");
    let (later, hears_later) = Socket::new("later");
    let release = stage.hang();
    stage.open(&[], [Some(&a), Some(&b)]);
    let inputs = battle();
    stage.inputs(&inputs[..2]);
    stage.host.detach(room('r'), Seat::A, a.id.clone());
    stage.open(&inputs[..2], [Some(&later), None]);
    stage.inputs(&inputs[2..]);
    stage.ended(&[&later, &b]);
    stage.sequel(&[&later, &b]);
    drop(release);

    let (all, rest) = (listen(&hears_b), listen(&hears_later));
    assert_whole_story(&all, 0);
    let start =
        all.iter().position(|heard| matches!(heard, Heard::Event(_, kind) if kind == "TURN_START"));
    assert_whole_story(&rest, i64::try_from(start.unwrap()).unwrap());
    assert_eq!(hears_a.try_iter().count(), 0, "it left before it could hear anything");
}

#[tokio::test]
async fn who_leaves_while_a_worker_hangs_hears_no_more() {
    let stage = Stage::new().await;
    let (a, hears_a) = Socket::new("a");
    let (b, hears_b) = Socket::new("b");
    let inputs = battle();
    stage.open(&inputs[..1], [Some(&a), Some(&b)]);
    let release = stage.hang();
    stage.inputs(&inputs[1..]);
    stage.host.detach(room('r'), Seat::A, a.id.clone());
    stage.ended(&[&b]);
    stage.sequel(&[&b]);
    drop(release);
    assert_whole_story(&listen(&hears_b), 0);
    assert_eq!(hears_a.try_iter().count(), 0);
}

#[tokio::test]
async fn questions_beyond_the_limit_are_refused_at_once_and_nothing_else_is() {
    let stage = Stage::new().await;
    let (a, hears_a) = Socket::new("a");
    stage.open(&battle()[..1], [Some(&a), None]);
    let release = stage.hang();
    let ask = |_| {
        let (answer, answered) = oneshot::channel();
        stage.host.visit(room('r'), move |replica| answer.send(replica.is_some()).unwrap());
        answered
    };
    let wait = |_| {
        let (answer, answered) = oneshot::channel();
        let waiter = move |result: Option<&InputResult>| answer.send(result.is_some()).unwrap();
        stage.host.on_input(room('r'), 1, Box::new(waiter));
        answered
    };
    let mut questions: Vec<_> = (0..QUESTIONS_MAX + 2).map(ask).collect();
    let mut waiters: Vec<_> = (0..QUESTIONS_MAX + 2).map(wait).collect();
    stage.inputs(&battle()[1..]);
    stage.ended(&[&a]);
    stage.sequel(&[&a]);
    for several in [&mut questions, &mut waiters] {
        for refused in several.split_off(QUESTIONS_MAX) {
            let refused = timeout(DEADLINE, refused).await.expect("though the worker hangs");
            assert!(refused.is_err());
        }
        assert!(several.iter_mut().all(|one| one.try_recv() == Err(TryRecvError::Empty)));
    }
    drop(release);
    assert_whole_story(&listen(&hears_a), 0);
    for answered in questions.into_iter().chain(waiters) {
        assert_eq!(answered.await, Ok(true));
    }
}

#[tokio::test]
async fn the_sockets_of_a_battle_that_cannot_be_played_here_are_told_once_that_it_is_closed() {
    let stage = Stage::new().await;
    let (a, hears_a) = Socket::new("a");
    let release = stage.hang();
    let setup = sample_setup();
    let pack = PackRef { engine: "unheard/1".into(), ..setup.pack };
    let setup = Arc::new(BattleSetup { pack, ..setup });
    let audience = [Some(watcher(a.clone())), None];
    stage.host.open(room('r'), Opening { setup, inputs: Vec::new(), home: HOME, audience });
    stage.inputs(&battle());
    // By the state, then by the feed.
    stage.ended(&[]);
    stage.ended(&[&a]);
    stage.host.removed(room('r'));
    stage.sequel(&[&a]);
    drop(release);
    assert_eq!(listen(&hears_a), [Heard::Closed]);
}

/// A battle in the replicated state, up to these inputs.
async fn replicated(stage: &Stage, inputs: &[NumberedInput]) -> (RoomId, Arc<BattleSetup>) {
    let cluster = &stage.node.app.cluster;
    let BattleSetup { players, clocks, .. } = sample_setup();
    for SetupSeat { player, session, name, team } in players {
        cluster.propose(CreatePlayer { player, name }, None).await.unwrap();
        let (session, socket) = (SessionKey { player, session }, socket_of(player));
        let open = OpenSession {
            session: session.clone(),
            socket: socket.clone(),
            address: "::1".into(),
            chosen: true,
            authenticated: false,
        };
        cluster.propose(open, None).await.unwrap();
        cluster.propose(JoinQueue { session, socket, team, clocks }, None).await.unwrap();
    }
    let found =
        cluster.read(|machine, _| machine.rooms().next().map(|room| (room.id, room.setup.clone())));
    let (room, setup) = found.value.unwrap();
    for NumberedInput { input, .. } in inputs {
        let (Input::Ready(seat) | Input::Select(seat, _)) = input else { unreachable!() };
        let SetupSeat { player, session, .. } = &setup.players[seat.index()];
        let session = SessionKey { player: *player, session: session.clone() };
        let append = AppendInput { session, room, input: input.clone() };
        cluster.propose(append, None).await.unwrap();
    }
    (room, setup)
}

#[tokio::test]
async fn a_replica_that_missed_inputs_gets_them_from_the_state() {
    let stage = Stage::new().await;
    let inputs = &battle()[..2];
    let (room, setup) = replicated(&stage, inputs).await;
    let (a, hears_a) = Socket::new("a");
    let audience = [Some(watcher(a)), None];
    stage.host.open(room, Opening { setup, inputs: Vec::new(), home: HOME, audience });
    stage.host.input(room, inputs[1].clone(), CAUSE);
    let first = hears_a.recv_timeout(DEADLINE).unwrap();
    assert_eq!(first, Heard::Event(0, "BATTLE_START".into()));
}

#[tokio::test]
async fn an_end_right_behind_a_gap_is_told_after_what_the_gap_left_out() {
    let stage = Stage::new().await;
    let inputs = battle();
    let (room, setup) = replicated(&stage, &inputs).await;
    let (a, hears_a) = Socket::new("a");
    let release = stage.hang();
    let audience = [Some(watcher(a.clone())), None];
    stage.host.open(room, Opening { setup, inputs: Vec::new(), home: HOME, audience });
    stage.host.input(room, inputs[0].clone(), CAUSE);
    stage.host.compare_all();
    stage.host.ended(room, Ending { digest: None, audience: Vec::new() });
    stage.host.after(room, move || a.heard.send(Heard::Sequel).unwrap());
    drop(release);
    assert_whole_story(&listen(&hears_a), 0);
}

#[tokio::test]
async fn what_is_to_be_said_behind_a_room_is_said_behind_what_a_gap_left_out_of_it() {
    let stage = Stage::new().await;
    let inputs = battle();
    let (room, setup) = replicated(&stage, &inputs).await;
    let (a, hears_a) = Socket::new("a");
    let release = stage.hang();
    let audience = [Some(watcher(a.clone())), None];
    stage.host.open(room, Opening { setup, inputs: Vec::new(), home: HOME, audience });
    stage.host.compare_all();
    stage.host.after(room, move || a.heard.send(Heard::Sequel).unwrap());
    drop(release);
    let heard = listen(&hears_a);
    assert!(
        heard.iter().any(|it| matches!(it, Heard::Event(_, kind) if kind == "BATTLE_END")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn who_is_seated_once_more_in_a_room_that_is_closed_is_told_so_once() {
    let stage = Stage::new().await;
    let (a, hears_a) = Socket::new("a");
    let (late, hears_late) = Socket::new("late");
    stage.open(&battle(), [Some(&a), None]);
    stage.ended(&[]);
    stage.sequel(&[&a]);
    assert!(listen(&hears_a).contains(&Heard::Closed));
    for _ in 0..2 {
        stage.open(&battle(), [Some(&a), Some(&late)]);
        stage.sequel(&[&a, &late]);
        assert!(!listen(&hears_a).contains(&Heard::Closed), "it knows");
    }
    stage.host.removed(room('r'));
    stage.sequel(&[&a, &late]);
    assert_eq!(listen(&hears_a), []);
    let closed = (0..3).flat_map(|_| listen(&hears_late)).filter(|it| *it == Heard::Closed).count();
    assert_eq!(closed, 1);
}

fn socket_of(player: PlayerId) -> SocketId {
    player.to_string().parse().unwrap()
}

#[test]
fn an_opening_takes_the_place_of_no_input_that_is_not_in_it() {
    let mut letter = Letter::default();
    battle().into_iter().skip(1).for_each(|input| letter.input(input));
    let (setup, inputs) = (Arc::new(sample_setup()), battle()[..2].to_vec());
    letter.open(Opening { setup, inputs, home: HOME, audience: [None, None] });
    assert_eq!(letter.inputs, battle());
}

#[test]
fn a_mailbox_takes_one_letter_for_each_room_and_none_beyond_its_limit() {
    let mailbox = Mailbox::new(2);
    for (name, taken) in [('a', true), ('b', true), ('a', true), ('c', false), ('b', true)] {
        let written = mailbox.write(room(name), |letter| letter.removed = true);
        assert_eq!(written.is_some(), taken, "{name}");
    }
    let rooms = |mailbox: &Mailbox| {
        let delivery = mailbox.take()?;
        Some(delivery.letters.into_iter().map(|(room, _)| room).collect::<Vec<_>>())
    };
    assert_eq!(rooms(&mailbox), Some(vec![room('a'), room('b')]));
    assert_eq!(rooms(&mailbox), Some(vec![]), "nothing waits");
    mailbox.write(room('c'), |letter| letter.removed = true).expect("there is room again");
    mailbox.close();
    assert_eq!(rooms(&mailbox), Some(vec![room('c')]), "what waited is done");
    assert_eq!(rooms(&mailbox), None);
}
