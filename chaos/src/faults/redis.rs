//! Redis is away, empty, silent, full, or out of one node's reach.

use std::time::{Duration, Instant};

use super::process::any;
use super::{Outcome, Strike};
use crate::broken::Broken;
use crate::cluster::links::{Condition, End, both};

const NONE: &str = "there is no Redis";
/// Pause between two tries to write into a Redis that is full.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// What a Redis that is full answers to a write.
const OOM: &str = "OOM";
/// No key of the server's.
const PROBE_KEY: &str = "probe";

pub(super) async fn kill(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(redis) = &strike.cluster.redis else { return Ok(Outcome::skipped(NONE)) };
    strike.begins_at(vec![End::Redis.to_string()]);
    strike.cluster.links.shut(End::Redis, true);
    let mut redis = redis.lock().await;
    let killed = redis.kill();
    strike.hold().await;
    redis.start_again().await?;
    strike.cluster.links.shut(End::Redis, false);
    Ok(Outcome::unless(killed, "it did not run"))
}

pub(super) async fn flush(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(redis) = &strike.cluster.redis else { return Ok(Outcome::skipped(NONE)) };
    strike.begins_at(vec![End::Redis.to_string()]);
    let redis = redis.lock().await;
    let before: u64 = redis.ask(&::redis::cmd("DBSIZE")).await?;
    redis.ask::<()>(&::redis::cmd("FLUSHALL")).await?;
    Ok(Outcome::unless(before > 0, "there was nothing in it"))
}

pub(super) async fn pause(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(redis) = &strike.cluster.redis else { return Ok(Outcome::skipped(NONE)) };
    strike.begins_at(vec![End::Redis.to_string()]);
    let mut redis = redis.lock().await;
    let paused = redis.pause();
    strike.hold().await;
    let goes_on = redis.unpause();
    Ok(Outcome::unless(paused && goes_on, "it could not be stopped"))
}

pub(super) async fn cut(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    if strike.cluster.redis.is_none() {
        return Ok(Outcome::skipped(NONE));
    }
    // The leader writes the mirror: it has the most to lose there.
    let victim = match strike.leader().await {
        Some(leader) => leader,
        None => any(strike),
    };
    strike.begins_at(vec![(victim + 1).to_string(), End::Redis.to_string()]);
    let ways = both(End::Node(victim), End::Redis);
    let before = strike.cluster.links.hindered(&ways);
    strike.cluster.links.set(ways, Condition { cut: true, ..Condition::default() });
    strike.hold().await;
    strike.cluster.links.heal(ways);
    let hindered = strike.cluster.links.hindered(&ways) > before;
    Ok(Outcome::unless(hindered, "nothing was sent on this way"))
}

/// It may hold less than it does, and evicts nothing: whatever takes room is refused. It was full if each write of
/// ours was refused for that reason, and is not any more if the last one is taken.
pub(super) async fn full(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(redis) = &strike.cluster.redis else { return Ok(Outcome::skipped(NONE)) };
    strike.begins_at(vec![End::Redis.to_string()]);
    let redis = redis.lock().await;
    let limit = |bytes: u64| {
        let mut command = ::redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(bytes);
        command
    };
    let probe = {
        let mut command = ::redis::cmd("SET");
        command.arg(PROBE_KEY).arg("x");
        command
    };
    redis.ask::<()>(&limit(1)).await?;
    let (end, mut refused) = (Instant::now() + strike.holds, true);
    while Instant::now() < end {
        let taken = redis.ask::<()>(&probe).await;
        refused &= taken.is_err_and(|error| error.to_string().contains(OOM));
        tokio::time::sleep(PROBE_EVERY).await;
    }
    redis.ask::<()>(&limit(0)).await?;
    let takes_again = redis.ask::<()>(&probe).await.is_ok();
    Ok(Outcome::unless(refused && takes_again, "it took a write, or takes none any more"))
}
