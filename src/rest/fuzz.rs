//! Whatever a body holds: malformed, or the fields a route asked for as the body has them.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::body::{Given, parse_form, parse_json};
use crate::fuzz::{any_json, changed, changes, slipped, slips};

const NAMES: &[&str] = &["playerId", "name"];
const BITS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\u12",
    "null",
    "\"name\":",
    "1e999",
    "\u{0}",
    "[[[[",
];

/// What a field is told to be, as this JSON has it.
fn given(value: Option<&Value>) -> Given {
    match value {
        None => Given::Absent,
        Some(Value::String(text)) => Given::Text(text.clone()),
        Some(Value::Null) => Given::Other("null", false),
        Some(Value::Bool(value)) => Given::Other("boolean", *value),
        Some(Value::Number(number)) => Given::Other("number", number.as_f64() != Some(0.0)),
        Some(Value::Array(_)) => Given::Other("array", true),
        Some(Value::Object(_)) => Given::Other("object", true),
    }
}

proptest! {
    #[test]
    fn a_body_of_json_says_what_it_says(
        any in any_json(),
        changes in changes(),
        spoilt in any::<bool>(),
    ) {
        let good = json!({"playerId": "x", "name": "Ann", "more": {"name": 5}});
        let value = if spoilt { changed(good, &changes) } else { any };
        let read = parse_json(value.to_string().as_bytes(), NAMES);
        prop_assert_eq!(read.is_ok(), value.is_object() || value.is_array());
        if let Ok(fields) = read {
            for name in NAMES {
                prop_assert_eq!(fields.get(name), &given(value.get(name)));
            }
        }
    }

    #[test]
    fn a_slipped_body_is_malformed_or_read(slips in slips(BITS)) {
        let text = slipped(r#"{"playerId":"x","name":"Ann \u6e38","more":[{"name":1}]}"#, &slips);
        let read = parse_json(text.as_bytes(), NAMES);
        let is_json = serde_json::from_str::<Value>(&text)
            .is_ok_and(|value| value.is_object() || value.is_array());
        // A number that no `f64` holds is passed over where nobody asks for it.
        prop_assert!(read.is_ok() == is_json || text.contains("1e999"), "{text}");
    }

    #[test]
    fn bytes_are_malformed_or_read(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse_json(&bytes, NAMES);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(parse_form(bytes, NAMES));
    }
}
