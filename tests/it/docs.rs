//! The document of the Socket.IO events, held against what is really said: whole battles by their schemas, in which
//! every key must have been described.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::socket::events;
use crate::harness::{Client, Dial, Duel, Fighter, Http, Server, guest};

/// The document of the events.
struct Events(Value);

impl Events {
    async fn of(server: &Server) -> Self {
        let answer = Http::get(server, "/asyncapi.json").send().await;
        assert_eq!(answer.status, 200);
        let mut document = answer.json();
        close(&mut document);
        Self(document)
    }

    fn names(&self, action: &str) -> BTreeSet<&str> {
        let operations = self.0["operations"].as_object().expect("operations");
        let such = operations.iter().filter(|(_, operation)| operation["action"] == action);
        such.map(|(name, _)| name.as_str()).collect()
    }

    fn assert_fits(&self, channel: &str, name: &str, value: &Value) {
        let payload = &self.0["channels"][channel]["messages"][name]["payload"];
        assert!(payload.is_object(), "{name} has no payload: {value}");
        let schema = json!({"components": self.0["components"], "allOf": [payload]});
        let validator = Validator::new(&schema).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{channel} {name}: {errors:#?}\n{value:#}");
    }

    fn takes(&self, name: &str, value: &Value) {
        self.assert_fits("events", name, value);
    }

    async fn ask(&self, client: &Client, name: &str, payload: Option<Value>) -> Value {
        if let Some(payload) = &payload {
            self.takes(name, payload);
        }
        let ack = client.ask(name, payload.as_slice()).await;
        self.assert_fits("acknowledgements", name, &ack);
        ack
    }
}

/// Lets objects have no other keys than those described.
pub(crate) fn close(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("properties").is_some_and(Value::is_object) && object.contains_key("type")
            {
                object.entry("additionalProperties").or_insert(json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

const QUESTIONS: [&str; 6] = [
    "getServerState",
    "getState",
    "getAvailableSelection",
    "isTimerEnabled",
    "getAllPlayerTimerStates",
    "getTimerConfig",
];

#[tokio::test]
async fn all_that_is_said_in_a_battle_is_described() {
    let server = Server::start().await;
    let document = Events::of(&server).await;
    let idle = Dial::player(&server, &guest(&server).await).open().await;
    for question in QUESTIONS {
        document.ask(&idle, question, None).await;
    }
    document.ask(&idle, "ready", None).await;
    let refused = idle.ask("joinMatchmaking", &[json!({"name": "", "team": []})]).await;
    document.assert_fits("acknowledgements", "joinMatchmaking", &refused);

    let mut duel = Duel::started(&server).await;
    let asked = duel.a.message("TURN_ACTION").await.sequence;
    for fighter in [&duel.a, &duel.b] {
        document.takes("joinMatchmaking", &fighter.team);
        document.takes("joinMatchmaking", &json!({"playerSchema": fighter.team}));
        for question in QUESTIONS {
            document.ask(&fighter.client, question, None).await;
        }
        let asked = json!({"playerId": fighter.id});
        document.ask(&fighter.client, "getPlayerTimerState", Some(asked)).await;
        for choice in fighter.available().await {
            document.takes("submitPlayerSelection", &choice);
        }
    }
    let animation = json!({"source": "x", "expectedDuration": 1, "ownerId": duel.a.id});
    let started = document.ask(&duel.a.client, "startAnimation", Some(animation)).await;
    let ended = json!({"animationId": started["data"], "actualDuration": 1});
    document.takes("endAnimation", &ended);
    duel.a.client.emit("endAnimation", &[ended]).await;
    // One of them goes away for a while.
    let Duel { a, b: Fighter { id, session, team, client }, room } = duel;
    client.cut();
    a.client.event("opponentDisconnected").await;
    let client = Dial::player(&server, &id).session(&session).open().await;
    a.client.event("opponentReconnected").await;
    client.event("reconnectTest").await;
    duel = Duel { a, b: Fighter { id, session, team, client }, room };
    duel.play(3, asked, true).await;

    let mut heard = BTreeSet::new();
    for client in [&duel.a.client, &duel.b.client] {
        client.event("roomClosed").await;
        client.event("updateState").await;
        for event in events(&client.records()) {
            heard.insert(event.name.clone());
            if event.name != "ping" {
                document.assert_fits("events", &event.name, event.arg());
            }
        }
    }
    let mut described = document.names("send");
    described.remove("connect_error");
    assert_eq!(heard.iter().map(String::as_str).collect::<BTreeSet<_>>(), described);
}

#[tokio::test]
async fn the_events_described_are_those_that_are_answered() {
    let server = Server::start().await;
    let document = Events::of(&server).await;
    let client = Dial::player(&server, &guest(&server).await).open().await;
    for name in document.names("receive") {
        let message = &document.0["channels"]["events"]["messages"][name];
        let payload = message.get("payload").map(|_| json!({}));
        let acknowledged = document.0["operations"][name].get("reply").is_some();
        if acknowledged {
            document.assert_fits(
                "acknowledgements",
                name,
                &client.ask(name, payload.as_slice()).await,
            );
        }
    }
}
