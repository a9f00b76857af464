//! What happens in a battle, as clients are told: the contract's `BattleMessage` (5.6), typed.
//!
//! `data` is the same for every viewer and carries ids only; what a viewer learns beyond that comes
//! with the `stateDelta` made for that viewer alone. Number and battle id belong to the message, so
//! all replicas and the report agree on them. Only the types that the built-in engine sends exist
//! here; an engine that sends more adds them.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serverv2_machine::{NanoId, PlayerId};
use std::sync::Arc;
use utoipa::ToSchema;

use super::delta::Delta;
use super::engine::Target;
use super::schema::NanoIdText;
use super::view::Number;

/// One message of a battle, before it is made for a viewer.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Dense from 0, one counter per battle.
    pub sequence_id: u64,
    /// The battle's own id, not the room's.
    pub battle_id: NanoId,
    /// What happened.
    pub event: Event,
}

impl Message {
    /// The message as one viewer gets it; serialize the result.
    pub fn on_wire<'a>(&'a self, delta: Option<&'a Delta<'a>>) -> OnWire<'a> {
        OnWire { message: self, delta }
    }
}

/// A message with a viewer's delta, ready to be serialized.
#[derive(Clone, Copy, Debug)]
pub struct OnWire<'a> {
    message: &'a Message,
    delta: Option<&'a Delta<'a>>,
}

impl Serialize for OnWire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object =
            serializer.serialize_struct("Message", 4 + usize::from(self.delta.is_some()))?;
        object.serialize_field("type", self.message.event.name())?;
        object.serialize_field("sequenceId", &self.message.sequence_id)?;
        object.serialize_field("battleId", &self.message.battle_id)?;
        object.serialize_field("data", &self.message.event)?;
        if let Some(delta) = self.delta {
            object.serialize_field("stateDelta", delta)?;
        }
        object.end()
    }
}

/// What a message tells. Serialized, it is the message's `data`. Its titles are the contract's `type`s.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Event {
    /// The battle begins.
    #[schema(title = "BATTLE_START")]
    BattleStart {},
    /// A turn begins to be played.
    #[schema(title = "TURN_START")]
    TurnStart {
        /// From 1.
        turn: u32,
    },
    /// A turn is over.
    #[schema(title = "TURN_END")]
    TurnEnd {
        /// From 1.
        turn: u32,
    },
    /// The battle is over.
    #[schema(title = "BATTLE_END")]
    BattleEnd {
        /// `None` is a draw.
        #[schema(value_type = Option<NanoIdText>)]
        winner: Option<PlayerId>,
        /// The contract's word.
        reason: &'static str,
    },
    /// Both are asked to choose.
    #[schema(title = "TURN_ACTION")]
    TurnAction {
        /// A, then B.
        #[schema(value_type = [NanoIdText; 2])]
        player: [PlayerId; 2],
    },
    /// These must replace their fainted pet.
    #[schema(title = "FORCED_SWITCH")]
    ForcedSwitch {
        /// In the order A, B.
        #[schema(value_type = Vec<NanoIdText>)]
        player: Vec<PlayerId>,
    },
    /// This one may switch after a knock-out.
    #[schema(title = "FAINT_SWITCH")]
    FaintSwitch {
        /// A single id, by contract.
        #[schema(value_type = NanoIdText)]
        player: PlayerId,
    },
    /// A pet came in.
    #[serde(rename_all = "camelCase")]
    #[schema(title = "PET_SWITCH")]
    PetSwitch {
        /// Whose.
        #[schema(value_type = NanoIdText)]
        player: PlayerId,
        /// Which left.
        #[schema(value_type = NanoIdText)]
        from_pet: NanoId,
        /// Which came.
        #[schema(value_type = NanoIdText)]
        to_pet: NanoId,
        /// Of the one that came.
        current_hp: u32,
    },
    /// A pet fainted.
    #[schema(title = "PET_DEFEATED")]
    PetDefeated {
        /// Which.
        #[schema(value_type = NanoIdText)]
        pet: NanoId,
        /// Whose hit it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<NanoIdText>, nullable = false)]
        killer: Option<NanoId>,
    },
    /// A skill is used.
    #[serde(rename_all = "camelCase")]
    #[schema(title = "SKILL_USE")]
    SkillUse {
        /// The pet.
        #[schema(value_type = NanoIdText)]
        user: NanoId,
        /// The skill's own target.
        target: Target,
        /// Instance id.
        #[schema(value_type = NanoIdText)]
        skill: NanoId,
        /// Data id: this reveals it.
        #[schema(value_type = String)]
        base_skill: Arc<str>,
        /// Its cost.
        rage: u32,
    },
    /// A chosen skill could not be used.
    #[schema(title = "SKILL_USE_FAIL")]
    SkillUseFail {
        /// The pet.
        #[schema(value_type = NanoIdText)]
        user: NanoId,
        /// Instance id.
        #[schema(value_type = NanoIdText)]
        skill: NanoId,
        /// Why.
        reason: SkillFailure,
    },
    /// A skill missed.
    #[schema(title = "SKILL_MISS")]
    SkillMiss {
        /// The pet that used it.
        #[schema(value_type = NanoIdText)]
        user: NanoId,
        /// The pet that was missed.
        #[schema(value_type = NanoIdText)]
        target: NanoId,
        /// Instance id.
        #[schema(value_type = NanoIdText)]
        skill: NanoId,
        /// Always `accuracy` here.
        reason: &'static str,
    },
    /// A skill's use is over.
    #[schema(title = "SKILL_USE_END")]
    SkillUseEnd {
        /// The pet.
        #[schema(value_type = NanoIdText)]
        user: NanoId,
    },
    /// A pet lost life.
    #[serde(rename_all = "camelCase")]
    #[schema(title = "DAMAGE")]
    Damage {
        /// After the damage.
        current_hp: u32,
        /// Of the target.
        max_hp: u32,
        /// The user's pet.
        #[schema(value_type = NanoIdText)]
        source: NanoId,
        /// The pet hit.
        #[schema(value_type = NanoIdText)]
        target: NanoId,
        /// Not capped by the life that was left.
        damage: u32,
        /// Critical hit.
        is_crit: bool,
        /// Factor of the element chart.
        effectiveness: Number,
        /// Against which defence.
        damage_type: DamageType,
    },
    /// A player's rage was set anew; sent even when it stayed equal.
    #[schema(title = "RAGE_CHANGE")]
    RageChange {
        /// Whose rage.
        #[schema(value_type = NanoIdText)]
        player: PlayerId,
        /// The pet that caused it.
        #[schema(value_type = NanoIdText)]
        pet: NanoId,
        /// Before.
        before: u32,
        /// After.
        after: u32,
        /// What for.
        reason: RageReason,
    },
}

impl Event {
    /// The contract's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BattleStart {} => "BATTLE_START",
            Self::TurnStart { .. } => "TURN_START",
            Self::TurnEnd { .. } => "TURN_END",
            Self::BattleEnd { .. } => "BATTLE_END",
            Self::TurnAction { .. } => "TURN_ACTION",
            Self::ForcedSwitch { .. } => "FORCED_SWITCH",
            Self::FaintSwitch { .. } => "FAINT_SWITCH",
            Self::PetSwitch { .. } => "PET_SWITCH",
            Self::PetDefeated { .. } => "PET_DEFEATED",
            Self::SkillUse { .. } => "SKILL_USE",
            Self::SkillUseFail { .. } => "SKILL_USE_FAIL",
            Self::SkillMiss { .. } => "SKILL_MISS",
            Self::SkillUseEnd { .. } => "SKILL_USE_END",
            Self::Damage { .. } => "DAMAGE",
            Self::RageChange { .. } => "RAGE_CHANGE",
        }
    }
}

/// Why a chosen skill could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkillFailure {
    /// Not affordable any more.
    NoRage,
    /// The target fainted this turn.
    InvalidTarget,
    /// The user fainted this turn.
    Faint,
}

/// Against which defence a hit was reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum DamageType {
    /// `atk` against `def`.
    Physical,
    /// `spa` against `spd`.
    Special,
}

/// What rage was given or taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RageReason {
    /// A turn passed.
    Turn,
    /// Having been hit.
    Damage,
    /// The cost of a skill.
    Skill,
    /// Having hit.
    SkillHit,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(event: Event) -> String {
        let message = Message { sequence_id: 3, battle_id: id('b'), event };
        serde_json::to_string(&message.on_wire(None)).unwrap()
    }

    fn id(c: char) -> NanoId {
        c.to_string().repeat(21).parse().unwrap()
    }

    fn player(c: char) -> PlayerId {
        PlayerId(id(c))
    }

    /// Replaces the long ids by their letter, so that the table below can be read.
    fn short(text: &str) -> String {
        ('a'..='z').fold(text.to_owned(), |text, c| {
            text.replace(&c.to_string().repeat(21), &c.to_string())
        })
    }

    #[test]
    fn every_type_is_written_as_the_contract_says() {
        let table = [
            (Event::BattleStart {}, r#""BATTLE_START" {}"#),
            (Event::TurnStart { turn: 1 }, r#""TURN_START" {"turn":1}"#),
            (Event::TurnEnd { turn: 9 }, r#""TURN_END" {"turn":9}"#),
            (
                Event::BattleEnd { winner: None, reason: "all_pet_fainted" },
                r#""BATTLE_END" {"winner":null,"reason":"all_pet_fainted"}"#,
            ),
            (
                Event::BattleEnd { winner: Some(player('x')), reason: "surrender" },
                r#""BATTLE_END" {"winner":"x","reason":"surrender"}"#,
            ),
            (
                Event::TurnAction { player: [player('x'), player('y')] },
                r#""TURN_ACTION" {"player":["x","y"]}"#,
            ),
            (
                Event::ForcedSwitch { player: vec![player('y')] },
                r#""FORCED_SWITCH" {"player":["y"]}"#,
            ),
            (Event::FaintSwitch { player: player('x') }, r#""FAINT_SWITCH" {"player":"x"}"#),
            (
                Event::PetSwitch {
                    player: player('x'),
                    from_pet: id('p'),
                    to_pet: id('q'),
                    current_hp: 341,
                },
                r#""PET_SWITCH" {"player":"x","fromPet":"p","toPet":"q","currentHp":341}"#,
            ),
            (
                Event::PetDefeated { pet: id('p'), killer: Some(id('q')) },
                r#""PET_DEFEATED" {"pet":"p","killer":"q"}"#,
            ),
            (Event::PetDefeated { pet: id('p'), killer: None }, r#""PET_DEFEATED" {"pet":"p"}"#),
            (
                Event::SkillUse {
                    user: id('p'),
                    target: Target::Own,
                    skill: id('s'),
                    base_skill: "skill_nap".into(),
                    rage: 10,
                },
                r#""SKILL_USE" {"user":"p","target":"self","skill":"s","baseSkill":"skill_nap","rage":10}"#,
            ),
            (
                Event::SkillUseFail {
                    user: id('p'),
                    skill: id('s'),
                    reason: SkillFailure::InvalidTarget,
                },
                r#""SKILL_USE_FAIL" {"user":"p","skill":"s","reason":"invalid_target"}"#,
            ),
            (
                Event::SkillMiss {
                    user: id('p'),
                    target: id('q'),
                    skill: id('s'),
                    reason: "accuracy",
                },
                r#""SKILL_MISS" {"user":"p","target":"q","skill":"s","reason":"accuracy"}"#,
            ),
            (Event::SkillUseEnd { user: id('p') }, r#""SKILL_USE_END" {"user":"p"}"#),
            (
                Event::Damage {
                    current_hp: 287,
                    max_hp: 341,
                    source: id('p'),
                    target: id('q'),
                    damage: 54,
                    is_crit: false,
                    effectiveness: Number(0.5),
                    damage_type: DamageType::Physical,
                },
                r#""DAMAGE" {"currentHp":287,"maxHp":341,"source":"p","target":"q","damage":54,"isCrit":false,"effectiveness":0.5,"damageType":"Physical"}"#,
            ),
            (
                Event::RageChange {
                    player: player('x'),
                    pet: id('p'),
                    before: 20,
                    after: 35,
                    reason: RageReason::SkillHit,
                },
                r#""RAGE_CHANGE" {"player":"x","pet":"p","before":20,"after":35,"reason":"skillHit"}"#,
            ),
        ];
        for (event, expected) in table {
            let (name, data) = expected.split_once(' ').unwrap();
            assert_eq!(
                short(&json(event)),
                format!(r#"{{"type":{name},"sequenceId":3,"battleId":"b","data":{data}}}"#)
            );
        }
    }
}
