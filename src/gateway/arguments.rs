//! An event's text, `["name", payload, {"requestId"}]`, taken apart within bounds.
//!
//! Events whose payload is a strict object are small or refused unread. A team is not: it may carry
//! whatever its client keeps beside it, which is dropped without a word (contract 5.1), up to the
//! limit of a message (10.1). So its keys are picked while it is read, and only what is kept costs
//! memory. Of what is kept, nesting deeper than 128 is refused by the decoder.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use serverv2_machine::ClientKey;

use super::wire::Event;
use crate::battle::team;

/// Bytes of one event with all its arguments, or of what is kept of a team; a larger one is refused.
pub(crate) const EVENT_BYTES_MAX: usize = 64 * 1024;
/// What each kept value costs beside its text.
const VALUE_BYTES: usize = 32;
const REQUEST_ID: &str = "requestId";

/// The arguments of an event.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    /// The payload, if it has one.
    pub(crate) payload: Option<Json>,
    /// The client's own id of this request (contract 3.3, *New in our server*).
    pub(crate) key: Option<ClientKey>,
}

/// Why arguments can't be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadArguments {
    /// No JSON, or nested too deeply.
    NotJson,
    /// Larger than any valid payload.
    TooLarge,
    /// A `requestId` that is no 1 to 64 characters of `A-Za-z0-9_-`.
    BadRequestId,
}

/// Takes an event's text apart. What stands behind payload and options is ignored.
pub(super) fn arguments(event: Event, text: &str) -> Result<Arguments, BadArguments> {
    let all = match event {
        Event::JoinMatchmaking => picked(text)?,
        _ if text.len() > EVENT_BYTES_MAX => return Err(BadArguments::TooLarge),
        _ => serde_json::from_str(text).map_err(|_| BadArguments::NotJson)?,
    };
    let mut rest = all.into_iter().skip(1);
    let payload = if event.has_payload() { rest.next() } else { None };
    let key = match rest.next().as_ref().and_then(|options| options.get(REQUEST_ID)) {
        None => None,
        Some(id) => {
            Some(id.as_str().and_then(|id| id.parse().ok()).ok_or(BadArguments::BadRequestId)?)
        }
    };
    Ok(Arguments { payload, key })
}

/// All arguments, without the keys that no team has.
fn picked(text: &str) -> Result<Vec<Json>, BadArguments> {
    let left = Cell::new(Some(EVENT_BYTES_MAX));
    let mut json = serde_json::Deserializer::from_str(text);
    let picked = Pick(&left).deserialize(&mut json).and_then(|all| json.end().map(|()| all));
    match picked {
        Ok(Json::Array(all)) => Ok(all),
        Err(_) if left.get().is_none() => Err(BadArguments::TooLarge),
        _ => Err(BadArguments::NotJson),
    }
}

/// Reads a value and keeps what a team may have, as long as its budget lasts.
#[derive(Clone, Copy)]
struct Pick<'a>(&'a Cell<Option<usize>>);

impl Pick<'_> {
    fn pay<E: Error>(self, text_bytes: usize) -> Result<(), E> {
        let left = self.0.get().and_then(|left| left.checked_sub(VALUE_BYTES + text_bytes));
        self.0.set(left);
        left.map(|_| ()).ok_or_else(|| E::custom("too large"))
    }

    fn paid<E: Error>(self, value: Json) -> Result<Json, E> {
        self.pay(0).map(|()| value)
    }
}

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        self.paid(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        self.paid(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        self.paid(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        self.paid(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        self.paid(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        self.pay(text.len())?;
        Ok(Json::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        self.pay(0)?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        self.pay(0)?;
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == REQUEST_ID || team::KEYS.contains(&&*key) {
                kept.insert(key.into_owned(), map.next_value_seed(self)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Json::Object(kept))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Takes apart what a client sends with these arguments, given as JSON texts.
    fn taken(event: Event, rest: &[&str]) -> Result<Arguments, BadArguments> {
        let name = format!("{:?}", event.name());
        let all: Vec<&str> = std::iter::once(name.as_str()).chain(rest.iter().copied()).collect();
        arguments(event, &format!("[{}]", all.join(",")))
    }

    #[test]
    fn the_payload_is_the_first_argument_and_the_request_id_stands_behind_it() {
        for event in [Event::JoinMatchmaking, Event::SubmitPlayerSelection] {
            let found = taken(event, &[r#"{"name":1}"#, r#"{"requestId":"x-1"}"#]).unwrap();
            assert_eq!(found.payload, Some(json!({"name": 1})));
            assert_eq!(found.key, Some("x-1".parse().unwrap()));
        }
    }

    #[test]
    fn an_event_without_payload_may_carry_a_request_id() {
        let found = taken(Event::CancelMatchmaking, &[r#"{"requestId":"x"}"#]).unwrap();
        assert_eq!(found.key, Some("x".parse().unwrap()));
    }

    #[test]
    fn a_missing_payload_differs_from_null() {
        assert_eq!(taken(Event::JoinMatchmaking, &[]).unwrap().payload, None);
        assert_eq!(taken(Event::JoinMatchmaking, &["null"]).unwrap().payload, Some(Json::Null));
    }

    #[test]
    fn what_is_no_callback_in_the_callbacks_place_is_ignored() {
        assert_eq!(taken(Event::GetState, &["7", "\"x\"", "[]"]), Ok(Arguments::default()));
    }

    #[test]
    fn a_malformed_request_id_is_refused_not_ignored() {
        let bad = taken(Event::Ready, &[r#"{"requestId":"a b"}"#]);
        assert_eq!(bad, Err(BadArguments::BadRequestId));
    }

    #[test]
    fn deep_nesting_and_large_payloads_are_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let large = format!("{:?}", "x".repeat(EVENT_BYTES_MAX));
        for event in [Event::JoinMatchmaking, Event::SubmitPlayerSelection] {
            assert_eq!(taken(event, &[&deep]), Err(BadArguments::NotJson));
            assert_eq!(taken(event, &[&large]), Err(BadArguments::TooLarge));
        }
        let many = format!(r#"{{"team":[{}0]}}"#, "0,".repeat(EVENT_BYTES_MAX));
        assert_eq!(taken(Event::JoinMatchmaking, &[&many]), Err(BadArguments::TooLarge));
    }

    #[test]
    fn what_stands_beside_a_team_costs_nothing_however_large() {
        let mut payload = json!({"playerSchema": {"name": "Ann", "team": [{"level": 5}]}});
        let expected = payload.clone();
        payload["notes"] = json!("x".repeat(20 * EVENT_BYTES_MAX));
        payload["playerSchema"]["team"][0]["history"] = json!(vec![[1, 2]; EVENT_BYTES_MAX]);
        let deep = format!(r#"{}1{}, "playerSchema""#, "[".repeat(90_000), "]".repeat(90_000));
        let text = payload.to_string().replacen(r#""playerSchema""#, &format!(r#""x": {deep}"#), 1);
        let found = taken(Event::JoinMatchmaking, &[&text]).unwrap();
        assert_eq!(found.payload, Some(expected));
    }
}
