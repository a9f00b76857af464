//! What is read by hand is read as the document says.

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use serverv2_machine::{NanoId, PlayerId};

use super::document;
use crate::battle::builtin::tests::sample_setup;
use crate::battle::{selection, team};

const ANN: &str = "V1StGXR8_Z5jdHi6B-myT";
const PET: &str = "pQ7rS8tU9vW0xY1zA2bC3";

fn described(event: &str) -> Validator {
    let document = document();
    let payload = &document["channels"]["events"]["messages"][event]["payload"];
    let schema = json!({"components": document["components"], "allOf": [payload]});
    Validator::new(&schema).expect("a schema")
}

/// Paths to all values inside one, itself first.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                places(value, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                places(value, &format!("{path}/{at}"), found);
            }
        }
        _ => {}
    }
}

/// Values at and beyond what forms allow.
fn strange() -> impl Strategy<Value = Value> {
    let numbers = [-1.0_f64, 0.0, 0.5, 1.0, 31.0, 32.0, 100.0, 101.0, 255.0, 256.0, 1e9, 1e12];
    let texts = ["", "x", ANN, PET, "pet_x", "Hardy", "Male", "self", "opponent", "use-skill"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(numbers.to_vec()).prop_map(|number| {
            if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
        }),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        (60_usize..70).prop_map(|length| json!("n".repeat(length))),
        Just(json!([])),
        Just(json!({})),
        (5_usize..8).prop_map(|length| json!(vec!["skill_x"; length])),
    ]
}

/// Puts other values in some places of a form, or takes what is there away.
fn changed(form: &Value, changes: &[(prop::sample::Index, Option<Value>)]) -> Value {
    let mut form = form.clone();
    for (place, value) in changes {
        let mut all = Vec::new();
        places(&form, "", &mut all);
        let path = place.get(&all).clone();
        match (value, path.rsplit_once('/')) {
            (Some(value), _) => {
                if let Some(place) = form.pointer_mut(&path) {
                    *place = value.clone();
                }
            }
            (None, Some((parent, key))) => {
                if let Some(parent) = form.pointer_mut(parent).and_then(Value::as_object_mut) {
                    parent.remove(key);
                }
            }
            (None, None) => {}
        }
    }
    form
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Option<Value>)>> {
    prop::collection::vec(
        (any::<prop::sample::Index>(), prop::option::weighted(0.7, strange())),
        0..3,
    )
}

/// The one rule that no schema can tell.
fn has_too_much_effort(team: &Value) -> bool {
    let pets = team["team"].as_array().into_iter().flatten();
    let sum = |pet: &Value| -> f64 {
        let evs = pet["evs"].as_object().into_iter().flat_map(|evs| evs.values());
        evs.filter_map(Value::as_f64).sum()
    };
    pets.into_iter().any(|pet| sum(pet) > 510.0)
}

#[test]
fn a_team_without_its_player_is_neither_taken_nor_as_described() {
    let mut team: Value = serde_json::from_str(&sample_setup().players[0].team).unwrap();
    let player = team["id"].as_str().unwrap().parse().unwrap();
    let taken = |team: &Value| {
        team::normalize(Some(team), player, &mut || NanoId::from_entropy(&[7; 32])).is_ok()
    };
    for there in [true, false] {
        assert_eq!((taken(&team), described("joinMatchmaking").is_valid(&team)), (there, there));
        team.as_object_mut().unwrap().remove("id");
    }
}

proptest! {
    #[test]
    fn a_team_is_taken_if_it_is_as_described(changes in changes()) {
        let sample: Value = serde_json::from_str(&sample_setup().players[0].team).unwrap();
        let form = changed(&sample, &changes);
        prop_assume!(!has_too_much_effort(&form));
        let player = sample["id"].as_str().unwrap().parse().unwrap();
        let somebody_else = form["id"].as_str().and_then(|id| id.parse().ok());
        prop_assume!(somebody_else.is_none_or(|id: PlayerId| id == player));
        let mut fresh = || NanoId::from_entropy(&[7; 32]);
        let taken = team::normalize(Some(&form), player, &mut fresh).is_ok();
        prop_assert_eq!(taken, described("joinMatchmaking").is_valid(&form), "{:#}", form);
    }

    #[test]
    fn a_choice_is_taken_if_it_is_as_described(kind in 0_usize..4, changes in changes()) {
        let sample = match kind {
            0 => json!({"type": "use-skill", "player": ANN, "skill": PET, "target": "self"}),
            1 => json!({"type": "switch-pet", "player": ANN, "pet": PET}),
            2 => json!({"type": "do-nothing", "player": ANN}),
            _ => json!({"type": "surrender", "player": ANN, "more": 1}),
        };
        let form = changed(&sample, &changes);
        prop_assume!(form["player"] != PET, "somebody else's");
        let taken = selection::parse(&form, ANN.parse().unwrap()).is_ok();
        prop_assert_eq!(taken, described("submitPlayerSelection").is_valid(&form), "{:#}", form);
    }
}
