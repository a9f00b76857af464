//! All keys and channels, and nowhere else.

use serverv2_machine::{FamilyId, PlayerId, RoomId, TokenId};

/// Longest prefix, bytes.
const PREFIX_BYTES_MAX: usize = 64;

/// Ids of all instances: a set.
pub(super) fn instances(prefix: &str) -> String {
    format!("{prefix}service:instances")
}

/// What one instance says of itself: a hash.
pub(super) fn instance(prefix: &str, id: &str) -> String {
    format!("{prefix}service:instance:{id}")
}

/// A token that counts no more: a hash that expires with it.
pub(super) fn revoked(prefix: &str, token: &TokenId) -> String {
    format!("{prefix}auth:blacklist:{token}")
}

/// Where the nodes of one cluster tell each other about sockets: a channel of nobody else.
pub(crate) fn notices(prefix: &str, cluster: u128) -> String {
    format!("{prefix}serverv2:{cluster:032x}:notices")
}

/// As whom Node servers know this cluster.
pub(crate) fn node_uid(cluster: u128) -> String {
    format!("serverv2-{cluster:032x}")
}

/// All channels on which Node servers broadcast in the namespace `/`.
pub(crate) fn node_broadcasts(key: &str) -> String {
    format!("{key}#/#*")
}

/// The one for everybody, or for one room.
pub(crate) fn node_channel(key: &str, room: Option<&str>) -> String {
    room.map_or_else(|| format!("{key}#/#"), |room| format!("{key}#/#{room}#"))
}

/// A room: a hash.
pub(super) fn room(prefix: &str, room: &RoomId) -> String {
    format!("{prefix}room:{room}")
}

/// A player's connection: a hash.
pub(super) fn connection(prefix: &str, player: &PlayerId) -> String {
    format!("{prefix}player:connections:{player}")
}

/// Ids of all players who wait for a match: a set.
pub(super) fn queue(prefix: &str) -> String {
    format!("{prefix}matchmaking:queue")
}

/// The fence of that set, in its slot of a Redis Cluster.
pub(super) fn queue_fence(prefix: &str) -> String {
    format!("{prefix}{{{prefix}matchmaking:queue}}:fence")
}

/// A player who waits for a match: a hash.
pub(super) fn queued(prefix: &str, player: &PlayerId) -> String {
    format!("{prefix}matchmaking:player:{player}")
}

/// A player's newest login: a hash that expires with it.
pub(super) fn newest_login(prefix: &str, player: &PlayerId) -> String {
    format!("{prefix}session:{player}")
}

/// One of a player's logins: a hash that expires with it.
pub(super) fn login(prefix: &str, player: &PlayerId, login: &FamilyId) -> String {
    format!("{prefix}session:{player}:{login}")
}

/// How far the mirror is, and whose it is: a hash.
pub(super) fn mirror(prefix: &str) -> String {
    format!("{prefix}mirror:applied")
}

/// What a key of the mirror is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mirrored {
    /// A room.
    Room(RoomId),
    /// A player's connection.
    Connection(PlayerId),
    /// A player in the queue.
    Queued(PlayerId),
    /// A player's newest login.
    NewestLogin(PlayerId),
    /// One of a player's logins, if its name is that of one.
    Login(PlayerId, String),
    /// Of nothing that could be there.
    Nothing,
}

/// Patterns of all keys that the mirror alone writes, one for each of their kinds.
pub(super) fn mirrored(prefix: &str) -> [String; 4] {
    ["room:*", "player:connections:*", "matchmaking:player:*", "session:*"]
        .map(|kind| format!("{prefix}{kind}"))
}

/// What one of them is of.
pub(super) fn read_mirrored(prefix: &str, key: &str) -> Mirrored {
    let key = key.strip_prefix(prefix).unwrap_or_default();
    let of = |kind: &str| key.strip_prefix(kind);
    let room = of("room:").and_then(|id| id.parse().ok()).map(Mirrored::Room);
    let connection =
        || of("player:connections:").and_then(|id| id.parse().ok()).map(Mirrored::Connection);
    let queued = || of("matchmaking:player:").and_then(|id| id.parse().ok()).map(Mirrored::Queued);
    let login = || {
        let (player, login) = of("session:")?.split_once(':')?;
        Some(Mirrored::Login(player.parse().ok()?, login.to_owned()))
    };
    let newest = || of("session:").and_then(|id| id.parse().ok()).map(Mirrored::NewestLogin);
    let of_player = room.or_else(connection).or_else(queued);
    of_player.or_else(newest).or_else(login).unwrap_or(Mirrored::Nothing)
}

/// Whether this may stand before all keys: nothing that Redis or its tools read in another way.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= PREFIX_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\".contains(&byte))
}
