//! Redis is away, empty, silent, or out of one node's reach.

use super::process::any;
use super::{Outcome, Strike};
use crate::broken::Broken;
use crate::cluster::links::{Condition, End, both};

const NONE: &str = "there is no Redis";

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
