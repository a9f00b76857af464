//! The frames of Socket.IO 4 over a websocket, as text: Engine.IO packet type, Socket.IO packet type, ack id,
//! JSON. Only what a client of the default namespace meets.

use serde_json::{Value, json};

/// What the server can say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// The handshake of Engine.IO.
    Open,
    /// Engine.IO's ping, to be answered with [`PONG`].
    Ping,
    /// What asks for nothing.
    Noop,
    /// The transport is being closed.
    Close,
    /// The namespace is joined, by a socket of this id.
    Connected(String),
    /// The namespace is refused, with its text.
    Refused(String),
    /// The server says goodbye: a client does not come back by itself.
    Dismissed,
    /// An event and its first argument.
    Event(String, Value),
    /// The answer to the event with this id.
    Ack(u64, Value),
}

/// Answer to [`Frame::Ping`].
pub(crate) const PONG: &str = "3";

/// Reads one text frame of the server; nothing, if it is none that a client would understand.
pub(crate) fn decode(text: &str) -> Option<Frame> {
    let (kind, rest) = text.split_at_checked(1)?;
    match kind {
        "0" => Some(Frame::Open),
        "1" => Some(Frame::Close),
        "2" => Some(Frame::Ping),
        "3" | "6" => Some(Frame::Noop),
        "4" => packet(rest),
        _ => None,
    }
}

fn packet(text: &str) -> Option<Frame> {
    let (kind, rest) = text.split_at_checked(1)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (id, body) = rest.split_at(digits);
    let body: Value =
        if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? };
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    match kind {
        "0" => Some(Frame::Connected(text("sid")?)),
        "1" => Some(Frame::Dismissed),
        "2" => Some(Frame::Event(body[0].as_str()?.to_owned(), body[1].clone())),
        "3" => Some(Frame::Ack(id.parse().ok()?, body.as_array()?.first()?.clone())),
        "4" => Some(Frame::Refused(text("message")?)),
        _ => None,
    }
}

/// An event as a client sends it, with an ack id if an answer is wanted.
pub(crate) fn event(name: &str, args: &[&Value], ack: Option<u64>) -> String {
    let mut all = vec![json!(name)];
    all.extend(args.iter().copied().cloned());
    let id = ack.map(|id| id.to_string()).unwrap_or_default();
    format!("42{id}{}", Value::Array(all))
}

/// The packet that joins the default namespace.
pub(crate) fn connect(token: Option<&str>) -> String {
    token.map_or_else(|| "40".to_owned(), |token| format!("40{}", json!({ "token": token })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_the_protocol_says() {
        let cases = [
            (r#"0{"sid":"x"}"#, Frame::Open),
            ("2", Frame::Ping),
            (r#"40{"sid":"s"}"#, Frame::Connected("s".into())),
            (r#"44{"message":"PLAYER_NOT_FOUND"}"#, Frame::Refused("PLAYER_NOT_FOUND".into())),
            ("41", Frame::Dismissed),
            (
                r#"42["roomClosed",{"roomId":"r"}]"#,
                Frame::Event("roomClosed".into(), json!({"roomId": "r"})),
            ),
            (r#"42["ping"]"#, Frame::Event("ping".into(), Value::Null)),
            (r#"4312[{"status":"SUCCESS"}]"#, Frame::Ack(12, json!({"status": "SUCCESS"}))),
        ];
        for (text, frame) in cases {
            assert_eq!(decode(text), Some(frame), "{text}");
        }
        for text in ["", "4", "9", "43[]", "42{}", "40", "42[", "é"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_carries_its_arguments_and_its_number() {
        assert_eq!(event("ready", &[], None), r#"42["ready"]"#);
        let options = json!({"requestId": "r"});
        assert_eq!(event("ready", &[&options], Some(7)), r#"427["ready",{"requestId":"r"}]"#);
    }
}
