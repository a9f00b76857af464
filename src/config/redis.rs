//! Settings of a Redis that other services share.

use std::time::Duration;

use super::{Problem, Secret};

/// Where it is and how it is used. Without a URL or a host there is none.
#[derive(Clone, Debug, Default)]
pub struct RedisSettings {
    /// Its whole address.
    pub(super) url: Option<Secret>,
    /// The parts of one, under the names of the existing server.
    pub(super) host: Option<String>,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) db: u64,
    pub(super) tls: bool,
    /// What stands before all keys.
    pub key_prefix: String,
    /// How long a call may take.
    pub timeout: Duration,
    /// Whether another cluster's mirror is overwritten.
    pub mirror_takeover: bool,
    /// How often all keys of the mirror are written again.
    pub mirror_sweep: Duration,
    /// Whether logins are told with their tokens.
    pub session_tokens: bool,
    /// Shortest pause between two tries to connect.
    pub retry_delay: Duration,
    /// Settings of the existing server that were given and mean nothing here.
    pub(super) retries_given: bool,
    pub(super) ready_check: bool,
    pub(super) lazy_connect: bool,
}

impl RedisSettings {
    /// The one address, if there is a Redis.
    pub fn url(&self) -> Option<Secret> {
        if let Some(url) = &self.url {
            return Some(url.clone());
        }
        let host = self.host.as_ref()?;
        let scheme = if self.tls { "rediss" } else { "redis" };
        let password = self.password.as_ref().map(|password| encoded(password.reveal()));
        let user = encoded(self.user.as_deref().unwrap_or_default());
        let who = password.map_or_else(String::new, |password| format!("{user}:{password}@"));
        Some(Secret::new(format!("{scheme}://{who}{host}:{}/{}", self.port, self.db)))
    }

    /// What was asked for and is not done, one sentence for each.
    pub fn ignored(&self) -> impl Iterator<Item = &'static str> {
        [
            (
                self.retries_given,
                "REDIS_MAX_RETRIES is ignored: no call is repeated, since nothing waits for one; connecting is tried for ever",
            ),
            (
                !self.ready_check,
                "REDIS_ENABLE_READY_CHECK=false is ignored: a Redis that still loads its data is not taken to be there",
            ),
            (
                self.lazy_connect,
                "REDIS_LAZY_CONNECT=true is ignored: it is connected to at once, and nothing waits for it",
            ),
        ]
        .into_iter()
        .filter_map(|(is_ignored, text)| is_ignored.then_some(text))
    }

    pub(super) fn unite(&self, problems: &mut Vec<Problem>) {
        if self.url.is_some() && self.host.is_some() {
            problems.push(Problem::text(
                "REDIS_URL and REDIS_HOST are both set: set one of them".into(),
            ));
        }
    }
}

/// Everything but letters and digits as percent and two digits.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_not_done_is_said_and_nothing_else() {
        let done = RedisSettings { ready_check: true, ..RedisSettings::default() };
        assert_eq!(done.ignored().count(), 0);
        let names = |settings: RedisSettings| -> Vec<&str> {
            settings.ignored().filter_map(|text| text.split([' ', '=']).next()).collect()
        };
        assert_eq!(
            names(RedisSettings { retries_given: true, ..done.clone() }),
            ["REDIS_MAX_RETRIES"]
        );
        assert_eq!(
            names(RedisSettings { ready_check: false, ..done.clone() }),
            ["REDIS_ENABLE_READY_CHECK"]
        );
        assert_eq!(names(RedisSettings { lazy_connect: true, ..done }), ["REDIS_LAZY_CONNECT"]);
    }

    #[test]
    fn the_parts_make_one_address() {
        let mut settings = RedisSettings { port: 6379, ..RedisSettings::default() };
        assert_eq!(settings.url(), None);
        settings.host = Some("cache".into());
        assert_eq!(settings.url().unwrap().reveal(), "redis://cache:6379/0");
        settings.password = Some(Secret::new("p@ss/word"));
        settings.tls = true;
        settings.db = 2;
        assert_eq!(settings.url().unwrap().reveal(), "rediss://:p%40ss%2Fword@cache:6379/2");
    }
}
