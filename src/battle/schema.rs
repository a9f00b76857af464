//! Schemas of what clients and server say to each other about battles, for the published documents.
//!
//! What the server sends is described by the types that are serialized. What clients send is read by
//! hand, so that every mistake gets the contract's message; those forms are described here, and a test
//! compares them with the readers ([`super::team`], [`super::selection`]).

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{PartialSchema, ToSchema};

use super::engine::Target;
use super::message::Event;
use super::team::{Gender, Nature};

/// An id of 21 characters.
#[derive(ToSchema)]
#[schema(title = "NanoId", pattern = "^[A-Za-z0-9_-]{21}$")]
#[expect(dead_code, reason = "describes a type of another crate")]
pub struct NanoIdText(String);

/// A team as `joinMatchmaking` takes it, bare.
#[derive(ToSchema)]
#[schema(as = PlayerSchema)]
#[expect(dead_code, reason = "a form, read by hand")]
pub(crate) struct TeamForm {
    /// Shown to the opponent.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// The connected player.
    #[schema(value_type = NanoIdText)]
    id: String,
    /// The first one starts the battle.
    #[schema(min_items = 1, max_items = 6)]
    team: Vec<PetForm>,
}

/// A team as `joinMatchmaking` takes it, wrapped by newer clients.
#[derive(ToSchema)]
#[schema(as = WrappedPlayerSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a form, read by hand")]
pub(crate) struct WrappedForm {
    player_schema: TeamForm,
    /// Of no effect: there is one rule set.
    #[schema(nullable = false)]
    rule_set_id: Option<String>,
}

/// One pet of a team. Its effort values are at most 510 together.
#[derive(ToSchema)]
#[schema(as = PetSchema)]
#[expect(dead_code, reason = "a form, read by hand")]
struct PetForm {
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// Drawn where it is missing or taken by another pet of the team.
    #[schema(value_type = Option<NanoIdText>, nullable = false)]
    id: Option<String>,
    #[schema(pattern = "^pet_")]
    species: String,
    #[schema(minimum = 1, maximum = 100)]
    level: u32,
    #[schema(schema_with = efforts)]
    evs: (),
    #[schema(schema_with = individuals)]
    ivs: (),
    nature: Nature,
    #[schema(max_items = 5)]
    skills: Vec<String>,
    #[schema(nullable = false)]
    gender: Option<Gender>,
    #[schema(nullable = false)]
    height: Option<f64>,
    #[schema(nullable = false)]
    weight: Option<f64>,
    /// Instead of the computed value.
    #[schema(nullable = false, minimum = 1, maximum = 1_000_000_000)]
    #[schema(rename = "maxHp")]
    max_hp: Option<u32>,
    #[schema(nullable = false)]
    ability: Option<String>,
    #[schema(nullable = false)]
    emblem: Option<String>,
}

fn efforts() -> Object {
    points(255)
}

fn individuals() -> Object {
    points(31)
}

fn points(max: u32) -> Object {
    let value =
        || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(max));
    ["hp", "atk", "def", "spa", "spd", "spe"]
        .into_iter()
        .fold(ObjectBuilder::new(), |object, name| object.property(name, value()).required(name))
        .build()
}

/// A choice. No other keys are taken.
#[derive(Serialize, ToSchema)]
#[schema(as = PlayerSelection)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[expect(dead_code, reason = "a form, read by hand")]
pub(crate) enum SelectionForm {
    /// Use a skill by its instance id. The skill's own target counts.
    UseSkill {
        #[schema(value_type = NanoIdText)]
        player: String,
        skill: String,
        target: Target,
    },
    /// Bring a pet in.
    SwitchPet {
        #[schema(value_type = NanoIdText)]
        player: String,
        #[schema(value_type = NanoIdText)]
        pet: String,
    },
    /// Pass.
    DoNothing {
        #[schema(value_type = NanoIdText)]
        player: String,
    },
    /// Give up.
    Surrender {
        #[schema(value_type = NanoIdText)]
        player: String,
    },
}

/// [`SelectionForm`], which takes no other keys.
pub(crate) fn selection() -> Value {
    let mut schema = serde_json::to_value(SelectionForm::schema()).unwrap_or_default();
    for kind in schema["oneOf"].as_array_mut().into_iter().flatten() {
        kind["additionalProperties"] = json!(false);
    }
    schema
}

/// `battleEvent`: for each type the data that come with it.
pub(crate) fn battle_message() -> Value {
    let data = serde_json::to_value(Event::schema()).unwrap_or_default();
    let variants = data["oneOf"].as_array().into_iter().flatten();
    let one = |data: &Value| {
        json!({
            "title": data["title"],
            "description": data["description"],
            "type": "object",
            "required": ["type", "sequenceId", "battleId", "data"],
            "properties": {
                "type": {"const": data["title"]},
                "sequenceId": {"type": "integer", "minimum": 0, "description": "Dense from 0 in each battle."},
                "battleId": {"$ref": "#/components/schemas/NanoIdText"},
                "data": data,
                "stateDelta": {"$ref": "#/components/schemas/StateDelta"},
            },
        })
    };
    json!({"oneOf": variants.map(one).collect::<Vec<_>>()})
}
