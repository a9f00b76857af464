//! What teams may be, and what clients read about those that may not.

use serde_json::json;

use super::*;

const ANN: &str = "V1StGXR8_Z5jdHi6B-myT";
const REX: &str = "pQ7rS8tU9vW0xY1zA2bC3";

fn ann() -> PlayerId {
    ANN.parse().unwrap()
}

fn rex() -> Value {
    json!({"name": "Rex", "id": REX, "species": "pet_dilan", "level": 100,
        "evs": {"hp": 6, "atk": 252, "def": 0, "spa": 0, "spd": 0, "spe": 252},
        "ivs": {"hp": 31, "atk": 31, "def": 31, "spa": 31, "spd": 31, "spe": 31},
        "nature": "Adamant", "gender": "Male", "skills": ["skill_a", "skill_b"],
        "ability": "mark_ability_x"})
}

fn team(pets: &[Value]) -> Value {
    json!({"name": "Ann", "id": ANN, "team": pets})
}

/// Fresh ids `000…1`, `000…2` and so on.
fn fresh() -> impl FnMut() -> NanoId {
    let mut count = 0;
    move || {
        count += 1;
        format!("{count:021}").parse().unwrap()
    }
}

fn normalized(payload: &Value) -> Result<Value, TeamError> {
    let text = normalize(Some(payload), ann(), &mut fresh())?;
    Ok(serde_json::from_str(&text).unwrap())
}

fn messages(payload: &Value) -> Vec<String> {
    match normalized(payload) {
        Err(TeamError::Invalid(messages)) => messages,
        other => panic!("{other:?} of {payload}"),
    }
}

/// The example pet with one field set, or removed by null.
fn rex_with(key: &str, value: Value) -> Value {
    let mut pet = rex();
    match value {
        Value::Null => pet.as_object_mut().unwrap().remove(key),
        value => pet.as_object_mut().unwrap().insert(key.to_owned(), value),
    };
    pet
}

#[test]
fn a_missing_payload_is_required_and_null_is_none() {
    let said = |payload| normalize(payload, ann(), &mut fresh()).unwrap_err().to_string();
    assert_eq!(said(None), "Invalid player data: Required");
    assert_eq!(said(Some(&Value::Null)), "Invalid player data: Expected object, received null");
}

#[test]
fn the_contracts_example_passes_unchanged() {
    assert_eq!(normalized(&team(&[rex()])), Ok(team(&[rex()])));
}

#[test]
fn the_wrapped_form_is_read_as_the_bare_one() {
    for rules in [json!("standard"), json!("no such rules"), Value::Null] {
        let wrapped = json!({"playerSchema": team(&[rex()]), "ruleSetId": rules});
        assert_eq!(normalized(&wrapped), Ok(team(&[rex()])));
    }
    let wrapped = json!({"playerSchema": 7});
    assert_eq!(messages(&wrapped), ["Expected object, received number"]);
}

#[test]
fn unknown_keys_are_dropped_and_missing_ids_filled() {
    let mut pet = rex_with("id", Value::Null);
    pet["shiny"] = json!({"deep": [1]});
    let mut payload = team(&[pet, rex(), rex()]);
    payload["extra"] = json!(1);
    let team = normalized(&payload).unwrap();
    assert!(team.get("extra").is_none() && team["team"][0].get("shiny").is_none());
    let ids: Vec<_> = team["team"].as_array().unwrap().iter().map(|pet| &pet["id"]).collect();
    assert_eq!(ids, ["000000000000000000001", REX, "000000000000000000002"]);
}

#[test]
fn a_team_of_somebody_else_or_of_nobody_is_a_mismatch() {
    let mut payload = team(&[rex()]);
    payload["id"] = json!(REX);
    assert_eq!(normalized(&payload), Err(TeamError::PlayerIdMismatch));
    payload.as_object_mut().unwrap().remove("id");
    let error = normalized(&payload).unwrap_err();
    assert_eq!(error.to_string(), "PLAYER_ID_MISMATCH");
}

#[test]
fn each_wrong_field_gives_the_contracts_message() {
    let evs = |key: &str, value: Value| {
        let mut evs = json!({"hp": 0, "atk": 0, "def": 0, "spa": 0, "spd": 0, "spe": 0});
        evs[key] = value;
        evs
    };
    let nature = "Invalid enum value. Expected 'Hardy' | 'Lonely' | 'Brave'";
    let table = [
        ("name", Value::Null, "Required"),
        ("name", json!(""), "String must contain at least 1 character(s)"),
        ("name", json!("x".repeat(65)), "String must contain at most 64 character(s)"),
        ("name", json!(5), "Expected string, received number"),
        ("id", json!("short"), "Invalid nanoid"),
        ("species", json!("dilan"), "Invalid"),
        ("level", json!(0), "Number must be greater than or equal to 1"),
        ("level", json!(101), "Number must be less than or equal to 100"),
        ("level", json!(1.5), "Expected integer, received float"),
        ("level", json!("100"), "Expected number, received string"),
        ("evs", evs("atk", json!(256)), "Number must be less than or equal to 255"),
        ("evs", evs("atk", json!(-1)), "Number must be greater than or equal to 0"),
        (
            "evs",
            evs("atk", json!(511)),
            "Number must be less than or equal to 255|学习力总和不能超过510",
        ),
        ("evs", json!([]), "Expected object, received array"),
        ("ivs", json!({}), "Required|Required|Required|Required|Required|Required"),
        ("nature", json!("Evil"), nature),
        ("nature", Value::Null, "Required"),
        (
            "skills",
            json!(["a", "b", "c", "d", "e", "f"]),
            "Array must contain at most 5 element(s)",
        ),
        ("skills", json!([null]), "Expected string, received null"),
        (
            "gender",
            json!("Other"),
            "Invalid enum value. Expected 'NoGender' | 'Male' | 'Female', received 'Other'",
        ),
        ("height", json!("tall"), "Expected number, received string"),
        ("maxHp", json!(0), "Number must be greater than 0"),
        ("maxHp", json!(1.5), "Expected integer, received float"),
        ("maxHp", json!(2_000_000_000), "Number must be less than or equal to 1000000000"),
        ("ability", json!(false), "Expected string, received boolean"),
        ("emblem", json!([]), "Expected string, received array"),
    ];
    for (key, value, expected) in table {
        let got = messages(&team(&[rex_with(key, value)])).join("|");
        assert!(got.starts_with(expected), "{key}: {got}");
        assert!(expected == got || expected == nature, "{key}: {got}");
    }
    let no_pets = messages(&team(&[]));
    assert_eq!(no_pets, ["Array must contain at least 1 element(s)"]);
    let too_many = messages(&team(&vec![rex(); 7]));
    assert_eq!(too_many, ["Array must contain at most 6 element(s)"]);
    assert_eq!(messages(&Value::Null), ["Expected object, received null"]);
}

#[test]
fn all_messages_are_given_in_the_order_of_the_fields() {
    let mut pet = rex();
    pet["evs"] = json!({"hp": 255, "atk": 255, "def": 1, "spa": 0, "spd": 0, "spe": 0});
    pet["level"] = json!(0);
    pet["name"] = json!("");
    let mut payload = team(&[pet]);
    payload["id"] = json!("x");
    let error = normalized(&payload).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Invalid player data: Invalid nanoid, String must contain at least 1 character(s), \
         Number must be greater than or equal to 1, 学习力总和不能超过510"
    );
}

#[test]
fn refusals_and_teams_are_bounded() {
    assert_eq!(messages(&team(&vec![json!({}); 10_000])).len(), MESSAGES_MAX);
    let long = rex_with("skills", json!(["s".repeat(TEAM_BYTES_MAX)]));
    assert_eq!(messages(&team(&[long])), ["Team must contain at most 16384 byte(s)"]);
}
