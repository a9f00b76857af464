//! What nodes ask each other, and the bytes of it.
//!
//! openraft's own types are not sent, as they are not stored: they change between its versions. A
//! message is a small head in a format of ours, with entries behind it in the form that the log keeps.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};
use serverv2_machine::{Entry, decode_entry, encode_entry};
use serverv2_storage::Record;

use super::frame::FRAME_BYTES_MAX;
use crate::checkpoint::Head;
use crate::codec::{self, LogRecord, StoredLogId, StoredVote};
use crate::membership::{Change, MembersView, Verdict};
use crate::types::{LogId, TypeConfig, Vote};
use crate::versions::{self, Versions};

/// A question to a peer.
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote {
        trial: bool,
        request: VoteRequest<TypeConfig>,
    },
    /// Proposals of another node for the leader; stamps are still missing.
    Forward(Entry),
    /// The index that a linearizable read must have applied.
    ReadIndex,
    /// Its pieces follow (`snapshot.rs`).
    Snapshot {
        vote: Vote,
        meta: Vec<u8>,
        head: Head,
    },
    /// Whether the peer has applied this index; it may wait a little for that.
    AwaitApplied(u64),
    /// The leader steps down; the one that is named succeeds it, the others let go of it.
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// Who is in the cluster, as the leader sees it.
    Members,
    /// A change of the membership, to be made within so many milliseconds.
    Change {
        change: Change,
        patience_ms: u64,
    },
    /// What the caller speaks and knows: the first message of a connection (`versions.rs`).
    Introduce(Versions),
    /// Something beside the log (`notices.rs`).
    Notice(Vec<u8>),
}

/// A peer's answer.
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Response {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    /// The entry with the forwarded proposals is committed at this index; `None`: not taken, ask the
    /// leader that is known then.
    Forward(Option<u64>),
    ReadIndex(Option<u64>),
    Snapshot(SnapshotResponse<TypeConfig>),
    Applied(bool),
    /// The peer has done its part of a transfer, or why not.
    Transferred(bool),
    Members(MembersView),
    Change(Verdict),
    /// What the peer speaks and knows.
    Introduced(Versions),
    /// The two can't stand in one cluster; the connection ends.
    Refused(String),
    /// What the peer says to a notice; `None`: nobody listens there.
    Noticed(Option<Vec<u8>>),
    /// The peer can't answer; consensus has stopped there, or the question made no sense.
    Failed(String),
}

#[derive(Serialize, Deserialize)]
enum RequestHead {
    Append {
        vote: StoredVote,
        prev: Option<StoredLogId>,
        commit: Option<StoredLogId>,
        lengths: Vec<u32>,
    },
    Vote {
        trial: bool,
        vote: StoredVote,
        last: Option<StoredLogId>,
        transfer: bool,
    },
    Forward,
    ReadIndex,
    Snapshot {
        vote: StoredVote,
        meta: Vec<u8>,
        head: Head,
    },
    AwaitApplied(u64),
    Transfer {
        vote: StoredVote,
        to: u64,
        last: Option<StoredLogId>,
    },
    Members,
    Change {
        change: Change,
        patience_ms: u64,
    },
    Introduce(Versions),
    Notice(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
enum ResponseHead {
    Appended,
    AppendedUpTo(Option<StoredLogId>),
    Conflict,
    HigherVote(StoredVote),
    Vote { vote: StoredVote, granted: bool, last: Option<StoredLogId> },
    Forward(Option<u64>),
    ReadIndex(Option<u64>),
    Snapshot { vote: StoredVote },
    Failed(String),
    Applied(bool),
    Transferred(bool),
    Members(MembersView),
    Change(Verdict),
    Introduced(Versions),
    Refused(String),
    Noticed(Option<Vec<u8>>),
}

impl Request {
    /// The peer protocol that brought this message: it is not sent to whoever does not speak that. The first
    /// message of a connection is, since the answer tells.
    pub(crate) fn since_protocol(&self) -> u32 {
        match self {
            Self::Append(_)
            | Self::Vote { .. }
            | Self::Forward(_)
            | Self::ReadIndex
            | Self::Snapshot { .. }
            | Self::AwaitApplied(_)
            | Self::Transfer(_)
            | Self::Introduce(_) => 1,
            Self::Members | Self::Change { .. } | Self::Notice(_) => 2,
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut rest = Vec::new();
        let head = match self {
            Self::Append(request) => {
                let mut lengths = Vec::with_capacity(request.entries.len());
                for entry in &request.entries {
                    let bytes = LogRecord(entry.clone()).encode()?;
                    lengths.push(u32::try_from(bytes.len()).map_err(|error| error.to_string())?);
                    rest.extend_from_slice(&bytes);
                }
                RequestHead::Append {
                    vote: (&request.vote).into(),
                    prev: request.prev_log_id.map(StoredLogId::from),
                    commit: request.leader_commit.map(StoredLogId::from),
                    lengths,
                }
            }
            Self::Vote { trial, request } => RequestHead::Vote {
                trial: *trial,
                vote: (&request.vote).into(),
                last: request.last_log_id.map(StoredLogId::from),
                transfer: request.leadership_transfer,
            },
            Self::Forward(entry) => {
                rest = encode_entry(entry).map_err(|error| error.to_string())?;
                RequestHead::Forward
            }
            Self::ReadIndex => RequestHead::ReadIndex,
            Self::AwaitApplied(index) => RequestHead::AwaitApplied(*index),
            Self::Introduce(versions) => RequestHead::Introduce(versions.clone()),
            Self::Transfer(request) => RequestHead::Transfer {
                vote: request.from_leader().into(),
                to: *request.to_node_id(),
                last: request.last_log_id().copied().map(StoredLogId::from),
            },
            Self::Notice(notice) => RequestHead::Notice(notice.clone()),
            Self::Snapshot { vote, meta, head } => {
                RequestHead::Snapshot { vote: vote.into(), meta: meta.clone(), head: head.clone() }
            }
            Self::Members => RequestHead::Members,
            Self::Change { change, patience_ms } => {
                RequestHead::Change { change: change.clone(), patience_ms: *patience_ms }
            }
        };
        let mut bytes = codec::encode(&head);
        bytes.extend_from_slice(&rest);
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(format!("a message of {} bytes is too large", bytes.len()));
        }
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (head, mut rest) = codec::decode_head::<RequestHead>(bytes)?;
        let request = match head {
            RequestHead::Append { vote, prev, commit, lengths } => {
                let mut entries = Vec::with_capacity(lengths.len());
                for length in lengths {
                    let cut = rest.split_at_checked(length as usize);
                    let (entry, behind) = cut.ok_or("an entry is cut")?;
                    entries.push(LogRecord::decode(entry)?.0);
                    rest = behind;
                }
                Self::Append(AppendEntriesRequest {
                    vote: vote.into(),
                    prev_log_id: prev.map(LogId::from),
                    entries,
                    leader_commit: commit.map(LogId::from),
                })
            }
            RequestHead::Vote { trial, vote, last, transfer } => {
                let mut request = VoteRequest::new(vote.into(), last.map(LogId::from));
                request.leadership_transfer = transfer;
                Self::Vote { trial, request }
            }
            RequestHead::Forward => {
                let entry = decode_entry(rest).map_err(|error| error.to_string())?;
                versions::check_known(&entry)?;
                rest = &[];
                Self::Forward(entry)
            }
            RequestHead::ReadIndex => Self::ReadIndex,
            RequestHead::AwaitApplied(index) => Self::AwaitApplied(index),
            RequestHead::Introduce(versions) => Self::Introduce(versions),
            RequestHead::Transfer { vote, to, last } => {
                Self::Transfer(TransferLeaderRequest::new(vote.into(), to, last.map(LogId::from)))
            }
            RequestHead::Notice(notice) => Self::Notice(notice),
            RequestHead::Snapshot { vote, meta, head } => {
                Self::Snapshot { vote: vote.into(), meta, head }
            }
            RequestHead::Members => Self::Members,
            RequestHead::Change { change, patience_ms } => Self::Change { change, patience_ms },
        };
        if rest.is_empty() { Ok(request) } else { Err("bytes are left over".to_owned()) }
    }
}

impl Response {
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(&match self {
            Self::Append(AppendEntriesResponse::Success) => ResponseHead::Appended,
            Self::Append(AppendEntriesResponse::PartialSuccess(upto)) => {
                ResponseHead::AppendedUpTo(upto.map(StoredLogId::from))
            }
            Self::Append(AppendEntriesResponse::Conflict) => ResponseHead::Conflict,
            Self::Append(AppendEntriesResponse::HigherVote(vote)) => {
                ResponseHead::HigherVote(vote.into())
            }
            Self::Vote(response) => ResponseHead::Vote {
                vote: (&response.vote).into(),
                granted: response.vote_granted,
                last: response.last_log_id.map(StoredLogId::from),
            },
            Self::Forward(index) => ResponseHead::Forward(*index),
            Self::ReadIndex(index) => ResponseHead::ReadIndex(*index),
            Self::Snapshot(response) => ResponseHead::Snapshot { vote: (&response.vote).into() },
            Self::Applied(applied) => ResponseHead::Applied(*applied),
            Self::Transferred(done) => ResponseHead::Transferred(*done),
            Self::Members(view) => ResponseHead::Members(view.clone()),
            Self::Change(verdict) => ResponseHead::Change(verdict.clone()),
            Self::Introduced(versions) => ResponseHead::Introduced(versions.clone()),
            Self::Refused(why) => ResponseHead::Refused(why.clone()),
            Self::Noticed(answer) => ResponseHead::Noticed(answer.clone()),
            Self::Failed(why) => ResponseHead::Failed(why.clone()),
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        Ok(match codec::decode::<ResponseHead>(bytes)? {
            ResponseHead::Appended => Self::Append(AppendEntriesResponse::Success),
            ResponseHead::AppendedUpTo(upto) => {
                Self::Append(AppendEntriesResponse::PartialSuccess(upto.map(LogId::from)))
            }
            ResponseHead::Conflict => Self::Append(AppendEntriesResponse::Conflict),
            ResponseHead::HigherVote(vote) => {
                Self::Append(AppendEntriesResponse::HigherVote(vote.into()))
            }
            ResponseHead::Vote { vote, granted, last } => {
                Self::Vote(VoteResponse::new(Vote::from(vote), last.map(LogId::from), granted))
            }
            ResponseHead::Forward(index) => Self::Forward(index),
            ResponseHead::ReadIndex(index) => Self::ReadIndex(index),
            ResponseHead::Snapshot { vote } => Self::Snapshot(SnapshotResponse::new(vote.into())),
            ResponseHead::Applied(applied) => Self::Applied(applied),
            ResponseHead::Transferred(done) => Self::Transferred(done),
            ResponseHead::Members(view) => Self::Members(view),
            ResponseHead::Change(verdict) => Self::Change(verdict),
            ResponseHead::Introduced(versions) => Self::Introduced(versions),
            ResponseHead::Refused(why) => Self::Refused(why),
            ResponseHead::Noticed(answer) => Self::Noticed(answer),
            ResponseHead::Failed(why) => Self::Failed(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use serverv2_machine::{Floor, Incarnation, NodeId};

    use super::*;

    #[test]
    fn a_forwarded_batch_survives_the_wire() {
        let floor = Floor { node: NodeId(2), incarnation: Incarnation(3), lowest_open: 9 };
        let entry = Entry { floors: vec![floor], proposals: Vec::new() };
        let bytes = Request::Forward(entry.clone()).encode().unwrap();
        let Ok(Request::Forward(again)) = Request::decode(&bytes) else {
            panic!("another message")
        };
        assert_eq!(again, entry);
    }

    #[test]
    fn cut_and_foreign_bytes_are_errors() {
        let bytes = Request::ReadIndex.encode().unwrap();
        for bytes in [&bytes[..bytes.len() - 1], &[][..], &[1, 200, 3][..], &[9; 40][..]] {
            assert!(Request::decode(bytes).is_err());
            assert!(Response::decode(bytes).is_err());
        }
        assert!(Request::decode(&[&bytes[..], &[0]].concat()).is_err(), "bytes left over");
    }
}
