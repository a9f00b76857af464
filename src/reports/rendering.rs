//! One battle as an observer sees it, and how that is stored: compressed, behind its format.
//!
//! A replay is a function of set-up and inputs, like any replica. It counts only if it comes to the
//! digest that the log recorded: then its messages are those that the players were sent.

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serverv2_machine::limits::REPORT_BYTES_MAX;
use serverv2_machine::{BattleSetup, NumberedInput, PendingReport, WhyMissing};

use crate::battle::engine::Viewer;
use crate::battle::engines::Engines;
use crate::battle::replica::Replica;

/// Names the format: the length of the messages, then messages and final state, deflated.
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 5;
/// Bytes of one battle's messages and final state as JSON; more are not stored.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a battle can't be played once more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("this node has not loaded {0}")]
    NoEngine(String),
    #[error("it can't be set up: {0}")]
    Setup(String),
    #[error("an input is missing")]
    Gap,
    #[error("the engine failed")]
    Panic,
    #[error("it came to other messages than the first time")]
    OtherMessages,
    #[error("it has too many messages")]
    TooLarge,
}

impl RenderError {
    /// What its report says.
    pub(super) fn why(&self) -> WhyMissing {
        if *self == Self::TooLarge { WhyMissing::TooLarge } else { WhyMissing::ReplayFailed }
    }
}

/// What a report's reader gets of its battle.
#[derive(Debug)]
pub(crate) struct ReportBody {
    /// All messages, a JSON array.
    pub(crate) messages: Box<RawValue>,
    /// The state at the end, a JSON object.
    pub(crate) final_state: Box<RawValue>,
}

/// Plays a battle once more. A panic of the engine is an error like any other.
pub(super) fn render(
    engines: &Engines,
    pending: &PendingReport,
    setup: BattleSetup,
    inputs: &[NumberedInput],
) -> Result<Vec<u8>, RenderError> {
    let replay = || replay(engines, pending, setup, inputs);
    let (messages, state) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(replay))
        .unwrap_or(Err(RenderError::Panic))?;
    pack(&messages, &state).filter(|it| it.len() <= REPORT_BYTES_MAX).ok_or(RenderError::TooLarge)
}

fn replay(
    engines: &Engines,
    pending: &PendingReport,
    setup: BattleSetup,
    inputs: &[NumberedInput],
) -> Result<(Vec<u8>, Vec<u8>), RenderError> {
    let engine =
        engines.get(&setup.pack).ok_or_else(|| RenderError::NoEngine(setup.pack.to_string()))?;
    let mut replica = Replica::new(pending.room, Arc::new(setup), engine.as_ref())
        .map_err(|error| RenderError::Setup(error.to_string()))?;
    let told = Arc::new(Mutex::new(vec![b'[']));
    let teller = told.clone();
    replica.observe(Box::new(move |message| {
        let mut told = teller.lock();
        if told.len() > TEXT_BYTES_MAX {
            return;
        }
        if told.len() > 1 {
            told.push(b',');
        }
        // Into memory, and of texts and numbers only: it can't fail.
        let _ = serde_json::to_writer(&mut *told, message);
    }));
    for input in inputs {
        replica.consume(input).map_err(|_| RenderError::Gap)?;
    }
    if replica.end().is_none_or(|(_, digest)| digest != pending.digest) {
        return Err(RenderError::OtherMessages);
    }
    let state = serde_json::to_vec(&replica.battle().view(Viewer::Observer))
        .map_err(|error| RenderError::Setup(error.to_string()))?;
    let mut messages = std::mem::take(&mut *told.lock());
    messages.push(b']');
    if messages.len() + state.len() > TEXT_BYTES_MAX {
        return Err(RenderError::TooLarge);
    }
    Ok((messages, state))
}

fn pack(messages: &[u8], state: &[u8]) -> Option<Vec<u8>> {
    let mut packed = vec![FORMAT];
    packed.extend_from_slice(&u32::try_from(messages.len()).ok()?.to_be_bytes());
    let mut encoder = DeflateEncoder::new(packed, Compression::default());
    encoder.write_all(messages).ok()?;
    encoder.write_all(state).ok()?;
    encoder.finish().ok()
}

/// What [`render`] made; `None`: it wasn't made by this version or any before it.
pub(super) fn unpack(packed: &[u8]) -> Option<ReportBody> {
    let (head, deflated) = packed.split_at_checked(HEAD_BYTES)?;
    let (FORMAT, length) = (head[0], u32::from_be_bytes(head[1..].try_into().ok()?) as usize)
    else {
        return None;
    };
    let mut text = String::new();
    let bounded = DeflateDecoder::new(deflated).take(TEXT_BYTES_MAX as u64 + 1);
    { bounded }.read_to_string(&mut text).ok()?;
    if text.len() > TEXT_BYTES_MAX || !text.is_char_boundary(length) {
        return None;
    }
    let state = text.split_off(length);
    let raw = |text| RawValue::from_string(text).ok();
    Some(ReportBody { messages: raw(text)?, final_state: raw(state)? })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serverv2_machine::{Digest, Input, LogTime, NodeId, Seat, WallTime};

    use super::*;
    use crate::battle::builtin::tests::sample_setup;

    fn battle() -> (BattleSetup, Vec<NumberedInput>) {
        let surrender = |seat| Input::Select(seat, r#"{"type":"surrender"}"#.into());
        let [a, b] = Seat::BOTH;
        let inputs = [Input::Ready(a), Input::Ready(b), surrender(a), surrender(b)];
        let numbered =
            |(number, input)| NumberedInput { number, at: LogTime(0), wall: WallTime(0), input };
        (sample_setup(), (1..).zip(inputs).map(numbered).collect())
    }

    fn recorded(engines: &Engines) -> PendingReport {
        let (setup, inputs) = battle();
        let room = "room-________________".parse().unwrap();
        let engine = engines.get(&setup.pack).unwrap();
        let mut replica = Replica::new(room, Arc::new(setup), engine.as_ref()).unwrap();
        inputs.iter().for_each(|input| replica.consume(input).unwrap());
        let digest = replica.end().unwrap().1;
        PendingReport::new(room, NodeId(1), LogTime(0), digest)
    }

    #[test]
    fn an_observer_sees_every_message_and_the_state_at_the_end() {
        let engines = Engines::load(None).unwrap();
        let pending = recorded(&engines);
        let (setup, inputs) = battle();
        let packed = render(&engines, &pending, setup, &inputs).unwrap();
        let body = unpack(&packed).unwrap();
        let messages: Vec<Value> = serde_json::from_str(body.messages.get()).unwrap();
        for (number, message) in messages.iter().enumerate() {
            assert_eq!(message["sequenceId"], number, "{message}");
        }
        assert_eq!(messages.last().unwrap()["type"], "BATTLE_END");
        let state: Value = serde_json::from_str(body.final_state.get()).unwrap();
        assert_eq!(state["status"], "Ended");
        let unknown = |player: usize| {
            let team = state["players"][player]["team"].as_array().unwrap();
            team.iter().filter(|pet| pet["isUnknown"] == true).count()
        };
        assert_eq!([unknown(0), unknown(1)], [0, 0], "nothing is hidden from an observer");
    }

    #[test]
    fn a_replay_that_differs_or_can_not_be_made_is_no_report() {
        let engines = Engines::load(None).unwrap();
        let pending = recorded(&engines);
        let (setup, inputs) = battle();
        let other = PendingReport::new(pending.room, pending.home, pending.since, Digest([1; 32]));
        let attempt = |pending: &PendingReport, setup: &BattleSetup, inputs: &[NumberedInput]| {
            render(&engines, pending, setup.clone(), inputs).unwrap_err()
        };
        assert_eq!(attempt(&other, &setup, &inputs), RenderError::OtherMessages);
        assert_eq!(attempt(&pending, &setup, &inputs[..3]), RenderError::OtherMessages);
        assert_eq!(attempt(&pending, &setup, &inputs[1..]), RenderError::Gap);
        let mut elsewhere = setup.clone();
        elsewhere.pack.digest = Digest([1; 32]);
        assert!(matches!(attempt(&pending, &elsewhere, &inputs), RenderError::NoEngine(_)));
        let mut broken = setup;
        broken.players[0].team = "no team".into();
        assert_eq!(attempt(&pending, &broken, &inputs).why(), WhyMissing::ReplayFailed);
    }

    #[test]
    fn broken_bytes_are_no_report() {
        let packed = pack(b"[1,2]", b"{}").unwrap();
        assert!(unpack(&packed).is_some());
        for end in 0..packed.len() {
            assert!(unpack(&packed[..end]).is_none(), "cut at {end}");
        }
        for at in 0..HEAD_BYTES {
            let mut bytes = packed.clone();
            bytes[at] ^= 0x41;
            assert!(unpack(&bytes).is_none(), "changed at {at}");
        }
    }
}
