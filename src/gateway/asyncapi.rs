//! The `AsyncAPI` document: what clients and server say to each other over Socket.IO, for readers and tools.
//!
//! Names come from [`super::wire`], and every event must have its line here, or this does not compile.
//! What the server sends is described by the types that it serializes; `tests/it/docs.rs` holds everything
//! that is said in whole battles against it.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::wire::{
    BattleReconnect, Event, HandshakeError, MatchSuccess, OpponentDisconnected,
    OpponentReconnected, PONG, Push, ReconnectTest, RoomClosed, ServerState, Status, TimerSnapshot,
};
use crate::battle::engine::{TimerConfig, TimerState};
use crate::battle::schema::{self, NanoIdText, SelectionForm, TeamForm, WrappedForm};
use crate::battle::view::BattleView;

/// What is said of an event.
struct Spoken {
    summary: &'static str,
    /// Schema of the first argument.
    payload: Option<Value>,
    /// Schema of an acknowledgement's `data`; `None`: never acknowledged.
    data: Option<Value>,
    /// Codes of refusals beside the event's own.
    codes: &'static [&'static str],
}

fn spoken(event: Event) -> Spoken {
    let (summary, payload, data, codes): (_, _, _, &[&str]) = match event {
        Event::GetServerState => {
            ("Counts of the whole cluster.", None, Some(of::<ServerState>()), &[])
        }
        Event::JoinMatchmaking => (
            "Queue with a team.",
            Some(json!({"oneOf": [of::<TeamForm>(), of::<WrappedForm>()]})),
            Some(status(Status::QUEUED)),
            &[],
        ),
        Event::CancelMatchmaking => ("Leave the queue.", None, Some(status(Status::CANCELED)), &[]),
        Event::Ready => (
            "Ready for the battle, which begins when both are.",
            None,
            Some(status(Status::READY)),
            &["ROOM_NOT_FOUND"],
        ),
        Event::SubmitPlayerSelection => (
            "A choice; it may be replaced until the phase resolves.",
            Some(of::<SelectionForm>()),
            Some(status(Status::ACTION_ACCEPTED)),
            &[],
        ),
        Event::GetState => {
            ("The battle as this player may see it.", None, Some(of::<BattleView>()), &[])
        }
        Event::GetAvailableSelection => (
            "The choices that are legal now.",
            None,
            Some(list(&of::<SelectionForm>())),
            &["NOT_IN_BATTLE"],
        ),
        Event::IsTimerEnabled => {
            ("Whether clocks run.", None, Some(json!({"type": "boolean"})), &[])
        }
        Event::GetPlayerTimerState => (
            "One player's clocks, by default one's own.",
            Some(json!({"type": "object", "properties": {"playerId": {"type": "string"}}})),
            Some(json!({"oneOf": [of::<TimerState>(), {"type": "null"}]})),
            &[],
        ),
        Event::GetAllPlayerTimerStates => {
            ("Both players' clocks.", None, Some(list(&of::<TimerState>())), &[])
        }
        Event::GetTimerConfig => (
            "The limits of the clocks; empty outside a battle.",
            None,
            Some(json!({"oneOf": [of::<TimerConfig>(), {"type": "object", "maxProperties": 0}]})),
            &[],
        ),
        Event::StartAnimation => (
            "An animation begins at this client: clocks stand still. Its id, or `disabled`.",
            Some(json!({
                "type": "object",
                "required": ["source", "expectedDuration", "ownerId"],
                "properties": {
                    "source": {"type": "string", "minLength": 1, "description": "Pet or skill id."},
                    "expectedDuration": {"type": "number", "exclusiveMinimum": 0, "description": "ms"},
                    "ownerId": of::<NanoIdText>(),
                },
            })),
            Some(json!({"type": "string"})),
            &["NOT_IN_BATTLE", "BATTLE_NOT_FOUND"],
        ),
        Event::EndAnimation | Event::ReportAnimationEnd => (
            "An animation is over at this client.",
            Some(json!({
                "type": "object",
                "required": ["animationId"],
                "properties": {
                    "animationId": {"type": "string"},
                    "actualDuration": {"type": "number", "description": "ms; of no effect"},
                },
            })),
            None,
            &[],
        ),
    };
    Spoken { summary, payload, data, codes }
}

/// What the server sends unasked: a summary, and the schema of the one argument if there is one.
fn told(push: Push) -> (&'static str, Option<Value>) {
    match push {
        Push::Ping => ("Heartbeat of the application: answer each with `pong`.", None),
        Push::UpdateState => ("Counts of the whole cluster.", Some(of::<ServerState>())),
        Push::MatchSuccess => {
            ("A match was made.", Some(success(Some(&of::<MatchSuccess<'static>>()))))
        }
        Push::BattleEvent => (
            "One message of a battle. `stateDelta`, in the format of jsondiffpatch, leads from the state \
             known before to the one at this message.",
            Some(json!({"$ref": "#/components/schemas/BattleMessage"})),
        ),
        Push::RoomClosed => ("A room is over.", Some(of::<RoomClosed>())),
        Push::TimerSnapshot => (
            "To a player who connects while his battle runs, first: the clocks.",
            Some(of::<TimerSnapshot<'static>>()),
        ),
        Push::BattleReconnect => (
            "To a player who connects while his battle runs: the state that the next delta changes.",
            Some(of::<BattleReconnect<'static>>()),
        ),
        Push::ReconnectTest => (
            "To a player who connects while his battle runs, last: all has been said.",
            Some(of::<ReconnectTest>()),
        ),
        Push::OpponentDisconnected => (
            "The opponent lost his connection; when the grace is over, he loses.",
            Some(of::<OpponentDisconnected>()),
        ),
        Push::OpponentReconnected => ("The opponent is back.", Some(of::<OpponentReconnected>())),
    }
}

/// The whole document.
pub(crate) fn document() -> Value {
    let mut parts = Parts::default();
    for event in Event::ALL {
        parts.event(event);
    }
    parts.heard(PONG, "Answer to `ping`.", None);
    for push in Push::ALL {
        let (summary, payload) = told(push);
        parts.said(push.name(), summary, payload);
    }
    let errors = HandshakeError::ALL.map(HandshakeError::text);
    let refusal = json!({
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"enum": errors}},
    });
    parts.said("connect_error", "The handshake was refused.", Some(refusal));
    let query = json!({
        "type": "object",
        "required": ["playerId"],
        "properties": {
            "playerId": of::<NanoIdText>(),
            "sessionId": {"type": "string", "maxLength": 64, "description": "Keeps a seat over connections."},
            "token": {"type": "string", "description": "For clients that can't send it in `auth`."},
        },
    });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "ServerV2: Socket.IO events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Namespace `/` of Socket.IO 4, by websocket or polling. An event's arguments are its \
                payload, if it has one; then, if the client wants a retry to be harmless, \
                `{\"requestId\": \"1 to 64 of A-Za-z0-9_-\"}`; then the callback that gets the acknowledgement. \
                A registered player sends its access token as `token` in `auth`.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "/",
                "messages": parts.messages,
                "bindings": {"ws": {"method": "GET", "query": query}},
            },
            "acknowledgements": {"address": null, "messages": parts.acks},
        },
        "operations": parts.operations,
        "components": {"schemas": schemas()},
    })
}

#[derive(Default)]
struct Parts {
    messages: Map<String, Value>,
    acks: Map<String, Value>,
    operations: Map<String, Value>,
}

impl Parts {
    fn event(&mut self, event: Event) {
        let Spoken { summary, payload, data, codes } = spoken(event);
        let name = event.name();
        self.heard(name, summary, payload);
        let Some(data) = data else { return };
        let codes: Vec<_> =
            std::iter::once(event.error_code()).chain(codes.iter().copied()).collect();
        let error = json!({
            "type": "object",
            "required": ["status", "code", "details"],
            "properties": {
                "status": {"const": "ERROR"},
                "code": {"enum": codes},
                "details": {"type": "string"},
            },
        });
        let ack = message(
            name,
            "Its acknowledgement.",
            Some(json!({"oneOf": [success(Some(&data)), error]})),
        );
        self.acks.insert(name.into(), ack);
        if let Some(operation) = self.operations.get_mut(name) {
            operation["reply"] = json!({
                "channel": {"$ref": "#/channels/acknowledgements"},
                "messages": [{"$ref": format!("#/channels/acknowledgements/messages/{name}")}],
            });
        }
    }

    /// Clients say this.
    fn heard(&mut self, name: &str, summary: &str, payload: Option<Value>) {
        self.add("receive", name, summary, payload);
    }

    /// The server says this.
    fn said(&mut self, name: &str, summary: &str, payload: Option<Value>) {
        self.add("send", name, summary, payload);
    }

    fn add(&mut self, action: &str, name: &str, summary: &str, payload: Option<Value>) {
        let operation = json!({
            "action": action,
            "channel": {"$ref": "#/channels/events"},
            "messages": [{"$ref": format!("#/channels/events/messages/{name}")}],
        });
        self.operations.insert(name.into(), operation);
        self.messages.insert(name.into(), message(name, summary, payload));
    }
}

fn message(name: &str, summary: &str, payload: Option<Value>) -> Value {
    let mut message = json!({"name": name, "summary": summary});
    if let Some(payload) = payload {
        message["payload"] = payload;
    }
    message
}

fn success(data: Option<&Value>) -> Value {
    json!({
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": "SUCCESS"}, "data": data},
    })
}

fn status(status: Status) -> Value {
    json!({"type": "object", "required": ["status"], "properties": {"status": {"const": status.text()}}})
}

fn list(item: &Value) -> Value {
    json!({"type": "array", "items": item})
}

fn of<T: ToSchema>() -> Value {
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}

fn schemas() -> Value {
    let mut found = Vec::new();
    collect::<BattleView>(&mut found);
    collect::<TeamForm>(&mut found);
    collect::<WrappedForm>(&mut found);
    collect::<SelectionForm>(&mut found);
    collect::<TimerState>(&mut found);
    collect::<TimerConfig>(&mut found);
    collect::<ServerState>(&mut found);
    collect::<MatchSuccess<'static>>(&mut found);
    collect::<RoomClosed>(&mut found);
    collect::<TimerSnapshot<'static>>(&mut found);
    collect::<BattleReconnect<'static>>(&mut found);
    collect::<ReconnectTest>(&mut found);
    collect::<OpponentDisconnected>(&mut found);
    collect::<OpponentReconnected>(&mut found);
    collect::<crate::battle::message::Event>(&mut found);
    let mut schemas: Map<String, Value> = found
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    schemas.remove("Event");
    schemas.insert(SelectionForm::name().into(), schema::selection());
    schemas.insert("BattleMessage".into(), schema::battle_message());
    let delta =
        "A difference as jsondiffpatch writes it; where nothing was known before, all is new.";
    schemas.insert("StateDelta".into(), json!({"type": "object", "description": delta}));
    schemas.into()
}

fn collect<T: ToSchema>(
    found: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>,
) {
    found.push((T::name().into_owned(), T::schema()));
    T::schemas(found);
}

#[cfg(test)]
mod tests;
