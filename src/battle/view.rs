//! What one viewer may see of a battle: the contract's `BattleState` (5.4), typed.
//!
//! An engine makes these with hidden information already removed (5.5), so whatever is here may be
//! sent to the viewer it was made for. A view is cheap to make, keep and compare: texts and the
//! parts that seldom change are shared with the engine's own state.
//!
//! Serialized, a view is exactly what `getState` answers. [`super::delta`] compares two of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use serverv2_machine::{NanoId, PlayerId};
use utoipa::ToSchema;

use super::schema::NanoIdText;

/// The whole battle as one viewer may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BattleView {
    /// Whether it runs.
    pub status: Status,
    /// What is being done.
    pub current_phase: Phase,
    /// 0 before the first turn.
    pub current_turn: u32,
    /// Marks of the battlefield.
    #[schema(value_type = Vec<MarkView>)]
    pub marks: Arc<[MarkView]>,
    /// A, then B, for every viewer.
    #[schema(min_items = 2, max_items = 2)]
    pub players: [PlayerView; 2],
    /// Number of the last message contained in this state; absent before the first. Never part of a delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sequence_id: Option<u64>,
}

/// Whether a battle runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BattleStatus)]
pub enum Status {
    /// A player is not ready yet.
    Unstarted,
    /// It runs.
    On,
    /// It is over.
    Ended,
}

/// What is being done in a battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BattlePhase)]
pub enum Phase {
    /// Fainted pets are replaced.
    #[serde(rename = "SWITCH_PHASE")]
    Switch,
    /// Both players choose; also the phase before the start.
    #[serde(rename = "SELECTION_PHASE")]
    Selection,
    /// The turn is played.
    #[serde(rename = "EXECUTION_PHASE")]
    Execution,
    /// Nothing any more.
    #[serde(rename = "ENDED")]
    Ended,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlayerView {
    /// As sent in the team.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// Whose side.
    #[schema(value_type = NanoIdText)]
    pub id: PlayerId,
    /// What skills cost.
    pub rage: u32,
    /// Upper bound of `rage`.
    pub max_rage: u32,
    /// Id of the pet in battle.
    #[schema(value_type = NanoIdText)]
    pub active_pet: NanoId,
    /// Living pets.
    pub team_alives: u32,
    /// In team order.
    pub team: Vec<PetView>,
    /// Own side only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ModifierState>, nullable = false)]
    pub modifier_state: Option<Arc<ModifierState>>,
}

/// One pet, or the placeholder for one that has not appeared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PetView {
    /// Whether this is a placeholder.
    pub is_unknown: bool,
    /// Given by its owner.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// Sent even in a placeholder.
    #[schema(value_type = NanoIdText)]
    pub id: NanoId,
    /// Data id.
    #[serde(rename = "speciesID")]
    #[schema(value_type = String)]
    pub species_id: Arc<str>,
    /// Its element.
    pub element: Element,
    /// 1 to 100; 0 in a placeholder.
    pub level: u32,
    /// 0: fainted.
    pub current_hp: u32,
    /// Upper bound of `current_hp`.
    pub max_hp: u32,
    /// Ability and emblem included.
    #[schema(value_type = Vec<MarkView>)]
    pub marks: Arc<[MarkView]>,
    /// Absent in a placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<SkillView>>, nullable = false)]
    pub skills: Option<Arc<[SkillView]>>,
    /// Own side only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StatsView>, nullable = false)]
    pub stats: Option<Arc<StatsView>>,
    /// Own side only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ModifierState>, nullable = false)]
    pub modifier_state: Option<Arc<ModifierState>>,
}

/// Current values of a pet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the contract's and say all there is to say")]
pub struct StatsView {
    pub max_hp: Number,
    pub atk: Number,
    pub def: Number,
    pub spa: Number,
    pub spd: Number,
    pub spe: Number,
    pub accuracy: Number,
    pub evasion: Number,
    pub crit_rate: Number,
    pub rage_per_turn: Number,
    pub weight: Number,
    pub height: Number,
}

/// One skill of a pet, or the placeholder for one that was never used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillView {
    /// Whether this is a placeholder.
    pub is_unknown: bool,
    /// Instance id; sent even in a placeholder.
    #[schema(value_type = NanoIdText)]
    pub id: NanoId,
    /// Data id.
    #[schema(value_type = String)]
    pub base_id: Arc<str>,
    /// What kind.
    pub category: Category,
    /// Its element.
    pub element: Element,
    /// What the damage grows with.
    pub power: u32,
    /// Cost.
    pub rage: u32,
    /// Percent.
    pub accuracy: u32,
    /// Higher goes first.
    pub priority: i32,
    /// Whom it aims at.
    pub target: super::engine::Target,
    /// Hits per use.
    pub multihit: Multihit,
    /// Never misses.
    pub sure_hit: bool,
    /// Free words of the pack.
    #[schema(value_type = Vec<String>)]
    pub tag: Arc<[Arc<str>]>,
    /// Own side only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ModifierState>, nullable = false)]
    pub modifier_state: Option<Arc<ModifierState>>,
}

/// Hits per use of a skill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Multihit {
    /// Always this many.
    Fixed(u32),
    /// Between these, both included.
    Range([u32; 2]),
}

/// One mark on a pet or the battlefield.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MarkView {
    /// Instance id.
    #[schema(value_type = NanoIdText)]
    pub id: NanoId,
    /// Data id.
    #[schema(value_type = String)]
    pub base_id: Arc<str>,
    /// How many of it lie on top of each other.
    pub stack: u32,
    /// Turns left; -1 has no limit.
    pub duration: i32,
    /// Whether it acts.
    pub is_active: bool,
    /// Known keys in contract 5.4, and free ones.
    #[schema(value_type = Object)]
    pub config: Arc<Map<String, Value>>,
}

/// What changes values of a player, pet or skill at the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModifierState {
    /// Changed attributes, in the form of contract 5.4.
    #[schema(value_type = Vec<Object>)]
    pub attributes: Vec<Value>,
    /// Whether there are any.
    pub has_modifiers: bool,
}

/// A number that is written without a fraction when it has none, as JavaScript writes it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Number(pub f64);

/// Whole numbers up to here are exact in a float.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.trunc() == self.0 && self.0.abs() <= EXACT_MAX {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// What kind a skill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Category {
    /// Attack against defence.
    Physical,
    /// Special attack against special defence.
    Special,
    /// No damage.
    Status,
    /// The strong one, listed last; uses the better of both attacks.
    Climax,
}

macro_rules! elements {
    ($($name:ident),* $(,)?) => {
        /// The elements that clients know (contract 5.4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[expect(missing_docs, reason = "names of the contract")]
        pub enum Element { $($name),* }

        impl Element {
            /// All of them, in the contract's order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

elements!(
    Normal, Grass, Water, Fire, Wind, Bug, Flying, Electric, Ground, Ice, Psychic, Fighting, Trait,
    Light, Mystery, Shadow, Dragon, Desert, Ancient, Divine, Miracle, Holy, ElfKing,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        let text = serde_json::to_string(&[Number(100.0), Number(123.2), Number(-0.5)]);
        assert_eq!(text.unwrap(), "[100,123.2,-0.5]");
    }

    #[test]
    fn a_sequence_id_is_written_only_when_there_is_one() {
        let player = |id: &str| PlayerView {
            name: "n".into(),
            id: id.parse().unwrap(),
            rage: 20,
            max_rage: 100,
            active_pet: NanoId::from_entropy(&[0; 32]),
            team_alives: 1,
            team: vec![],
            modifier_state: None,
        };
        let mut view = BattleView {
            status: Status::Unstarted,
            current_phase: Phase::Selection,
            current_turn: 0,
            marks: Arc::default(),
            players: [player("aaaaaaaaaaaaaaaaaaaaa"), player("bbbbbbbbbbbbbbbbbbbbb")],
            sequence_id: None,
        };
        let value = serde_json::to_value(&view).unwrap();
        assert_eq!(value["currentPhase"], "SELECTION_PHASE");
        assert!(value.get("sequenceId").is_none());
        assert!(value["players"][0].get("modifierState").is_none());
        view.sequence_id = Some(7);
        assert_eq!(serde_json::to_value(&view).unwrap()["sequenceId"], 7);
    }
}
