//! Ready-made teams of the starter pack, for the demo and for tests.

use std::sync::LazyLock;

use serde_json::{Value, json};
use serverv2_machine::PlayerId;

use super::pack::Pack;
use super::team::{PETS_MAX, SKILLS_MAX};

/// Pets of a sample team.
const PETS: usize = 3;

/// A valid team payload of this player. Different variants bring different pets.
pub fn sample_team(player: PlayerId, name: &str, variant: usize) -> Value {
    static STARTER: LazyLock<Pack> = LazyLock::new(Pack::starter);
    sample_team_from(&STARTER, player, name, variant, PETS)
}

/// The same with as many pets as asked for (1 to 6), from a pack that is already loaded.
pub fn sample_team_from(
    pack: &Pack,
    player: PlayerId,
    name: &str,
    variant: usize,
    pets: usize,
) -> Value {
    const NATURES: [&str; 5] = ["Hardy", "Adamant", "Modest", "Jolly", "Calm"];
    let species: Vec<_> = pack.all_species().collect();
    let pets = (0..pets.clamp(1, PETS_MAX)).map(|place| {
        // Coprime with the number of species of the starter pack, so that a team has no twins.
        let species = species[(variant + place * 5) % species.len()];
        let mut pet = json!({
            "name": species.id.trim_start_matches("pet_"),
            "species": species.id,
            "level": 100,
            "evs": {"hp": 6, "atk": 126, "def": 0, "spa": 126, "spd": 0, "spe": 252},
            "ivs": {"hp": 31, "atk": 31, "def": 31, "spa": 31, "spd": 31, "spe": 31},
            "nature": NATURES[(variant + place) % NATURES.len()],
            "gender": "NoGender",
            "skills": species.learnable.iter().take(SKILLS_MAX).collect::<Vec<_>>(),
        });
        for (key, marks) in [("ability", &species.abilities), ("emblem", &species.emblems)] {
            if let Some(mark) = marks.first() {
                pet[key] = json!(mark);
            }
        }
        pet
    });
    json!({"name": name, "id": player, "team": pets.collect::<Vec<_>>()})
}
