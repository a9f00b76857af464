//! Random JSON, and ways to spoil a good one: what clients and files may hold, for property tests.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Number, Value, json};

/// Any value at all; the keys are such as somebody looks for.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::Array),
            vec((key(), inner), 0..8).prop_map(|pairs| Value::Object(Map::from_iter(pairs))),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &[
        "name",
        "id",
        "team",
        "type",
        "player",
        "playerId",
        "skill",
        "target",
        "pet",
        "source",
        "expectedDuration",
        "ownerId",
        "animationId",
        "requestId",
        "playerSchema",
        "species",
        "level",
        "evs",
        "ivs",
        "hp",
        "nature",
        "skills",
        "maxHp",
        "__proto__",
    ];
    prop_oneof![3 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// A value without parts: the ends of all ranges, and texts of every kind.
pub(crate) fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        (-2..300i64).prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        prop::sample::select(vec![json!(1e308), json!(-0.0), json!(5e-324), json!(0.5)]),
        ".{0,30}".prop_map(Value::String),
        "[a-z_]{0,12}".prop_map(Value::String),
        "[A-Za-z0-9_-]{21}".prop_map(Value::String),
        (0..20_000usize).prop_map(|length| Value::String("x".repeat(length))),
        prop::sample::select(vec![json!([]), json!({}), json!("use-skill"), json!("surrender")]),
    ]
}

/// One change of a value.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Another value stands at a place.
    Replace(Index, Value),
    /// What stood at a place is gone.
    Remove(Index),
    /// What stood at a place is there more than once, in a list.
    Repeat(Index, usize),
    /// Something more stands in an object.
    Add(Index, String, Value),
}

/// A few changes.
pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = any::<Index>;
    let change = prop_oneof![
        5 => (place(), leaf()).prop_map(|(at, value)| Change::Replace(at, value)),
        1 => (place(), any_json()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => place().prop_map(Change::Remove),
        1 => (place(), 0..40usize).prop_map(|(at, times)| Change::Repeat(at, times)),
        1 => (place(), key(), leaf()).prop_map(|(at, key, value)| Change::Add(at, key, value)),
    ];
    vec(change, 1..4)
}

/// The value with these changes.
pub(crate) fn changed(mut value: Value, changes: &[Change]) -> Value {
    for change in changes {
        let mut places = Vec::new();
        find_places(&value, String::new(), &mut places);
        let at = |index: &Index| index.get(&places).clone();
        match change {
            Change::Replace(index, new) => {
                let at = at(index);
                value.pointer_mut(&at).into_iter().for_each(|old| *old = new.clone());
            }
            Change::Remove(index) => remove(&mut value, &at(index)),
            Change::Repeat(index, times) => {
                let at = at(index);
                if let Some(old) = value.pointer_mut(&at) {
                    *old = match old.take() {
                        Value::Array(items) => Value::Array(
                            items.iter().cycle().take(items.len() * times).cloned().collect(),
                        ),
                        other => Value::Array(vec![other; *times]),
                    };
                }
            }
            Change::Add(index, key, new) => {
                let at = at(index);
                if let Some(Value::Object(object)) = value.pointer_mut(&at) {
                    object.insert(key.clone(), new.clone());
                }
            }
        }
    }
    value
}

fn remove(value: &mut Value, at: &str) {
    let Some((parent, key)) = at.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(object)) => drop(object.remove(&key)),
        Some(Value::Array(items)) => {
            if let Some(at) = key.parse().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

/// Pointers to a value and everything in it.
fn find_places(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                find_places(value, format!("{at}/{key}"), places);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                find_places(value, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

/// One change of a text, at a place counted in characters.
#[derive(Clone, Debug)]
pub(crate) enum Slip {
    /// The text ends there.
    Cut(Index),
    /// Characters are gone.
    Lose(Index, usize),
    /// There is something more.
    Insert(Index, String),
    /// What stands there is there twice.
    Double(Index, usize),
}

/// A few of them; `bits` are what is inserted, besides anything.
pub(crate) fn slips(bits: &'static [&'static str]) -> impl Strategy<Value = Vec<Slip>> {
    let place = any::<Index>;
    let more = prop_oneof![3 => prop::sample::select(bits).prop_map(str::to_owned), 1 => ".{1,5}"];
    let slip = prop_oneof![
        1 => place().prop_map(Slip::Cut),
        3 => (place(), 1..20usize).prop_map(|(at, count)| Slip::Lose(at, count)),
        5 => (place(), more).prop_map(|(at, more)| Slip::Insert(at, more)),
        1 => (place(), 1..200usize).prop_map(|(at, count)| Slip::Double(at, count)),
    ];
    vec(slip, 1..4)
}

/// The text with these slips.
pub(crate) fn slipped(text: &str, slips: &[Slip]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for slip in slips {
        let place = |index: &Index, chars: &[char]| index.index(chars.len() + 1);
        match slip {
            Slip::Cut(at) => chars.truncate(place(at, &chars)),
            Slip::Lose(at, count) => {
                let from = place(at, &chars);
                chars.drain(from..(from + count).min(chars.len()));
            }
            Slip::Insert(at, more) => {
                let at = place(at, &chars);
                chars.splice(at..at, more.chars());
            }
            Slip::Double(at, count) => {
                let from = place(at, &chars);
                let again = chars[from..(from + count).min(chars.len())].to_vec();
                chars.splice(from..from, again);
            }
        }
    }
    chars.into_iter().collect()
}
