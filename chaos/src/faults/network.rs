//! Ways between nodes that are cut, in one direction or both, slow, or narrow.

use std::time::{Duration, Instant};

use super::process::{any, others};
use super::{Kind, Outcome, Strike};
use crate::broken::Broken;
use crate::cluster::links::{Condition, End, Way, both};

const CUT: Condition = Condition {
    cut: true,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    bytes_per_second: None,
    loss_percent: 0,
};
const LATE: Duration = Duration::from_millis(50);
/// 64 kbit.
const NARROW_BYTES: u64 = 8_000;
const LOST_PERCENT: u8 = 20;
const FLAP: Duration = Duration::from_millis(200);

/// One condition on some ways, for as long as the strike lasts.
pub(super) async fn weather(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(leader) = strike.leader().await else { return Ok(Outcome::skipped("nobody leads")) };
    let size = strike.cluster.size();
    let follower = (leader + 1 + any(strike) % (size - 1)) % size;
    let late = Condition { delay: LATE, jitter: LATE, ..Condition::default() };
    let narrow = Condition { bytes_per_second: Some(NARROW_BYTES), ..Condition::default() };
    let lossy = Condition { loss_percent: LOST_PERCENT, ..Condition::default() };
    let (whom, ways, condition) = match strike.kind {
        Kind::LeaderInMinority => (vec![leader], around(strike, leader), CUT),
        Kind::LeaderInMajority => (vec![follower], around(strike, follower), CUT),
        Kind::Isolate => {
            let victim = any(strike);
            let redis = strike.cluster.redis.as_ref().map(|_| both(End::Node(victim), End::Redis));
            let ways = around(strike, victim);
            (vec![victim], ways.into_iter().chain(redis.into_iter().flatten()).collect(), CUT)
        }
        Kind::OneWayIn => (vec![leader], into(strike, leader), CUT),
        Kind::OneWayOut => (vec![leader], out_of(strike, leader), CUT),
        // Followers have nothing to say to each other: the leader is one of the two.
        Kind::Bridge => {
            let ways = both(End::Node(leader), End::Node(follower));
            (vec![leader, follower], ways.to_vec(), CUT)
        }
        Kind::NarrowLink => (vec![follower], around(strike, follower), narrow),
        Kind::Loss => (vec![leader], around(strike, leader), lossy),
        _ => (vec![leader], around(strike, leader), late),
    };
    strike.begins(&whom);
    let before = strike.cluster.links.hindered(&ways);
    strike.cluster.links.set(ways.iter().copied(), condition);
    strike.hold().await;
    strike.cluster.links.heal(ways.iter().copied());
    let hindered = strike.cluster.links.hindered(&ways) > before;
    Ok(Outcome::unless(hindered, "nothing was sent on these ways"))
}

/// Takes a container off its network, and puts it back.
pub(super) async fn disconnect(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let victim = any(strike);
    let Some(container) = strike.cluster.node(victim).await.container() else {
        return Ok(Outcome::skipped("it is in no container"));
    };
    strike.begins(&[victim]);
    tokio::task::block_in_place(|| container.disconnect())?;
    let is_away = strike.cluster.status(victim).await.is_none();
    strike.hold().await;
    tokio::task::block_in_place(|| container.connect())?;
    Ok(Outcome::unless(is_away, "it could still be reached"))
}

/// Cuts and heals the leader's ways again and again.
pub(super) async fn flapping(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    let Some(leader) = strike.leader().await else { return Ok(Outcome::skipped("nobody leads")) };
    let ways = around(strike, leader);
    strike.begins(&[leader]);
    let before = strike.cluster.links.hindered(&ways);
    let end = Instant::now() + strike.holds;
    while Instant::now() < end {
        strike.cluster.links.set(ways.iter().copied(), CUT);
        tokio::time::sleep(FLAP).await;
        strike.cluster.links.heal(ways.iter().copied());
        tokio::time::sleep(FLAP).await;
    }
    let hindered = strike.cluster.links.hindered(&ways) > before;
    Ok(Outcome::unless(hindered, "nothing was sent on these ways"))
}

fn around(strike: &Strike<'_>, node: usize) -> Vec<Way> {
    others(strike, node).flat_map(|other| both(End::Node(node), other)).collect()
}

fn into(strike: &Strike<'_>, node: usize) -> Vec<Way> {
    others(strike, node).map(|from| Way { from, to: End::Node(node) }).collect()
}

fn out_of(strike: &Strike<'_>, node: usize) -> Vec<Way> {
    others(strike, node).map(|to| Way { from: End::Node(node), to }).collect()
}
