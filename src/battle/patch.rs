//! A client's half of [`super::delta`], for tests: applies deltas the way the usual patcher does.
//!
//! Like that library it trusts the delta: old values are not compared, and `[new]` on an existing
//! key overwrites. Unlike it, it fails loudly on a form that the contract doesn't name.

use serde_json::{Map, Value};

/// Applies one delta to a client's copy.
pub(crate) fn patch(state: &mut Value, delta: &Value) {
    match delta {
        Value::Array(change) => match change.as_slice() {
            [new] | [_, new] => *state = new.clone(),
            other => panic!("no change of a value: {other:?}"),
        },
        Value::Object(delta) if delta.get("_t") == Some(&Value::from("a")) => {
            patch_array(state.as_array_mut().expect("an array is patched"), delta);
        }
        Value::Object(delta) => {
            patch_object(state.as_object_mut().expect("an object is patched"), delta);
        }
        other => panic!("no delta: {other}"),
    }
}

fn patch_object(state: &mut Map<String, Value>, delta: &Map<String, Value>) {
    for (key, change) in delta {
        if is_removal(change) {
            state.remove(key).expect("only what is there is removed");
        } else {
            patch(state.entry(key).or_insert(Value::Null), change);
        }
    }
}

fn patch_array(state: &mut Vec<Value>, delta: &Map<String, Value>) {
    let mut removed: Vec<usize> =
        delta.keys().filter_map(|key| key.strip_prefix('_')?.parse().ok()).collect();
    removed.sort_unstable();
    for index in removed.into_iter().rev() {
        assert!(is_removal(&delta[&format!("_{index}")]));
        state.remove(index);
    }
    let mut others: Vec<usize> = delta.keys().filter_map(|key| key.parse().ok()).collect();
    others.sort_unstable();
    for index in others {
        match &delta[&index.to_string()] {
            Value::Array(added) if added.len() == 1 => state.insert(index, added[0].clone()),
            change => patch(&mut state[index], change),
        }
    }
}

fn is_removal(change: &Value) -> bool {
    let zero = Value::from(0);
    change.as_array().is_some_and(|change| change.len() == 3 && change[1..] == [zero.clone(), zero])
}
