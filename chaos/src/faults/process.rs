//! Processes that die, hang, or are asked to stop.

use std::time::Duration;

use rand::Rng as _;

use super::{Kind, Outcome, Strike};
use crate::broken::Broken;
use crate::cluster::links::End;

/// How long a resumed node is left alone before the next step.
const SETTLE: Duration = Duration::from_millis(500);

pub(super) async fn kill_one(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let wants_leader = strike.kind == Kind::KillLeader;
    let victim = if wants_leader { strike.leader().await } else { Some(any(strike)) };
    let Some(victim) = victim else { return Ok(Outcome::skipped("nobody leads")) };
    strike.begins(&[victim]);
    // Whoever leads may have changed since it was asked.
    let led = strike.cluster.status(victim).await.and_then(|status| status.leader);
    let killed = strike.cluster.kill(victim).await;
    strike.hold().await;
    let back = strike.restart(&[victim]).await;
    let leads = !wants_leader || led == Some(strike.cluster.id(victim));
    Ok(if !leads {
        Outcome::indeterminate("it did not lead any more")
    } else {
        Outcome::unless(killed && back, "it did not run, or did not come back")
    })
}

pub(super) async fn kill_all(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let all = strike.cluster.all();
    strike.begins(&all);
    let killing = all.iter().map(|at| strike.cluster.kill(*at));
    let killed = futures::future::join_all(killing).await;
    strike.hold().await;
    let back = strike.restart(&all).await;
    let all_died = killed.iter().all(|killed| *killed);
    Ok(Outcome::unless(all_died && back, "not all ran, or not all came back"))
}

pub(super) async fn rolling(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let all = strike.cluster.all();
    strike.begins(&all);
    let (mut orderly, mut back) = (true, true);
    for at in all {
        orderly &= strike.cluster.stop(at).await;
        back &= strike.restart(&[at]).await;
    }
    if !orderly {
        strike.found("no-orderly-stop", &"a node did not end with code 0 when it was asked to");
    }
    Ok(Outcome::unless(back, "a node did not come back"))
}

pub(super) async fn pause_leader(strike: &mut Strike<'_>, times: f64) -> Result<Outcome, Broken> {
    let Some(leader) = strike.leader().await else { return Ok(Outcome::skipped("nobody leads")) };
    let election = Duration::from_millis(strike.cluster.make.election_ms.1);
    pause(strike, leader, election.mul_f64(times)).await
}

pub(super) async fn pause_any(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let (victim, holds) = (any(strike), strike.holds);
    pause(strike, victim, holds).await
}

async fn pause(strike: &Strike<'_>, victim: usize, how_long: Duration) -> Result<Outcome, Broken> {
    strike.begins(&[victim]);
    let paused = {
        // Held, so that nobody takes it for dead meanwhile.
        let mut node = strike.cluster.node(victim).await;
        let paused = node.pause().await;
        tokio::time::sleep(how_long).await;
        paused & node.unpause()
    };
    tokio::time::sleep(SETTLE).await;
    Ok(Outcome::unless(paused, "the kernel did not stop it"))
}

/// Any node.
pub(super) fn any(strike: &mut Strike<'_>) -> usize {
    strike.rng.random_range(0..strike.cluster.size())
}

/// All nodes but this one.
pub(super) fn others(strike: &Strike<'_>, than: usize) -> impl Iterator<Item = End> + use<> {
    (0..strike.cluster.size()).filter(move |at| *at != than).map(End::Node)
}
