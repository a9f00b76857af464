//! `serverv2 demo`: shows on real processes what this server is for.
//!
//! Two guests are made over REST, connect by websocket, are paired and play a battle with real teams.
//! In the middle of a turn, when one choice is acknowledged and the other is still open, the node is
//! killed with `kill -9` and started again on its data folder. Both players come back, the second one
//! chooses, and the turn resolves with the choice made before the crash. The demo succeeds only if
//! both players saw the same end.

mod client;
mod node;
mod player;
mod transcript;

use std::time::Duration;

use self::node::Node;
use self::player::{Ending, Player};
use self::transcript::Transcript;

/// Longest time for the whole show.
const SHOW_MAX: Duration = Duration::from_secs(180);
/// The turn in which the node is killed.
const KILLED_IN_TURN: u64 = 2;

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
    #[error("the players saw different ends: {0} and {1}")]
    DifferentEnds(String, String),
    /// It took too long.
    #[error("the battle did not end within {} s", SHOW_MAX.as_secs())]
    TooLong,
}

impl DemoError {
    fn failed(doing: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Failed { doing, reason: reason.to_string() }
    }
}

/// Plays the show and tells it on standard output. A port of 0 takes any free one.
pub async fn run() -> Result<(), DemoError> {
    tokio::time::timeout(SHOW_MAX, show()).await.map_err(|_| DemoError::TooLong)?
}

async fn show() -> Result<(), DemoError> {
    let folder = node::DataFolder::make()?;
    let transcript = Transcript::begin();
    transcript.scene("one node, started on an empty folder");
    let mut node = Node::start(1, folder.path(), &transcript).await?;
    transcript.note(&format!("node 1 serves {}", node.url()));

    transcript.scene("two guests are made over REST and connect by websocket");
    let mut ann = Player::create(("Ann", 0), &node, &transcript).await?;
    let mut bob = Player::create(("Bob", 1), &node, &transcript).await?;

    transcript.scene("they queue with real teams, are paired and get ready");
    ann.queue().await?;
    bob.queue().await?;
    ann.enter_battle().await?;
    bob.enter_battle().await?;

    transcript.scene("they fight");
    let mut killed = false;
    let (ann_end, bob_end) = loop {
        let (a, b) = (ann.until_prompt().await?, bob.until_prompt().await?);
        if let (Some(a), Some(b)) = (a, b) {
            break (a, b);
        }
        ann.choose().await?;
        if !killed && bob.is_turn() && bob.turn() + 1 >= KILLED_IN_TURN {
            killed = true;
            transcript.scene("Ann's choice is acknowledged, Bob's is open: kill -9 the node");
            node.kill().await;
            node = Node::start(1, folder.path(), &transcript).await?;
            transcript.scene("the node is back on its folder, and both players reconnect");
            ann.reconnect(&node).await?;
            bob.reconnect(&node).await?;
        }
        bob.choose().await?;
    };

    transcript.scene("the end");
    conclude(&transcript, killed, &ann_end, &bob_end)
}

fn conclude(
    transcript: &Transcript,
    killed: bool,
    ann: &Ending,
    bob: &Ending,
) -> Result<(), DemoError> {
    if ann != bob {
        return Err(DemoError::DifferentEnds(ann.to_string(), bob.to_string()));
    }
    if !killed {
        let reason = "it ended before the node could be killed".to_owned();
        return Err(DemoError::Failed { doing: "play the battle", reason });
    }
    let winner = ann.winner.as_deref().unwrap_or("nobody: a draw");
    transcript.note(&format!("both players saw the same end: {}", ann.reason));
    transcript.note(&format!("the winner is {winner}"));
    Ok(())
}
