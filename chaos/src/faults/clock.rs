//! A wall clock that is set back or ahead while its node runs, and clocks that run too fast.

use std::time::{Duration, SystemTime};

use rand::Rng as _;

use super::process::any;
use super::{Kind, Outcome, Strike};
use crate::broken::{Broken, Doing as _};
use crate::client::Http;
use crate::cluster::clock::Clock;
use crate::times::{SECOND, since_epoch};

/// How far the clock is set, seconds.
const FAR: i64 = 120;
/// By how much what a node says of the time may differ from what it was set to: it says it a moment ago.
const NEAR: i64 = 15;
/// A clock that runs half as fast again has gained half of the time; a third of it is proof enough.
const GAINED_PART: u128 = 3;
const MILLISECOND: i64 = 1_000_000;
/// Longest wait for a node's time.
const PATIENCE: Duration = Duration::from_secs(5);
const NONE: &str = "the nodes have no clocks of their own here";

pub(super) async fn jump(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    // The leader stamps what the log decides by.
    let leader = if strike.rng.random_bool(0.5) { strike.leader().await } else { None };
    let victim = match leader {
        Some(leader) => leader,
        None => any(strike),
    };
    let far = if strike.kind == Kind::ClockBack { -FAR } else { FAR };
    if strike.cluster.node(victim).await.clock().is_none() {
        return Ok(Outcome::skipped(NONE));
    }
    strike.begins(&[victim]);
    set(strike, victim, far).await?;
    let set_off = off_by(strike, victim).await;
    strike.hold().await;
    set(strike, victim, 0).await?;
    let set_right = off_by(strike, victim).await;
    let (Some(there), Some(back)) = (set_off, set_right) else {
        return Ok(Outcome::indeterminate("the node does not say what time it is"));
    };
    let (there, back) = (there / SECOND, back / SECOND);
    let happened = (there - far).abs() <= NEAR && back.abs() <= NEAR;
    Ok(Outcome::unless(happened, &format!("it was {there} s off, and {back} s afterwards")))
}

/// All clocks of a node run half as fast again, also those that nobody can set.
pub(super) async fn fast(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let victim = any(strike);
    let before = off_by(strike, victim).await;
    strike.begins(&[victim]);
    if !of_clock(strike, victim, Clock::are_fast).await?.unwrap_or_default() {
        return Ok(Outcome::skipped(NONE));
    }
    strike.hold().await;
    of_clock(strike, victim, Clock::are_right).await?;
    let after = off_by(strike, victim).await;
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(Outcome::indeterminate("the node does not say what time it is"));
    };
    let wanted = i64::try_from(strike.holds.as_nanos() / GAINED_PART).unwrap_or(i64::MAX);
    let gained = after - before;
    Ok(Outcome::unless(gained >= wanted, &format!("it gained {} ms", gained / MILLISECOND)))
}

/// Does something to a node's clock, if it has one.
async fn of_clock<T>(
    strike: &Strike<'_>,
    at: usize,
    does: impl FnOnce(&Clock) -> Result<T, Broken>,
) -> Result<Option<T>, Broken> {
    let node = strike.cluster.node(at).await;
    node.clock().map(does).transpose()
}

async fn set(strike: &Strike<'_>, at: usize, seconds: i64) -> Result<(), Broken> {
    of_clock(strike, at, |clock| clock.is_off_by(seconds)).await.map(drop)
}

/// How many nanoseconds a node is ahead of us, as it says itself.
async fn off_by(strike: &Strike<'_>, at: usize) -> Option<i64> {
    let page = Http::get(strike.cluster.address(at), "/health").send(PATIENCE).await.ok()?;
    let theirs = since_epoch(page.body["timestamp"].as_str()?)?;
    let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let ours = i64::try_from(ours.doing("read the clock").ok()?.as_nanos()).ok()?;
    Some(theirs - ours)
}
