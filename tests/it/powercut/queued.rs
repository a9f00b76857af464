//! Whether players who were told that they are in the queue still are: in a battle with their whole team,
//! or with a ticket.
//!
//! On a busy machine a cluster that has come back may lose its leader again, or count a node out and cut
//! its sockets. So what is not answered is asked again, and what is missing is looked for again: nobody
//! queues anew meanwhile. No connection is closed before all is asked: a ticket goes with its session.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::teams::PETS;
use crate::harness::team::secret_name;
use crate::harness::{Client, DEADLINE, Dial, Fighter, Server};

/// How long a player is looked for who seems not to be there.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(60);

/// What became of a player.
enum Found {
    Queued,
    Missing(String),
    /// Nobody says whether there was a ticket to take away.
    Unknown,
}

/// Who of these is missing.
pub(super) async fn not_queued(nodes: &[Server], players: &[Fighter]) -> Vec<String> {
    let (mut missing, mut clients) = (Vec::new(), Vec::new());
    for (number, player) in players.iter().enumerate() {
        let node = &nodes[number % nodes.len()];
        if let Found::Missing(why) = find(node, player, &mut clients).await {
            missing.push(format!("{} was queued: {why}", player.id));
        }
    }
    missing
}

async fn find(node: &Server, player: &Fighter, clients: &mut Vec<Client>) -> Found {
    let began = Instant::now();
    loop {
        let dial = Dial::player(node, &player.id).session(&player.session);
        let found = match dial.try_open().await {
            Ok(client) => {
                let found = look(&client, player).await;
                clients.push(client);
                found
            }
            Err(why) if why == "PLAYER_NOT_FOUND" => return Found::Missing(why),
            Err(_) => None,
        };
        match found {
            Some(Found::Missing(_)) if began.elapsed() < PATIENCE => {}
            Some(found) => return found,
            None => assert!(began.elapsed() < DEADLINE, "nothing is answered about {}", player.id),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks for the player; `None` if there is no answer.
async fn look(client: &Client, player: &Fighter) -> Option<Found> {
    let state = client.ask_or_end("getState", &[]).await?;
    match state["details"].as_str() {
        _ if has_whole_team(&state, player) => Some(Found::Queued),
        Some("BATTLE_NOT_FOUND") => take_ticket(client).await,
        Some(_) => None,
        None => Some(Found::Missing(state.to_string())),
    }
}

fn has_whole_team(state: &Value, player: &Fighter) -> bool {
    let state = state.to_string();
    (0..PETS).all(|slot| state.contains(&secret_name(slot, &player.id)))
}

/// Takes the player's ticket away: the queue is shorter than before if there was one.
async fn take_ticket(client: &Client) -> Option<Found> {
    let before = queue(client).await?;
    let cancelled = client.ask_or_end("cancelMatchmaking", &[]).await;
    let is_done = |answer: &Value| answer["data"] == json!({"status": "CANCELED"});
    if !cancelled.as_ref().is_some_and(is_done) {
        return Some(Found::Unknown);
    }
    match queue(client).await {
        Some(after) if after < before => Some(Found::Queued),
        Some(_) => Some(Found::Missing("neither a battle nor a ticket".to_owned())),
        None => Some(Found::Unknown),
    }
}

async fn queue(client: &Client) -> Option<u64> {
    let counts = client.ask_or_end("getServerState", &[]).await?;
    Some(counts["data"]["matchmakingQueue"].as_u64().expect("the queue has a length"))
}
