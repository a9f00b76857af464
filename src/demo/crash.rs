//! The middle of the show: the leader is killed while it holds a player, and later comes back.

use std::time::{Duration, Instant};

use super::DemoError;
use super::cluster::{Cluster, NODES, eventually};
use super::player::Player;
use super::transcript::Transcript;

/// How the leader was killed and what became of the battle.
pub(super) struct Crash {
    /// The turn in the middle of which it happened.
    pub(super) turn: u64,
    node: u64,
    term: u64,
    /// The newest committed entry that the leader knew.
    index: u64,
    /// Place and name of the player whom it held, and the skill that was acknowledged.
    victim: usize,
    name: &'static str,
    skill: Option<String>,
    is_checked: bool,
    successor: u64,
    new_term: u64,
    third: u64,
    other: &'static str,
    other_at: u64,
    /// From the kill to the lost player's answer through the third node.
    gap: Duration,
    /// From the kill to the acknowledgement of the other player's choice.
    choice: Duration,
}

/// How the killed node came back.
pub(super) struct Return {
    node: u64,
    turn: u64,
    index: u64,
    took: Duration,
}

/// Plays one turn; the leader is killed in its middle, unless another node leads by then.
pub(super) async fn crash(
    cluster: &mut Cluster,
    players: &mut [Player; 2],
    transcript: &Transcript,
) -> Result<Option<Crash>, DemoError> {
    let node = cluster.leader(players[0].at).await?;
    let place = match players.iter().position(|player| player.at == node) {
        Some(place) => place,
        None => {
            transcript.note(&format!("the leader is node {node} by now: Ann goes there"));
            players[0].move_to(cluster, node).await?;
            0
        }
    };
    let [ann, bob] = players;
    let (victim, other) = if place == 0 { (ann, bob) } else { (bob, ann) };
    victim.choose().await?;
    let before = cluster.status(node).await?;
    if before.leader != Some(node) {
        other.choose().await?;
        return Ok(None);
    }
    let turn = victim.turn() + 1;
    let (name, other_name) = (victim.name, other.name);
    let third = NODES.into_iter().find(|it| ![node, other.at].contains(it)).unwrap_or_default();
    transcript.scene(&format!(
        "turn {turn}: {name}'s choice is acknowledged, {other_name}'s is open: kill -9 node {node}, \
         the leader, which holds {name}"
    ));
    let killed = Instant::now();
    cluster.kill(node);
    victim.come_back(cluster, third).await?;
    let gap = killed.elapsed();
    transcript.scene(&format!(
        "{other_name}, whose connection to node {} never broke, chooses",
        other.at
    ));
    other.choose().await?;
    let choice = killed.elapsed();
    let (successor, new_term) = eventually("new leader", async || {
        let status = cluster.status(third).await?;
        let new = status.leader.filter(|leader| *leader != node && status.term > before.term);
        Ok(new.map(|leader| (leader, status.term)))
    })
    .await?;
    Ok(Some(Crash {
        turn,
        node,
        term: before.term,
        index: before.committed_index,
        victim: place,
        name,
        skill: victim.skills().0.map(str::to_owned),
        is_checked: false,
        successor,
        new_term,
        third,
        other: other_name,
        other_at: other.at,
        gap,
        choice,
    }))
}

/// Starts the killed node again and waits until it has applied what the others had committed.
pub(super) async fn restart(
    cluster: &mut Cluster,
    crash: &Crash,
    turn: u64,
    transcript: &Transcript,
) -> Result<Return, DemoError> {
    let node = crash.node;
    transcript.scene(&format!("node {node} is started again on its folder"));
    let began = Instant::now();
    cluster.restart(node).await?;
    let index = cluster.status(crash.third).await?.committed_index;
    eventually("caught-up node", async || {
        let status = cluster.status(node).await?;
        Ok((status.leader.is_some() && status.applied_index >= index).then_some(()))
    })
    .await?;
    let took = began.elapsed();
    transcript.note(&format!("node {node} follows and has applied all up to #{index}"));
    Ok(Return { node, turn, index, took })
}

impl Crash {
    /// The turn must have resolved with the choice that was made before the crash; a pet that fainted
    /// first uses nothing.
    pub(super) fn check(&mut self, players: &[Player; 2]) -> Result<(), DemoError> {
        if std::mem::replace(&mut self.is_checked, true) {
            return Ok(());
        }
        match (self.skill.as_deref(), players[self.victim].skills().1) {
            (Some(chosen), Some(used)) if chosen != used => {
                let reason = format!("{} had chosen {chosen}, and {used} was used", self.name);
                Err(DemoError::Failed { doing: "resolve the turn of the crash", reason })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sum_up(&self, transcript: &Transcript) {
        let Self { turn, node, term, index, name, other, .. } = self;
        let text =
            format!("node {node}, leader of term {term}, in turn {turn} at log index #{index}");
        transcript.sum_up("killed with -9", &text);
        let text = format!("node {}, in term {}", self.successor, self.new_term);
        transcript.sum_up("new leader", &text);
        let (gap, choice) = (self.gap.as_millis(), self.choice.as_millis());
        let text = format!(
            "{gap} ms from the kill to the next acknowledged command: {name}'s session, committed by \
             the new leader and answered on node {}",
            self.third
        );
        transcript.sum_up("gap", &text);
        let text = format!(
            "acknowledged {choice} ms after the kill, on the connection to node {} that never broke",
            self.other_at
        );
        transcript.sum_up(&format!("{other}'s choice"), &text);
        if let Some(skill) = &self.skill {
            let text = format!("{skill} stands, as it was acknowledged before the kill");
            transcript.sum_up(&format!("{name}'s choice"), &text);
        }
    }
}

impl Return {
    pub(super) fn sum_up(&self, transcript: &Transcript) {
        let Self { node, turn, index, .. } = self;
        let took = self.took.as_millis();
        let text =
            format!("node {node}, in turn {turn}, ready and caught up to #{index} after {took} ms");
        transcript.sum_up("restarted", &text);
    }
}
