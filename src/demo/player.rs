//! A player of the demo: chooses the strongest skill there is and tells what happens to it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::DemoError;
use super::client::{Socket, rest};
use super::cluster::{Cluster, eventually};
use super::transcript::Transcript;

/// Pause before a client tries again to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// How a battle ended, as one player was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The winner's name; `None` is a draw.
    pub(super) winner: Option<String>,
    /// Why.
    pub(super) reason: String,
    /// Number of the last message.
    pub(super) last: u64,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let winner = self.winner.as_deref().unwrap_or("nobody");
        write!(f, "{winner} wins by {} at message #{}", self.reason, self.last)
    }
}

/// What is asked of the players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    Turn,
    Switch,
}

/// See the module's text.
pub(super) struct Player {
    pub(super) name: &'static str,
    /// The node that holds the socket.
    pub(super) at: u64,
    /// Which of the sample teams.
    variant: usize,
    id: String,
    session: String,
    socket: Socket,
    transcript: Transcript,
    /// Names of players, pets and skills, by id.
    names: HashMap<String, String>,
    opponent: String,
    asked: bool,
    /// What was asked last, of whomever.
    prompt: Option<Prompt>,
    turn: u64,
    /// The skill chosen last, and the one that an own pet used last.
    chosen: Option<String>,
    used: Option<String>,
    end: Option<Ending>,
}

impl Player {
    /// A new guest, named and connected to this node.
    pub(super) async fn create(
        (name, variant): (&'static str, usize),
        (cluster, at): (&Cluster, u64),
        transcript: &Transcript,
    ) -> Result<Self, DemoError> {
        let base = cluster.url(at);
        let guest = rest("POST", &format!("{base}/api/v1/auth/create-guest"), &json!({})).await?;
        let id = guest["playerId"].as_str().unwrap_or_default().to_owned();
        let rename = json!({"playerId": id, "name": name});
        rest("PUT", &format!("{base}/api/v1/auth/update-player-name"), &rename).await?;
        transcript.player(name, &format!("is guest {id}, connects to node {at}"));
        transcript.call(&id, name);
        let session = crate::random::nano_id().to_string();
        transcript.call(&format!(":{session}"), "");
        let socket = Socket::connect(&base, &id, &session).await?;
        Ok(Self {
            name,
            at,
            variant,
            names: HashMap::from([(id.clone(), name.to_owned())]),
            id,
            session,
            socket,
            transcript: transcript.clone(),
            opponent: String::new(),
            asked: false,
            prompt: None,
            turn: 0,
            chosen: None,
            used: None,
            end: None,
        })
    }

    /// Joins the queue with a team of the starter pack.
    pub(super) async fn queue(&mut self) -> Result<(), DemoError> {
        let player = self.id.parse().map_err(|e| DemoError::failed("read the guest's id")(&e))?;
        let team = crate::battle::starter::sample_team(player, self.name, self.variant);
        self.socket.ask("joinMatchmaking", Some(&team)).await?;
        self.tell("joinMatchmaking: QUEUED");
        Ok(())
    }

    /// Waits for the match, looks at the battle and says to be ready.
    pub(super) async fn enter_battle(&mut self) -> Result<(), DemoError> {
        loop {
            let (event, data) = self.socket.event().await?;
            if event == "matchSuccess" {
                self.transcript
                    .call(data["data"]["roomId"].as_str().unwrap_or_default(), "the-room");
                let opponent = &data["data"]["opponent"];
                self.opponent = opponent["name"].as_str().unwrap_or_default().to_owned();
                let id = opponent["id"].as_str().unwrap_or_default().to_owned();
                self.names.insert(id, self.opponent.clone());
                break;
            }
        }
        self.tell(&format!("matchSuccess: the opponent is {}", self.opponent));
        self.look().await?;
        self.socket.ask("ready", None).await?;
        self.tell("ready");
        Ok(())
    }

    /// Waits until the room is closed, which it is once the end is in the log.
    pub(super) async fn until_closed(&mut self) -> Result<(), DemoError> {
        while self.socket.event().await?.0 != "roomClosed" {}
        Ok(())
    }

    /// Comes back to another node after the connection was lost, with the same session.
    pub(super) async fn come_back(&mut self, cluster: &Cluster, at: u64) -> Result<(), DemoError> {
        while let Some((event, data)) = self.socket.event_or_loss().await? {
            if event == "battleEvent" {
                self.hear(&data).await?;
            }
        }
        self.move_to(cluster, at).await
    }

    /// Connects to another node with the same session, and asks how the battle stands.
    pub(super) async fn move_to(&mut self, cluster: &Cluster, at: u64) -> Result<(), DemoError> {
        let (url, id, session) = (cluster.url(at), self.id.clone(), self.session.clone());
        self.socket = eventually("connection", async || {
            // As clients do: tried again until somebody answers.
            let socket = Socket::connect(&url, &id, &session).await.ok();
            if socket.is_none() {
                tokio::time::sleep(CONNECT_AGAIN).await;
            }
            Ok(socket)
        })
        .await?;
        self.at = at;
        let turn = self.look().await?;
        self.tell(&format!("is at node {at} with the same session; getState: turn {turn} is over"));
        Ok(())
    }

    /// Reads the battle's state and learns the names in it.
    async fn look(&mut self) -> Result<u64, DemoError> {
        let state = self.socket.ask("getState", None).await?;
        for player in list(&state["players"]) {
            let owner = self.named(player["id"].as_str().unwrap_or_default());
            for pet in list(&player["team"]) {
                if let Some(name) = pet["name"].as_str().filter(|name| !name.is_empty()) {
                    self.learn(&pet["id"], &format!("{owner}'s {name}"));
                }
                for skill in list(&pet["skills"]) {
                    self.learn(&skill["id"], skill["baseId"].as_str().unwrap_or_default());
                }
            }
        }
        Ok(state["currentTurn"].as_u64().unwrap_or_default())
    }

    fn learn(&mut self, id: &Json, name: &str) {
        if let Some(id) = id.as_str().filter(|_| !name.is_empty()) {
            self.transcript.call(id, name);
            self.names.insert(id.to_owned(), name.to_owned());
        }
    }

    /// Reads messages until a choice is asked of anyone (both players are told), or the battle is over.
    pub(super) async fn until_prompt(&mut self) -> Result<Option<Ending>, DemoError> {
        self.prompt = None;
        while self.end.is_none() && self.prompt.is_none() {
            let (event, data) = self.socket.event().await?;
            if event == "battleEvent" {
                self.hear(&data).await?;
            }
        }
        Ok(self.end.clone())
    }

    /// Whether both players are asked for their next action.
    pub(super) fn is_turn(&self) -> bool {
        self.prompt == Some(Prompt::Turn)
    }

    /// The turn that is being played.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// The skill chosen last and the skill that an own pet used last; they are the same unless the
    /// pet could not act.
    pub(super) fn skills(&self) -> (Option<&str>, Option<&str>) {
        (self.chosen.as_deref(), self.used.as_deref())
    }

    /// Chooses, if a choice is asked.
    pub(super) async fn choose(&mut self) -> Result<(), DemoError> {
        if !std::mem::take(&mut self.asked) {
            return Ok(());
        }
        let state = self.socket.ask("getState", None).await?;
        let choices = self.socket.ask("getAvailableSelection", None).await?;
        let power = |choice: &Json| {
            let skills = list(&state["players"])
                .flat_map(|player| list(&player["team"]))
                .flat_map(|pet| list(&pet["skills"]));
            let skill = skills.into_iter().find(|skill| skill["id"] == choice["skill"]);
            skill.and_then(|skill| skill["power"].as_f64()).unwrap_or(-1.0)
        };
        let choosable = list(&choices).filter(|choice| choice["type"] != "surrender");
        let best = choosable
            .max_by(|a, b| power(a).total_cmp(&power(b)).then_with(|| rank(a).cmp(&rank(b))));
        let Some(choice) = best else {
            return Err(DemoError::Failed {
                doing: "choose",
                reason: "there is nothing to choose".to_owned(),
            });
        };
        self.socket.ask("submitPlayerSelection", Some(choice)).await?;
        let what = choice["skill"].as_str().or_else(|| choice["pet"].as_str()).unwrap_or_default();
        let kind = choice["type"].as_str().unwrap_or_default();
        let what = self.named(what);
        self.tell(&format!("chooses {kind} {what}: ACTION_ACCEPTED"));
        self.chosen = (kind == "use-skill").then_some(what);
        self.used = None;
        Ok(())
    }

    async fn hear(&mut self, message: &Json) -> Result<(), DemoError> {
        let data = &message["data"];
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        let number = message["sequenceId"].as_u64().unwrap_or_default();
        let line = match text_of(message, "type") {
            "TURN_START" => {
                self.turn = data["turn"].as_u64().unwrap_or_default();
                format!("turn {} is played", self.turn)
            }
            kind @ ("TURN_ACTION" | "FORCED_SWITCH" | "FAINT_SWITCH") => {
                let is_turn = kind == "TURN_ACTION";
                self.prompt = Some(if is_turn { Prompt::Turn } else { Prompt::Switch });
                // One id, or a list of them.
                self.asked =
                    data["player"] == self.id || list(&data["player"]).any(|id| *id == self.id);
                return Ok(());
            }
            "SKILL_USE" => {
                let (user, skill) = (self.named(text("user")), text("baseSkill"));
                if user.starts_with(self.name) {
                    self.used = Some(skill.to_owned());
                }
                format!("{user} uses {skill}")
            }
            "DAMAGE" => {
                let target = self.named(text("target"));
                let (lost, left, of) = (&data["damage"], &data["currentHp"], &data["maxHp"]);
                format!("{target} loses {lost} and has {left} of {of}")
            }
            "PET_DEFEATED" => format!("{} faints", self.named(text("pet"))),
            "PET_SWITCH" => {
                self.look().await?;
                format!("{} comes in", self.named(text("toPet")))
            }
            "BATTLE_END" => {
                let winner = data["winner"].as_str().map(|id| self.named(id));
                let end = Ending { winner, reason: text("reason").to_owned(), last: number };
                self.end = Some(end.clone());
                format!("BATTLE_END: {end}")
            }
            _ => return Ok(()),
        };
        self.transcript.battle(number, &line);
        Ok(())
    }

    fn named(&self, id: &str) -> String {
        self.names.get(id).map_or(id, String::as_str).to_owned()
    }

    fn tell(&self, text: &str) {
        self.transcript.player(self.name, text);
    }
}

/// Among choices of no power, a switch is better than nothing.
fn rank(choice: &Json) -> u8 {
    u8::from(choice["type"] == "switch-pet")
}

fn text_of<'a>(value: &'a Json, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}
