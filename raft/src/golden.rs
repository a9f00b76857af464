//! The bytes of what this crate stores and sends, as released: they must decode for ever.
//!
//! `testdata/bytes-1.txt` has a line for each. A line never changes once its version is released; new ones come
//! at the end. `UPDATE_GOLDENFILES=1` writes those of a version that is still in the making. What a batch of
//! proposals looks like inside, the machine's own golden files say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::vote::leader_id_adv::LeaderId;
use serverv2_machine::{
    Entry, Floor, Incarnation, LogTime, NodeId, Proposal, RequestId, Tick, WallTime,
};
use serverv2_storage::Record as _;

use crate::checkpoint::Head;
use crate::codec::{self, LogRecord};
use crate::membership::{Change, Verdict};
use crate::transport::handshake;
use crate::transport::message::{Request, Response};
use crate::types::{
    Batch, LogEntry, LogId, Member, Membership, SnapshotMeta, StoredMembership, Vote,
};
use crate::versions::Versions;

fn id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 300, node_id: 2 }, index }
}

fn vote() -> Vote {
    Vote { leader_id: LeaderId { term: 300, node_id: 2 }, committed: true }
}

fn members() -> Membership {
    let member = |number: u8| Member {
        address: format!("10.0.0.{number}:18102"),
        folder: [number; 16],
        cluster: [9; 16],
    };
    let nodes = (1..=3).map(|number| (u64::from(number), member(number)));
    let voters = vec![BTreeSet::from([1, 2])];
    Membership::new(voters, nodes.collect::<BTreeMap<_, _>>()).unwrap()
}

fn batch() -> Entry {
    let proposal = Proposal {
        request: RequestId { node: NodeId(1), incarnation: Incarnation(1 << 20), sequence: 7 },
        client_key: None,
        at: LogTime(70_000),
        wall: WallTime(1_750_406_400_000),
        seed: [11; 16],
        command: Tick.into(),
    };
    let floor = Floor { node: NodeId(1), incarnation: Incarnation(1 << 20), lowest_open: 6 };
    Entry { floors: vec![floor], proposals: vec![proposal] }
}

fn entries() -> Vec<LogEntry> {
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Batch(Arc::new(batch()))),
        EntryPayload::Membership(members()),
    ];
    (70_000..).zip(payloads).map(|(index, payload)| LogEntry::new(id(index), payload)).collect()
}

fn head() -> Head {
    Head { generation: 2, from: 69_000, machine_bytes: 1_000_000, changes: 3 }
}

fn requests() -> Vec<(&'static str, Request)> {
    let mut asks = VoteRequest::new(vote(), Some(id(70_000)));
    asks.leadership_transfer = true;
    vec![
        (
            "request-append",
            Request::Append(AppendEntriesRequest {
                vote: vote(),
                prev_log_id: Some(id(69_999)),
                entries: entries(),
                leader_commit: Some(id(69_998)),
            }),
        ),
        ("request-vote", Request::Vote { trial: true, request: asks }),
        ("request-forward", Request::Forward(batch())),
        ("request-read-index", Request::ReadIndex),
        ("request-snapshot", Request::Snapshot { vote: vote(), meta: vec![1, 2], head: head() }),
        ("request-await-applied", Request::AwaitApplied(70_000)),
        (
            "request-transfer",
            Request::Transfer(TransferLeaderRequest::new(vote(), 3, Some(id(70_000)))),
        ),
        ("request-introduce", Request::Introduce(versions())),
        ("request-members", Request::Members),
        ("request-change", Request::Change { change: Change::Promote(4), patience_ms: 70_000 }),
        ("request-notice", Request::Notice(vec![1, 2])),
    ]
}

fn versions() -> Versions {
    Versions { protocol_min: 1, protocol_max: 2, level: 2, build: "0.1.0".to_owned() }
}

fn responses() -> Vec<(&'static str, Response)> {
    vec![
        ("response-appended", Response::Append(AppendEntriesResponse::Success)),
        (
            "response-appended-up-to",
            Response::Append(AppendEntriesResponse::PartialSuccess(Some(id(70_000)))),
        ),
        ("response-conflict", Response::Append(AppendEntriesResponse::Conflict)),
        ("response-higher-vote", Response::Append(AppendEntriesResponse::HigherVote(vote()))),
        ("response-vote", Response::Vote(VoteResponse::new(vote(), Some(id(70_000)), true))),
        ("response-forward", Response::Forward(Some(70_000))),
        ("response-read-index", Response::ReadIndex(None)),
        ("response-snapshot", Response::Snapshot(SnapshotResponse::new(vote()))),
        ("response-failed", Response::Failed("why".to_owned())),
        ("response-applied", Response::Applied(true)),
        ("response-transferred", Response::Transferred(false)),
        ("response-introduced", Response::Introduced(versions())),
        ("response-refused", Response::Refused("why".to_owned())),
        ("response-change", Response::Change(Verdict::NotLeading)),
        ("response-noticed", Response::Noticed(Some(vec![1, 2]))),
    ]
}

/// The bytes of each, by name.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, entry) in ["blank", "batch", "membership"].into_iter().zip(entries()) {
        all.push((format!("log-{name}"), LogRecord(entry).encode().unwrap()));
    }
    all.push(("vote".to_owned(), codec::encode_vote(&vote())));
    all.push(("position".to_owned(), codec::encode_log_id(id(70_000))));
    all.push(("snapshot-meta".to_owned(), codec::encode_snapshot_meta(&meta())));
    all.push(("checkpoint-head".to_owned(), head().encode()));
    all.push(("card".to_owned(), handshake::card_for_golden()));
    all.extend(requests().into_iter().map(|(name, it)| (name.to_owned(), it.encode().unwrap())));
    all.extend(responses().into_iter().map(|(name, it)| (name.to_owned(), it.encode())));
    all
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(id(70_000)),
        last_membership: StoredMembership::new(Some(id(1)), members()),
    }
}

fn print(all: &[(String, Vec<u8>)]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    all.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect()
}

#[test]
fn what_is_stored_and_sent_keeps_its_bytes_and_decodes_to_the_same() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/bytes-1.txt");
    let printed = print(&all());
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &printed).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert_eq!(stored, printed);
    for line in stored.lines() {
        let (name, hex) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let again = match name.split_once('-').map_or(name, |(kind, _)| kind) {
            "log" => LogRecord::decode(&bytes).unwrap().encode().unwrap(),
            "vote" => codec::encode_vote(&codec::decode_vote(&bytes).unwrap()),
            "position" => codec::encode_log_id(codec::decode_log_id(&bytes).unwrap()),
            "snapshot" => {
                let meta = codec::decode_snapshot_meta(&bytes).unwrap();
                assert_eq!(meta, self::meta());
                codec::encode_snapshot_meta(&meta)
            }
            // Behind its magic and length.
            "checkpoint" => codec::decode::<Head>(&bytes[12..]).unwrap().encode(),
            "card" => handshake::card_again(&bytes),
            "request" => Request::decode(&bytes).unwrap().encode().unwrap(),
            "response" => Response::decode(&bytes).unwrap().encode(),
            other => panic!("{other}?"),
        };
        assert_eq!(again, bytes, "{name}");
    }
}
