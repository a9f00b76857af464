//! The frames of contract 3.1, as text: Engine.IO packet type, Socket.IO packet type, ack id, JSON.
//!
//! Only what a client of the default namespace meets. A frame that does not fit is an error with
//! the frame in it: the server sent something no client would understand.

use serde_json::{Value, json};

/// What the server can say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// Engine.IO handshake.
    Open(Value),
    /// Engine.IO ping, to be answered with [`PONG`].
    Ping,
    /// Engine.IO pong, or a packet that asks for nothing.
    Noop,
    /// Engine.IO close.
    Close,
    /// The namespace is joined; the payload names the socket id.
    Connected(Value),
    /// The namespace is refused, with its text.
    Refused(String),
    /// The server left the namespace.
    Disconnect,
    /// An event and its arguments.
    Event(String, Vec<Value>),
    /// The answer to the event with this ack id.
    Ack(u64, Vec<Value>),
}

/// Answer to [`Frame::Ping`].
pub(crate) const PONG: &str = "3";

/// Reads one text frame of the server.
pub(crate) fn decode(text: &str) -> Result<Frame, String> {
    let bad = |why: &str| format!("{why}: {text}");
    let json =
        |rest: &str| serde_json::from_str::<Value>(rest).map_err(|error| bad(&error.to_string()));
    let (kind, rest) = text.split_at_checked(1).ok_or_else(|| bad("empty frame"))?;
    match kind {
        "0" => Ok(Frame::Open(json(rest)?)),
        "1" => Ok(Frame::Close),
        "2" => Ok(Frame::Ping),
        "3" | "6" => Ok(Frame::Noop),
        "4" => {
            let (kind, rest) = rest.split_at_checked(1).ok_or_else(|| bad("empty packet"))?;
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (id, body) = rest.split_at(digits);
            match kind {
                "0" => Ok(Frame::Connected(json(body)?)),
                "1" => Ok(Frame::Disconnect),
                "2" => match json(body)? {
                    Value::Array(mut args) if args.first().is_some_and(Value::is_string) => {
                        let name = args.remove(0);
                        Ok(Frame::Event(name.as_str().unwrap_or_default().to_owned(), args))
                    }
                    _ => Err(bad("an event is an array that begins with its name")),
                },
                "3" => {
                    let id = id.parse().map_err(|_| bad("an ack has an id"))?;
                    match json(body)? {
                        Value::Array(args) => Ok(Frame::Ack(id, args)),
                        _ => Err(bad("an ack is an array")),
                    }
                }
                "4" => Ok(Frame::Refused(
                    json(body)?["message"].as_str().unwrap_or_default().to_owned(),
                )),
                _ => Err(bad("a packet type that no server of ours sends")),
            }
        }
        _ => Err(bad("an unknown Engine.IO packet")),
    }
}

/// An event as a client sends it, with an ack id if an answer is wanted.
pub(crate) fn event(name: &str, args: &[Value], ack: Option<u64>) -> String {
    let mut all = vec![json!(name)];
    all.extend(args.iter().cloned());
    let id = ack.map(|id| id.to_string()).unwrap_or_default();
    format!("42{id}{}", Value::Array(all))
}

/// The packet that joins the default namespace.
pub(crate) fn connect(token: Option<&str>) -> String {
    token.map_or_else(|| "40".to_owned(), |token| format!("40{}", json!({ "token": token })))
}

mod tests {
    use super::*;

    #[test]
    fn frames_of_the_contract_are_read_as_it_says() {
        assert_eq!(decode(r#"0{"sid":"x"}"#), Ok(Frame::Open(json!({"sid": "x"}))));
        assert_eq!(decode("2"), Ok(Frame::Ping));
        assert_eq!(decode(r#"40{"sid":"s"}"#), Ok(Frame::Connected(json!({"sid": "s"}))));
        assert_eq!(
            decode(r#"44{"message":"PLAYER_NOT_FOUND"}"#),
            Ok(Frame::Refused("PLAYER_NOT_FOUND".into()))
        );
        assert_eq!(decode(r#"42["ready",1]"#), Ok(Frame::Event("ready".into(), vec![json!(1)])));
        assert_eq!(
            decode(r#"4312[{"status":"SUCCESS"}]"#),
            Ok(Frame::Ack(12, vec![json!({"status": "SUCCESS"})]))
        );
        assert_eq!(decode("41"), Ok(Frame::Disconnect));
    }

    #[test]
    fn frames_that_no_client_understands_are_errors() {
        for text in ["", "4", "9", "42{}", "42[1]", "43[1]", "42[", "45-"] {
            assert!(decode(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn an_event_carries_its_ack_id_only_when_asked() {
        assert_eq!(event("getState", &[], Some(0)), r#"420["getState"]"#);
        assert_eq!(event("pong", &[], None), r#"42["pong"]"#);
        assert_eq!(event("x", &[json!({"a": 1})], Some(7)), r#"427["x",{"a":1}]"#);
    }
}
