//! Choices as clients send them (contract 5.2), as the log keeps them, and as clients are offered them.
//!
//! The payload is strict: a missing, wrong or extra key is a failure, and so is a `player` other than
//! the socket's. What passes is kept in the log as canonical JSON without the player, because the
//! input's seat says whose choice it is. Whether a choice is legal is the battle's business.

use serde::Serialize;
use serde_json::{Map, Value};
use serverv2_machine::limits::SELECTION_BYTES_MAX;
use serverv2_machine::{NanoId, PlayerId};

use super::engine::{Selection, Target};

/// Why a payload is no choice of this player; clients get `INVALID_SELECTION_DATA` for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Not a JSON object.
    #[error("a selection is an object")]
    NotAnObject,
    /// `type` is missing or none of the known ones.
    #[error("unknown type of selection")]
    UnknownType,
    /// A key is missing, has the wrong type or a value that can't be.
    #[error("`{0}` is missing or wrong")]
    BadField(&'static str),
    /// There is a key that doesn't belong to this type.
    #[error("a selection has no other keys")]
    ExtraKey,
    /// `player` is a well-formed id, but not the socket's player.
    #[error("the selection names another player")]
    ForeignPlayer,
    /// Longer than the log takes.
    #[error("a selection has at most {SELECTION_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads a client's payload; `player` is whom the socket belongs to.
pub fn parse(payload: &Value, player: PlayerId) -> Result<Selection, SelectionError> {
    let object = payload.as_object().ok_or(SelectionError::NotAnObject)?;
    let (selection, keys) = match object.get("type").and_then(Value::as_str) {
        Some("use-skill") => {
            let skill = text(object, "skill")?.to_owned();
            let target = match text(object, "target")? {
                "self" => Target::Own,
                "opponent" => Target::Opponent,
                _ => return Err(SelectionError::BadField("target")),
            };
            (Selection::UseSkill { skill, target }, 4)
        }
        Some("switch-pet") => {
            let pet: NanoId =
                text(object, "pet")?.parse().map_err(|_| SelectionError::BadField("pet"))?;
            (Selection::SwitchPet { pet: pet.to_string() }, 3)
        }
        Some("do-nothing") => (Selection::DoNothing, 2),
        Some("surrender") => (Selection::Surrender, 2),
        _ => return Err(SelectionError::UnknownType),
    };
    let named: PlayerId =
        text(object, "player")?.parse().map_err(|_| SelectionError::BadField("player"))?;
    // Every known key was found above, so a larger object has one that is not known.
    if object.len() != keys {
        return Err(SelectionError::ExtraKey);
    }
    if named != player {
        return Err(SelectionError::ForeignPlayer);
    }
    if selection.to_log().len() > SELECTION_BYTES_MAX {
        return Err(SelectionError::TooLong);
    }
    Ok(selection)
}

fn text<'a>(object: &'a Map<String, Value>, key: &'static str) -> Result<&'a str, SelectionError> {
    object.get(key).and_then(Value::as_str).ok_or(SelectionError::BadField(key))
}

impl Selection {
    /// The canonical text that the log keeps.
    pub fn to_log(&self) -> String {
        serde_json::to_string(self).expect("a selection has only texts")
    }

    /// The choice in a log entry; `None` if this version doesn't know it, which counts as not legal.
    pub fn from_log(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The choice as `getAvailableSelection` lists it.
    pub fn on_wire(&self, player: PlayerId) -> OnWire<'_> {
        OnWire { selection: self, player }
    }
}

/// A choice together with whose it is, as clients read it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OnWire<'a> {
    #[serde(flatten)]
    selection: &'a Selection,
    player: PlayerId,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ANN: &str = "V1StGXR8_Z5jdHi6B-myT";
    const PET: &str = "pQ7rS8tU9vW0xY1zA2bC3";

    fn ann() -> PlayerId {
        ANN.parse().unwrap()
    }

    #[test]
    fn well_formed_choices_survive_the_log_and_the_wire() {
        let payloads = [
            json!({"type": "use-skill", "player": ANN, "skill": "any text", "target": "self"}),
            json!({"type": "use-skill", "player": ANN, "skill": PET, "target": "opponent"}),
            json!({"type": "switch-pet", "player": ANN, "pet": PET}),
            json!({"type": "do-nothing", "player": ANN}),
            json!({"type": "surrender", "player": ANN}),
        ];
        for payload in payloads {
            let selection = parse(&payload, ann()).unwrap();
            assert_eq!(Selection::from_log(&selection.to_log()).as_ref(), Some(&selection));
            assert_eq!(serde_json::to_value(selection.on_wire(ann())).unwrap(), payload);
        }
    }

    #[test]
    fn malformed_choices_are_refused_with_the_reason() {
        use SelectionError::*;
        let table = [
            (json!(null), NotAnObject),
            (json!(["surrender"]), NotAnObject),
            (json!({"player": ANN}), UnknownType),
            (json!({"type": 1, "player": ANN}), UnknownType),
            (json!({"type": "team-selection", "player": ANN}), UnknownType),
            (json!({"type": "surrender"}), BadField("player")),
            (json!({"type": "surrender", "player": "ann"}), BadField("player")),
            (json!({"type": "surrender", "player": PET}), ForeignPlayer),
            (json!({"type": "surrender", "player": ANN, "pet": PET}), ExtraKey),
            (json!({"type": "switch-pet", "player": ANN, "pet": "short"}), BadField("pet")),
            (
                json!({"type": "use-skill", "player": ANN, "skill": "s", "target": "both"}),
                BadField("target"),
            ),
            (json!({"type": "use-skill", "player": ANN, "skill": "s"}), BadField("target")),
            (json!({"type": "use-skill", "player": ANN, "target": "self"}), BadField("skill")),
            (
                json!({"type": "use-skill", "player": ANN, "skill": "s".repeat(1024), "target": "self"}),
                TooLong,
            ),
        ];
        for (payload, expected) in table {
            assert_eq!(parse(&payload, ann()), Err(expected), "{payload}");
        }
    }

    #[test]
    fn what_the_log_holds_and_nobody_knows_is_no_choice() {
        for text in ["", "{}", "null", r#"{"type":"dance"}"#, r#"{"type":"use-skill"}"#] {
            assert_eq!(Selection::from_log(text), None);
        }
    }
}
