//! What a peer can send: frames, messages, introductions.
//!
//! A message carries no checksum of its own: a damaged one may be another valid message, never
//! anything else.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{batch, damaged, damages, log_entry, log_id, number, vote};
use crate::checkpoint::Head;
use crate::membership::{Change, Changed, MemberView, MembersView, Unchanged, Verdict};
use crate::transport::frame::{self, FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, Kind};
use crate::transport::message::{Request, Response};

fn request() -> impl Strategy<Value = Request> {
    let maybe = || prop::option::of(log_id());
    prop_oneof![
        4 => (vote(), maybe(), maybe(), vec(log_entry(), 0..6)).prop_map(|(vote, prev, commit, entries)| {
            Request::Append(AppendEntriesRequest {
                vote,
                prev_log_id: prev,
                entries,
                leader_commit: commit,
            })
        }),
        1 => (any::<bool>(), vote(), maybe(), any::<bool>()).prop_map(|(trial, vote, last, transfer)| {
            let mut request = VoteRequest::new(vote, last);
            request.leadership_transfer = transfer;
            Request::Vote { trial, request }
        }),
        2 => batch().prop_map(Request::Forward),
        1 => Just(()).prop_map(|()| Request::ReadIndex),
        1 => number().prop_map(Request::AwaitApplied),
        1 => Just(()).prop_map(|()| Request::Members),
        1 => (change(), number())
            .prop_map(|(change, patience_ms)| Request::Change { change, patience_ms }),
        1 => vec(any::<u8>(), 0..200).prop_map(Request::Notice),
        1 => (vote(), vec(any::<u8>(), 0..200), head())
            .prop_map(|(vote, meta, head)| Request::Snapshot { vote, meta, head }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (number(), ".{0,40}").prop_map(|(node, address)| Change::Add { node, address }),
        number().prop_map(Change::Promote),
        number().prop_map(Change::Demote),
        number().prop_map(Change::Remove),
        prop::option::of(number()).prop_map(Change::TransferLead),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        (any::<bool>(), ".{0,40}")
            .prop_map(|(already, message)| Verdict::Done(Changed { already, message })),
        ("[A-Z_]{1,20}", ".{0,40}", any::<bool>()).prop_map(|(code, message, retryable)| {
            Verdict::Not(Unchanged { code, message, retryable })
        }),
        Just(Verdict::NotLeading),
    ]
}

fn view() -> impl Strategy<Value = MembersView> {
    let member = (number(), ".{0,40}", any::<bool>(), prop::option::of(number()));
    let members = vec(member, 0..5);
    (number(), prop::option::of(number()), members).prop_map(|(number, leader, members)| {
        let member = |(node, text, is, known)| MemberView {
            node,
            address: text,
            folder: String::new(),
            is_voter: is,
            is_live: !is,
            incarnation: node,
            level: 1,
            heard_ms: known,
            has: known,
        };
        MembersView {
            seen_by: number,
            leader,
            term: number,
            committed: number,
            level: 1,
            is_joint: false,
            members: members.into_iter().map(member).collect(),
            removed: vec![number],
        }
    })
}

fn head() -> impl Strategy<Value = Head> {
    (number(), number(), number(), number()).prop_map(
        |(generation, from, machine_bytes, changes)| Head {
            generation,
            from,
            machine_bytes,
            changes,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    let maybe = || prop::option::of(log_id());
    prop_oneof![
        Just(()).prop_map(|()| Response::Append(AppendEntriesResponse::Success)),
        Just(()).prop_map(|()| Response::Append(AppendEntriesResponse::Conflict)),
        maybe().prop_map(|upto| Response::Append(AppendEntriesResponse::PartialSuccess(upto))),
        vote().prop_map(|vote| Response::Append(AppendEntriesResponse::HigherVote(vote))),
        (vote(), maybe(), any::<bool>()).prop_map(|(vote, last, granted)| {
            Response::Vote(VoteResponse::new(vote, last, granted))
        }),
        prop::option::of(number()).prop_map(Response::Forward),
        prop::option::of(number()).prop_map(Response::ReadIndex),
        any::<bool>().prop_map(Response::Applied),
        view().prop_map(Response::Members),
        verdict().prop_map(Response::Change),
        vote().prop_map(|vote| Response::Snapshot(SnapshotResponse::new(vote))),
        ".{0,200}".prop_map(Response::Failed),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Hello, Kind::Removed, Kind::Request, Kind::Piece, Kind::End])
}

/// What decodes is a message of ours: it says the same again.
fn is_refused_or_a_message(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(request) = Request::decode(bytes) {
        let again = request.encode().map_err(TestCaseError::fail)?;
        let request = Request::decode(&again).map_err(TestCaseError::fail)?;
        prop_assert_eq!(request.encode(), Ok(again));
    }
    if let Ok(response) = Response::decode(bytes) {
        let again = response.encode();
        let response = Response::decode(&again).map_err(TestCaseError::fail)?;
        prop_assert_eq!(response.encode(), again);
    }
    Ok(())
}

/// All frames in these bytes, up to the first that is none.
fn frames(bytes: &[u8], max: usize) -> Vec<(Kind, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut rest = bytes;
        let mut found = Vec::new();
        while let Ok(frame) = frame::read(&mut rest, max).await {
            found.push(frame);
        }
        found
    })
}

fn written(frames: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut bytes = Vec::new();
        for (kind, body) in frames {
            frame::write(&mut bytes, *kind, body).await.unwrap();
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(request in request(), response in response()) {
        let bytes = request.encode().unwrap();
        prop_assert_eq!(Request::decode(&bytes).unwrap().encode().unwrap(), bytes);
        let bytes = response.encode();
        prop_assert_eq!(Response::decode(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn a_damaged_request_is_refused_or_another_message(
        request in request(),
        damages in damages(),
    ) {
        is_refused_or_a_message(&damaged(request.encode().unwrap(), &damages))?;
    }

    #[test]
    fn a_damaged_response_is_refused_or_another_message(
        response in response(),
        damages in damages(),
    ) {
        is_refused_or_a_message(&damaged(response.encode(), &damages))?;
    }

    #[test]
    fn a_cut_message_is_refused(request in request(), at in any::<usize>()) {
        let bytes = request.encode().unwrap();
        prop_assert!(Request::decode(&bytes[..at % bytes.len()]).is_err());
    }

    #[test]
    fn noise_is_refused_or_a_message(format in any::<bool>(), mut bytes in vec(any::<u8>(), 1..600)) {
        if format {
            bytes[0] = 1;
        }
        is_refused_or_a_message(&bytes)?;
    }

    #[test]
    fn frames_survive_the_wire(frames in vec((kind(), vec(any::<u8>(), 0..100)), 0..5)) {
        prop_assert_eq!(self::frames(&written(&frames), 100), frames);
    }

    #[test]
    fn damaged_frames_are_refused_or_bounded(
        frames in vec((kind(), vec(any::<u8>(), 0..100)), 1..5),
        damages in damages(),
        small in any::<bool>(),
    ) {
        let bytes = damaged(written(&frames), &damages);
        let max = if small { HANDSHAKE_BYTES_MAX } else { FRAME_BYTES_MAX };
        // Whatever was read stood there: a length that promises more is not believed.
        let read = self::frames(&bytes, max);
        prop_assert!(read.iter().map(|(_, body)| 5 + body.len()).sum::<usize>() <= bytes.len());
        prop_assert!(bytes.starts_with(&written(&read)));
    }
}
