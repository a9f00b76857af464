//! Who is in the cluster changes while it is used: a node goes and a new one comes, the lead is handed over.

use std::time::{Duration, Instant};

use super::process::any;
use super::{Outcome, Strike};
use crate::broken::Broken;

/// Longest wait until a node says what was done.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Calls to new members could not be told apart: what is between two nodes would not reach all of them.
const UNKNOWN: &str = "nobody knows who calls a new member; it takes a C compiler";
const ALONE: &str = "nobody leads, or nobody follows";

/// A follower is removed, its folder is wiped, and a new node on it is a learner and then a voter.
pub(super) async fn exchange(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some((leader, follower)) = pair(strike).await else { return Ok(Outcome::skipped(ALONE)) };
    if !strike.cluster.links.knows_callers() {
        return Ok(Outcome::skipped(UNKNOWN));
    }
    // Another one may go only when nobody is missing.
    let everybody = |members: &[u64]| {
        strike.cluster.all().into_iter().all(|at| members.contains(&strike.cluster.id(at)))
    };
    if !members_become(strike, leader, everybody).await {
        return Ok(Outcome::skipped("a node is missing already"));
    }
    strike.begins(&[follower]);
    let former = strike.cluster.id(follower);
    strike.cluster.insist(leader, &["cluster", "remove", &former.to_string()]).await?;
    let is_out = members_become(strike, leader, |members| !members.contains(&former)).await;
    // It lives, and knows that it is out.
    strike.hold().await;
    if !strike.cluster.stop(follower).await {
        strike.found("no-orderly-stop", &"a node that was removed did not end with code 0");
    }
    let new = strike.cluster.replace(follower, leader).await?;
    let is_in = members_become(strike, leader, |members| members.contains(&new)).await;
    strike.found("exchanged", &format!("node {former} for node {new}"));
    Ok(Outcome::unless(is_out && is_in, "the members are not those that they were made to be"))
}

/// The leader gives the lead to a certain follower.
pub(super) async fn transfer(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some((leader, follower)) = pair(strike).await else { return Ok(Outcome::skipped(ALONE)) };
    strike.begins(&[leader, follower]);
    let next = strike.cluster.id(follower).to_string();
    let by = any(strike);
    strike.cluster.insist(by, &["cluster", "transfer-leader", &next]).await?;
    let leads = strike.leader().await;
    strike.hold().await;
    Ok(Outcome::unless(leads == Some(follower), "somebody else leads"))
}

async fn pair(strike: &mut Strike<'_>) -> Option<(usize, usize)> {
    let (leader, size) = (strike.leader().await?, strike.cluster.size());
    (size > 1).then(|| (leader, (leader + 1 + any(strike) % (size - 1)) % size))
}

/// Whether a node soon tells of such members.
pub(super) async fn members_become(
    strike: &Strike<'_>,
    at: usize,
    are: impl Fn(&[u64]) -> bool,
) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if strike.cluster.status(at).await.is_some_and(|status| are(&status.members)) {
            return true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    false
}
