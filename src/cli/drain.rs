//! `serverv2 drain`: a node makes way and ends, and this waits for it.

use std::time::Duration;

use clap::{ArgMatches, Command};
use hyper::Method;
use tokio::time::{Instant, sleep, timeout_at};

use super::operate::{Target, say};
use crate::control::NodeState;
use crate::control::client::{ControlError, Node};

/// Pause between two looks at a node that drains.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// Time for an answer to a look.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn command() -> Command {
    Command::new("drain").about(
        "Let a node make way and end, like SIGTERM: not ready, lead handed over, clients sent elsewhere",
    )
}

pub(super) async fn drain(target: &Target, _flags: &ArgMatches) -> Result<(), ControlError> {
    let deadline = Instant::now() + target.timeout;
    let mut node = target.node().await?;
    let state: NodeState = node.ask(Method::POST, "/v1/drain", &(), target.timeout).await?;
    say(&format!("node {} (process {}) is draining", state.node, state.pid));
    // A connection of its own, since the node closes none before its end.
    let watching = async {
        match target.node().await {
            Ok(looking) => follow(looking, state.clone()).await,
            // It has ended so far that nobody listens any more.
            Err(_) => std::future::pending().await,
        }
    };
    let ended = async {
        tokio::select! {
            () = node.ended() => {}
            () = watching => {}
        }
    };
    if timeout_at(deadline, ended).await.is_err() {
        return Err(ControlError::Late(target.timeout));
    }
    say(&format!("node {} has ended", state.node));
    Ok(())
}

/// Tells what changes, for ever: the end is seen elsewhere.
async fn follow(mut node: Node, mut last: NodeState) {
    loop {
        sleep(LOOK_PERIOD).await;
        let Ok(now) = node.ask::<NodeState>(Method::GET, "/v1/node", &(), LOOK_PATIENCE).await
        else {
            return std::future::pending().await;
        };
        if now.leader != last.leader {
            say(&match now.leader {
                Some(leader) => format!("node {leader} leads"),
                None => "no node leads".to_owned(),
            });
        }
        if now.sockets != last.sockets {
            say(&format!("{} clients are left", now.sockets));
        }
        last = now;
    }
}
