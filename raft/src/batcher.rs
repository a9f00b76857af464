//! Group commit: many proposals, one entry.
//!
//! Proposals wait in a bounded queue. One entry is under way at a time; when it is applied, whatever
//! waits becomes the next one, up to the machine's bounds of an entry. There is no lingering: a lone
//! proposal leaves at once, and under load the entries grow by themselves.
//!
//! A proposal lives on its own from the moment it is queued: a caller that goes away or gives up does
//! not take it back, and its request stays open until its fate is known here. A fresh leader refuses
//! with "no leader known" for a moment; an entry that was refused before it was appended is stamped
//! anew and proposed again with the same request ids, until its proposals' deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use serverv2_machine::limits::{ENTRY_BYTES_MAX, ENTRY_PROPOSALS_MAX, PROPOSAL_BYTES_MAX};
use serverv2_machine::{Command, Entry, LogTime, Proposal, ScopedKey, WallTime, encoded_len};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::applier::Replica;
use crate::error::{ProposeError, StopReason};
use crate::forward::{Fate, Forwarder, leader, leader_changes};
use crate::log_clock::LogClock;
use crate::requests::{Hold, Requests};
use crate::stamp::stamp;
use crate::types::Raft;

/// Bytes of an entry beside its proposals: format, lengths, one floor.
const ENTRY_HEAD_BYTES: usize = 256;
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(100);

const WAITING: u8 = 0;
const PROPOSED: u8 = 1;
const CANCELLED: u8 = 2;

/// Whether a proposal may have left, seen from both sides of the queue.
#[derive(Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    /// The caller gives up. True: it never left and never will.
    pub(crate) fn cancel(&self) -> bool {
        self.change(WAITING, CANCELLED) || self.0.load(Ordering::SeqCst) == CANCELLED
    }

    /// It leaves, again perhaps. False: it was cancelled.
    fn leave(&self) -> bool {
        self.change(WAITING, PROPOSED) || self.0.load(Ordering::SeqCst) == PROPOSED
    }

    /// It was refused before it was appended.
    fn come_back(&self) {
        self.change(PROPOSED, WAITING);
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// A proposal in the queue or under way.
pub(crate) struct Pending {
    proposal: Proposal,
    bytes: usize,
    /// It shares an entry with no other.
    alone: bool,
    deadline: Instant,
    phase: Arc<Phase>,
    refused: oneshot::Sender<ProposeError>,
    /// The request stays open as long as this lives.
    _hold: Hold,
}

/// What the caller keeps of it.
pub(crate) struct Ticket {
    pub(crate) phase: Arc<Phase>,
    pub(crate) refused: oneshot::Receiver<ProposeError>,
}

impl Pending {
    /// Wraps a command; refuses one that is too large.
    pub(crate) fn new(
        hold: Hold,
        command: Command,
        client_key: Option<ScopedKey>,
        deadline: Instant,
    ) -> Result<(Self, Ticket), ProposeError> {
        // Measured with the longest stamps there are.
        let proposal = Proposal {
            request: hold.request(),
            client_key,
            at: LogTime(u64::MAX),
            wall: WallTime(u64::MAX),
            seed: [0; 16],
            command,
        };
        let bytes = encoded_len(&proposal);
        let alone = proposal.command.is_large();
        let max = if alone { ENTRY_BYTES_MAX - ENTRY_HEAD_BYTES } else { PROPOSAL_BYTES_MAX };
        if bytes > max {
            return Err(ProposeError::TooLarge);
        }
        let phase = Arc::<Phase>::default();
        let (refused, is_refused) = oneshot::channel();
        let ticket = Ticket { phase: Arc::clone(&phase), refused: is_refused };
        Ok((Self { proposal, bytes, alone, deadline, phase, refused, _hold: hold }, ticket))
    }

    fn refuse(self, error: ProposeError) {
        // A caller that has gone away does not listen.
        let _ = self.refused.send(error);
    }
}

/// The task that turns proposals into entries.
pub(crate) struct Batcher {
    pub(crate) raft: Raft,
    pub(crate) requests: Arc<Requests>,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
    pub(crate) forwarder: Forwarder,
    pub(crate) replica: Replica,
}

impl Batcher {
    /// Runs until the queue's senders are gone or consensus stops.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Pending>) {
        let mut carried = None;
        loop {
            let first = match carried.take() {
                Some(pending) => pending,
                None => match queue.recv().await {
                    Some(pending) => pending,
                    None => return,
                },
            };
            let batch;
            (batch, carried) = gather(first, &mut queue);
            if !self.commit(batch).await {
                break;
            }
        }
        queue.close();
        refuse_stopped(carried);
        while let Some(pending) = queue.recv().await {
            refuse_stopped([pending]);
        }
    }

    /// Proposes a batch until it is applied or none of it is left; false when consensus has stopped.
    async fn commit(&self, mut batch: Vec<Pending>) -> bool {
        let mut pause = RETRY_FIRST;
        loop {
            if self.stop.borrow().is_some() {
                refuse_stopped(batch);
                return false;
            }
            batch = still_wanted(batch);
            if batch.is_empty() {
                return true;
            }
            let led_by = leader(&self.raft);
            if let Some(leader) = self.forwarder.other_leader(&self.raft) {
                match self.forwarder.forward(&self.raft, leader, self.entry(&batch)).await {
                    Fate::Committed(index) => {
                        // The callers wait for this node's own applier.
                        let replica = self.replica.clone();
                        tokio::spawn(async move {
                            replica.applied_at_least(index).await;
                            drop(batch);
                        });
                        return true;
                    }
                    // It may be committed all the same; the request ids make a second copy harmless.
                    Fate::Unknown => {}
                    Fate::Refused => batch.iter().for_each(|pending| pending.phase.come_back()),
                }
                self.rest(&mut pause, led_by).await;
                continue;
            }
            match self.raft.client_write(stamp(self.entry(&batch), &self.clock)).await {
                Ok(_) => return true,
                Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                    // It may still be committed by another leader; the request ids make a second
                    // copy harmless.
                }
                Err(RaftError::APIError(refused)) => {
                    tracing::debug!(%refused, "an entry was refused before it was appended");
                    batch.iter().for_each(|pending| pending.phase.come_back());
                }
                Err(RaftError::Fatal(fatal)) => {
                    tracing::debug!(%fatal, "consensus has stopped");
                    batch.into_iter().for_each(|pending| pending.refuse(ProposeError::Unknown));
                    return false;
                }
            }
            self.rest(&mut pause, led_by).await;
        }
    }

    /// A pause before the next try, cut short when somebody else leads.
    async fn rest(&self, pause: &mut Duration, led_by: Option<u64>) {
        // A pause that is over and a leader that changed are both reasons to try.
        let _ = tokio::time::timeout(*pause, leader_changes(&self.raft, led_by)).await;
        *pause = (*pause * 2).min(RETRY_MAX);
    }

    fn entry(&self, batch: &[Pending]) -> Entry {
        Entry {
            floors: vec![self.requests.floor()],
            proposals: batch.iter().map(|pending| pending.proposal.clone()).collect(),
        }
    }
}

/// Takes what waits, as much as one entry holds; also what was taken and did not fit.
fn gather(first: Pending, queue: &mut mpsc::Receiver<Pending>) -> (Vec<Pending>, Option<Pending>) {
    let mut bytes = ENTRY_HEAD_BYTES + first.bytes;
    let alone = first.alone;
    let mut batch = vec![first];
    while !alone && batch.len() < ENTRY_PROPOSALS_MAX {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.bytes;
        if next.alone || bytes > ENTRY_BYTES_MAX {
            return (batch, Some(next));
        }
        batch.push(next);
    }
    (batch, None)
}

/// Consensus has stopped: what has not left never will.
fn refuse_stopped(batch: impl IntoIterator<Item = Pending>) {
    for pending in batch {
        let never_left = pending.phase.cancel();
        pending.refuse(if never_left { ProposeError::Stopped } else { ProposeError::Unknown });
    }
}

/// Lets go of proposals that were cancelled or whose deadline has passed.
fn still_wanted(batch: Vec<Pending>) -> Vec<Pending> {
    let now = Instant::now();
    let mut wanted = Vec::with_capacity(batch.len());
    for pending in batch {
        if pending.deadline > now && pending.phase.leave() {
            wanted.push(pending);
        } else {
            let never_left = pending.phase.cancel();
            pending.refuse(if never_left { ProposeError::Busy } else { ProposeError::Unknown });
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serverv2_machine::limits::REPORT_BYTES_MAX;
    use serverv2_machine::{Blob, Incarnation, JoinQueue, NodeId, Rendered, StoreReport, Tick};

    use super::*;

    fn pending(requests: &Arc<Requests>, command: Command, deadline: Instant) -> (Pending, Ticket) {
        Pending::new(requests.claim(requests.next()), command, None, deadline).unwrap()
    }

    fn requests() -> Arc<Requests> {
        Arc::new(Requests::new(NodeId(1), Incarnation(1)))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn join(team_bytes: usize) -> Command {
        let session = serverv2_machine::SessionKey {
            player: "AAAAAAAAAAAAAAAAAAAAA".parse().unwrap(),
            session: "s".parse().unwrap(),
        };
        Command::JoinQueue(JoinQueue {
            session,
            socket: "k".parse().unwrap(),
            team: "x".repeat(team_bytes).into(),
            clocks: serverv2_machine::Clocks { turn_s: 1, total_s: 1, animation_max_ms: 1 },
        })
    }

    #[tokio::test]
    async fn an_entry_takes_what_waits_within_its_bounds_and_loses_nothing() {
        let requests = requests();
        let (sender, mut queue) = mpsc::channel(4096);
        let mut tickets = Vec::new();
        for number in 0..3000 {
            let command = if number % 50 == 0 { join(16_000) } else { Tick.into() };
            let (pending, ticket) = pending(&requests, command, later());
            sender.try_send(pending).ok().unwrap();
            tickets.push(ticket);
        }
        let mut seen = HashSet::new();
        let mut carried = queue.try_recv().ok();
        while let Some(first) = carried.take().or_else(|| queue.try_recv().ok()) {
            let batch;
            (batch, carried) = gather(first, &mut queue);
            assert!(batch.len() <= ENTRY_PROPOSALS_MAX);
            let proposals = batch.iter().map(|pending| pending.proposal.clone());
            let entry = Entry { floors: vec![requests.floor()], proposals: proposals.collect() };
            serverv2_machine::encode_entry(&entry).unwrap();
            assert!(batch.iter().all(|pending| seen.insert(pending.proposal.request)));
        }
        assert_eq!(seen.len(), 3000);
    }

    fn report(bytes: usize) -> Command {
        let rendered = Rendered::Messages(Blob(vec![7; bytes].into()));
        StoreReport { room: "room-________________".parse().unwrap(), rendered }.into()
    }

    #[tokio::test]
    async fn a_report_may_be_large_and_shares_its_entry_with_nobody() {
        let requests = requests();
        let (sender, mut queue) = mpsc::channel(16);
        let mut tickets = Vec::new();
        let large = report(REPORT_BYTES_MAX);
        for command in [Tick.into(), Tick.into(), large, report(1), Tick.into(), Tick.into()] {
            let (pending, ticket) = pending(&requests, command, later());
            sender.try_send(pending).ok().unwrap();
            tickets.push(ticket);
        }
        let mut sizes = Vec::new();
        let mut carried = queue.try_recv().ok();
        while let Some(first) = carried.take().or_else(|| queue.try_recv().ok()) {
            let batch;
            (batch, carried) = gather(first, &mut queue);
            let proposals = batch.iter().map(|pending| pending.proposal.clone());
            let entry = Entry { floors: vec![requests.floor()], proposals: proposals.collect() };
            serverv2_machine::encode_entry(&entry).unwrap();
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [2, 1, 1, 2]);
        let hold = requests.claim(requests.next());
        let refused = Pending::new(hold, report(ENTRY_BYTES_MAX), None, later()).err();
        assert_eq!(refused, Some(ProposeError::TooLarge));
    }

    #[tokio::test]
    async fn a_proposal_that_is_too_large_is_refused() {
        let requests = requests();
        let hold = requests.claim(requests.next());
        let refused = Pending::new(hold, join(PROPOSAL_BYTES_MAX), None, later()).err();
        assert_eq!(refused, Some(ProposeError::TooLarge));
        assert_eq!(requests.open(), 0);
    }

    #[tokio::test]
    async fn only_a_proposal_that_never_left_is_called_busy() {
        let requests = requests();
        let late = Instant::now();
        let (waited, ticket_of_waited) = pending(&requests, Tick.into(), late);
        let (left, ticket_of_left) = pending(&requests, Tick.into(), late);
        let (wanted, ticket_of_wanted) = pending(&requests, Tick.into(), later());
        assert!(left.phase.leave());
        let kept = still_wanted(vec![waited, left, wanted]);
        assert_eq!(kept.len(), 1);
        assert_eq!(ticket_of_waited.refused.await, Ok(ProposeError::Busy));
        assert_eq!(ticket_of_left.refused.await, Ok(ProposeError::Unknown));
        assert!(!ticket_of_wanted.phase.cancel(), "it may have left");
        kept[0].phase.come_back();
        assert!(ticket_of_wanted.phase.cancel());
        assert!(still_wanted(kept).is_empty(), "a cancelled one does not leave");
    }
}
