//! Teams that a player may queue with, out of `tests/teams.json`, which the clients of other
//! languages read, too.
//!
//! Every pet gets a name that stands in no other place: wherever that name turns up, somebody has
//! been told about that pet.

use serde_json::{Value, json};

const STARTER_HP: u32 = 900;
const TEAMS: &str = include_str!("../../teams.json");

/// How many different teams there are.
pub(crate) fn count() -> usize {
    teams().len()
}

/// A `PlayerSchema` (contract 5.1) with the team of this number, without pet ids.
pub(crate) fn schema(number: usize, owner: &str) -> Value {
    let teams = teams();
    let pets = teams[number % teams.len()].as_array().expect("a team is a list");
    let team: Vec<Value> =
        pets.iter().enumerate().map(|(slot, pet)| finish(pet, slot, owner)).collect();
    json!({"name": format!("Tester {}", &owner[..6]), "id": owner, "team": team})
}

/// The name that only this pet has.
pub(crate) fn secret_name(slot: usize, owner: &str) -> String {
    format!("secret {slot} of {owner}")
}

fn teams() -> Vec<Value> {
    serde_json::from_str(TEAMS).expect("teams.json is a list of teams")
}

fn finish(pet: &Value, slot: usize, owner: &str) -> Value {
    let mut pet = pet.clone();
    let all = |value: u32| json!({"hp": value, "atk": value, "def": value, "spa": value, "spd": value, "spe": value});
    pet["name"] = json!(secret_name(slot, owner));
    pet["level"] = json!(100);
    pet["evs"] = all(85);
    pet["ivs"] = all(31);
    if slot == 0 {
        // Nothing the other starter does brings it down in the few turns that a test counts on.
        pet["maxHp"] = json!(STARTER_HP);
    }
    pet
}
