//! Applies the deltas of contract 5.6 the way every client does: old values are not looked at, a
//! missing delta is no change.
//!
//! Stricter than clients in one thing: a delta that points at something that is not there is an
//! error, since then no client state can be right.

use serde_json::{Map, Value};

/// Changes `state` as the delta says.
pub(crate) fn apply(state: &mut Value, delta: &Value) -> Result<(), String> {
    match delta {
        Value::Object(fields) if fields.get("_t") == Some(&Value::from("a")) => {
            let items = state
                .as_array_mut()
                .ok_or_else(|| format!("array delta for something else: {delta}"))?;
            apply_array(items, fields)
        }
        Value::Object(fields) => {
            let object = state
                .as_object_mut()
                .ok_or_else(|| format!("object delta for something else: {delta}"))?;
            fields.iter().try_for_each(|(key, change)| apply_key(object, key, change))
        }
        Value::Array(_) => match replacement(delta)? {
            Some(value) => {
                *state = value;
                Ok(())
            }
            None => Err("the whole state was removed".to_owned()),
        },
        _ => Err(format!("not a delta: {delta}")),
    }
}

fn apply_key(object: &mut Map<String, Value>, key: &str, change: &Value) -> Result<(), String> {
    if change.is_array() {
        match replacement(change)? {
            Some(value) => {
                object.insert(key.to_owned(), value);
            }
            None => {
                object.remove(key).ok_or_else(|| format!("{key} was removed but never there"))?;
            }
        }
        return Ok(());
    }
    let inner =
        object.get_mut(key).ok_or_else(|| format!("nested change of {key}, which is not there"))?;
    apply(inner, change).map_err(|why| format!("{key}: {why}"))
}

/// The new value of a leaf change; `None` when it removes.
fn replacement(change: &Value) -> Result<Option<Value>, String> {
    match change.as_array().map(Vec::as_slice) {
        Some([new] | [_, new]) => Ok(Some(new.clone())),
        Some([_, Value::Number(zero), Value::Number(kind)])
            if zero.as_u64() == Some(0) && kind.as_u64() == Some(0) =>
        {
            Ok(None)
        }
        _ => Err(format!("not a change: {change}")),
    }
}

fn apply_array(items: &mut Vec<Value>, fields: &Map<String, Value>) -> Result<(), String> {
    let (mut removed, mut inserted, mut modified) = (Vec::new(), Vec::new(), Vec::new());
    for (key, change) in fields.iter().filter(|(key, _)| *key != "_t") {
        let index = |text: &str| text.parse::<usize>().map_err(|_| format!("not an index: {key}"));
        if let Some(old) = key.strip_prefix('_') {
            removed.push((index(old)?, change));
        } else if change.as_array().is_some_and(|change| change.len() == 1) {
            inserted.push((index(key)?, change[0].clone()));
        } else {
            modified.push((index(key)?, change));
        }
    }
    // Old indexes count in the old array, so from the end; new ones in the new array, so from the start.
    removed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (at, change) in removed {
        if at >= items.len() {
            return Err(format!("removed element {at} was never there"));
        }
        let element = items.remove(at);
        if change[2] == 3 {
            let to = change[1].as_u64().ok_or_else(|| format!("not a move: {change}"))?;
            inserted.push((usize::try_from(to).map_err(|error| error.to_string())?, element));
        }
    }
    inserted.sort_by_key(|(at, _)| *at);
    for (at, element) in inserted {
        if at > items.len() {
            return Err(format!("element {at} was added beyond the end"));
        }
        items.insert(at, element);
    }
    for (at, change) in modified {
        let element =
            items.get_mut(at).ok_or_else(|| format!("changed element {at} is not there"))?;
        apply(element, change).map_err(|why| format!("[{at}]: {why}"))?;
    }
    Ok(())
}

mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut state: Value, delta: &Value) -> Value {
        apply(&mut state, delta).expect("the delta fits");
        state
    }

    #[test]
    fn keys_are_added_replaced_removed_and_nested() {
        let state = json!({"a": 1, "b": {"c": 2, "d": 3}, "gone": true});
        let delta = json!({"a": [1, 5], "b": {"c": [2, 0, 0], "e": [[]]}, "gone": [true, 0, 0], "new": [{"x": 1}]});
        assert_eq!(
            patched(state, &delta),
            json!({"a": 5, "b": {"d": 3, "e": []}, "new": {"x": 1}})
        );
    }

    #[test]
    fn array_indexes_of_removals_count_in_the_old_array_and_all_others_in_the_new_one() {
        let state = json!(["a", "b", "c", {"n": 1}]);
        let delta = json!({"_t": "a", "_0": ["a", 0, 0], "_2": ["c", 0, 0], "0": ["z"], "2": {"n": [1, 2]}});
        assert_eq!(patched(state, &delta), json!(["z", "b", {"n": 2}]));
    }

    #[test]
    fn a_moved_element_keeps_its_value() {
        let delta = json!({"_t": "a", "_0": ["", 2, 3]});
        assert_eq!(patched(json!([1, 2, 3]), &delta), json!([2, 3, 1]));
    }

    #[test]
    fn old_values_are_not_looked_at() {
        assert_eq!(patched(json!({"a": 9}), &json!({"a": ["other", 2]})), json!({"a": 2}));
        assert_eq!(patched(json!({"a": 9}), &json!({"a": [3]})), json!({"a": 3}));
    }

    #[test]
    fn a_delta_that_points_nowhere_is_an_error() {
        for (mut state, delta) in [
            (json!({}), json!({"a": {"b": [1]}})),
            (json!([]), json!({"_t": "a", "_0": [1, 0, 0]})),
            (json!([]), json!({"_t": "a", "3": [1]})),
            (json!({}), json!({"_t": "a"})),
            (json!({}), json!({"a": [1, 0, 0]})),
        ] {
            assert!(apply(&mut state, &delta).is_err(), "{delta} was applied");
        }
    }
}
