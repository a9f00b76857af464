//! Broadcasts as Node's `@socket.io/redis-adapter` (8.3) and `@socket.io/redis-emitter` (5.1) publish them:
//! `MessagePack`, `[uid, {type: 2, data: [event, ...arguments], nsp}, {rooms, except, flags}]`.
//!
//! Whatever else comes is not understood, and nothing more: whoever can reach the Redis can send anything. The
//! channels stand in `redis/keys.rs`.

use rmpv::Value;
use rmpv::decode::read_value_with_max_depth;
use serverv2_machine::NanoId;

use super::notice::{Announcement, To};

/// Packets of Socket.IO that carry an event.
const EVENT: u64 = 2;
/// The one namespace that exists here.
const NAMESPACE: &str = "/";
/// Values inside values.
const DEPTH_MAX: usize = 64;
/// Rooms that a broadcast may name.
const ROOMS_MAX: usize = 64;
/// How notepack writes `undefined`: an extension of this type.
const UNDEFINED: i8 = 0;

/// A broadcast of a Node process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Broadcast {
    /// Who sent it: a server's own id, or `emitter`.
    pub(super) uid: String,
    pub(super) event: String,
    pub(super) arguments: Vec<Value>,
    /// For everybody if there are none.
    pub(super) rooms: Vec<Room>,
    /// Not for these, though they may be meant by a room.
    pub(super) except: Vec<Room>,
}

/// A room of Socket.IO, as far as there are such here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "one of their rooms may be one of ours")]
pub(super) enum Room {
    /// `player:<id>`
    Player(NanoId),
    /// `room:<id>`
    Room(NanoId),
    /// An id without a word before it is a player's or a room's.
    Either(NanoId),
    /// Nobody here is in it.
    Unknown,
}

impl Room {
    fn of(value: &Value) -> Self {
        let text = value.as_str().unwrap_or_default();
        let (make, id): (fn(NanoId) -> Self, &str) = match text.split_once(':') {
            Some(("player", id)) => (Self::Player, id),
            Some(("room", id)) => (Self::Room, id),
            Some(_) => return Self::Unknown,
            None => (Self::Either, text),
        };
        id.parse().map_or(Self::Unknown, make)
    }
}

impl Broadcast {
    /// Reads what a Node process has published; `None`: nothing that is meant for anybody here.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let value = read_value_with_max_depth(&mut bytes, DEPTH_MAX).ok()?;
        let Value::Array(parts) = value else { return None };
        let [uid, packet, options] = <[Value; 3]>::try_from(parts).ok()?;
        let uid = uid.as_str()?.to_owned();
        if field(&packet, "type")?.as_u64()? != EVENT {
            return None;
        }
        if field(&packet, "nsp").is_some_and(|nsp| nsp.as_str() != Some(NAMESPACE)) {
            return None;
        }
        let data = field(&packet, "data")?.as_array()?;
        let (event, arguments) = data.split_first()?;
        let rooms = |name| match field(&options, name) {
            None | Some(Value::Nil) => Some(Vec::new()),
            Some(rooms) => {
                let rooms = rooms.as_array().filter(|rooms| rooms.len() <= ROOMS_MAX)?;
                Some(rooms.iter().map(Room::of).collect())
            }
        };
        Some(Self {
            uid,
            event: event.as_str()?.to_owned(),
            arguments: arguments.iter().map(plain).collect::<Option<_>>()?,
            rooms: rooms("rooms")?,
            except: rooms("except")?,
        })
    }
}

/// Our announcement in that form, and the room in its channel's name.
pub(super) fn encode(uid: &str, it: &Announcement) -> Option<(Option<String>, Vec<u8>)> {
    let room = match it.to {
        To::All => None,
        To::Player(id) => Some(format!("player:{id}")),
        To::Room(id) => Some(format!("room:{id}")),
    };
    let data = vec![Value::from(it.event.as_str()), rmpv::ext::to_value(&it.data).ok()?];
    let map = |fields: Vec<(&str, Value)>| {
        Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    };
    let packet =
        map(vec![("type", EVENT.into()), ("data", Value::Array(data)), ("nsp", NAMESPACE.into())]);
    let rooms = room.iter().map(|room| Value::from(room.as_str())).collect();
    let options = map(vec![
        ("rooms", Value::Array(rooms)),
        ("except", Value::Array(Vec::new())),
        ("flags", Value::Map(Vec::new())),
    ]);
    let mut bytes = Vec::new();
    let value = Value::Array(vec![uid.into(), packet, options]);
    rmpv::encode::write_value(&mut bytes, &value).ok()?;
    Some((room, bytes))
}

fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    map.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// The same value if it can be said to a client: JSON, and bytes in it.
fn plain(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Ext(UNDEFINED, _) => Value::Nil,
        Value::Ext(..) => return None,
        Value::String(text) if text.is_err() => return None,
        Value::Array(values) => Value::Array(values.iter().map(plain).collect::<Option<_>>()?),
        Value::Map(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                key.as_str()?;
                Some((key.clone(), plain(value)?))
            });
            Value::Map(fields.collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What redis-adapter 8.3.0 was seen to publish.
    const CAPTURED: &str = "93a6574b6f55567683a47479706502a46461746192a4726f6f6d01a36e7370a12f\
        83a5726f6f6d7391a8626174746c653a31a665786365707490a5666c61677380";

    fn captured() -> Vec<u8> {
        let digits: Vec<u8> = CAPTURED.bytes().collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    #[test]
    fn what_node_was_seen_to_publish_is_read() {
        let read = Broadcast::decode(&captured()).unwrap();
        assert_eq!((read.uid.as_str(), read.event.as_str()), ("WKoUVv", "room"));
        assert_eq!(read.arguments, [Value::from(1)]);
        assert_eq!((read.rooms, read.except), (vec![Room::Unknown], vec![]));
    }

    #[test]
    fn what_is_published_is_read_again() {
        let id: NanoId = "AAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        let to = To::Player(serverv2_machine::PlayerId(id));
        let it = Announcement { to, event: "news".into(), data: json!({"n": [1, "x", null]}) };
        let (room, bytes) = encode("me", &it).unwrap();
        assert_eq!(room, Some(format!("player:{id}")));
        let read = Broadcast::decode(&bytes).unwrap();
        assert_eq!(read.rooms, [Room::Player(id)]);
        assert_eq!(read.arguments, [rmpv::ext::to_value(&it.data).unwrap()]);
    }

    #[test]
    fn rooms_are_players_and_rooms_with_or_without_the_word() {
        let id = "AAAAAAAAAAAAAAAAAAAAA";
        let of = |text: &str| Room::of(&Value::from(text));
        let parsed = id.parse().unwrap();
        assert_eq!(of(id), Room::Either(parsed));
        assert_eq!(of(&format!("player:{id}")), Room::Player(parsed));
        assert_eq!(of(&format!("room:{id}")), Room::Room(parsed));
        for unknown in ["", "x", "player:x", "battle:1", &format!("x:{id}")] {
            assert_eq!(of(unknown), Room::Unknown, "{unknown}");
        }
        assert_eq!(Room::of(&Value::from(7)), Room::Unknown);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Broadcast::decode(&bytes);
        }

        #[test]
        fn no_damage_does_harm(at in 0..60_usize, byte in any::<u8>(), cut in 0..80_usize) {
            let mut bytes = captured();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut);
            let _ = Broadcast::decode(&bytes);
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        assert_eq!(Broadcast::decode(&[0x91; 60_000]), None);
    }
}
