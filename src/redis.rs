//! Redis, the window through which other services see this cluster: what is in it is a copy, and nothing that is
//! decided waits for it.
//!
//! [`Redis`] is a connection that may be away. A call is answered within [`RedisSettings::timeout`], whatever the
//! other side does: one that accepts connections and never answers is as good as dead. One failure takes the
//! connection away for everybody (the circuit is open), and calls are refused at once, until a probe of the
//! `keeper` has been answered. So a Redis that is away costs one time-out, not one for each caller.
//!
//! Keys stand in `keys.rs` alone. Without a setting that names a Redis none of this exists.

mod address;
pub mod blacklist;
mod figures;
mod keeper;
pub mod keys;
mod link;
pub mod mirror;
pub mod registry;
pub mod subscriber;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, Script, ScriptInvocation};
use tokio::sync::{Notify, Semaphore, watch};

pub use self::address::{Address, BadAddress};
pub use self::figures::{Figures, Operation};
pub use self::keeper::ServerInfo;
use self::link::Link;
use crate::config::RedisSettings;

/// Calls that wait for their answers at once; one more is refused as busy.
const WAITING_MAX: usize = 1_024;

/// Keys that are looked at for one page of a walk.
const SCANNED: usize = 500;

/// With these words a server says that it takes no writes now, whatever they are: its memory is full, its disk is, it
/// is a replica, or it has too few of them.
const TAKES_NO_WRITES: [&str; 4] = ["OOM", "MISCONF", "READONLY", "NOREPLICAS"];
/// A refused write is believed for so long. Who was refused writes again sooner (the registry), so this is refreshed.
const BELIEVED: Duration = Duration::from_secs(2);

/// Why there is no answer. Nobody's request fails for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// It is known to be away; nothing was sent.
    #[error("Redis is away")]
    Away,
    /// Too many calls wait already; nothing was sent.
    #[error("too many calls wait for Redis")]
    Busy,
    /// No answer in time, or the connection broke: it may have happened.
    #[error("Redis has not answered: {0}")]
    Lost(String),
    /// It has answered with an error: it did not happen.
    #[error("Redis refuses: {0}")]
    Refused(String),
}

/// Whether it is there. The number grows with each connection: whoever sees another one than before may have
/// missed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether calls are sent.
    pub up: bool,
    /// How many connections there have been.
    pub connection: u64,
}

/// Where a walk through all keys is.
struct Page {
    /// The servers that are left; one without a name is the only one.
    masters: Vec<Option<(String, u16)>>,
    cursor: u64,
}

/// See the module's text.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    address: Address,
    prefix: String,
    timeout: Duration,
    first_pause: Duration,
    link: RwLock<Option<Link>>,
    waiting: Semaphore,
    presence: watch::Sender<Presence>,
    /// Told when a call has found out that it is away.
    failed: Notify,
    info: RwLock<Option<ServerInfo>>,
    /// When a write was refused last.
    refused: Mutex<Option<Instant>>,
    figures: Figures,
}

impl Redis {
    /// Begins to connect, and goes on for ever; returns at once. It ends with the last handle.
    pub fn start(settings: &RedisSettings, address: Address) -> Self {
        let inner = Arc::new(Inner {
            address,
            prefix: settings.key_prefix.clone(),
            timeout: settings.timeout,
            first_pause: keeper::first_pause(settings.retry_delay),
            link: RwLock::default(),
            waiting: Semaphore::new(WAITING_MAX),
            presence: watch::Sender::default(),
            failed: Notify::default(),
            info: RwLock::default(),
            refused: Mutex::default(),
            figures: Figures::default(),
        });
        tokio::spawn(keeper::keep(Arc::downgrade(&inner), inner.first_pause));
        Self(inner)
    }

    /// What stands before all keys.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Whether it is there.
    pub fn presence(&self) -> Presence {
        *self.0.presence.borrow()
    }

    /// To be told when that changes.
    pub fn watch(&self) -> watch::Receiver<Presence> {
        self.0.presence.subscribe()
    }

    /// Whether it takes writes, as far as is known: one that is full answers, but what is written is not there.
    pub fn takes_writes(&self) -> bool {
        self.0.refused.lock().is_none_or(|at| at.elapsed() >= BELIEVED)
    }

    /// What it said of itself last; `None` while it is away.
    pub fn info(&self) -> Option<ServerInfo> {
        self.0.info.read().clone()
    }

    /// What was asked, how long that took, and what failed.
    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// Where it is, without password, for the log.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// One command.
    pub async fn call<T: FromRedisValue>(
        &self,
        operation: Operation,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        self.with(operation, |mut link| async move { command.query_async(&mut link).await }).await
    }

    /// Several commands in one round trip. In a Redis Cluster all keys must be in one slot.
    pub async fn pipe<T: FromRedisValue>(
        &self,
        operation: Operation,
        pipeline: &Pipeline,
    ) -> Result<T, RedisError> {
        self.with(operation, |mut link| async move { pipeline.query_async(&mut link).await }).await
    }

    /// A script, sent once and known by its digest from then on. In a Redis Cluster all keys must be in one slot.
    pub async fn script<T: FromRedisValue>(
        &self,
        operation: Operation,
        script: &Script,
        arguments: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T, RedisError> {
        let mut invocation = script.prepare_invoke();
        arguments(&mut invocation);
        self.with(operation, |mut link| async move { invocation.invoke_async(&mut link).await })
            .await
    }

    /// Keys of one pattern, a page of them: the servers that have keys are looked through one after the other. `None`
    /// begins, and is given behind the last page. Keys may come twice.
    async fn scan(
        &self,
        operation: Operation,
        pattern: &str,
        page: Option<Page>,
    ) -> Result<(Vec<String>, Option<Page>), RedisError> {
        let mut page = match page {
            Some(page) => page,
            None => {
                let asked = self.with(operation, |mut link| async move { link.masters().await });
                let masters = asked
                    .await?
                    .map_or_else(|| vec![None], |masters| masters.into_iter().map(Some).collect());
                Page { masters, cursor: 0 }
            }
        };
        let Some(master) = page.masters.last().cloned() else { return Ok((Vec::new(), None)) };
        let mut scan = redis::cmd("SCAN");
        scan.arg(page.cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCANNED);
        let found = self.with(operation, |mut link| async move {
            redis::from_redis_value(link.ask(master, scan).await?).map_err(Into::into)
        });
        let (cursor, keys): (u64, Vec<String>) = found.await?;
        page.cursor = cursor;
        if cursor == 0 {
            page.masters.pop();
        }
        Ok((keys, (!page.masters.is_empty()).then_some(page)))
    }

    async fn with<T, F>(
        &self,
        operation: Operation,
        ask: impl FnOnce(Link) -> F,
    ) -> Result<T, RedisError>
    where
        F: Future<Output = Result<T, redis::RedisError>>,
    {
        let began = Instant::now();
        let result = self.ask(ask).await;
        self.0.figures.count(operation, began.elapsed(), result.as_ref().err());
        result
    }

    async fn ask<T, F>(&self, ask: impl FnOnce(Link) -> F) -> Result<T, RedisError>
    where
        F: Future<Output = Result<T, redis::RedisError>>,
    {
        let Some(link) = self.0.link.read().clone() else { return Err(RedisError::Away) };
        let Ok(_place) = self.0.waiting.try_acquire() else { return Err(RedisError::Busy) };
        let number = link.number;
        match tokio::time::timeout(self.0.timeout, ask(link)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_answer(&error) => {
                self.0.note(&error);
                Err(RedisError::Refused(error.to_string()))
            }
            Ok(Err(error)) => Err(self.0.lose(number, &error.to_string())),
            Err(_) => Err(self
                .0
                .lose(number, &format!("nothing within {} ms", self.0.timeout.as_millis()))),
        }
    }
}

impl Inner {
    /// Gives everybody this connection. Who loses it at once waits for the lock: otherwise it would be said to be there
    /// after it has been taken away, and nobody would look for another one.
    fn found(&self, found: Link) {
        let mut link = self.link.write();
        let number = found.number;
        *link = Some(found);
        self.presence.send_modify(|now| *now = Presence { up: true, connection: number });
    }

    /// Takes this connection away, unless another one is there already.
    fn lose(&self, number: u64, reason: &str) -> RedisError {
        let mut link = self.link.write();
        if link.as_ref().is_some_and(|link| link.number == number) {
            *link = None;
            self.presence.send_modify(|presence| presence.up = false);
            self.failed.notify_one();
            tracing::warn!(redis = %self.address, reason, "Redis is away");
        }
        RedisError::Lost(reason.to_owned())
    }

    /// Notes it if the server takes no writes; the log is told once.
    fn note(&self, error: &redis::RedisError) {
        if takes_no_writes(error) && self.refused.lock().replace(Instant::now()).is_none() {
            tracing::warn!(redis = %self.address, %error, "Redis takes no writes");
        }
    }

    /// Forgets a refusal that is believed no more.
    fn forgive(&self) {
        let mut refused = self.refused.lock();
        if refused.is_some_and(|at| at.elapsed() >= BELIEVED) {
            *refused = None;
            tracing::info!(redis = %self.address, "Redis takes writes again");
        }
    }
}

/// Whether this is what the server said, rather than its silence.
fn is_answer(error: &redis::RedisError) -> bool {
    let said = matches!(
        error.kind(),
        ErrorKind::Server(_) | ErrorKind::UnexpectedReturnType | ErrorKind::Extension
    );
    said && !error.is_unrecoverable_error()
}

/// Whether this refuses all writes, and not only this one.
fn takes_no_writes(error: &redis::RedisError) -> bool {
    let refuses = |code: &str| TAKES_NO_WRITES.contains(&code);
    if error.code().is_some_and(refuses) {
        return true;
    }
    // That of a pipeline has a code for each command.
    let of_commands = error.clone().into_server_errors();
    of_commands.is_some_and(|errors| errors.iter().any(|(_, error)| refuses(error.code())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_full_is_told_from_one_that_refuses_a_mistake() {
        let said = |code: &str| redis::make_extension_error(code.to_owned(), None);
        assert!(takes_no_writes(&said("OOM")) && takes_no_writes(&said("MISCONF")));
        assert!(!takes_no_writes(&said("WRONGTYPE")) && !takes_no_writes(&said("NOPERM")));
    }
}
