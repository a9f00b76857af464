//! Teams of 13 KiB, with a pack of our own in which all ids are as long as they may be.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::team::secret_name;

/// Characters of an id, of four bytes each but for its beginning.
const ID_CHARS: usize = 64;
/// Pets of a team.
pub(super) const PETS: usize = 6;

const MANIFEST: &str =
    r#"{"id": "long", "version": "1", "data": {"species": ["p.yaml"], "skills": ["s.yaml"]}}"#;

/// A folder of packs with this one alone. It must stay as long as nodes start.
pub(super) struct LongPack(tempfile::TempDir);

impl LongPack {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("make a folder of packs");
        let pack = folder.path().join("long");
        let species = format!(
            "- {{id: {}, element: Fire, ability: [{}], emblem: [{}],\n   \
             baseStats: {{hp: 90, atk: 90, def: 90, spa: 80, spd: 70, spe: 70}}}}\n",
            long("pet_"),
            long("mark_ability_"),
            long("mark_emblem_"),
        );
        let skill = format!(
            "- {{id: {}, element: Fire, category: Physical, target: opponent, power: 9, rage: 0, \
             accuracy: 100}}\n",
            long("skill_"),
        );
        std::fs::create_dir(&pack).expect("make the folder of the pack");
        for (file, text) in [("pack.json", MANIFEST), ("p.yaml", &species), ("s.yaml", &skill)] {
            std::fs::write(pack.join(file), text).expect("write a part of the pack");
        }
        Self(folder)
    }

    /// The setting for it.
    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }
}

fn long(beginning: &str) -> String {
    beginning.chars().chain(std::iter::repeat('🐉')).take(ID_CHARS).collect()
}

/// A `PlayerSchema` of that pack.
pub(super) fn team(owner: &str) -> Value {
    let all = |value: u32| json!({"hp": value, "atk": value, "def": value, "spa": value, "spd": value, "spe": value});
    let pet = |slot| {
        json!({
            "name": secret_name(slot, owner), "species": long("pet_"), "level": 100, "evs": all(85),
            "ivs": all(31), "nature": "Hardy", "skills": vec![long("skill_"); 5],
            "ability": long("mark_ability_"), "emblem": long("mark_emblem_"),
        })
    };
    let pets: Vec<Value> = (0..PETS).map(pet).collect();
    json!({"name": "Tester", "id": owner, "team": pets})
}
