//! Teams as clients send them (contract 5.1), checked and normalized at the edge.
//!
//! A team is read once, before it is proposed. What passes has only known keys, ids for every pet,
//! and fits the log; queue, room and battle share that one text. What fails gives the messages that
//! clients show, all of them, in the order of the schema's fields. Whether the named species, skills
//! and marks exist is a question to the pack, asked separately ([`super::engine::BattleEngine::knows_team`]).
//!
//! Beyond the contract, names have at most 64 characters, `maxHp` has an upper bound, and the whole
//! text must fit its place in the log; each is a validation message like the others.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serverv2_machine::limits::TEAM_BYTES_MAX;
use serverv2_machine::{NanoId, PlayerId};
use utoipa::ToSchema;

use super::view::Number;

/// Every key that a `joinMatchmaking` payload may have at any depth; others are dropped (contract 5.1).
pub const KEYS: &[&str] = &[
    "playerSchema",
    "name",
    "id",
    "team",
    "species",
    "level",
    "evs",
    "ivs",
    "nature",
    "skills",
    "gender",
    "height",
    "weight",
    "maxHp",
    "ability",
    "emblem",
    "hp",
    "atk",
    "def",
    "spa",
    "spd",
    "spe",
];
/// Pets in a team.
pub const PETS_MAX: usize = 6;
/// Skills of a pet.
pub const SKILLS_MAX: usize = 5;
/// Characters of a player's or pet's name in a team.
pub const NAME_CHARS_MAX: usize = 64;
/// Largest `maxHp` a team may ask for: keeps all arithmetic on life in range.
pub const MAX_HP_MAX: u32 = 1_000_000_000;
/// Messages of one refusal; a six-pet team with every field wrong has fewer. The rest is left out.
const MESSAGES_MAX: usize = 300;
/// Effort values of a pet, together.
const EVS_SUM_MAX: f64 = 510.0;

/// The details of a refusal because the pack lacks something a team names.
pub const UNKNOWN_DATA: &str = "Failed to validate player data";

/// Why a team is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeamError {
    /// The payload is no team: what is wrong, in the order of the schema.
    #[error("Invalid player data: {}", .0.join(", "))]
    Invalid(Vec<String>),
    /// A team, but of another player.
    #[error("PLAYER_ID_MISMATCH")]
    PlayerIdMismatch,
}

/// A checked team; serialized, it is the text that the log keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Team {
    /// Shown to the opponent.
    pub name: String,
    /// Whose.
    pub id: PlayerId,
    /// The first one starts the battle.
    pub team: Vec<Pet>,
}

/// One pet of a team.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's; contract 5.1 says what they are")]
pub struct Pet {
    pub name: String,
    pub id: NanoId,
    pub species: String,
    pub level: u32,
    pub evs: StatPoints,
    pub ivs: StatPoints,
    pub nature: Nature,
    pub skills: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Number>,
    #[serde(default, rename = "maxHp", skip_serializing_if = "Option::is_none")]
    pub max_hp: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ability: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emblem: Option<String>,
}

/// One value for each of the six stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of the contract")]
pub struct StatPoints {
    pub hp: u32,
    pub atk: u32,
    pub def: u32,
    pub spa: u32,
    pub spd: u32,
    pub spe: u32,
}

/// What a pet is; the built-in rules ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "names of the contract")]
pub enum Gender {
    NoGender,
    Male,
    Female,
}

impl Gender {
    const NAMES: &'static [(&'static str, Self)] =
        &[("NoGender", Self::NoGender), ("Male", Self::Male), ("Female", Self::Female)];
}

macro_rules! natures {
    ($($name:ident),* $(,)?) => {
        /// Raises one stat and lowers another, or does nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[expect(missing_docs, reason = "names of the contract")]
        pub enum Nature { $($name),* }

        impl Nature {
            const NAMES: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

natures!(
    Hardy, Lonely, Brave, Adamant, Naughty, Bold, Docile, Relaxed, Impish, Lax, Timid, Hasty,
    Serious, Jolly, Naive, Modest, Mild, Quiet, Bashful, Rash, Calm, Gentle, Sassy, Careful,
    Quirky,
);

/// Reads a `joinMatchmaking` payload, bare or wrapped as `{playerSchema, ruleSetId}` (contract 3.9),
/// of the connected `player`, and gives the text for the log. `fresh` draws ids for pets without one.
pub fn normalize(
    payload: Option<&Value>,
    player: PlayerId,
    fresh: &mut dyn FnMut() -> NanoId,
) -> Result<String, TeamError> {
    let payload = payload.map(|payload| payload.get("playerSchema").unwrap_or(payload));
    let team = read(payload, fresh)?;
    if team.id != player {
        return Err(TeamError::PlayerIdMismatch);
    }
    let text = serde_json::to_string(&team).expect("a team has only texts and numbers");
    if text.len() > TEAM_BYTES_MAX {
        let message = format!("Team must contain at most {TEAM_BYTES_MAX} byte(s)");
        return Err(TeamError::Invalid(vec![message]));
    }
    Ok(text)
}

/// Reads a `PlayerSchema`, drops what it doesn't know and gives every pet an id of its own.
pub(crate) fn read(
    payload: Option<&Value>,
    fresh: &mut dyn FnMut() -> NanoId,
) -> Result<Team, TeamError> {
    let mut reader = Reader { messages: Vec::new() };
    let draft = reader.team(payload);
    match draft {
        Some((name, id, drafts)) if reader.messages.is_empty() => {
            let mut taken = BTreeSet::new();
            let pets = drafts.into_iter().map(|(id, mut pet)| {
                pet.id = id.filter(|id| !taken.contains(id)).unwrap_or_else(&mut *fresh);
                taken.insert(pet.id);
                pet
            });
            let team = pets.collect();
            Ok(Team { name, id: id.unwrap_or_else(|| PlayerId(fresh())), team })
        }
        _ => Err(TeamError::Invalid(reader.messages)),
    }
}

/// A pet and the id it came with.
type PetDraft = (Option<NanoId>, Pet);

/// Collects messages while it reads; every reading function gives `None` if it left one.
struct Reader {
    messages: Vec<String>,
}

impl Reader {
    fn say<T>(&mut self, message: impl Into<String>) -> Option<T> {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(message.into());
        }
        None
    }

    /// All fields are read before any is unwrapped, so that all messages are given.
    fn team(&mut self, value: Option<&Value>) -> Option<(String, Option<PlayerId>, Vec<PetDraft>)> {
        let object = self.object(value)?;
        let name = self.name(object);
        let id = self.id(object);
        let pets = self.list(object.get("team"), 1, PETS_MAX, |reader, pet| reader.pet(pet));
        Some((name?, id?.map(PlayerId), pets?))
    }

    fn pet(&mut self, value: &Value) -> Option<PetDraft> {
        let object = self.object(Some(value))?;
        let name = self.name(object);
        let id = self.id(object);
        let species = self.text(object.get("species"));
        let species = species.and_then(|species| {
            if species.starts_with("pet_") { Some(species) } else { self.say("Invalid") }
        });
        let level = self.integer(object.get("level"), 1, 100);
        let evs = self.points(object.get("evs"), 255, Some(EVS_SUM_MAX));
        let ivs = self.points(object.get("ivs"), 31, None);
        let nature = self.one_of(object.get("nature"), Nature::NAMES);
        let skills = self.list(object.get("skills"), 0, SKILLS_MAX, |reader, skill| {
            reader.text(Some(skill)).map(str::to_owned)
        });
        let gender = self
            .optional(object, "gender", |reader, value| reader.one_of(Some(value), Gender::NAMES));
        let height = self.optional(object, "height", |reader, value| reader.number(Some(value)));
        let weight = self.optional(object, "weight", |reader, value| reader.number(Some(value)));
        let max_hp = self.optional(object, "maxHp", Self::max_hp);
        let ability = self.optional(object, "ability", |reader, value| reader.text(Some(value)));
        let emblem = self.optional(object, "emblem", |reader, value| reader.text(Some(value)));
        let id = id?;
        let pet = Pet {
            name: name?,
            // Replaced by an id that is nobody else's once all pets are read.
            id: id.unwrap_or_else(|| NanoId::from_entropy(&[0; 32])),
            species: species?.to_owned(),
            level: level?,
            evs: evs?,
            ivs: ivs?,
            nature: nature?,
            skills: skills?,
            gender: gender?,
            height: height?.map(Number),
            weight: weight?.map(Number),
            max_hp: max_hp?,
            ability: ability?.map(str::to_owned),
            emblem: emblem?.map(str::to_owned),
        };
        Some((id, pet))
    }

    fn optional<'v, T>(
        &mut self,
        object: &'v Map<String, Value>,
        key: &str,
        read: impl FnOnce(&mut Self, &'v Value) -> Option<T>,
    ) -> Option<Option<T>> {
        match object.get(key) {
            None => Some(None),
            Some(value) => read(self, value).map(Some),
        }
    }

    fn wrong_type<T>(&mut self, expected: &str, value: Option<&Value>) -> Option<T> {
        let received = match value {
            None => return self.say("Required"),
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(_)) => "number",
            Some(Value::String(_)) => "string",
            Some(Value::Array(_)) => "array",
            Some(Value::Object(_)) => "object",
        };
        self.say(format!("Expected {expected}, received {received}"))
    }

    fn object<'v>(&mut self, value: Option<&'v Value>) -> Option<&'v Map<String, Value>> {
        match value {
            Some(Value::Object(object)) => Some(object),
            value => self.wrong_type("object", value),
        }
    }

    fn text<'v>(&mut self, value: Option<&'v Value>) -> Option<&'v str> {
        match value {
            Some(Value::String(text)) => Some(text),
            value => self.wrong_type("string", value),
        }
    }

    fn name(&mut self, object: &Map<String, Value>) -> Option<String> {
        let name = self.text(object.get("name"))?;
        match name.chars().count() {
            0 => self.say("String must contain at least 1 character(s)"),
            1..=NAME_CHARS_MAX => Some(name.to_owned()),
            _ => self.say(format!("String must contain at most {NAME_CHARS_MAX} character(s)")),
        }
    }

    fn id(&mut self, object: &Map<String, Value>) -> Option<Option<NanoId>> {
        self.optional(object, "id", |reader, value| {
            let text = reader.text(Some(value))?;
            text.parse().ok().or_else(|| reader.say("Invalid nanoid"))
        })
    }

    fn number(&mut self, value: Option<&Value>) -> Option<f64> {
        match value.and_then(Value::as_f64) {
            Some(number) => Some(number),
            None => self.wrong_type("number", value),
        }
    }

    fn integer(&mut self, value: Option<&Value>, min: u32, max: u32) -> Option<u32> {
        let number = self.number(value)?;
        self.in_range(number, min, max)
    }

    fn in_range(&mut self, number: f64, min: u32, max: u32) -> Option<u32> {
        let before = self.messages.len();
        if number.trunc() != number {
            self.say::<()>("Expected integer, received float");
        }
        if number < f64::from(min) {
            self.say::<()>(format!("Number must be greater than or equal to {min}"));
        }
        if number > f64::from(max) {
            self.say::<()>(format!("Number must be less than or equal to {max}"));
        }
        // Exact: it is whole and between two numbers of this type.
        (self.messages.len() == before).then_some(number as u32)
    }

    fn max_hp(&mut self, value: &Value) -> Option<u32> {
        let number = self.number(Some(value))?;
        if number <= 0.0 {
            if number.trunc() != number {
                self.say::<()>("Expected integer, received float");
            }
            return self.say("Number must be greater than 0");
        }
        // Nothing whole lies between 0 and 1, so the lower bound says nothing new.
        self.in_range(number, 0, MAX_HP_MAX)
    }

    /// The sum is checked whenever it can be reckoned, even if a value is out of range.
    fn points(
        &mut self,
        value: Option<&Value>,
        max: u32,
        sum_max: Option<f64>,
    ) -> Option<StatPoints> {
        let object = self.object(value)?;
        let mut sum = Some(0.0);
        let mut read = |key| {
            let number = self.number(object.get(key));
            sum = sum.zip(number).map(|(sum, number)| sum + number);
            self.in_range(number?, 0, max)
        };
        let [hp, atk, def, spa, spd, spe] =
            ["hp", "atk", "def", "spa", "spd", "spe"].map(&mut read);
        if sum.zip(sum_max).is_some_and(|(sum, sum_max)| sum > sum_max) {
            return self.say("学习力总和不能超过510");
        }
        Some(StatPoints { hp: hp?, atk: atk?, def: def?, spa: spa?, spd: spd?, spe: spe? })
    }

    fn one_of<T: Copy>(&mut self, value: Option<&Value>, names: &[(&str, T)]) -> Option<T> {
        let expected = || {
            let quoted: Vec<_> = names.iter().map(|(name, _)| format!("'{name}'")).collect();
            quoted.join(" | ")
        };
        let Some(Value::String(text)) = value else {
            return self.wrong_type(&expected(), value);
        };
        if let Some((_, found)) = names.iter().find(|(name, _)| name == text) {
            return Some(*found);
        }
        let received: String = text.chars().take(NAME_CHARS_MAX).collect();
        let expected = expected();
        self.say(format!("Invalid enum value. Expected {expected}, received '{received}'"))
    }

    fn list<'v, T>(
        &mut self,
        value: Option<&'v Value>,
        min: usize,
        max: usize,
        mut read: impl FnMut(&mut Self, &'v Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(Value::Array(values)) = value else {
            return self.wrong_type("array", value);
        };
        let before = self.messages.len();
        if values.len() < min {
            self.say::<()>(format!("Array must contain at least {min} element(s)"));
        }
        if values.len() > max {
            self.say::<()>(format!("Array must contain at most {max} element(s)"));
        }
        let mut items = Vec::new();
        for value in values {
            // A full list of messages ends the reading: what follows could not be told.
            if self.messages.len() >= MESSAGES_MAX {
                break;
            }
            let item = read(self, value);
            if items.len() < max {
                items.extend(item);
            }
        }
        (self.messages.len() == before).then_some(items)
    }
}

#[cfg(test)]
mod tests;
