//! Request bodies: read within bounds, and only as far as a route asks.
//!
//! A body is JSON or a form; another kind counts as absent, and an absent one as an empty object
//! (contract 1.1). Only the top-level fields that a route names are kept, and of those only what it
//! may use: whatever is nested inside a body costs no memory. Nesting deeper than 128 is malformed.
//! Bodies being read share one budget; beyond it the answer is a 503 that invites to come back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::error::Category;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::ApiError;
use crate::app::App;

/// Memory for all bodies that are being read at once, beyond what each may have anyway.
const BODIES_KIB_MAX: usize = 128 * 1024;
/// What each body may have anyway: more than any client of ours sends, so that a few senders of huge
/// bodies can't keep the others out.
const FREE_BYTES: usize = 4 * 1024;
/// Time for a whole body to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// What is left for bodies that are being read.
pub struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_KIB_MAX)))
    }
}

impl BodyBudget {
    /// Makes room for a body of so many bytes in all; what it had already is kept.
    fn grow(&self, room: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), ApiError> {
        let wanted_kib = bytes.saturating_sub(FREE_BYTES).div_ceil(1024);
        let had_kib = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = wanted_kib.checked_sub(had_kib).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permit =
            self.0.clone().try_acquire_many_owned(more).map_err(|_| ApiError::unavailable())?;
        match room {
            Some(room) => room.merge(permit),
            None => *room = Some(permit),
        }
        Ok(())
    }
}

/// A field of a body as far as routes care.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Given {
    /// The key is missing.
    #[default]
    Absent,
    /// A text.
    Text(String),
    /// Something else: what JSON calls it, and whether JavaScript takes it for true.
    Other(&'static str, bool),
}

/// The fields a route asked for.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<&'static str, Given>);

impl Fields {
    /// A field; absent if the body lacks it.
    pub(super) fn get(&self, name: &str) -> &Given {
        self.0.get(name).unwrap_or(&Given::Absent)
    }

    /// A field that must be a text with something in it; `empty` is what to say to an empty one.
    pub(super) fn text(&self, name: &str, empty: &str) -> Result<&str, ApiError> {
        match self.get(name) {
            Given::Absent => Err(ApiError::validation("Required")),
            Given::Other(found, _) => {
                Err(ApiError::validation(format!("Expected string, received {found}")))
            }
            Given::Text(text) if text.is_empty() => Err(ApiError::validation(empty)),
            Given::Text(text) => Ok(text),
        }
    }
}

/// Reads the body and keeps the named fields.
pub(super) async fn fields(
    app: &App,
    request: Request,
    names: &'static [&'static str],
) -> Result<Fields, ApiError> {
    let mut room = None;
    match read(app, request, &mut room).await? {
        (_, bytes) if bytes.is_empty() => Ok(Fields::default()),
        (Kind::Json, bytes) => parse_json(&bytes, names),
        (Kind::Form, bytes) => parse_form(bytes, names).await,
        (Kind::Other, _) => Ok(Fields::default()),
    }
}

/// Reads a whole JSON body of at most `max` bytes, for routes that pass on what is in it.
pub(super) async fn json<T: DeserializeOwned>(
    app: &App,
    request: Request,
    max: usize,
) -> Result<T, ApiError> {
    let mut room = None;
    let (kind, bytes) = read(app, request, &mut room).await?;
    if bytes.len() > max {
        return Err(ApiError::too_large());
    }
    if !matches!(kind, Kind::Json) || bytes.is_empty() {
        return Err(ApiError::validation("Required"));
    }
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        Category::Data => ApiError::validation(error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => malformed(),
    })
}

/// The body and what it is, empty if it is of no kind that is read; `room` is its memory.
async fn read(
    app: &App,
    request: Request,
    room: &mut Option<OwnedSemaphorePermit>,
) -> Result<(Kind, Vec<u8>), ApiError> {
    let (parts, body) = request.into_parts();
    let kind = Kind::of(&parts.headers);
    if matches!(kind, Kind::Other) {
        return Ok((kind, Vec::new()));
    }
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "请求体不能压缩",
            "UNSUPPORTED_ENCODING",
        ));
    }
    let bytes = timeout(BODY_PATIENCE, collect(app, &parts.headers, body, room)).await.map_err(
        |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "请求体接收超时", "BODY_TIMEOUT"),
    )??;
    Ok((kind, bytes))
}

enum Kind {
    Json,
    Form,
    Other,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        let essence = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        match essence.as_deref() {
            Some("application/json") => Self::Json,
            Some("application/x-www-form-urlencoded") => Self::Form,
            _ => Self::Other,
        }
    }
}

/// The whole body, never more than the limit, paid for chunk by chunk.
async fn collect(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    room: &mut Option<OwnedSemaphorePermit>,
) -> Result<Vec<u8>, ApiError> {
    let max = app.settings.body_bytes_max;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        return Err(ApiError::too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // The client is gone or breaks the protocol; whoever is still there gets this.
        let frame = frame.map_err(|_| malformed())?;
        let Ok(chunk) = frame.into_data() else { continue };
        if bytes.len() + chunk.len() > max {
            return Err(ApiError::too_large());
        }
        app.bodies.grow(room, bytes.len() + chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "请求体格式错误", "MALFORMED_BODY")
}

pub(super) fn parse_json(bytes: &[u8], names: &'static [&'static str]) -> Result<Fields, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let fields = FieldsSeed(names).deserialize(&mut json).map_err(|_| malformed())?;
    json.end().map_err(|_| malformed())?;
    Ok(fields)
}

pub(super) async fn parse_form(
    bytes: Vec<u8>,
    names: &'static [&'static str],
) -> Result<Fields, ApiError> {
    let request = Request::post("/")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(Bytes::from(bytes)))
        .map_err(|_| malformed())?;
    let axum::Form(pairs) = axum::Form::<Vec<(String, String)>>::from_request(request, &())
        .await
        .map_err(|_| malformed())?;
    let known = |key: &str| names.iter().copied().find(|name| *name == key);
    let fields = pairs
        .into_iter()
        .filter_map(|(key, value)| Some((known(&key)?, Given::Text(value))))
        .collect();
    Ok(Fields(fields))
}

/// Reads an object's named fields, or nothing from an array; any other top level is malformed.
struct FieldsSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldsSeed {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.0.iter().copied().find(|name| *name == key) {
                Some(name) => drop(fields.insert(name, map.next_value_seed(GivenSeed)?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Fields(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Fields, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Fields::default())
    }
}

struct GivenSeed;

impl<'de> DeserializeSeed<'de> for GivenSeed {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for GivenSeed {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Other("boolean", value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Other("number", value != 0))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Other("number", value != 0))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Other("number", value != 0.0))
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Other("null", false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other("object", true))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Given, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other("array", true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["playerId", "name"];

    fn json(text: &str) -> Option<Fields> {
        parse_json(text.as_bytes(), NAMES).ok()
    }

    #[test]
    fn only_named_fields_are_kept_and_the_last_of_a_name_counts() {
        let fields =
            json(r#"{"a":[{"playerId":"inner"}],"playerId":"x","name":5,"playerId":"y"}"#).unwrap();
        assert_eq!(*fields.get("playerId"), Given::Text("y".into()));
        assert_eq!(*fields.get("name"), Given::Other("number", true));
        assert_eq!(*fields.get("a"), Given::Absent);
    }

    #[test]
    fn what_is_no_json_object_or_array_is_malformed() {
        for text in
            ["{", "5", "\"x\"", "null", "{} {}", "{\"a\":}", "\u{0}", "{\"name\":\"\\ud800\"}"]
        {
            assert!(json(text).is_none(), "{text}");
        }
        assert_eq!(*json("[1,{}]").unwrap().get("name"), Given::Absent);
    }

    #[test]
    fn deep_nesting_is_malformed_and_costs_no_stack() {
        for open in ["[", "{\"name\":", "{\"x\":"] {
            assert!(json(&open.repeat(100_000)).is_none());
        }
    }

    #[test]
    fn large_bodies_share_one_budget_and_small_ones_are_always_read() {
        let budget = BodyBudget::default();
        let (mut large, mut small) = (None, None);
        for kib in [1, 4, 5, 100_000, BODIES_KIB_MAX + 4] {
            assert!(budget.grow(&mut large, kib * 1024).is_ok());
        }
        assert_eq!(budget.0.available_permits(), 0);
        assert!(budget.grow(&mut small, FREE_BYTES).is_ok());
        assert!(budget.grow(&mut small, FREE_BYTES + 1).is_err());
        drop(large);
        assert!(budget.grow(&mut small, FREE_BYTES + 1).is_ok());
    }

    #[tokio::test]
    async fn a_form_is_read_like_an_object() {
        let fields = parse_form(b"name=%E6%B8%B8+x&other=1".to_vec(), NAMES).await.unwrap();
        assert_eq!(*fields.get("name"), Given::Text("游 x".into()));
    }
}
