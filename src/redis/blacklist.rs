//! Revoked tokens (`auth:blacklist:*`, contract 7.3), in both directions.
//!
//! What this cluster revokes is decided in the log and written here for other services: at once by whoever was
//! asked, and all of it by the leader whenever a Redis has come back, has lost what was in it, or another node leads;
//! and by whoever could not write what he was asked for, once he can. What other services
//! revoke is looked up here, remembered for [`FRESH_FOR`], and put into the log as soon as somebody comes with
//! such a token, or is found to be connected by one (`gateway/revoked.rs`): from then on it holds without Redis, too.
//! While Redis is away the log alone decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use parking_lot::Mutex;
use redis::{Pipeline, cmd};
use serverv2_machine::{LogTime, TokenId};
use serverv2_raft::Cluster;
use tokio::time::{interval, sleep};
use tracing::{debug, info};

use super::mirror::Mirror;
use super::{Operation, Redis, RedisError, keys};

/// How long what Redis said of a token is remembered.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How many tokens are remembered; when all are fresh, all are forgotten.
const TOKENS_MAX: usize = 20_000;
/// How often it is looked whether all revocations have to be written again.
const LOOK: Duration = Duration::from_millis(500);
/// How often all are written again for no reason: somebody may have removed one.
const SWEEP: Duration = Duration::from_secs(600);
/// Revocations written at once.
const BATCH: usize = 200;
/// Tokens that may be asked for in one go.
pub(crate) const PAGE: usize = 200;
/// Of these, so many at once where each is asked for alone.
const AT_ONCE: usize = 16;
/// Pause between two writes.
const PAUSE: Duration = Duration::from_millis(2);

/// See the module's text.
pub struct Blacklist {
    redis: Redis,
    seen: Mutex<HashMap<TokenId, (Instant, bool)>>,
    /// This node could not write a revocation.
    missing: AtomicBool,
}

impl Blacklist {
    /// The blacklist in this Redis.
    pub fn new(redis: Redis) -> Arc<Self> {
        Arc::new(Self { redis, seen: Mutex::default(), missing: AtomicBool::new(false) })
    }

    /// Whether somebody has put this token there; false while Redis is away.
    pub async fn has(&self, token: TokenId) -> bool {
        let now = Instant::now();
        if let Some((at, revoked)) = self.seen.lock().get(&token).copied()
            && now.duration_since(at) < FRESH_FOR
        {
            return revoked;
        }
        let key = keys::revoked(self.redis.prefix(), &token);
        match self.redis.call(Operation::Blacklist, cmd("EXISTS").arg(key)).await {
            Ok(revoked) => {
                self.remember(token, now, revoked);
                revoked
            }
            Err(error) => {
                debug!(%error, "the blacklist could not be asked");
                false
            }
        }
    }

    /// Which of these somebody has put there: one command for all of them where there is one server, and none of them is
    /// looked at one by one unless it says that there is one. At most [`PAGE`] of them.
    pub(crate) async fn those_of(&self, page: &[TokenId]) -> Result<Vec<TokenId>, RedisError> {
        let key = |token| keys::revoked(self.redis.prefix(), token);
        if !self.is_spread() {
            let mut all = cmd("EXISTS");
            for token in page {
                all.arg(key(token));
            }
            let count: usize = self.redis.call(Operation::Blacklist, &all).await?;
            if count == 0 {
                return Ok(Vec::new());
            }
        }
        let mut revoked = Vec::new();
        for some in page.chunks(AT_ONCE) {
            let asking = some.iter().map(|token| async move {
                let mut one = cmd("EXISTS");
                let asked = self.redis.call(Operation::Blacklist, one.arg(key(token)));
                Ok((*token, asked.await?))
            });
            let told: Vec<(TokenId, bool)> = try_join_all(asking).await?;
            revoked.extend(told.into_iter().filter(|(_, there)| *there).map(|(token, _)| token));
        }
        Ok(revoked)
    }

    /// Each key of a Redis Cluster may be in another slot.
    fn is_spread(&self) -> bool {
        self.redis.info().is_some_and(|info| info.cluster)
    }

    fn remember(&self, token: TokenId, now: Instant, revoked: bool) {
        let mut seen = self.seen.lock();
        if seen.len() >= TOKENS_MAX {
            seen.retain(|_, (at, _)| now.duration_since(*at) < FRESH_FOR);
        }
        if seen.len() >= TOKENS_MAX {
            seen.clear();
        }
        seen.insert(token, (now, revoked));
    }

    /// A token of this cluster counts no more, for so long as its signature is good.
    pub async fn write(&self, token: TokenId, remaining_ms: u64) {
        let mut pipeline = redis::pipe();
        add(&mut pipeline, self.redis.prefix(), token, remaining_ms);
        let written: Result<(), RedisError> =
            self.redis.pipe(Operation::Blacklist, &pipeline).await;
        if let Err(error) = written {
            debug!(%error, "a revocation is written once Redis takes it");
            self.missing.store(true, Ordering::Relaxed);
        }
    }

    /// Writes all that is revoked whenever some of it may be missing there.
    pub async fn keep(self: Arc<Self>, cluster: Cluster, mirror: Arc<Mirror>) {
        let mut written: Option<((u64, u64), Instant)> = None;
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let presence = self.redis.presence();
            let leads = cluster.status().is_leader;
            // The mirror notices a Redis that was emptied, on a connection that lives on.
            let now = (presence.connection, mirror.projections());
            let done = written.is_some_and(|(at, when)| at == now && when.elapsed() < SWEEP);
            if !leads {
                written = None;
            }
            let due = (leads && !done) || self.missing.load(Ordering::Relaxed);
            if !presence.up || !due {
                continue;
            }
            // First: what can't be written meanwhile is missing once more.
            self.missing.store(false, Ordering::Relaxed);
            match self.write_all(&cluster).await {
                Ok(count) => {
                    if count > 0 {
                        info!(revocations = count, "the blacklist in Redis is complete");
                    }
                    written = leads.then(|| (now, Instant::now()));
                }
                Err(error) => {
                    debug!(%error, "the blacklist could not be written");
                    self.missing.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    async fn write_all(&self, cluster: &Cluster) -> Result<usize, RedisError> {
        let revoked: Vec<(TokenId, LogTime)> =
            cluster.read(|machine, _| machine.revocations().collect()).value;
        let now = cluster.log_time();
        let batch = if self.is_spread() { 1 } else { BATCH };
        for some in revoked.chunks(batch) {
            let mut pipeline = redis::pipe();
            for (token, end) in some {
                add(&mut pipeline, self.redis.prefix(), *token, end.ms_since(now));
            }
            let () = self.redis.pipe(Operation::Blacklist, &pipeline).await?;
            sleep(PAUSE).await;
        }
        Ok(revoked.len())
    }
}

fn add(pipeline: &mut Pipeline, prefix: &str, token: TokenId, remaining_ms: u64) {
    if remaining_ms == 0 {
        return;
    }
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let wall = u64::try_from(wall).unwrap_or(u64::MAX);
    let key = keys::revoked(prefix, &token);
    pipeline.cmd("HSET").arg(&key).arg("jti").arg(token.as_str());
    pipeline.arg("expiry").arg(wall.saturating_add(remaining_ms));
    pipeline.arg("reason").arg("revoked").ignore();
    pipeline.cmd("HSETNX").arg(&key).arg("revokedAt").arg(wall).ignore();
    // Its largest value is far beyond any token's life.
    let remaining = i64::try_from(remaining_ms).unwrap_or(i64::MAX / 2);
    pipeline.cmd("PEXPIRE").arg(&key).arg(remaining).ignore();
}
