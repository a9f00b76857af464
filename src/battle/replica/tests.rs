//! Who comes to a battle in the middle, and replicas that stand in for others: one whole battle, cut at
//! each of its inputs.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use serverv2_machine::{Input, LogTime, NumberedInput, RoomId, Seat, SocketId, WallTime};

use super::{Audience, Replica};
use crate::battle::builtin::tests::sample_setup;
use crate::battle::engine::TimerState;
use crate::battle::engines::Engines;
use crate::battle::message::OnWire;
use crate::battle::patch::patch;
use crate::battle::view::BattleView;

/// A client: its copy of the state after each message, by number.
struct Client {
    id: SocketId,
    copies: Mutex<Vec<(i64, Value)>>,
}

impl Client {
    fn new() -> Arc<Self> {
        Arc::new(Self { id: "client".parse().unwrap(), copies: Mutex::default() })
    }

    fn copies(&self) -> Vec<(i64, Value)> {
        self.copies.lock().clone()
    }
}

impl Audience for Client {
    fn id(&self) -> &SocketId {
        &self.id
    }

    fn battle_event(&self, message: &OnWire<'_>) {
        let message = json!(message);
        let number = message["sequenceId"].as_i64().unwrap();
        let mut copies = self.copies.lock();
        let (last, mut copy) = copies.last().cloned().unwrap_or_else(|| (-1, json!({})));
        assert_eq!(number, last + 1, "none is missing and none comes twice");
        // The first message brings everything.
        copy = if number == 0 { json!({}) } else { copy };
        if let Some(delta) = message.get("stateDelta") {
            patch(&mut copy, delta);
        }
        copies.push((number, copy));
    }

    fn room_closed(&self, _: RoomId) {}

    fn returned(&self, _: RoomId, state: &BattleView, timers: &[TimerState; 2]) {
        assert!(timers[0].remaining_total_time > 0.0);
        let mut state = json!(state);
        let number = state.as_object_mut().unwrap().remove("sequenceId");
        let number = number.map_or(-1, |number| number.as_i64().unwrap());
        self.copies.lock().push((number, state));
    }
}

fn replica(engines: &Engines) -> Replica {
    let setup = sample_setup();
    let engine = engines.get(&setup.pack).expect("the starter pack");
    Replica::new("r".repeat(21).parse().unwrap(), Arc::new(setup), engine.as_ref()).unwrap()
}

/// All inputs of a battle in which each player takes the first choice that is offered.
fn whole_battle(engines: &Engines) -> Vec<NumberedInput> {
    let mut replica = replica(engines);
    let mut inputs: Vec<NumberedInput> = Vec::new();
    let mut add = |replica: &mut Replica, input: Input| {
        let number = replica.last_input() + 1;
        let at = LogTime(u64::from(number) * 100);
        let input = NumberedInput { number, at, wall: WallTime(0), input };
        replica.consume(&input).unwrap();
        inputs.push(input);
    };
    for seat in Seat::BOTH {
        add(&mut replica, Input::Ready(seat));
    }
    while let Some(seat) = replica.progress().pending.first().copied() {
        let choice = replica.available(seat)[0].to_log().into();
        add(&mut replica, Input::Select(seat, choice));
    }
    assert!(replica.end().is_some() && inputs.len() > 20, "{} inputs", inputs.len());
    inputs
}

/// What a client knows that is there from the beginning to the end.
fn reference(engines: &Engines, inputs: &[NumberedInput]) -> (Vec<(i64, Value)>, Replica) {
    let (mut replica, client) = (replica(engines), Client::new());
    replica.attach(Seat::A, client.clone(), None);
    inputs.iter().for_each(|input| replica.consume(input).unwrap());
    (client.copies(), replica)
}

#[test]
fn who_returns_at_any_input_goes_on_to_the_same_states_message_by_message() {
    let engines = Engines::load(None).unwrap();
    let inputs = whole_battle(&engines);
    let (known, _) = reference(&engines, &inputs);
    for at in 0..=inputs.len() {
        let (mut replica, client) = (replica(&engines), Client::new());
        let (before, after) = inputs.split_at(at);
        before.iter().for_each(|input| replica.consume(input).unwrap());
        let now = LogTime(u64::try_from(at).unwrap() * 100);
        replica.attach(Seat::A, client.clone(), Some((now, WallTime(0))));
        // Whoever watches already is not told again.
        replica.attach(Seat::A, client.clone(), Some((now, WallTime(0))));
        after.iter().for_each(|input| replica.consume(input).unwrap());
        let copies = client.copies();
        assert_eq!(copies.last(), known.last(), "after a return at input {at}");
        for (number, copy) in copies.iter().filter(|(number, _)| *number >= 0) {
            let place = usize::try_from(*number).unwrap();
            assert_eq!(*copy, known[place].1, "message {number} after a return at input {at}");
        }
    }
}

#[test]
fn a_replica_that_stands_in_for_another_at_any_input_tells_nothing_twice_and_leaves_nothing_out() {
    let engines = Engines::load(None).unwrap();
    let inputs = whole_battle(&engines);
    let (known, first) = reference(&engines, &inputs);
    for at in 0..=inputs.len() {
        let (mut failing, client) = (replica(&engines), Client::new());
        failing.attach(Seat::A, client.clone(), None);
        inputs[..at].iter().for_each(|input| failing.consume(input).unwrap());
        let mut fresh = replica(&engines);
        fresh.stand_in_for(&mut failing);
        inputs.iter().for_each(|input| fresh.consume(input).unwrap());
        assert_eq!(client.copies(), known, "instead of one that failed behind input {at}");
        assert_eq!(fresh.digest(), first.digest());
        assert_eq!(fresh.last_digest(), first.last_digest());
    }
}
