//! A Redis Cluster of three masters carries all that one server does.

use redis::{Cmd, FromRedisValue};

use super::mirror;
use crate::harness::redis::{Redis, ThreeMasters};

/// One Redis, or several that are one.
pub(super) trait Servers {
    /// All keys of a pattern.
    fn keys(&self, pattern: &str) -> Vec<String>;

    /// A command about one key.
    fn about<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> T;
}

impl Servers for Redis {
    fn keys(&self, pattern: &str) -> Vec<String> {
        self.ask(redis::cmd("KEYS").arg(pattern))
    }

    fn about<T: FromRedisValue>(&self, _: &str, command: &Cmd) -> T {
        self.ask(command)
    }
}

impl Servers for ThreeMasters {
    fn keys(&self, pattern: &str) -> Vec<String> {
        self.masters.iter().flat_map(|master| master.keys(pattern)).collect()
    }

    fn about<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> T {
        self.of(key).ask(command)
    }
}

#[tokio::test]
async fn three_masters_carry_mirror_and_registry() {
    mirror::all_in(&ThreeMasters::start().await).await;
}

#[tokio::test]
async fn three_masters_carry_logins_and_the_blacklist() {
    let redis = ThreeMasters::start().await;
    mirror::logins_in(&redis, &redis.url()).await;
}
