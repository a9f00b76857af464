//! Sessions that fought, each with what it asked and heard: what several checks look at.

use std::collections::BTreeMap;

use crate::evidence::{Evidence, Hearing, Op};
use crate::history::Call;

/// One session's story.
#[derive(Default)]
pub(super) struct Session<'a> {
    pub(super) ops: Vec<&'a Op>,
    pub(super) heard: Vec<&'a Hearing>,
}

/// All of them, by `player:session`.
pub(super) fn sessions(evidence: &Evidence) -> BTreeMap<String, Session<'_>> {
    let mut sessions: BTreeMap<String, Session<'_>> = BTreeMap::new();
    for op in &evidence.ops {
        if let Some(key) = key(&op.call) {
            sessions.entry(key).or_default().ops.push(op);
        }
    }
    for hearing in &evidence.heard {
        sessions.entry(hearing.key()).or_default().heard.push(hearing);
    }
    sessions
}

/// Whose an operation is.
pub(super) fn key(call: &Call) -> Option<String> {
    match call {
        Call::Connect { player, session }
        | Call::Join { player, session, .. }
        | Call::Cancel { player, session, .. }
        | Call::Ready { player, session, .. }
        | Call::Submit { player, session, .. }
        | Call::State { player, session }
        | Call::Choices { player, session } => Some(format!("{player}:{session}")),
        _ => None,
    }
}
