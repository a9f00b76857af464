//! `serverv2 ready`: whether a node takes players now, for health checks where there is no HTTP client, as in a
//! container.

use clap::{ArgMatches, Command};
use hyper::Method;

use super::operate::{Target, say};
use crate::app::State;
use crate::control::NodeState;
use crate::control::client::ControlError;

pub(super) fn command() -> Command {
    Command::new("ready").about(
        "Say whether a node takes players, as it does at /ready: exit code 0 if so, else 1. For health checks",
    )
}

pub(super) async fn ready(target: &Target, _flags: &ArgMatches) -> Result<(), ControlError> {
    let mut node = target.node().await?;
    let NodeState { node: id, state, .. } =
        node.ask(Method::GET, "/v1/node", &(), target.timeout).await?;
    if state != State::Ready.name() {
        return Err(ControlError::NotReady(id, state));
    }
    say(&format!("node {id} is ready"));
    Ok(())
}
