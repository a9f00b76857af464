//! All keys and channels, and nowhere else.

use serverv2_machine::TokenId;

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

/// Whether this may stand before all keys: nothing that Redis or its tools read in another way.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= PREFIX_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\".contains(&byte))
}
