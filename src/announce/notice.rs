//! What nodes tell each other about sockets, and the bytes of it: JSON behind one byte that says what it is.
//!
//! Each notice has an id, so that it is carried out once on each node, whichever ways it came.

use serde::{Deserialize, Serialize};
use serverv2_machine::{NanoId, PlayerId, RoomId};
use serverv2_raft::NOTICE_BYTES_MAX;
use utoipa::ToSchema;

use crate::battle::schema::NanoIdText;
use crate::random;

/// Room on top of an announcement's data for all else that a notice says, bytes.
const HEAD_BYTES_MAX: usize = 1_024;
/// Largest data of an announcement, bytes of JSON.
pub const DATA_BYTES_MAX: usize = NOTICE_BYTES_MAX - HEAD_BYTES_MAX;

/// A notice begins with it.
const NOTICE: u8 = b'n';
/// How many sockets are there?
const COUNT: u8 = b'c';
/// How are you?
const CONDITION: u8 = b'l';

/// Whom an announcement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AnnouncementAudience)]
pub enum To {
    /// Everybody whose session is open.
    All,
    /// All sockets of this player.
    #[schema(value_type = NanoIdText)]
    Player(PlayerId),
    /// Both players of this room, while it lasts.
    #[schema(value_type = NanoIdText)]
    Room(RoomId),
}

/// An event for some sockets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Whom it is for.
    pub to: To,
    /// Its name.
    pub event: String,
    /// Its one argument.
    pub data: serde_json::Value,
}

/// What is to be done on each node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Emit an event.
    Announce(Announcement),
    /// Tell a player's sockets to leave.
    Disconnect(PlayerId),
}

/// An order under its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) id: NanoId,
    pub(super) order: Order,
}

/// What another node wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// These bytes behind the first are a notice.
    Notice,
    /// How many sockets this node holds.
    Count,
    /// How this node is.
    Condition,
}

/// Question and answer for counting.
pub(super) fn count_question() -> Vec<u8> {
    vec![COUNT]
}

/// Question for how a node is; the answer is understood by `balance`.
pub(crate) fn condition_question() -> Vec<u8> {
    vec![CONDITION]
}

/// What a peer asks; `None`: nothing that is known here.
pub(super) fn asked(bytes: &[u8]) -> Option<Asked> {
    match bytes {
        [NOTICE, ..] => Some(Asked::Notice),
        [COUNT] => Some(Asked::Count),
        [CONDITION] => Some(Asked::Condition),
        _ => None,
    }
}

impl Notice {
    /// A new one.
    pub(super) fn new(order: Order) -> Self {
        Self { id: random::nano_id(), order }
    }

    /// The bytes for other nodes; `None`: it is too large.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![NOTICE];
        serde_json::to_writer(&mut bytes, self).ok()?;
        (bytes.len() <= NOTICE_BYTES_MAX).then_some(bytes)
    }

    /// What was said; `None`: nothing of the kind.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [NOTICE, json @ ..] if bytes.len() <= NOTICE_BYTES_MAX => {
                serde_json::from_slice(json).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn notice(to: To) -> Notice {
        let data = json!({"text": "x", "list": [1, null, true]});
        Notice::new(Order::Announce(Announcement { to, event: "news".into(), data }))
    }

    #[test]
    fn a_notice_survives_its_way() {
        let id: NanoId = "AAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        for to in [To::All, To::Player(PlayerId(id)), To::Room(RoomId(id))] {
            let notice = notice(to);
            let bytes = notice.encode().unwrap();
            assert_eq!(asked(&bytes), Some(Asked::Notice));
            assert_eq!(Notice::decode(&bytes), Some(notice));
            assert_eq!(Notice::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(asked(&count_question()), Some(Asked::Count));
        assert_eq!(asked(&condition_question()), Some(Asked::Condition));
    }

    #[test]
    fn what_is_too_large_is_not_said() {
        let said = |bytes: usize| {
            let data = json!("x".repeat(bytes));
            let order = Order::Announce(Announcement { to: To::All, event: "e".repeat(64), data });
            Notice::new(order).encode()
        };
        assert!(said(DATA_BYTES_MAX - 2).is_some(), "the largest data fits");
        assert!(said(NOTICE_BYTES_MAX).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (asked(&bytes), Notice::decode(&bytes));
            let _ = Notice::decode(&[&[NOTICE], &bytes[..]].concat());
        }
    }
}
