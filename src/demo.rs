//! `serverv2 demo`: shows on real processes what this server is for.
//!
//! Three nodes form a cluster. Two guests are made over REST, connect to two different nodes by
//! websocket, are paired and play a battle with real teams. In the middle of a turn, when the choice
//! of the player on the leader is acknowledged and the other one is still open, the leader is killed
//! with `kill -9`. Its player comes back through the third node, the other player, who noticed
//! nothing, chooses, and the turn resolves with the choice made before the crash. Later the killed
//! node is started again on its folder and catches up.
//!
//! The demo succeeds only if both players saw the same end, and all three nodes say of each log entry
//! that it decided the same. If it fails, the nodes' data and logs are kept and it says where.

mod client;
mod cluster;
mod crash;
mod ledger;
mod player;
mod transcript;

use std::path::PathBuf;
use std::time::Duration;

use self::cluster::{Cluster, DataFolder, NODES, eventually};
use self::crash::{Crash, Return};
use self::player::{Ending, Player};
use self::transcript::Transcript;
use crate::shutdown::StopSignal;

/// Longest time for the whole show, on a very slow machine; it takes a few seconds on others.
const SHOW_MAX: Duration = Duration::from_secs(180);
/// The first turn in which the leader may be killed.
const KILL_IN_TURN: u64 = 2;
/// Turns that are played without the killed node.
const TURNS_WITHOUT: u64 = 2;

/// Why the show did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something of the surroundings failed.
    #[error("{doing}: {reason}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The two players were told different ends.
    #[error("the players saw different ends: {0}, and {1}")]
    DifferentEnds(String, String),
    /// It took too long.
    #[error("the battle did not end within {} s", SHOW_MAX.as_secs())]
    TooLong,
    /// Somebody stopped it.
    #[error("stopped before its end")]
    Stopped,
    /// The same, with the place where to look.
    #[error("{why}\n  data and logs of the nodes are kept in {}", folder.display())]
    Kept {
        /// What happened.
        why: Box<DemoError>,
        /// Where everything is.
        folder: PathBuf,
    },
}

impl DemoError {
    fn failed(doing: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Failed { doing, reason: reason.to_string() }
    }
}

/// Plays the show and tells it on standard output.
pub async fn run() -> Result<(), DemoError> {
    let mut signal =
        StopSignal::listen().map_err(|e| DemoError::failed("listen for signals")(&e))?;
    let folder = DataFolder::make()?;
    let shown = tokio::select! {
        shown = tokio::time::timeout(SHOW_MAX, show(&folder)) => {
            shown.unwrap_or(Err(DemoError::TooLong))
        }
        () = signal.next() => return Err(DemoError::Stopped),
    };
    shown.map_err(|why| DemoError::Kept { why: Box::new(why), folder: folder.keep() })
}

async fn show(folder: &DataFolder) -> Result<(), DemoError> {
    let transcript = Transcript::begin();
    transcript.scene("three nodes, started on empty folders, become one cluster");
    let mut cluster = Cluster::start(folder.path(), &transcript).await?;
    let leader = cluster.leader(NODES[0]).await?;
    transcript.note(&format!("node {leader} leads"));

    transcript.scene("two guests are made over REST and connect to two different nodes");
    let ann = Player::create(("Ann", 0), (&cluster, leader), &transcript).await?;
    let follower = NODES.into_iter().find(|node| *node != leader).unwrap_or_default();
    let bob = Player::create(("Bob", 1), (&cluster, follower), &transcript).await?;
    let mut players = [ann, bob];

    transcript.scene("they queue with real teams, are paired and get ready");
    for player in &mut players {
        player.queue().await?;
    }
    for player in &mut players {
        player.enter_battle().await?;
    }

    transcript.scene("they fight");
    let (mut crash, mut back) = (None::<Crash>, None::<Return>);
    let end = loop {
        let [ann, bob] = &mut players;
        match (ann.until_prompt().await?, bob.until_prompt().await?) {
            (None, None) => {}
            (Some(a), Some(b)) if a == b => break a,
            (a, b) => return Err(DemoError::DifferentEnds(told(a.as_ref()), told(b.as_ref()))),
        }
        // What is asked for now is played in the turn that has not begun.
        let turn = ann.turn() + 1;
        match &mut crash {
            None if ann.is_turn() && turn >= KILL_IN_TURN => {
                crash = crash::crash(&mut cluster, &mut players, &transcript).await?;
                continue;
            }
            Some(crash) => {
                crash.check(&players)?;
                if back.is_none() && turn >= crash.turn + TURNS_WITHOUT {
                    back = Some(crash::restart(&mut cluster, crash, turn, &transcript).await?);
                }
            }
            None => {}
        }
        for player in &mut players {
            player.choose().await?;
        }
    };
    let Some(crash) = crash else {
        let reason = "it ended before the leader could be killed".to_owned();
        return Err(DemoError::Failed { doing: "play the battle", reason });
    };
    let back = match back {
        Some(back) => back,
        None => crash::restart(&mut cluster, &crash, players[0].turn(), &transcript).await?,
    };
    for player in &mut players {
        player.until_closed().await?;
    }
    let log = same_log(&cluster, &transcript).await?;
    cluster.end().await;
    sum_up(&transcript, &end, &crash, &back, &log);
    Ok(())
}

fn told(end: Option<&Ending>) -> String {
    end.map_or_else(|| "none yet".to_owned(), ToString::to_string)
}

/// Waits until all nodes have applied the same entries and told the same of them.
async fn same_log(cluster: &Cluster, transcript: &Transcript) -> Result<String, DemoError> {
    let mut differing = String::new();
    let same = eventually("same log on all nodes", async || {
        let mut applied = Vec::new();
        for node in NODES {
            applied.push(cluster.status(node).await?.applied_index);
        }
        let told: Result<Vec<usize>, String> =
            NODES.into_iter().map(|node| transcript.compare(node)).collect();
        match told {
            Ok(told) if applied.iter().all(|index| *index == applied[0]) => {
                Ok(Some((applied[0], told)))
            }
            Ok(_) => {
                differing = format!("the nodes have applied up to {applied:?}");
                Ok(None)
            }
            Err(difference) => {
                differing = difference;
                Ok(None)
            }
        }
    });
    let (index, told) = match same.await {
        Ok(same) => same,
        Err(error) => {
            return Err(DemoError::failed("compare the logs")(&format!("{error}; {differing}")));
        }
    };
    let told: Vec<String> = NODES
        .iter()
        .zip(told)
        .map(|(node, decisions)| format!("{decisions} told by node {node}"))
        .collect();
    let nodes = NODES.len();
    Ok(format!(
        "applied by {nodes} of {nodes} nodes up to #{index}; decisions compared: {}",
        told.join(", ")
    ))
}

fn sum_up(transcript: &Transcript, end: &Ending, crash: &Crash, back: &Return, log: &str) {
    transcript.scene("summary");
    let winner = end.winner.as_deref().unwrap_or("nobody: a draw");
    let Ending { reason, last, .. } = end;
    transcript.sum_up(
        "winner",
        &format!("{winner} ({reason}, message #{last}); both players saw the same end"),
    );
    crash.sum_up(transcript);
    back.sum_up(transcript);
    transcript.sum_up("same log", log);
}
