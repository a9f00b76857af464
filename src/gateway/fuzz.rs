//! Whatever a client puts into an event: a typed refusal, or a value that everything behind can take.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use serverv2_machine::limits::{ANIMATION_TEXT_MAX, SELECTION_BYTES_MAX, TEAM_BYTES_MAX};
use serverv2_machine::{BattleSetup, Clocks, LogTime, NanoId, PlayerId, Seat, SetupSeat, WallTime};

use super::arguments::{EVENT_BYTES_MAX, arguments};
use super::battle::animation;
use super::wire::Event;
use crate::battle::engine::{
    AnimationRequest, Battle, BattleEngine, Call, Selection, Sink, Viewer, Visible,
};
use crate::battle::message::Message;
use crate::battle::starter::sample_team;
use crate::battle::team::{self, Team, TeamError};
use crate::battle::{BuiltinEngine, Pack, selection};
use crate::fuzz::{any_json, changed, changes, slipped, slips};

const ANN: &str = "V1StGXR8_Z5jdHi6B-myT";
const PET: &str = "pQ7rS8tU9vW0xY1zA2bC3";
/// Bytes of a refusal's text: three hundred messages of the longest kind.
const REFUSAL_BYTES_MAX: usize = 300 * 512;

static ENGINE: LazyLock<BuiltinEngine> =
    LazyLock::new(|| BuiltinEngine::new(Arc::new(Pack::starter())));

fn ann() -> PlayerId {
    ANN.parse().unwrap()
}

fn event() -> impl Strategy<Value = Event> {
    prop::sample::select(&Event::ALL[..])
}

/// Pieces of JSON.
const BITS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "null",
    "1e999",
    "-",
    "0x1",
    "NaN",
    "\u{0}",
    "\u{feff}",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "/*",
    "9999999999999999999999",
];

fn fresh() -> impl FnMut() -> NanoId {
    let mut count = 0;
    move || {
        count += 1;
        format!("{count:021}").parse().unwrap()
    }
}

/// A team is refused with something to read, or is one that queue, log and battle can take.
fn is_refused_or_a_team(payload: &Value) -> Result<(), TestCaseError> {
    let text = match team::normalize(Some(payload), ann(), &mut fresh()) {
        Ok(text) => text,
        Err(TeamError::PlayerIdMismatch) => return Ok(()),
        Err(error) => {
            let said = error.to_string();
            prop_assert!(said.starts_with("Invalid player data: ") && said.len() > 25, "{said}");
            prop_assert!(said.len() <= REFUSAL_BYTES_MAX, "{} bytes", said.len());
            return Ok(());
        }
    };
    prop_assert!(text.len() <= TEAM_BYTES_MAX);
    let read: Team = serde_json::from_str(&text).unwrap();
    prop_assert_eq!(read.id, ann());
    let ids: BTreeSet<NanoId> = read.team.iter().map(|pet| pet.id).collect();
    prop_assert_eq!(ids.len(), read.team.len(), "two pets with one id");
    // What is normal stays as it is.
    let again = serde_json::from_str(&text).unwrap();
    let again = team::normalize(Some(&again), ann(), &mut fresh());
    prop_assert_eq!(again.as_ref(), Ok(&text));
    if ENGINE.knows_team(&text) {
        let mut battle = ENGINE.init(&setup(&text)).unwrap();
        battle.start(call(1), &mut Silent);
        for number in 2..6 {
            for seat in Seat::BOTH {
                if let Some(choice) = battle.available(seat).first() {
                    battle.submit(seat, choice, call(number), &mut Silent);
                }
                serde_json::to_string(&battle.view(Viewer::Player(seat))).unwrap();
            }
        }
    }
    Ok(())
}

struct Silent;

impl Sink for Silent {
    fn message(&mut self, message: Message, state: &dyn Visible) {
        assert!(!format!("{message:?}").is_empty());
        state.view(Viewer::Observer);
    }
}

fn call(input: u32) -> Call {
    let now = u64::from(input) * 1_000;
    Call { now: LogTime(now), wall: WallTime(now), input }
}

/// The team against a good one.
fn setup(text: &str) -> BattleSetup {
    let opponent: PlayerId = PET.parse().unwrap();
    let good = sample_team(opponent, "opponent", 3);
    let good = team::normalize(Some(&good), opponent, &mut fresh()).unwrap();
    let seat = |player, team: &str| SetupSeat {
        player,
        session: "s".parse().unwrap(),
        name: "someone".into(),
        team: team.into(),
    };
    BattleSetup {
        pack: ENGINE.reference().clone(),
        seed: [3; 16],
        players: [seat(ann(), text), seat(opponent, &good)],
        clocks: Clocks { turn_s: 30, total_s: 900, animation_max_ms: 20_000 },
        at: LogTime(0),
        wall: WallTime(0),
    }
}

fn started() -> Box<dyn Battle> {
    let text = team::normalize(Some(&sample_team(ann(), "Ann", 0)), ann(), &mut fresh()).unwrap();
    let mut battle = ENGINE.init(&setup(&text)).unwrap();
    battle.start(call(1), &mut Silent);
    battle
}

/// A choice is refused, or is one that the log keeps and a battle can judge.
fn is_refused_or_a_choice(payload: &Value) -> Result<(), TestCaseError> {
    let Ok(choice) = selection::parse(payload, ann()) else { return Ok(()) };
    let text = choice.to_log();
    prop_assert!(text.len() <= SELECTION_BYTES_MAX);
    let again = Selection::from_log(&text);
    prop_assert_eq!(again.as_ref(), Some(&choice));
    prop_assert_eq!(&serde_json::to_value(choice.on_wire(ann())).unwrap(), payload);
    let mut battle = started();
    let said = battle.check(Seat::A, &choice);
    let (verdict, _) = battle.submit(Seat::A, &choice, call(2), &mut Silent);
    prop_assert_eq!(said, verdict);
    Ok(())
}

fn is_refused_or_an_animation(payload: &Value) -> Result<(), TestCaseError> {
    let Some((source, expected_ms, owner)) = animation(payload) else { return Ok(()) };
    prop_assert!((1..=ANIMATION_TEXT_MAX).contains(&source.len()));
    prop_assert!(expected_ms > 0);
    prop_assert_eq!(payload["ownerId"].as_str(), Some(owner.as_str()));
    let mut battle = started();
    let (by, owner) = (Seat::B, Seat::A);
    let animation = AnimationRequest { by, owner, source: &source, expected_ms };
    battle.start_animation(&animation, call(2), &mut Silent);
    battle.end_animation(&source, call(3), &mut Silent);
    Ok(())
}

fn choice() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"type": "use-skill", "player": ANN, "skill": PET, "target": "opponent"}),
        json!({"type": "use-skill", "player": ANN, "skill": PET, "target": "self"}),
        json!({"type": "switch-pet", "player": ANN, "pet": PET}),
        json!({"type": "do-nothing", "player": ANN}),
        json!({"type": "surrender", "player": ANN}),
    ])
}

#[test]
fn an_animation_is_an_object_and_no_list_of_its_values() {
    assert!(animation(&json!({"source": PET, "expectedDuration": 5, "ownerId": ANN})).is_some());
    assert!(animation(&json!([PET, 5, ANN])).is_none());
}

proptest! {
    #[test]
    fn the_text_of_an_event_is_taken_apart_or_refused(
        event in event(),
        values in vec(any_json(), 0..4),
        slips in prop::option::of(slips(BITS)),
    ) {
        let mut all = vec![json!(event.name())];
        all.extend(values);
        let whole = Value::Array(all.clone()).to_string();
        let text = slips.as_ref().map_or_else(|| whole.clone(), |slips| slipped(&whole, slips));
        match arguments(event, &text) {
            Ok(found) => {
                let team = event == Event::JoinMatchmaking;
                prop_assert!(team || text.len() <= EVENT_BYTES_MAX);
                prop_assert!(event.has_payload() || found.payload.is_none());
                if slips.is_none() && event.has_payload() {
                    let sent: Vec<Value> = serde_json::from_str(&whole).unwrap();
                    let (found, sent) = (found.payload.as_ref(), sent.get(1));
                    if team {
                        let read = |payload| team::normalize(payload, ann(), &mut fresh());
                        prop_assert_eq!(read(found), read(sent), "what was left out was no team's");
                    } else {
                        prop_assert_eq!(found, sent);
                    }
                }
            }
            Err(_) => prop_assert!(slips.is_some() || whole.len() > EVENT_BYTES_MAX
                || whole.contains("requestId")),
        }
    }

    #[test]
    fn texts_that_are_no_event_are_refused(event in event(), text in ".{0,200}") {
        let _ = arguments(event, &text);
    }

    #[test]
    fn any_json_is_no_team_or_a_good_one(payload in any_json()) {
        is_refused_or_a_team(&payload)?;
        is_refused_or_a_team(&json!({"playerSchema": payload}))?;
    }

    #[test]
    fn a_spoilt_team_is_refused_or_a_good_one(variant in 0..9usize, changes in changes()) {
        let payload = changed(sample_team(ann(), "Ann", variant), &changes);
        is_refused_or_a_team(&payload)?;
    }

    #[test]
    fn any_json_is_no_choice_or_a_good_one(payload in any_json()) {
        is_refused_or_a_choice(&payload)?;
        is_refused_or_an_animation(&payload)?;
    }

    #[test]
    fn a_spoilt_choice_is_refused_or_a_good_one(payload in choice(), changes in changes()) {
        is_refused_or_a_choice(&payload)?;
        is_refused_or_a_choice(&changed(payload, &changes))?;
    }

    #[test]
    fn a_spoilt_animation_is_refused_or_a_good_one(
        duration in any::<f64>(),
        changes in changes(),
    ) {
        let good = json!({"source": PET, "expectedDuration": duration, "ownerId": ANN});
        is_refused_or_an_animation(&good)?;
        is_refused_or_an_animation(&changed(good, &changes))?;
    }
}
