//! Disks that are slow, fail, are full, or forget what was not synced.

use std::time::Duration;

use super::process::any;
use super::{Kind, Outcome, Strike};
use crate::broken::{Broken, Doing as _};
use crate::client::Http;
use crate::cluster::disk::Condition;

pub(super) const SLOW_MS: u32 = 200;
/// What a sync must have taken on average for the slow disk to count.
const SLOW_SEEN: f64 = 0.1;
/// Longest wait for the end of a node whose disk fails.
const DEATH_PATIENCE: Duration = Duration::from_secs(15);
pub(super) const NONE: &str = "the nodes' disks can't fail here";
/// Longest wait for a node's numbers: its disk is slow.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn slow(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(leader) = strike.leader().await else { return Ok(Outcome::skipped("nobody leads")) };
    if !becomes(strike, leader, Condition::Healthy).await {
        return Ok(Outcome::skipped(NONE));
    }
    strike.begins(&[leader]);
    let before = syncs(strike, leader).await;
    becomes(strike, leader, Condition::Slow(SLOW_MS)).await;
    strike.hold().await;
    let after = syncs(strike, leader).await;
    becomes(strike, leader, Condition::Healthy).await;
    let (Some((count, time)), Some((more, longer))) = (before, after) else {
        return Ok(Outcome::indeterminate("the node does not say how long its syncs take"));
    };
    let mean = (longer - time) / (more - count).max(1.0);
    Ok(Outcome::unless(mean >= SLOW_SEEN, &format!("a sync took {mean:.3} s")))
}

/// The disk fails, the node must end, and what it had not synced is gone.
pub(super) async fn fails(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let (victim, condition) = match strike.kind {
        Kind::DiskFull => (Some(any(strike)), Condition::Full),
        _ => (strike.leader().await, Condition::Broken),
    };
    let Some(victim) = victim else { return Ok(Outcome::skipped("nobody leads")) };
    if !becomes(strike, victim, Condition::Healthy).await {
        return Ok(Outcome::skipped(NONE));
    }
    strike.begins(&[victim]);
    becomes(strike, victim, condition).await;
    let died = strike.cluster.node(victim).await.dies_within(DEATH_PATIENCE).await;
    match died {
        Some(status) => strike.cluster.died(victim, status),
        None => {
            strike.found("goes-on-without-a-disk", &format!("node {}", victim + 1));
            strike.cluster.kill(victim).await;
        }
    }
    roll_back(strike, victim).await?;
    becomes(strike, victim, Condition::Healthy).await;
    let back = strike.restart(&[victim]).await;
    Ok(Outcome::unless(died.is_some() && back, "it did not end, or did not come back"))
}

pub(super) async fn power_cut(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let size = strike.cluster.size();
    let victims = match strike.kind {
        Kind::PowerAll | Kind::PowerSlow => strike.cluster.all(),
        Kind::PowerTwo => {
            let Some(leader) = strike.leader().await else {
                return Ok(Outcome::skipped("nobody leads"));
            };
            vec![leader, (leader + 1 + any(strike) % (size - 1)) % size]
        }
        _ => vec![any(strike)],
    };
    if strike.cluster.node(victims[0]).await.disk().is_none() {
        return Ok(Outcome::skipped(NONE));
    }
    strike.begins(&victims);
    if strike.kind == Kind::PowerSlow {
        // What was not synced is more then, and must not have been acknowledged.
        all_become(strike, &victims, Condition::Slow(SLOW_MS)).await;
        strike.hold().await;
    }
    let killed = cut(strike, &victims).await?;
    all_become(strike, &victims, Condition::Healthy).await;
    tokio::time::sleep(strike.holds / 4).await;
    let back = strike.restart(&victims).await;
    Ok(Outcome::unless(killed && back, "not all ran, or not all came back"))
}

/// The power of these nodes goes at one moment.
async fn cut(strike: &Strike<'_>, victims: &[usize]) -> Result<bool, Broken> {
    let killing = victims.iter().map(|at| strike.cluster.kill(*at));
    let killed = futures::future::join_all(killing).await;
    for at in victims {
        roll_back(strike, *at).await?;
    }
    Ok(killed.into_iter().all(|killed| killed))
}

async fn roll_back(strike: &Strike<'_>, at: usize) -> Result<usize, Broken> {
    let node = strike.cluster.node(at).await;
    let (disk, folder) = (node.disk(), node.folder());
    let disk = disk.ok_or_else(|| Broken::new("cut the power", NONE))?;
    let undone = tokio::task::block_in_place(|| {
        // What can't be undone is a failure of this program, not of the server.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disk.roll_back(folder)))
    });
    let undone = undone.map_err(|_| "the image is not what it should be");
    undone.doing("undo what was not synced")
}

pub(super) async fn becomes(strike: &Strike<'_>, at: usize, condition: Condition) -> bool {
    let node = strike.cluster.node(at).await;
    node.disk().map(|disk| disk.becomes(condition)).is_some()
}

async fn all_become(strike: &Strike<'_>, victims: &[usize], condition: Condition) {
    for at in victims {
        becomes(strike, *at, condition).await;
    }
}

/// How many syncs the log has waited for, and how long in all.
async fn syncs(strike: &Strike<'_>, at: usize) -> Option<(f64, f64)> {
    let page = Http::get(strike.cluster.address(at), "/metrics").send(PATIENCE).await.ok()?;
    let value = |name: &str| -> Option<f64> {
        let line = page.body.as_str()?.lines().find(|line| line.starts_with(name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let name = "serverv2_log_sync_duration_seconds";
    Some((value(&format!("{name}_count"))?, value(&format!("{name}_sum"))?))
}
