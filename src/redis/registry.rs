//! The registry (`service:*`, contract 7.1): each instance says where it is and how it is, for whoever
//! looks from outside. Nothing here is read for a decision of the game.
//!
//! All that an instance says is written again each [`HEARTBEAT`], so that it is there again soon after a
//! `FLUSHALL` or a restart of Redis. What is not written any more expires; ids without an instance are removed
//! by those that live.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::cmd;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{debug, info};

use super::{Operation, Redis, RedisError, keys};
use crate::balance::{Condition, Health, Instance, LocalCondition};

/// How often an instance says how it is.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often it is looked whether it is otherwise than it said.
const LOOK: Duration = Duration::from_millis(250);
/// How long what it said is kept.
const SILENCE: Duration = Duration::from_secs(120);
/// How often ids without an instance are removed.
const SWEEP: Duration = Duration::from_secs(60);

/// What other services are told of it beside that.
#[derive(Clone, Debug)]
pub struct Member {
    /// Number of the node in its cluster.
    pub node: u64,
    /// The cluster's name.
    pub cluster: String,
}

/// An instance that says how it is until it leaves.
pub struct Registration {
    redis: Redis,
    id: String,
    keeping: JoinHandle<()>,
}

impl Registration {
    /// Begins to say how it is.
    pub fn start(redis: Redis, member: Member, local: Arc<LocalCondition>) -> Self {
        let id = local.instance().id.clone();
        let keeping = tokio::spawn(keep(redis.clone(), member, local));
        Self { redis, id, keeping }
    }

    /// Takes this instance out, if Redis is there.
    pub async fn leave(&self) {
        self.keeping.abort();
        if let Err(error) = remove(&self.redis, &self.id).await {
            debug!(%error, "the registry was not told that this instance goes");
        }
    }
}

async fn remove(redis: &Redis, id: &str) -> Result<(), RedisError> {
    let key = keys::instance(redis.prefix(), id);
    let () = redis.call(Operation::Registry, cmd("DEL").arg(key)).await?;
    let set = keys::instances(redis.prefix());
    redis.call(Operation::Registry, cmd("SREM").arg(set).arg(id)).await
}

async fn keep(redis: Redis, member: Member, local: Arc<LocalCondition>) {
    let mut said: Option<(Instant, Health)> = None;
    let mut swept = Instant::now();
    let mut presence = redis.watch();
    loop {
        let now = local.now();
        let due = said.is_none_or(|(at, health)| at.elapsed() >= HEARTBEAT || health != now.health);
        if due {
            match write(&redis, &member, local.instance(), now).await {
                Ok(()) => said = Some((Instant::now(), now.health)),
                Err(error) => debug!(%error, "the registry was not told of this instance"),
            }
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            if let Err(error) = sweep(&redis).await {
                debug!(%error, "the registry was not swept");
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            // A Redis that has come back may know nothing.
            _ = presence.changed() => said = None,
        }
    }
}

async fn write(
    redis: &Redis,
    member: &Member,
    it: &Instance,
    now: Condition,
) -> Result<(), RedisError> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let metadata = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"), "node": member.node, "cluster": member.cluster,
    });
    let key = keys::instance(redis.prefix(), &it.id);
    let mut hash = redis::pipe();
    hash.cmd("HSET").arg(&key).arg("id").arg(&it.id);
    hash.arg("host").arg(&it.host).arg("port").arg(it.port);
    hash.arg("status").arg(now.health.name());
    hash.arg("lastHeartbeat").arg(u64::try_from(wall).unwrap_or(u64::MAX));
    hash.arg("connections").arg(now.connections);
    hash.arg("load").arg(format!("{:.1}", now.load));
    hash.arg("metadata").arg(metadata.to_string()).ignore();
    hash.cmd("EXPIRE").arg(&key).arg(SILENCE.as_secs()).ignore();
    // The set is in another slot: a round trip of its own.
    let () = redis.pipe(Operation::Registry, &hash).await?;
    let set = keys::instances(redis.prefix());
    redis.call(Operation::Registry, cmd("SADD").arg(set).arg(&it.id)).await
}

/// Removes ids whose instance has expired.
async fn sweep(redis: &Redis) -> Result<(), RedisError> {
    let set = keys::instances(redis.prefix());
    let ids: Vec<String> = redis.call(Operation::Registry, cmd("SMEMBERS").arg(&set)).await?;
    for id in ids {
        let key = keys::instance(redis.prefix(), &id);
        let lives: bool = redis.call(Operation::Registry, cmd("EXISTS").arg(key)).await?;
        if !lives {
            info!(instance = id, "an instance is gone from the registry");
            let () = redis.call(Operation::Registry, cmd("SREM").arg(&set).arg(&id)).await?;
        }
    }
    Ok(())
}
