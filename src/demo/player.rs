//! A player of the demo: chooses the strongest skill there is and tells what happens to it.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value as Json, json};

use super::DemoError;
use super::client::{Socket, rest};
use super::node::Node;
use super::transcript::Transcript;

/// How a battle ended, as one player was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The winner's name; `None` is a draw.
    pub(super) winner: Option<String>,
    /// Why.
    pub(super) reason: String,
    /// Number of the last message.
    last: u64,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {} at message {}", self.winner, self.reason, self.last)
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
    name: &'static str,
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
    end: Option<Ending>,
}

impl Player {
    /// A new guest, named and connected.
    pub(super) async fn create(
        (name, variant): (&'static str, usize),
        node: &Node,
        transcript: &Transcript,
    ) -> Result<Self, DemoError> {
        let base = node.url();
        let guest = rest("POST", &format!("{base}/api/v1/auth/create-guest"), &json!({})).await?;
        let id = guest["playerId"].as_str().unwrap_or_default().to_owned();
        let rename = json!({"playerId": id, "name": name});
        rest("PUT", &format!("{base}/api/v1/auth/update-player-name"), &rename).await?;
        transcript.player(name, &format!("is guest {id}"));
        transcript.call(&id, name);
        let session = crate::random::nano_id().to_string();
        transcript.call(&format!(":{session}"), "");
        let socket = Socket::connect(base, &id, &session).await?;
        let names = HashMap::from([(id.clone(), name.to_owned())]);
        let transcript = transcript.clone();
        let opponent = String::new();
        Ok(Self {
            name,
            variant,
            id,
            session,
            socket,
            transcript,
            names,
            opponent,
            asked: false,
            prompt: None,
            turn: 0,
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

    /// Comes back after the connection was lost, with the same session.
    pub(super) async fn reconnect(&mut self, node: &Node) -> Result<(), DemoError> {
        self.socket = Socket::connect(node.url(), &self.id, &self.session).await?;
        let turn = self.look().await?;
        self.tell(&format!("is back: the battle is in turn {turn}"));
        Ok(())
    }

    /// Reads the battle's state and learns the names in it.
    async fn look(&mut self) -> Result<u64, DemoError> {
        let state = self.socket.ask("getState", None).await?;
        for pet in state["players"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|player| list(&player["team"]))
        {
            self.learn(&pet["id"], &pet["name"]);
            for skill in list(&pet["skills"]) {
                self.learn(&skill["id"], &skill["baseId"]);
            }
        }
        Ok(state["currentTurn"].as_u64().unwrap_or_default())
    }

    fn learn(&mut self, id: &Json, name: &Json) {
        if let (Some(id), Some(name)) = (id.as_str(), name.as_str().filter(|name| !name.is_empty()))
        {
            self.transcript.call(id, name);
            self.names.insert(id.to_owned(), name.to_owned());
        }
    }

    /// Reads messages until a choice is asked of anyone (both players are told), or the battle is over.
    pub(super) async fn until_prompt(&mut self) -> Result<Option<Ending>, DemoError> {
        self.prompt = None;
        while self.end.is_none() && self.prompt.is_none() {
            let (event, data) = self.socket.event().await?;
            match event.as_str() {
                "battleEvent" => self.hear(&data).await?,
                "roomClosed" => self.tell("roomClosed"),
                _ => {}
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
        self.tell(&format!("chooses {kind} {}: ACTION_ACCEPTED", self.named(what)));
        Ok(())
    }

    async fn hear(&mut self, message: &Json) -> Result<(), DemoError> {
        let data = &message["data"];
        let text = |key: &str| self.named(data[key].as_str().unwrap_or_default());
        match message["type"].as_str().unwrap_or_default() {
            "TURN_START" => self.turn = data["turn"].as_u64().unwrap_or_default(),
            kind @ ("TURN_ACTION" | "FORCED_SWITCH" | "FAINT_SWITCH") => {
                self.prompt =
                    Some(if kind == "TURN_ACTION" { Prompt::Turn } else { Prompt::Switch });
                // One id, or a list of them.
                self.asked =
                    data["player"] == self.id || list(&data["player"]).any(|id| *id == self.id);
            }
            "SKILL_USE" => {
                let line = format!(
                    "#{} {} uses {}",
                    message["sequenceId"],
                    text("user"),
                    data["baseSkill"]
                );
                self.tell(&line);
            }
            "DAMAGE" => {
                let line = format!(
                    "#{} {} loses {} and has {} of {}",
                    message["sequenceId"],
                    text("target"),
                    data["damage"],
                    data["currentHp"],
                    data["maxHp"]
                );
                self.tell(&line);
            }
            "PET_DEFEATED" => {
                let line = format!("#{} {} faints", message["sequenceId"], text("pet"));
                self.tell(&line);
            }
            "PET_SWITCH" => {
                self.look().await?;
                let line = format!(
                    "#{} {} comes in",
                    message["sequenceId"],
                    self.named(data["toPet"].as_str().unwrap_or_default())
                );
                self.tell(&line);
            }
            "BATTLE_END" => {
                let end = Ending {
                    winner: data["winner"].as_str().map(|id| self.named(id)),
                    reason: data["reason"].as_str().unwrap_or_default().to_owned(),
                    last: message["sequenceId"].as_u64().unwrap_or_default(),
                };
                self.tell(&format!("BATTLE_END: {end}"));
                self.end = Some(end);
            }
            _ => {}
        }
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

fn list(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}
