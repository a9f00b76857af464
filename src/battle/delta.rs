//! What changed between two views, in the form that clients patch their copy with (contract 5.6).
//!
//! The form is the one of the jsondiffpatch library. Two typed views are compared while the delta is
//! being written; no JSON tree of a state is ever made, and parts that both views share are not even
//! looked into. Array elements are matched by position. Texts, numbers and free-form objects are
//! replaced whole. A viewer's first delta starts from the empty object, so it holds the whole state.
//!
//! The number of the last message (`sequenceId`) is never part of a delta: it would make every
//! message carry one.

use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serverv2_machine::{NanoId, PlayerId};

use super::engine::Target;
use super::view::{
    BattleView, Category, Element, MarkView, ModifierState, Multihit, Number, PetView, Phase,
    PlayerView, SkillView, StatsView, Status,
};

/// The difference between two views of one viewer; serialize it to get the contract's `stateDelta`.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    old: Option<&'a BattleView>,
    new: &'a BattleView,
}

impl<'a> Delta<'a> {
    /// What leads from `old` (nothing sent yet: the empty object) to `new`; `None` if nothing does.
    pub fn between(old: Option<&'a BattleView>, new: &'a BattleView) -> Option<Self> {
        match old {
            Some(old) if new.same(old) => None,
            old => Some(Self { old, new }),
        }
    }
}

impl Serialize for Delta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(old) = self.old {
            return self.new.change(old, serializer);
        }
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("status", &[&self.new.status])?;
        map.serialize_entry("currentPhase", &[&self.new.current_phase])?;
        map.serialize_entry("currentTurn", &[&self.new.current_turn])?;
        map.serialize_entry("marks", &[&self.new.marks])?;
        map.serialize_entry("players", &[&self.new.players])?;
        map.end()
    }
}

/// A value whose change can be told.
trait Tell {
    /// Whether nothing has to be told.
    fn same(&self, old: &Self) -> bool;
    /// The delta from `old` to here; only asked for when they are not the same.
    fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// A change, to be written when its turn comes.
struct Change<'a, T: ?Sized> {
    old: &'a T,
    new: &'a T,
}

impl<T: Tell + ?Sized> Serialize for Change<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.new.change(self.old, serializer)
    }
}

/// An element or key that is not there any more.
struct Removed<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Removed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(3))?;
        seq.serialize_element(self.0)?;
        seq.serialize_element(&0)?;
        seq.serialize_element(&0)?;
        seq.end()
    }
}

/// Tells the change of a key that is always there, if it changed.
fn entry<M: SerializeMap, T: Tell + ?Sized>(
    map: &mut M,
    key: &str,
    old: &T,
    new: &T,
) -> Result<(), M::Error> {
    if new.same(old) { Ok(()) } else { map.serialize_entry(key, &Change { old, new }) }
}

/// Tells the change of a key that may be absent.
fn optional_entry<M: SerializeMap, T: Tell + Serialize>(
    map: &mut M,
    key: &str,
    old: &Option<T>,
    new: &Option<T>,
) -> Result<(), M::Error> {
    match (old, new) {
        (None, None) => Ok(()),
        (None, Some(new)) => map.serialize_entry(key, &[new]),
        (Some(old), None) => map.serialize_entry(key, &Removed(old)),
        (Some(old), Some(new)) => entry(map, key, old, new),
    }
}

fn optional_same<T: Tell>(old: &Option<T>, new: &Option<T>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => new.same(old),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Values that are replaced whole.
macro_rules! replaced {
    ($($type:ty),* $(,)?) => {
        $(impl Tell for $type {
            fn same(&self, old: &Self) -> bool {
                self == old
            }
            fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error> {
                (old, self).serialize(serializer)
            }
        })*
    };
}

replaced!(
    bool, u32, i32, str, NanoId, PlayerId, Status, Phase, Element, Category, Target, Multihit,
    Number, ModifierState, serde_json::Map<String, serde_json::Value>, [Arc<str>],
);

/// Objects whose keys are told one by one. Destructuring makes the compiler ask for every field.
macro_rules! object {
    ($type:ident { $($key:literal: $field:ident),* $(,)? }
        optional { $($optional_key:literal: $optional:ident),* } unsent { $($unsent:ident),* }) => {
        impl Tell for $type {
            fn same(&self, old: &Self) -> bool {
                let $type { $($field: _,)* $($optional: _,)* $($unsent: _,)* } = self;
                $(self.$field.same(&old.$field) &&)*
                $(optional_same(&old.$optional, &self.$optional) &&)* true
            }
            fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(entry(&mut map, $key, &old.$field, &self.$field)?;)*
                $(optional_entry(&mut map, $optional_key, &old.$optional, &self.$optional)?;)*
                map.end()
            }
        }
    };
}

object!(BattleView {
    "status": status, "currentPhase": current_phase, "currentTurn": current_turn, "marks": marks,
    "players": players,
} optional {} unsent { sequence_id });

object!(PlayerView {
    "name": name, "id": id, "rage": rage, "maxRage": max_rage, "activePet": active_pet,
    "teamAlives": team_alives, "team": team,
} optional { "modifierState": modifier_state } unsent {});

object!(PetView {
    "isUnknown": is_unknown, "name": name, "id": id, "speciesID": species_id, "element": element,
    "level": level, "currentHp": current_hp, "maxHp": max_hp, "marks": marks,
} optional { "skills": skills, "stats": stats, "modifierState": modifier_state } unsent {});

object!(SkillView {
    "isUnknown": is_unknown, "id": id, "baseId": base_id, "category": category, "element": element,
    "power": power, "rage": rage, "accuracy": accuracy, "priority": priority, "target": target,
    "multihit": multihit, "sureHit": sure_hit, "tag": tag,
} optional { "modifierState": modifier_state } unsent {});

object!(StatsView {
    "maxHp": max_hp, "atk": atk, "def": def, "spa": spa, "spd": spd, "spe": spe,
    "accuracy": accuracy, "evasion": evasion, "critRate": crit_rate,
    "ragePerTurn": rage_per_turn, "weight": weight, "height": height,
} optional {} unsent {});

object!(MarkView {
    "id": id, "baseId": base_id, "stack": stack, "duration": duration, "isActive": is_active,
    "config": config,
} optional {} unsent {});

impl<T: Tell + ?Sized> Tell for Arc<T> {
    fn same(&self, old: &Self) -> bool {
        Self::ptr_eq(self, old) || (**self).same(old)
    }
    fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).change(old, serializer)
    }
}

/// What lists are matched by position of; lists of texts are replaced whole instead.
trait Item: Tell + Serialize {}
impl Item for PlayerView {}
impl Item for PetView {}
impl Item for SkillView {}
impl Item for MarkView {}

impl<T: Item> Tell for [T] {
    fn same(&self, old: &Self) -> bool {
        self.len() == old.len() && self.iter().zip(old).all(|(new, old)| new.same(old))
    }

    fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("_t", "a")?;
        for (index, (new, old)) in self.iter().zip(old).enumerate() {
            entry(&mut map, &index.to_string(), old, new)?;
        }
        for (index, new) in self.iter().enumerate().skip(old.len()) {
            map.serialize_entry(&index.to_string(), &[new])?;
        }
        for (index, old) in old.iter().enumerate().skip(self.len()) {
            map.serialize_entry(&format!("_{index}"), &Removed(old))?;
        }
        map.end()
    }
}

impl<T: Item> Tell for Vec<T> {
    fn same(&self, old: &Self) -> bool {
        self.as_slice().same(old)
    }
    fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().change(old, serializer)
    }
}

impl<T: Item, const N: usize> Tell for [T; N] {
    fn same(&self, old: &Self) -> bool {
        self.as_slice().same(old)
    }
    fn change<S: Serializer>(&self, old: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().change(old, serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::battle::patch::patch;

    fn id(c: char) -> NanoId {
        c.to_string().repeat(21).parse().unwrap()
    }

    fn mark(c: char, stack: u32) -> Value {
        json!({"id": id(c), "baseId": "mark_x", "stack": stack, "duration": -1, "isActive": true,
               "config": {}})
    }

    fn skill(c: char, power: u32) -> Value {
        json!({"isUnknown": false, "id": id(c), "baseId": "skill_x", "category": "Special",
               "element": "Fire", "power": power, "rage": 10, "accuracy": 100, "priority": 0,
               "target": "opponent", "multihit": [2, 5], "sureHit": false, "tag": ["a"],
               "modifierState": {"attributes": [], "hasModifiers": false}})
    }

    fn pet(c: char, marks: &[Value], skills: Option<&[Value]>) -> Value {
        let mut pet = json!({"isUnknown": skills.is_none(), "name": "n", "id": id(c),
            "speciesID": "pet_x", "element": "ElfKing", "level": 100, "currentHp": 341,
            "maxHp": 341, "marks": marks});
        if let Some(skills) = skills {
            pet["skills"] = json!(skills);
        }
        pet
    }

    fn state(pets: &[Value]) -> BattleView {
        let player = |c| {
            json!({"name": "Ann", "id": id(c), "rage": 20, "maxRage": 100, "activePet": id('p'),
                   "teamAlives": 1, "team": pets})
        };
        let state = json!({"status": "On", "currentPhase": "SELECTION_PHASE", "currentTurn": 1,
                           "marks": [], "players": [player('x'), player('y')]});
        serde_json::from_value(state).unwrap()
    }

    fn delta(old: Option<&BattleView>, new: &BattleView) -> Option<Value> {
        Delta::between(old, new).map(|delta| serde_json::to_value(delta).unwrap())
    }

    /// The states differ in every way a battle can change: values, keys and elements come and go.
    fn states() -> Vec<BattleView> {
        let many = [mark('m', 1), mark('n', 1), mark('o', 3)];
        let known = pet('p', &many[..1], Some(&[skill('s', 60), skill('t', 0)]));
        let mut states = vec![
            state(&[known.clone(), pet('q', &[], None)]),
            state(&[known, pet('q', &many, Some(&[skill('u', 1)]))]),
            state(&[pet('p', &many[1..], Some(&[skill('s', 80)])), pet('q', &many[..2], None)]),
            state(&[pet('p', &[], None)]),
            state(&[]),
        ];
        let mut changed = states[0].clone();
        changed.status = Status::Ended;
        changed.current_phase = Phase::Ended;
        changed.marks = states[1].players[0].team[1].marks.clone();
        changed.players[1].rage = 0;
        changed.players[1].modifier_state = Some(Arc::default());
        let stats = json!({"maxHp": 1, "atk": 1.5, "def": 1, "spa": 1, "spd": 1, "spe": 1,
            "accuracy": 100, "evasion": 0, "critRate": 7, "ragePerTurn": 15, "weight": 1,
            "height": 1});
        changed.players[0].team[0].stats = Some(serde_json::from_value(stats).unwrap());
        let mut other_stats = changed.clone();
        let mut stats = (**changed.players[0].team[0].stats.as_ref().unwrap()).clone();
        stats.spe = Number(2.25);
        other_stats.players[0].team[0].stats = Some(Arc::new(stats));
        states.extend([changed, other_stats]);
        states
    }

    #[test]
    fn a_patched_state_equals_the_new_one_whatever_changed() {
        let states = states();
        for old in &states {
            for new in &states {
                let mut client = serde_json::to_value(old).unwrap();
                match delta(Some(old), new) {
                    Some(delta) => patch(&mut client, &delta),
                    None => assert_eq!(old, new),
                }
                assert_eq!(client, serde_json::to_value(new).unwrap());
            }
        }
    }

    #[test]
    fn the_first_delta_builds_the_state_from_nothing() {
        for new in states() {
            let mut client = json!({});
            patch(&mut client, &delta(None, &new).unwrap());
            assert_eq!(client, serde_json::to_value(new).unwrap());
        }
    }

    #[test]
    fn deltas_are_written_as_in_the_contract() {
        let old = state(&[pet('p', &[], None)]);
        assert_eq!(delta(Some(&old), &old), None);

        let mut new = old.clone();
        new.current_phase = Phase::Execution;
        new.current_turn = 2;
        new.sequence_id = Some(9);
        let expected = json!({"currentPhase": ["SELECTION_PHASE", "EXECUTION_PHASE"],
                              "currentTurn": [1, 2]});
        assert_eq!(delta(Some(&old), &new), Some(expected));

        let mut new = old.clone();
        new.players[1].team[0].current_hp = 287;
        let expected = json!({"players": {"_t": "a", "1": {"team": {"_t": "a",
                              "0": {"currentHp": [341, 287]}}}}});
        assert_eq!(delta(Some(&old), &new), Some(expected));
    }

    #[test]
    fn a_sequence_id_alone_is_no_change() {
        let old = state(&[]);
        let mut new = old.clone();
        new.sequence_id = Some(4);
        assert_eq!(delta(Some(&old), &new), None);
    }
}
