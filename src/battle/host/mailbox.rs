//! What waits for a battle worker: one letter for each room, to which all that comes is added until the
//! worker takes it.
//!
//! So nobody waits for a worker, and nothing that the log decided is dropped: a letter is bounded by
//! what can happen to one room (its inputs, its two seats, its end), and there is one for each room.
//! Only questions are refused, beyond [`QUESTIONS_MAX`] in a letter: they are dropped, and by that
//! whoever waits for the answer is told. A worker that has not come while [`LETTERS_MAX`] letters were
//! begun hangs; what concerns further rooms is then dropped, and this process's log says so.
//!
//! A letter is followed in the order of its fields, whatever the order in which it was written. Nobody
//! can tell: all of it is later than what the room's sockets have heard, each socket watches from the
//! input on at which it sat down, a question is answered behind the messages that its answer knows of,
//! and what is to be said after the room's last word is said behind it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serverv2_machine::limits::ROOMS_MAX;
use serverv2_machine::{
    BattleSetup, Digest, NodeId, NumberedInput, RequestId, RoomId, Seat, SocketId,
};
use tracing::field::Empty;
use tracing::{Span, debug_span, error};

use super::super::replica::{Audience, OnInput, Replica};
use super::repair::Statement;

/// Questions in one letter, and those who wait for what an input comes to; one more is dropped.
pub(super) const QUESTIONS_MAX: usize = 64;
/// Letters of one worker: as many as there can be rooms at a time, and as many more that came and went.
pub(super) const LETTERS_MAX: usize = 2 * ROOMS_MAX;

/// Something to do with a replica; `None` if there is none.
pub(super) type Visit = Box<dyn FnOnce(Option<&mut Replica>) + Send>;

/// What a replica starts from.
pub struct Opening {
    /// The room's set-up.
    pub setup: Arc<BattleSetup>,
    /// All inputs so far.
    pub inputs: Vec<NumberedInput>,
    /// The node that proposes first.
    pub home: NodeId,
    /// Sockets of this node that watch from here on, A's and B's.
    pub audience: [Option<Watcher>; 2],
}

/// A socket that sits down.
#[derive(Clone)]
pub struct Watcher {
    /// Which.
    pub audience: Arc<dyn Audience>,
    /// The battle was there before it: it is told first how things stand.
    pub returned: bool,
}

/// How a battle ended.
pub struct Ending {
    /// Digest of all its events, as recorded; `None` if it was aborted.
    pub digest: Option<Digest>,
    /// Who is told that the room is closed where no replica does so.
    pub audience: Vec<Arc<dyn Audience>>,
}

/// By which proposal something happened: for log lines.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// Whose proposal it was.
    pub request: RequestId,
    /// Where it stands in the log.
    pub index: u64,
    /// Under which leader.
    pub term: u64,
}

impl Cause {
    /// What follows from it is logged in there; which room it is about is recorded when that is known.
    pub fn span(self) -> Span {
        let Self { request, index, term } = self;
        debug_span!(
            "applied",
            raft.term = term,
            raft.index = index,
            request.id = %request,
            room.id = Empty
        )
    }
}

/// A socket that sat down.
pub(super) struct Newcomer {
    /// The last input of which it hears nothing.
    pub(super) after: u32,
    pub(super) watcher: Watcher,
}

impl Newcomer {
    fn id(&self) -> &SocketId {
        self.watcher.audience.id()
    }
}

/// What a worker has to do for one room. The fields are in the order in which it does so.
#[derive(Default)]
pub(super) struct Letter {
    /// Build the replica, unless there is one.
    pub(super) setup: Option<Arc<BattleSetup>>,
    /// Who proposes first.
    pub(super) home: Option<NodeId>,
    /// Who waits for what an input comes to; at most [`QUESTIONS_MAX`].
    pub(super) waiters: Vec<(u32, OnInput)>,
    /// The last socket that sat down in each seat.
    pub(super) newcomers: [Option<Newcomer>; 2],
    /// The last socket that left each seat.
    pub(super) left: [Option<SocketId>; 2],
    /// By ascending number.
    pub(super) inputs: Vec<NumberedInput>,
    /// What they came by, as far as it is known.
    pub(super) causes: Vec<(u32, Cause)>,
    /// What others make of the battle; at most [`QUESTIONS_MAX`].
    pub(super) statements: Vec<Statement>,
    /// The end is recorded.
    pub(super) ending: Option<Ending>,
    /// At most [`QUESTIONS_MAX`].
    pub(super) questions: Vec<Visit>,
    /// What is to be said behind all that: one for each session that sat in the room.
    pub(super) sequels: Vec<Box<dyn FnOnce() + Send>>,
    /// The room can't be asked for any more.
    pub(super) removed: bool,
}

impl Letter {
    /// What was opened before stays; whoever sits down takes the seat.
    pub(super) fn open(&mut self, opening: Opening) {
        let Opening { setup, inputs, home, audience } = opening;
        let after = inputs.last().map_or(0, |input| input.number);
        // They are all inputs from the first on; what waited may go on behind them.
        for later in std::mem::replace(&mut self.inputs, inputs) {
            self.input(later);
        }
        for (place, watcher) in self.newcomers.iter_mut().zip(audience) {
            let Some(watcher) = watcher else { continue };
            let newcomer = Newcomer { after, watcher };
            // Who sat down before in this letter has heard nothing yet, and must miss nothing.
            if place.as_ref().is_none_or(|seated| seated.id() != newcomer.id()) {
                *place = Some(newcomer);
            }
        }
        self.setup = Some(setup);
        self.home = Some(home);
    }

    /// Gives the waiter back if it is one too many.
    pub(super) fn wait(&mut self, number: u32, waiter: OnInput) -> Option<OnInput> {
        if self.waiters.len() >= QUESTIONS_MAX {
            return Some(waiter);
        }
        self.waiters.push((number, waiter));
        None
    }

    pub(super) fn leave(&mut self, seat: Seat, socket: SocketId) {
        self.left[seat.index()] = Some(socket);
    }

    pub(super) fn input(&mut self, input: NumberedInput) {
        if self.inputs.last().is_none_or(|last| last.number < input.number) {
            self.inputs.push(input);
        }
    }

    /// One too many is left out: the next one tells as much.
    pub(super) fn state(&mut self, statement: Statement) {
        if self.statements.len() < QUESTIONS_MAX {
            self.statements.push(statement);
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        match &mut self.ending {
            Some(known) => known.audience.extend(ending.audience),
            none => *none = Some(ending),
        }
    }

    /// Gives the question back if it is one too many.
    pub(super) fn ask(&mut self, question: Visit) -> Option<Visit> {
        if self.questions.len() >= QUESTIONS_MAX {
            return Some(question);
        }
        self.questions.push(question);
        None
    }
}

/// All that waited.
#[derive(Default)]
pub(super) struct Delivery {
    /// In the order in which they were begun.
    pub(super) letters: Vec<(RoomId, Letter)>,
    /// All replicas are to be compared with the replicated state.
    pub(super) compare: bool,
}

impl Delivery {
    fn is_empty(&self) -> bool {
        self.letters.is_empty() && !self.compare
    }
}

#[derive(Default)]
struct Waiting {
    delivery: Delivery,
    /// Which letter is a room's.
    places: HashMap<RoomId, usize>,
    /// Something was dropped since the worker came last.
    full: bool,
    closed: bool,
}

/// See the module's text.
pub(super) struct Mailbox {
    letters_max: usize,
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

impl Mailbox {
    /// An empty one.
    pub(super) fn new(letters_max: usize) -> Self {
        Self { letters_max, waiting: Mutex::default(), filled: Condvar::new() }
    }

    /// Adds to a room's letter, and gives what the addition gives; `None` if there is no letter for it.
    pub(super) fn write<T>(&self, room: RoomId, add: impl FnOnce(&mut Letter) -> T) -> Option<T> {
        let mut waiting = self.waiting.lock();
        let Waiting { delivery: Delivery { letters, .. }, places, full, .. } = &mut *waiting;
        let place = match places.get(&room) {
            Some(place) => *place,
            None if letters.len() >= self.letters_max => {
                if !std::mem::replace(full, true) {
                    error!(letters = letters.len(), "a battle worker hangs: orders are dropped");
                }
                return None;
            }
            None => {
                places.insert(room, letters.len());
                letters.push((room, Letter::default()));
                letters.len() - 1
            }
        };
        let given = add(&mut letters[place].1);
        self.filled.notify_one();
        Some(given)
    }

    /// All replicas are to be compared with the replicated state.
    pub(super) fn compare(&self) {
        self.waiting.lock().delivery.compare = true;
        self.filled.notify_one();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits until something waits here, or it is closed, at most so long.
    pub(super) fn wait(&self, patience: Duration) {
        let mut waiting = self.waiting.lock();
        if waiting.delivery.is_empty() && !waiting.closed {
            self.filled.wait_for(&mut waiting, patience);
        }
    }

    /// Takes all that waits; `None` once it is closed and empty.
    pub(super) fn take(&self) -> Option<Delivery> {
        let mut waiting = self.waiting.lock();
        if waiting.delivery.is_empty() && waiting.closed {
            return None;
        }
        waiting.places.clear();
        waiting.full = false;
        Some(std::mem::take(&mut waiting.delivery))
    }
}
