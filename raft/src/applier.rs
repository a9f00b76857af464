//! The one thread that changes the replicated state.
//!
//! For each entry it takes the write lock, lets the machine apply it, notes its index and publishes
//! the effects, all under that lock; then it answers the waiters. Who reads under the read lock thus
//! sees the state at one index, and the feed holds exactly what came before it.
//!
//! It does no IO and never waits for anybody: the feed is bounded and drops, waiters are told without
//! waiting. A panic of the machine would be a defect; it ends the thread, openraft then gets an error
//! instead of an answer, and the node stops rather than go on with half an entry.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use openraft::EntryPayload;
use openraft::storage::ApplyResponder;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serverv2_machine::{AppliedEntry, Effect, Machine};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::cluster::Answer;
use crate::feed::FeedSender;
use crate::figures::Counters;
use crate::ground;
use crate::log_clock::LogClock;
use crate::records::OverlayRecords;
use crate::requests::Requests;
use crate::types::{Batch, LogEntry, LogId, StoredMembership, TypeConfig};

/// Pieces of work on their way to the thread; openraft waits for each, so there are few.
pub(crate) const WORK_MAX: usize = 16;

/// Everything that is replicated, at one index.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) records: OverlayRecords,
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembership,
}

/// This node's copy of the replicated state. Entries are written by the applier alone.
#[derive(Clone, Default)]
pub(crate) struct Replica(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    applied: watch::Sender<u64>,
    membership: watch::Sender<()>,
    /// The behaviour level in force, for who may not wait for the state.
    level: AtomicU32,
}

impl Replica {
    /// An empty state above these records.
    pub(crate) fn on(records: OverlayRecords) -> Self {
        let state = RwLock::new(State { records, ..State::default() });
        Self(Arc::new(Shared { state, ..Shared::default() }))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read()
    }

    /// Waits until this index is applied here; for ever if it never is.
    pub(crate) async fn applied_at_least(&self, index: u64) {
        // The sender lives in `self`, so this ends with the index.
        let _ = self.0.applied.subscribe().wait_for(|applied| *applied >= index).await;
    }

    /// Changes whenever the membership may have.
    pub(crate) fn membership_changes(&self) -> watch::Receiver<()> {
        self.0.membership.subscribe()
    }

    /// The behaviour level in force here; 0 before anything was applied.
    pub(crate) fn level(&self) -> u32 {
        self.0.level.load(Ordering::Acquire)
    }

    /// For a checkpoint, between two entries; entries are the applier's.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write()
    }

    fn tell_membership(&self) {
        self.0.membership.send_replace(());
    }

    fn tell_level(&self, level: u32) {
        self.0.level.store(level, Ordering::Release);
    }

    fn tell_applied(&self, index: u64) {
        self.0.applied.send_replace(index);
    }
}

/// An entry and openraft's own wish to know when it is applied.
pub(crate) type Applicable = (LogEntry, Option<ApplyResponder<TypeConfig>>);

/// What the thread is asked to do; `done` says when it has.
pub(crate) enum Work {
    Apply { entries: Vec<Applicable>, done: oneshot::Sender<()> },
    Install { state: Box<State>, done: oneshot::Sender<()> },
}

pub(crate) struct Applier {
    pub(crate) replica: Replica,
    pub(crate) feed: FeedSender,
    pub(crate) requests: Arc<Requests>,
    pub(crate) clock: Arc<LogClock>,
    /// Told when this very process is counted out.
    pub(crate) counted_out: Arc<Notify>,
    /// Told when the records in memory want a checkpoint.
    pub(crate) checkpoint: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
}

impl Applier {
    /// Starts the thread; it ends when the sender is dropped.
    pub(crate) fn start(self) -> Result<mpsc::Sender<Work>, io::Error> {
        #[cfg(feature = "failpoints")]
        crate::failpoints::arm();
        let (sender, receiver) = mpsc::channel(WORK_MAX);
        std::thread::Builder::new().name("applier".into()).spawn(move || self.run(receiver))?;
        Ok(sender)
    }

    fn run(self, mut work: mpsc::Receiver<Work>) {
        while let Some(work) = work.blocking_recv() {
            self.work(work);
        }
    }

    /// The same on a runtime that has only one thread.
    #[cfg(feature = "simulation")]
    pub(crate) async fn run_beside(self, mut work: mpsc::Receiver<Work>) {
        while let Some(work) = work.recv().await {
            self.work(work);
        }
    }

    fn work(&self, work: Work) {
        let done = match work {
            Work::Apply { entries, done } => {
                for (entry, responder) in entries {
                    self.apply(entry);
                    if let Some(responder) = responder {
                        responder.send(());
                    }
                }
                done
            }
            Work::Install { state, done } => {
                self.install(*state);
                done
            }
        };
        // openraft does not listen any more when it is being stopped.
        let _ = done.send(());
    }

    fn apply(&self, entry: LogEntry) {
        let index = entry.log_id.index;
        let commands = match &entry.payload {
            EntryPayload::Normal(batch) => batch.0.proposals.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        };
        match entry.payload {
            EntryPayload::Blank => {
                let mut state = self.replica.write();
                state.applied = Some(entry.log_id);
                #[cfg(feature = "simulation")]
                crate::simulation::applied(self.requests.node(), None, &[], &state);
            }
            EntryPayload::Membership(members) => {
                let mut state = self.replica.write();
                state.applied = Some(entry.log_id);
                state.members = StoredMembership::new(Some(entry.log_id), members);
                #[cfg(feature = "simulation")]
                crate::simulation::applied(self.requests.node(), None, &[], &state);
                drop(state);
                self.replica.tell_membership();
            }
            EntryPayload::Normal(batch) => self.apply_batch(entry.log_id, &batch),
        }
        self.counters.applied(commands);
        self.replica.tell_applied(index);
    }

    fn apply_batch(&self, log_id: LogId, batch: &Batch) {
        #[cfg(feature = "failpoints")]
        crate::failpoints::committed(&batch.0);
        let (index, term) = (log_id.index, log_id.committed_leader_id().term);
        let mut guard = self.replica.write();
        let state = &mut *guard;
        let applied: Arc<[_]> =
            state.machine.apply_entry(&mut state.records, index, &batch.0).into();
        state.applied = Some(log_id);
        #[cfg(feature = "simulation")]
        crate::simulation::applied(self.requests.node(), Some(&batch.0), &applied, state);
        self.feed.publish(AppliedEntry { index, term, applied: Arc::clone(&applied) });
        let at = state.machine.last_at();
        let wants_checkpoint = state.records.wants_checkpoint();
        self.replica.tell_level(state.machine.level());
        drop(guard);

        if wants_checkpoint {
            self.checkpoint.notify_one();
        }
        self.clock.applied(at, ground::now());
        for applied in &*applied {
            let own = |effect: &Effect| {
                matches!(effect, Effect::NodeCountedOut { node, incarnation }
                if *node == self.requests.node() && *incarnation == self.requests.incarnation())
            };
            if applied.effects.iter().any(own) {
                self.counted_out.notify_one();
            }
            let answer = Answer { index, outcome: applied.outcome.clone() };
            self.requests.complete(applied.request, &answer);
        }
    }

    /// A snapshot replaces everything.
    fn install(&self, state: State) {
        let index = state.applied.map_or(0, |applied| applied.index);
        let at = state.machine.last_at();
        let mut guard = self.replica.write();
        self.replica.tell_level(state.machine.level());
        let before = std::mem::replace(&mut *guard, state);
        self.feed.reset(index);
        // Whoever waits for an entry that the snapshot contains gets the remembered answer.
        for request in self.requests.waited_for() {
            if let Some(outcome) = guard.machine.answered(request) {
                self.requests.complete(request, &Answer { index, outcome: outcome.clone() });
            }
        }
        // That this process was counted out may be among what the snapshot spares it.
        if self.is_counted_out(&guard.machine) {
            self.counted_out.notify_one();
        }
        drop(guard);
        self.replica.tell_membership();
        self.replica.tell_applied(index);
        self.clock.applied(at, ground::now());
        // Freeing a large state takes its time; nobody waits for this lock meanwhile.
        drop(before);
    }

    fn is_counted_out(&self, machine: &Machine) -> bool {
        let (own, incarnation) = (self.requests.node(), self.requests.incarnation());
        machine.nodes().any(|it| it.id == own && it.incarnation == incarnation && !it.live)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serverv2_machine::{
        Command, Entry, Incarnation, LogTime, NodeGone, NodeId, NodeUp, Proposal, RequestId,
        WallTime,
    };

    use super::*;
    use crate::versions::own_level;

    const ONE: (NodeId, Incarnation) = (NodeId(1), Incarnation(4));
    const OTHER: (NodeId, Incarnation) = (NodeId(2), Incarnation(1));

    /// A state after these commands, each of a process.
    fn state_after(commands: &[((NodeId, Incarnation), Command)]) -> State {
        let mut state = State::default();
        for (index, ((node, incarnation), command)) in (1..).zip(commands) {
            let proposal = Proposal {
                request: RequestId { node: *node, incarnation: *incarnation, sequence: index },
                client_key: None,
                at: LogTime(index),
                wall: WallTime(index),
                seed: [0; 16],
                command: command.clone(),
            };
            let entry = Entry { floors: Vec::new(), proposals: vec![proposal] };
            let applied = state.machine.apply_entry(&mut state.records, index, &entry);
            assert!(applied.iter().all(|applied| applied.outcome.is_ok()), "{command}");
        }
        state
    }

    #[test]
    fn a_process_learns_from_a_snapshot_that_it_was_counted_out() {
        let applier = Applier {
            replica: Replica::default(),
            feed: FeedSender::default(),
            requests: Arc::new(Requests::new(ONE.0, ONE.1)),
            clock: Arc::default(),
            counted_out: Arc::default(),
            checkpoint: Arc::default(),
            counters: Arc::default(),
        };
        let is_told = || applier.counted_out.notified().now_or_never().is_some();
        let up = || Command::from(NodeUp { packs: Vec::new(), level: own_level(), grace_ms: 0 });
        let gone = NodeGone { node: ONE.0, incarnation: ONE.1, grace_ms: 0 };
        let of_former = (ONE.0, Incarnation(3));
        applier.install(state_after(&[(of_former, up()), (OTHER, up())]));
        assert!(!is_told(), "that was another process");
        applier.install(state_after(&[(ONE, up()), (OTHER, up())]));
        assert!(!is_told(), "it counts");
        applier.install(state_after(&[(ONE, up()), (OTHER, up()), (OTHER, gone.into())]));
        assert!(is_told());
    }
}
