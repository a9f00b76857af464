//! The scripts that write the mirror. Each looks at the fence before it writes: the cluster and the index of the
//! state that is written. Whoever writes an older state writes nothing, and a key that was removed stays behind
//! as a fence for an hour, so that it can't come back.
//!
//! All keys of a script lie in one slot of a Redis Cluster. Where there is one server only, scripts also look at
//! `mirror:applied`: once another node leads, a former leader writes nothing at all, also where there is no
//! fence yet.

use std::sync::LazyLock;

use redis::Script;
use serverv2_machine::planted::{self, Bug};

/// What in the scripts tells an older state or an older leader.
const GUARDS: [&str; 3] = [
    "tonumber(told[2]) > tonumber(ARGV[2])",
    "tonumber(index) > tonumber(ARGV[3])",
    "tonumber(told[4]) > tonumber(ARGV[3])",
];

/// How long the fence of a removed key stays, milliseconds.
pub(super) const FENCE_MS: u64 = 3_600_000;

/// A script and its text.
pub(super) struct Lua {
    pub(super) text: String,
    pub(super) script: Script,
}

impl Lua {
    fn new(mut text: String) -> Self {
        if planted::has(Bug::MirrorWithoutIndexGuard) {
            GUARDS.iter().for_each(|guard| text = text.replace(guard, "false"));
        }
        Self { script: Script::new(&text), text }
    }
}

/// What a script says of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written.
    Written,
    /// It is removed.
    Removed,
    /// A newer state is there.
    Older,
    /// `mirror:applied` is gone or somebody else's: what was written before may be gone, too.
    Lost,
    /// Another node leads.
    Deposed,
    /// The key is another cluster's.
    Foreign,
}

impl Verdict {
    /// As scripts say it.
    pub(super) fn read(code: i64) -> Self {
        match code {
            1 => Self::Written,
            5 => Self::Removed,
            0 => Self::Older,
            3 => Self::Deposed,
            4 => Self::Foreign,
            _ => Self::Lost,
        }
    }
}

/// Arguments of all: cluster, term, index, 1 if other clusters' keys are taken over. `leads` looks at
/// `mirror:applied`, `passes` at a key's fence.
const FENCED: &str = r"
local function leads(key)
  if not key then return 1 end
  local told = redis.call('HMGET', key, 'cluster', 'term')
  if told[1] ~= ARGV[1] then return 2 end
  if tonumber(told[2]) > tonumber(ARGV[2]) then return 3 end
  return 1
end
local function passes(key)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
  local fence = redis.call('HGET', key, 'fence')
  if not fence then return 1 end
  local cluster, index = string.match(fence, '^(%x+):(%d+)$')
  if cluster == ARGV[1] then
    if tonumber(index) > tonumber(ARGV[3]) then return 0 end
  elseif cluster and ARGV[4] ~= '1' then return 4 end
  return 1
end
local fence = ARGV[1] .. ':' .. ARGV[3]
";

/// Keys: the hash, and `mirror:applied` if there is one server only. Further arguments: life in milliseconds, 0 for
/// ever; fields and values.
pub(super) static PUT: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(format!(
        "{FENCED}{}",
        r"
local may = leads(KEYS[2])
if may == 1 then may = passes(KEYS[1]) end
if may ~= 1 then return may end
redis.call('HSET', KEYS[1], 'fence', fence, unpack(ARGV, 6))
if ARGV[5] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
return 1
"
    ))
});

/// The same keys. Further arguments: life in milliseconds; the login's name; when it began, if it was not told of
/// before; fields and values. What was there of its tokens is gone, unless it is among these.
pub(super) static PUT_LOGIN: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(format!(
        "{FENCED}{}",
        r"
local may = leads(KEYS[2])
if may == 1 then may = passes(KEYS[1]) end
if may ~= 1 then return may end
local told = redis.call('HMGET', KEYS[1], 'sessionId', 'createdAt')
local began = told[1] == ARGV[6] and told[2] or ARGV[7]
redis.call('HDEL', KEYS[1], 'accessToken', 'refreshToken')
redis.call('HSET', KEYS[1], 'fence', fence, 'sessionId', ARGV[6], 'createdAt', began, unpack(ARGV, 8))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
"
    ))
});

/// The keys of the first. Further argument: life of what stays, milliseconds.
pub(super) static REMOVE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(format!(
        "{FENCED}{}",
        r"
local may = leads(KEYS[2])
if may == 1 then may = passes(KEYS[1]) end
if may ~= 1 then return may end
if redis.call('HLEN', KEYS[1]) == 1 and redis.call('HEXISTS', KEYS[1], 'fence') == 1 then
  redis.call('HSET', KEYS[1], 'fence', fence)
  return 1
end
local there = redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fence', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return there == 1 and 5 or 1
"
    ))
});

/// Keys: the set, its fence, and `mirror:applied` if there is one server only. Further arguments: how many members are
/// added; those, and those that are removed.
pub(super) static MEMBERS: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(format!(
        "{FENCED}{}",
        r"
local may = leads(KEYS[3])
if may == 1 then may = passes(KEYS[2]) end
if may ~= 1 then return may end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'set' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local added = tonumber(ARGV[5])
if added > 0 then redis.call('SADD', KEYS[1], unpack(ARGV, 6, 5 + added)) end
if #ARGV > 5 + added then redis.call('SREM', KEYS[1], unpack(ARGV, 6 + added)) end
redis.call('HSET', KEYS[2], 'fence', fence)
return 1
"
    ))
});

/// Key: `mirror:applied`. Arguments: cluster, term, 1 for a takeover, the projection's own name, wall time. From now
/// on this leader writes. Nothing is said of an index before all is there.
pub(super) static CLAIM: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(r"
local told = redis.call('HMGET', KEYS[1], 'cluster', 'term')
if told[1] and told[1] ~= ARGV[1] then
  if ARGV[3] ~= '1' then return 4 end
  redis.call('DEL', KEYS[1])
elseif told[1] and tonumber(told[2]) > tonumber(ARGV[2]) then return 3 end
redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'term', ARGV[2], 'projection', ARGV[4], 'at', ARGV[5])
return 1
".to_owned())
});

/// Key: `mirror:applied`. Arguments: cluster, term, index, the projection's own name, wall time. The mirror is that
/// of this index or a later one. An index that is there never falls.
pub(super) static ADVANCE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local told = redis.call('HMGET', KEYS[1], 'cluster', 'term', 'projection', 'index')
if told[1] ~= ARGV[1] then return 2 end
if tonumber(told[2]) > tonumber(ARGV[2]) then return 3 end
if told[3] ~= ARGV[4] then return 2 end
if told[4] and tonumber(told[4]) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'index', ARGV[3], 'at', ARGV[5])
return 1
"
        .to_owned(),
    )
});

/// Key: a room. Arguments: cluster, number of the battle's last input, the state. Only where the room is there; its
/// other fields have another fence.
pub(super) static BATTLE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 2 end
local told = redis.call('HMGET', KEYS[1], 'id', 'fence', 'battleInput')
if not told[1] or not told[2] then return 2 end
if string.match(told[2], '^(%x+):') ~= ARGV[1] then return 4 end
if told[3] and tonumber(told[3]) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'battleState', ARGV[3], 'battleInput', ARGV[2])
return 1
"
        .to_owned(),
    )
});
