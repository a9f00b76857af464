//! What a viewer may know (contract 5.5), checked on everything that viewer ever received.
//!
//! The check keeps its own account of what has been revealed: the starter from the beginning, a
//! pet when it enters, a skill when it is used. In the very message that reveals something, either
//! is allowed; before it nothing may be seen, after it everything must be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::battle::Message;
use super::team::secret_name;

/// Row 15: numbers start at 0, without gap or repeat, and both viewers are told the same.
pub(crate) fn assert_same_story(a: &[Message], b: &[Message]) {
    assert_eq!(a.len(), b.len(), "both viewers get every message");
    for (number, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(i64::try_from(number), Ok(a.sequence), "numbers are dense: {}", a.raw);
        assert_eq!(
            (a.sequence, &a.kind, &a.data, &a.battle),
            (b.sequence, &b.kind, &b.data, &b.battle)
        );
    }
}

/// Row 17: panics if any message told `viewer` what `foe` had not revealed.
pub(crate) fn assert_nothing_hidden_was_seen(viewer: &str, foe: &str, messages: &[Message]) {
    let mut known = Known::default();
    for message in messages {
        let fresh = known.reveals(foe, message);
        let own = player(&message.state, viewer);
        let theirs = player(&message.state, foe);
        let case = Case { known: &known, fresh: &fresh, message };
        case.own_side(own);
        case.their_side(theirs, foe);
        known.learn(message, fresh);
    }
}

fn player<'a>(state: &'a Value, id: &str) -> &'a Value {
    let mut players = state["players"].as_array().into_iter().flatten();
    players.find(|player| player["id"] == id).unwrap_or_else(|| panic!("no player {id} in {state}"))
}

#[derive(Default)]
struct Known {
    /// Pets that have been in battle.
    pets: BTreeSet<String>,
    /// Skills that have been used.
    skills: BTreeSet<String>,
    /// Skills somebody tried to use and could not: whether that counts as used is left open.
    tried: BTreeSet<String>,
}

impl Known {
    /// What this message reveals of the foe.
    fn reveals(&mut self, foe: &str, message: &Message) -> BTreeSet<String> {
        let text = |key: &str| message.data[key].as_str().map(str::to_owned);
        if self.pets.is_empty() {
            self.pets.extend(player(&message.state, foe)["activePet"].as_str().map(str::to_owned));
        }
        match message.kind.as_str() {
            "PET_SWITCH" => text("toPet").into_iter().collect(),
            "SKILL_USE" => text("skill").into_iter().collect(),
            "SKILL_USE_FAIL" => {
                self.tried.extend(text("skill"));
                BTreeSet::new()
            }
            _ => BTreeSet::new(),
        }
    }

    fn learn(&mut self, message: &Message, fresh: BTreeSet<String>) {
        if message.kind == "PET_SWITCH" {
            self.pets.extend(fresh);
        } else {
            self.skills.extend(fresh);
        }
    }
}

struct Case<'a> {
    known: &'a Known,
    fresh: &'a BTreeSet<String>,
    message: &'a Message,
}

impl Case<'_> {
    fn own_side(&self, own: &Value) {
        assert!(
            own["modifierState"].is_object(),
            "{}",
            self.tell("the own modifierState is missing", own)
        );
        for pet in list(own, "team") {
            assert!(
                pet["isUnknown"] == false && pet["stats"].is_object(),
                "{}",
                self.tell("an own pet is hidden", pet)
            );
            for skill in list(pet, "skills") {
                assert!(
                    skill["isUnknown"] == false,
                    "{}",
                    self.tell("an own skill is hidden", skill)
                );
            }
        }
    }

    fn their_side(&self, theirs: &Value, foe: &str) {
        assert!(
            theirs.get("modifierState").is_none(),
            "{}",
            self.tell("the foe's modifierState is seen", theirs)
        );
        for (slot, pet) in list(theirs, "team").iter().enumerate() {
            let id = pet["id"]
                .as_str()
                .unwrap_or_else(|| panic!("{}", self.tell("a pet without id", pet)));
            if self.known.pets.contains(id)
                || (self.fresh.contains(id) && pet["isUnknown"] == false)
            {
                self.appeared(pet);
            } else {
                assert_eq!(
                    *pet,
                    unknown_pet(id),
                    "{}",
                    self.tell("a pet is seen before it appeared", pet)
                );
                let name = secret_name(slot, foe);
                let told = self.message.raw.contains(&name) && !self.fresh.contains(id);
                assert!(!told, "{}", self.tell("the name of a hidden pet is told", pet));
            }
        }
    }

    fn appeared(&self, pet: &Value) {
        assert_eq!(
            pet["isUnknown"],
            false,
            "{}",
            self.tell("a pet is still hidden after it appeared", pet)
        );
        for key in ["stats", "modifierState"] {
            assert!(
                pet.get(key).is_none(),
                "{}",
                self.tell("what only the owner may know is seen", pet)
            );
        }
        for skill in list(pet, "skills") {
            let id = skill["id"]
                .as_str()
                .unwrap_or_else(|| panic!("{}", self.tell("a skill without id", skill)));
            assert!(
                skill.get("modifierState").is_none(),
                "{}",
                self.tell("a skill's modifierState is seen", skill)
            );
            if self.known.skills.contains(id) {
                assert_eq!(
                    skill["isUnknown"],
                    false,
                    "{}",
                    self.tell("a skill is still hidden after its use", skill)
                );
            } else if !(self.fresh.contains(id) || self.known.tried.contains(id)) {
                assert_eq!(
                    *skill,
                    unknown_skill(id),
                    "{}",
                    self.tell("a skill is seen before its use", skill)
                );
            }
        }
    }

    fn tell(&self, what: &str, value: &Value) -> String {
        format!("{what} in message {} {}: {value}", self.message.sequence, self.message.kind)
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Contract 5.5: what stands for a pet that has not appeared.
pub(crate) fn unknown_pet(id: &str) -> Value {
    json!({
        "isUnknown": true, "id": id, "name": "", "speciesID": "", "element": "Normal",
        "level": 0, "currentHp": 0, "maxHp": 0, "marks": [],
    })
}

fn unknown_skill(id: &str) -> Value {
    json!({
        "isUnknown": true, "id": id, "baseId": "", "category": "Physical", "element": "Normal",
        "power": 0, "rage": 0, "accuracy": 0, "priority": 0, "target": "opponent", "multihit": 1,
        "sureHit": false, "tag": [],
    })
}
