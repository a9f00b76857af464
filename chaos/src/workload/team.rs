//! Teams that players queue with.

use serde_json::{Value, json};

const TEAMS: &str = include_str!("../../../tests/teams.json");

/// What a player sends to queue with the team of this number.
pub(super) fn schema(number: usize, player: &str) -> Value {
    let teams: Vec<Vec<Value>> = serde_json::from_str(TEAMS).unwrap_or_default();
    let pets = teams.get(number % teams.len().max(1)).cloned().unwrap_or_default();
    let all = |value: u32| {
        json!({
            "hp": value, "atk": value, "def": value, "spa": value, "spd": value, "spe": value
        })
    };
    let finished = pets.into_iter().enumerate().map(|(slot, mut pet)| {
        pet["name"] = json!(format!("Pet {slot}"));
        pet["level"] = json!(100);
        pet["evs"] = all(85);
        pet["ivs"] = all(31);
        pet
    });
    json!({ "name": "Fighter", "id": player, "team": finished.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_team_of_pets() {
        for number in [0, 1, 99] {
            let schema = schema(number, "p");
            let pets = schema["team"].as_array().expect("a list");
            assert!(!pets.is_empty() && pets.iter().all(|pet| pet["species"].is_string()));
        }
    }
}
