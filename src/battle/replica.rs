//! One battle as this node plays it: consumes the numbered inputs, tells the sockets held here what
//! they may see, and says when the log has to move on.
//!
//! A replica decides nothing. It is a function of the set-up and the inputs; two nodes with equal
//! inputs send equal messages. What it *proposes* (time passed, the battle is over) applies only if no
//! other input came in between, so proposing twice does no harm.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serverv2_machine::{
    BattleSetup, Digest, Input, LogTime, NumberedInput, Outcome, RoomId, Seat, SocketId, WallTime,
};
use sha2::{Digest as _, Sha256};

use super::delta::Delta;
use super::engine::{
    AnimationRequest, AnimationStart, Battle, BattleEngine, Call, Progress, Selection, SetupError,
    Sink, TimerState, Verdict, Viewer, Visible,
};
use super::message::{Message, OnWire};
use super::view::BattleView;

/// Inputs of one seat that a player can repeat at will (animations, ready, replaced choices) in one
/// battle; beyond it the gateway refuses them, so that nobody can exhaust
/// [`serverv2_machine::limits::INPUTS_MAX`] to escape a defeat.
pub const SEAT_OPTIONAL_INPUTS_MAX: u32 = 1_500;

/// After so many inputs each replica remembers the digest of all events so far, for others to compare.
pub const DIGEST_EVERY: u32 = 16;
/// How many of those digests are remembered; of what is older nobody can be told whether it differs.
const DIGESTS_KEPT: usize = 8;

/// A socket that watches a battle from a seat.
pub trait Audience: Send + Sync {
    /// Which socket.
    fn id(&self) -> &SocketId;
    /// One message, as this viewer may see it.
    fn battle_event(&self, message: &OnWire<'_>);
    /// The room is over.
    fn room_closed(&self, room: RoomId);
    /// Said first to a socket that came to a battle which was there before it: what follows goes on
    /// from this state.
    fn returned(&self, room: RoomId, state: &BattleView, timers: &[TimerState; 2]);
}

/// What an input came to here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputResult {
    /// Marked ready.
    Ready,
    /// What the engine said to a choice.
    Choice(Verdict),
    /// What the engine said to an animation.
    Animation(AnimationStart),
    /// Nothing to say.
    Done,
}

/// Called once with what an input came to; `None` if this replica will never know.
pub type OnInput = Box<dyn FnOnce(Option<&InputResult>) + Send>;

/// Called with each message as an observer sees it, to whom nothing is hidden.
pub type OnMessage = Box<dyn FnMut(&OnWire<'_>) + Send>;

struct Observer {
    tell: OnMessage,
    /// What it was told last; `None` before the first message of the battle.
    seen: Option<BattleView>,
}

struct Viewpoint {
    audience: Arc<dyn Audience>,
    /// What this viewer's client holds; `None` before the first message of the battle.
    seen: Option<BattleView>,
    /// How many messages of the battle that contains.
    told: u64,
}

/// See the module's text.
pub struct Replica {
    room: RoomId,
    setup: Arc<BattleSetup>,
    battle: Box<dyn Battle>,
    ready: [bool; 2],
    /// By input number less one.
    results: Vec<InputResult>,
    waiting: BTreeMap<u32, Vec<OnInput>>,
    optional: [u32; 2],
    /// By input number, every [`DIGEST_EVERY`]; the last [`DIGESTS_KEPT`].
    digests: VecDeque<(u32, Digest)>,
    progress: Progress,
    stage: Stage,
    broken: bool,
}

/// What messages pass through: the part of a replica that the engine may call back.
#[derive(Default)]
struct Stage {
    viewpoints: [Option<Viewpoint>; 2],
    observer: Option<Observer>,
    events: Sha256,
    messages: u64,
}

impl Stage {
    fn digest(&self) -> Digest {
        Digest(self.events.clone().finalize().into())
    }
}

impl Sink for Stage {
    fn message(&mut self, message: Message, state: &dyn Visible) {
        self.messages += 1;
        let account = serde_json::to_vec(&message.on_wire(None))
            .expect("messages have only texts and numbers");
        self.events.update(account);
        for seat in Seat::BOTH {
            let Some(viewpoint) = &mut self.viewpoints[seat.index()] else { continue };
            if viewpoint.told >= self.messages {
                // By the replica that this one stands in for.
                continue;
            }
            let view = state.view(Viewer::Player(seat));
            let change = Delta::between(viewpoint.seen.as_ref(), &view);
            viewpoint.audience.battle_event(&message.on_wire(change.as_ref()));
            viewpoint.seen = Some(view);
            viewpoint.told = self.messages;
            // As if the engine failed here: in the middle of an input, of which one player knows more.
            #[cfg(feature = "failpoints")]
            fail::fail_point!("told");
        }
        if let Some(observer) = &mut self.observer {
            let view = state.view(Viewer::Observer);
            let change = Delta::between(observer.seen.as_ref(), &view);
            (observer.tell)(&message.on_wire(change.as_ref()));
            observer.seen = Some(view);
        }
    }
}

impl Replica {
    /// A battle before its first input. The error is the same on every node.
    pub fn new(
        room: RoomId,
        setup: Arc<BattleSetup>,
        engine: &dyn BattleEngine,
    ) -> Result<Self, SetupError> {
        let battle = engine.init(&setup)?;
        let progress = battle.progress();
        Ok(Self {
            room,
            setup,
            battle,
            ready: [false; 2],
            results: Vec::new(),
            waiting: BTreeMap::new(),
            optional: [0; 2],
            digests: VecDeque::new(),
            progress,
            stage: Stage::default(),
            broken: false,
        })
    }

    /// Lets an observer watch a battle that has not begun.
    pub fn observe(&mut self, tell: OnMessage) {
        self.stage.observer = Some(Observer { tell, seen: None });
    }

    /// The room it belongs to.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// What the battle started from.
    pub fn setup(&self) -> &Arc<BattleSetup> {
        &self.setup
    }

    /// The battle itself, to be looked at.
    pub fn battle(&self) -> &dyn Battle {
        self.battle.as_ref()
    }

    /// Number of the last input consumed.
    pub fn last_input(&self) -> u32 {
        u32::try_from(self.results.len()).expect("the machine bounds a battle's inputs")
    }

    /// What the battle waits for.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The end, once this replica has seen it, with the digest of all events up to it.
    pub fn end(&self) -> Option<(Outcome, Digest)> {
        self.progress.result.map(|outcome| (outcome, self.stage.digest()))
    }

    /// Digest of all events so far.
    pub fn digest(&self) -> Digest {
        self.stage.digest()
    }

    /// Digest of all events up to this input, if it is one of those remembered.
    pub fn digest_at(&self, number: u32) -> Option<Digest> {
        self.digests.iter().find(|(at, _)| *at == number).map(|(_, digest)| *digest)
    }

    /// The newest digest remembered, and up to which input it is.
    pub fn last_digest(&self) -> Option<(u32, Digest)> {
        self.digests.back().copied()
    }

    /// Whether this player has said to be ready.
    pub fn is_ready(&self, seat: Seat) -> bool {
        self.ready[seat.index()]
    }

    /// Whether one more input of a kind that can be repeated at will may be proposed for this seat.
    pub fn admits_optional(&self, seat: Seat) -> bool {
        self.optional[seat.index()] < SEAT_OPTIONAL_INPUTS_MAX
    }

    /// Consumes the next input. One that was consumed before is ignored; a gap is reported, and the
    /// caller must fetch what is missing.
    pub fn consume(&mut self, input: &NumberedInput) -> Result<(), Gap> {
        let next = self.last_input() + 1;
        if input.number < next {
            return Ok(());
        }
        if input.number > next {
            return Err(Gap);
        }
        let call = Call { now: input.at, wall: input.wall, input: input.number };
        let result = self.advance(&input.input, call);
        for waiter in self.waiting.remove(&input.number).unwrap_or_default() {
            waiter(Some(&result));
        }
        self.results.push(result);
        self.progress = self.battle.progress();
        if input.number.is_multiple_of(DIGEST_EVERY) {
            if self.digests.len() == DIGESTS_KEPT {
                self.digests.pop_front();
            }
            self.digests.push_back((input.number, self.stage.digest()));
        }
        Ok(())
    }

    fn advance(&mut self, input: &Input, call: Call) -> InputResult {
        let stage = &mut self.stage;
        match input {
            Input::Ready(seat) => {
                let repeated = std::mem::replace(&mut self.ready[seat.index()], true);
                if repeated {
                    self.optional[seat.index()] += 1;
                } else if self.ready == [true; 2] {
                    self.battle.start(call, stage);
                }
                InputResult::Ready
            }
            Input::Select(seat, text) => {
                if !self.progress.pending.contains(seat) {
                    self.optional[seat.index()] += 1;
                }
                let verdict = match Selection::from_log(text) {
                    Some(selection) => self.battle.submit(*seat, &selection, call, stage).0,
                    None => Verdict::NotLegal,
                };
                InputResult::Choice(verdict)
            }
            Input::StartAnimation { by, source, expected_ms, owner } => {
                self.optional[by.index()] += 1;
                let animation =
                    AnimationRequest { by: *by, owner: *owner, source, expected_ms: *expected_ms };
                let (start, _) = self.battle.start_animation(&animation, call, stage);
                InputResult::Animation(start)
            }
            Input::EndAnimation { by, id } => {
                self.optional[by.index()] += 1;
                self.battle.end_animation(id.as_str(), call, stage);
                InputResult::Done
            }
            Input::Leave(seat, reason) => {
                self.battle.leave(*seat, *reason, call, stage);
                InputResult::Done
            }
            Input::Tick => {
                self.battle.tick(call, stage);
                InputResult::Done
            }
        }
    }

    /// Tells what this input came to: at once if it has been consumed, else when it is.
    pub fn on_input(&mut self, number: u32, waiter: OnInput) {
        match number.checked_sub(1).and_then(|place| self.results.get(place as usize)) {
            Some(result) => waiter(Some(result)),
            None => self.waiting.entry(number).or_default().push(waiter),
        }
    }

    /// A socket watches from this seat from now on; a former one of the seat no longer does. One that
    /// watches already goes on. `returned`: it is told how things stand, with the clocks at this time.
    pub fn attach(
        &mut self,
        seat: Seat,
        audience: Arc<dyn Audience>,
        returned: Option<(LogTime, WallTime)>,
    ) {
        let place = &mut self.stage.viewpoints[seat.index()];
        if place.as_ref().is_some_and(|viewpoint| viewpoint.audience.id() == audience.id()) {
            return;
        }
        let view = self.battle.view(Viewer::Player(seat));
        if let Some((now, wall)) = returned {
            audience.returned(self.room, &view, &self.battle.timers(now, wall));
        }
        let seen = (self.stage.messages > 0).then_some(view);
        *place = Some(Viewpoint { audience, seen, told: self.stage.messages });
    }

    /// Whether a socket watches.
    pub fn is_watched(&self) -> bool {
        self.stage.viewpoints.iter().any(Option::is_some)
    }

    /// Before its first input: stands in for another replica of this battle, with those who watch there
    /// and who wait for what becomes of an input. What they have been told they are not told again.
    pub fn stand_in_for(&mut self, other: &mut Self) {
        self.stage.viewpoints = std::mem::take(&mut other.stage.viewpoints);
        self.waiting = std::mem::take(&mut other.waiting);
    }

    /// This socket no longer watches.
    pub fn detach(&mut self, seat: Seat, socket: &SocketId) {
        let place = &mut self.stage.viewpoints[seat.index()];
        if place.as_ref().is_some_and(|viewpoint| viewpoint.audience.id() == socket) {
            *place = None;
        }
    }

    /// The room is over: tells everyone here, and gives who that was. A second call tells nobody.
    pub fn close(&mut self) -> Vec<SocketId> {
        let mut told = Vec::new();
        for viewpoint in self.stage.viewpoints.iter_mut().filter_map(Option::take) {
            viewpoint.audience.room_closed(self.room);
            told.push(viewpoint.audience.id().clone());
        }
        for waiter in std::mem::take(&mut self.waiting).into_values().flatten() {
            waiter(None);
        }
        told
    }

    /// The engine has failed on an input: this replica can't go on.
    pub fn mark_broken(&mut self) {
        self.broken = true;
        self.progress = Progress::default();
    }

    /// Whether the engine has failed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// For tests: from here on its digests are those of another battle.
    #[cfg(feature = "failpoints")]
    pub(super) fn falsify(&mut self) {
        self.stage.events.update(b"false");
    }

    /// The choices this player may make now.
    pub fn available(&self, seat: Seat) -> Vec<Selection> {
        self.battle.available(seat)
    }

    /// Both players' clocks at this moment.
    pub fn timers(&self, now: LogTime, wall: WallTime) -> [TimerState; 2] {
        self.battle.timers(now, wall)
    }
}

/// An input is missing between the last one consumed and this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

#[cfg(test)]
mod tests;
