//! A machine that makes its own log: random steps become proposals that fit its state.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serverv2_machine::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, Applied, ClientKey, Clocks,
    CloseSession, Command, CreateGuestWithTokens, CreatePlayer, Digest, Effect, EndBattle,
    EndReason, EndSessions, Entry, Floor, Incarnation, Input, Issued, JoinQueue, KeyScope,
    LATEST_LEVEL, LeaveQueue, Lifetimes, LogTime, Machine, MemoryRecords, NodeGone, NodeId, NodeUp,
    OpenSession, Outcome, PackRef, PlayerId, Position, Proposal, RefreshTokens, Rejection, Reply,
    RequestId, RevokeToken, RoomId, ScopedKey, Seat, SessionKey, SetReports, SocketId, Tick,
    TickBattle, TokenId, WallTime,
};

use crate::model::Model;
use crate::steps::{NODES, Name, Step, Timed, Who};
use crate::{codes, hostile, invariants, reports};

/// Makes a log out of steps by looking at the reference machine, and checks that machine.
pub(crate) struct Reference {
    pub(crate) machine: Machine,
    pub(crate) records: MemoryRecords,
    pub(crate) log: Vec<Entry>,
    pub(crate) answers: Vec<Applied>,
    proposals: Vec<Proposal>,
    now: u64,
    incarnations: BTreeMap<u64, u64>,
    sequences: BTreeMap<u64, u64>,
    rooms: Vec<RoomId>,
    tokens: Vec<(PlayerId, TokenId)>,
    model: Model,
    codes: codes::Reader,
    reports: reports::Listener,
}

impl Reference {
    pub(crate) fn run(steps: &[Timed]) -> Result<Self, TestCaseError> {
        let mut this = Self {
            machine: Machine::new(),
            records: MemoryRecords::default(),
            log: Vec::new(),
            answers: Vec::new(),
            proposals: Vec::new(),
            now: 0,
            incarnations: BTreeMap::new(),
            sequences: BTreeMap::new(),
            rooms: Vec::new(),
            tokens: Vec::new(),
            model: Model::default(),
            codes: codes::Reader::default(),
            reports: reports::Listener::default(),
        };
        for node in 1..=NODES {
            this.step(&Step::Up { node }, true)?;
        }
        let request = this.request(1);
        this.propose(request, ActivatePack { pack: pack() }.into(), None, true)?;
        let request = this.request(1);
        this.propose(request, SetReports { enabled: true }.into(), None, true)?;
        for player in 0..4 {
            this.step(&Step::Create { player }, true)?;
        }
        for (step, pause, fresh) in steps {
            this.now += pause;
            this.step(step, *fresh)?;
        }
        Ok(this)
    }

    fn step(&mut self, step: &Step, fresh: bool) -> Result<(), TestCaseError> {
        let mut client_key = None;
        let (node, command): (u64, Command) = match *step {
            Step::Up { node } => {
                // A hostile proposal may have got ahead.
                let known = self.machine.nodes().find(|it| it.id == NodeId(node));
                let known = known.map_or(0, |it| it.incarnation.0);
                let own = self.incarnations.entry(node).or_default();
                *own = known.max(*own) + 1;
                self.sequences.insert(node, 0);
                let up = NodeUp { packs: vec![pack()], level: LATEST_LEVEL, grace_ms: 0 };
                (node, up.into())
            }
            Step::Gone { by, node } => {
                let incarnation = Incarnation(self.incarnations[&node]);
                (self.live(by), NodeGone { node: NodeId(node), incarnation, grace_ms: 0 }.into())
            }
            Step::Create { player } => {
                (self.live(1), CreatePlayer { player: player_id(player), name: "p".into() }.into())
            }
            Step::Open { who, socket, address, chosen, authenticated } => {
                let address = format!("10.0.0.{address}").as_str().into();
                let (session, socket) = (session(who), socket_id(socket));
                let open = OpenSession { session, socket, address, chosen, authenticated };
                let node = if who.stray { who.node } else { self.live(who.node) };
                (node, open.into())
            }
            Step::Close { who, grace_ms } => {
                let (node, session, socket) = self.through(who);
                (node, CloseSession { session, socket, grace_ms }.into())
            }
            Step::Join { who, key } => {
                let (node, session, socket) = self.through(who);
                client_key = key.map(|key| ScopedKey {
                    scope: KeyScope::Player(session.player),
                    key: format!("k{key}").parse::<ClientKey>().unwrap(),
                });
                let clocks = Clocks { turn_s: 30, total_s: 900, animation_max_ms: 1 };
                (node, JoinQueue { session, socket, team: "[]".into(), clocks }.into())
            }
            Step::Leave { who } => {
                let (node, session, _) = self.through(who);
                (node, LeaveQueue { session }.into())
            }
            Step::Abandon { who } => {
                let (node, session, socket) = self.through(who);
                (node, AbandonBattle { session, socket }.into())
            }
            Step::Input { who, room, kind } => {
                let (node, session, _) = self.through(who);
                let own = self.machine.seat_of(&session);
                let (room, by) = own.unwrap_or_else(|| (self.room(room), Seat::A));
                let input = match kind {
                    0 => Input::Select(by, "{}".into()),
                    1 => Input::Select(by.opponent(), "{}".into()),
                    2 => Input::Tick,
                    _ => Input::Ready(by),
                };
                (node, AppendInput { session, room, input }.into())
            }
            Step::TickBattle { room, late } => {
                let (room, after) = self.room_after(room, late);
                (self.live(1), TickBattle { room, after }.into())
            }
            Step::End { room, late, winner } => {
                let (room, after) = self.room_after(room, late);
                let winner = Seat::BOTH.get(usize::from(winner)).copied();
                let outcome = Outcome { winner, reason: EndReason::AllPetFainted };
                (self.live(2), EndBattle { room, after, outcome, digest: Digest([1; 32]) }.into())
            }
            Step::Abort { room, late } => {
                let (room, after) = self.room_after(room, late);
                (self.live(3), AbortBattle { room, after }.into())
            }
            Step::EndSessions { who, all, grace_ms } => {
                let (node, key, _) = self.through(who);
                let session = (!all).then_some(key.session);
                (node, EndSessions { player: key.player, session, grace_ms }.into())
            }
            Step::Enroll { player } => {
                let guest = CreatePlayer { player: player_id(player), name: "g".into() };
                (self.live(1), CreateGuestWithTokens { guest, lifetimes: lifetimes() }.into())
            }
            Step::Refresh { player, token, remaining_ms } => {
                let (owner, token) = self.token(token, player);
                let refresh =
                    RefreshTokens { player: owner, token, remaining_ms, lifetimes: lifetimes() };
                (self.live(1 + u64::from(player) % NODES), refresh.into())
            }
            Step::Revoke { token, remaining_ms } => {
                let (_, token) = self.token(token, 0);
                (self.live(1), RevokeToken { token, remaining_ms }.into())
            }
            Step::Code(step) => (self.live(1), codes::command(step, player_id(step.player))),
            Step::Report(step) => {
                (self.live(2), reports::command(step, |choice| self.room(choice)))
            }
            Step::Tick => (self.live(1), Tick.into()),
            Step::Repeat { which } => {
                let again = self.proposals[which % self.proposals.len()].clone();
                return self.repeat(&again, fresh);
            }
            Step::Floor { node, back } => {
                let lowest_open = self.sequences[&node].saturating_sub(back);
                let incarnation = Incarnation(self.incarnations[&node]);
                let floor = Floor { node: NodeId(node), incarnation, lowest_open };
                self.log.push(Entry { floors: vec![floor], proposals: Vec::new() });
                let index = self.log.len() as u64;
                self.machine.apply_entry(&mut self.records, index, self.log.last().unwrap());
                return Ok(());
            }
            Step::Hostile { what, who, room, name } => {
                let (node, session, socket) = self.through(who);
                let command = hostile::command(what, session, socket, self.room(room));
                let request = self.hostile_request(node, name);
                return self.propose(request, command, None, fresh);
            }
        };
        let request = self.request(node);
        self.propose(request, command, client_key, fresh)
    }

    fn propose(
        &mut self,
        request: RequestId,
        command: Command,
        client_key: Option<ScopedKey>,
        fresh: bool,
    ) -> Result<(), TestCaseError> {
        // Stamps may step back a little; the machine's clock may not.
        let back = 10 * (self.proposals.len() as u64 % 4);
        let (at, wall) = (LogTime(self.now.saturating_sub(back)), WallTime(self.now));
        let proposal = Proposal { request, client_key, at, wall, seed: [5; 16], command };
        let is_new = self.machine.answered(request).is_none();
        let is_tick = matches!(proposal.command, Command::Tick(_));
        self.proposals.push(proposal.clone());
        let applied = self.append(proposal, fresh)?;
        if is_new && let Ok(Reply::Issued(Issued { pair, .. })) = &applied.outcome {
            prop_assert!(!self.machine.is_revoked(pair.access), "given although revoked");
        }
        self.check(&applied, is_new && is_tick && applied.outcome.is_ok())
    }

    fn repeat(&mut self, proposal: &Proposal, fresh: bool) -> Result<(), TestCaseError> {
        let first = self.answers.iter().find(|it| it.request == proposal.request).unwrap().clone();
        let applied = self.append(proposal.clone(), fresh)?;
        let unlearned =
            matches!(applied.outcome, Err(Rejection::StaleRequest | Rejection::StaleIncarnation));
        // A request of an unregistered process left no trace, so its copy is a new request; a process
        // that is not let in stays unregistered.
        let of = self.proposals.iter().find(|it| it.request == proposal.request).unwrap();
        let not_let_in = matches!(of.command, Command::NodeUp(_)) && first.outcome.is_err();
        let unregistered =
            matches!(first.outcome, Err(Rejection::StaleIncarnation | Rejection::NodeUnknown));
        if !unregistered && !not_let_in {
            prop_assert!(applied.effects.is_empty(), "a copy had effects: {applied}");
            prop_assert!(unlearned || applied.outcome == first.outcome, "{first} then {applied}");
        }
        self.check(&applied, false)
    }

    fn append(&mut self, proposal: Proposal, fresh: bool) -> Result<Applied, TestCaseError> {
        if fresh || self.log.is_empty() || self.log.last().unwrap().proposals.is_empty() {
            self.log.push(Entry::default());
        }
        let index = self.log.len() as u64;
        let entry = self.log.last_mut().unwrap();
        let position = Position { index, offset: u32::try_from(entry.proposals.len()).unwrap() };
        entry.proposals.push(proposal);
        let proposal = entry.proposals.last().unwrap();
        let is_new = self.machine.answered(proposal.request).is_none();
        let applied = self.machine.apply(&mut self.records, position, proposal);
        self.answers.push(applied.clone());
        let at_the_door = matches!(
            applied.outcome,
            Err(Rejection::StaleRequest | Rejection::StaleIncarnation | Rejection::NodeUnknown)
        );
        if is_new && !at_the_door {
            let now = self.machine.last_at();
            self.codes.follow(now, &proposal.command, &applied.outcome, &self.records)?;
        }
        Ok(applied)
    }

    fn check(&mut self, applied: &Applied, ticked: bool) -> Result<(), TestCaseError> {
        for effect in &applied.effects {
            if let Effect::RoomOpened { room, .. } = effect {
                self.rooms.push(*room);
            }
            self.model.follow(effect)?;
        }
        if let Ok(Reply::Issued(Issued { player, pair })) = &applied.outcome {
            self.tokens.extend([(player.id, pair.access), (player.id, pair.refresh)]);
        }
        self.model.issued(applied)?;
        self.model.compare(&self.machine)?;
        self.reports.follow(applied)?;
        self.reports.compare(&self.records)?;
        invariants::all(&self.machine, &self.records, applied, ticked)
    }

    fn request(&mut self, node: u64) -> RequestId {
        let sequence = self.sequences.entry(node).or_default();
        *sequence += 1;
        let incarnation = Incarnation(self.incarnations[&node]);
        RequestId { node: NodeId(node), incarnation, sequence: *sequence }
    }

    fn hostile_request(&mut self, node: u64, name: Name) -> RequestId {
        let own = self.request(node.clamp(1, NODES));
        match name {
            Name::Fresh => own,
            Name::Sequence(sequence) => RequestId { sequence, ..own },
            Name::FormerProcess => {
                RequestId { incarnation: Incarnation(own.incarnation.0.saturating_sub(1)), ..own }
            }
            Name::NextProcess => {
                RequestId { incarnation: Incarnation(own.incarnation.0 + 1), ..own }
            }
            Name::Stranger => RequestId { node: NodeId(NODES + 1), ..own },
        }
    }

    /// This node, or the first that counts.
    fn live(&self, node: u64) -> u64 {
        let live: Vec<u64> = self.machine.nodes().filter(|it| it.live).map(|it| it.id.0).collect();
        if live.contains(&node) { node } else { live.first().copied().unwrap_or(node) }
    }

    /// Who acts, and through which node and socket.
    fn through(&self, who: Who) -> (u64, SessionKey, SocketId) {
        let session = session(who);
        match self.machine.session(&session).filter(|_| !who.stray) {
            Some(view) => (view.node.0, session, view.socket.clone()),
            None => (who.node, session, socket_id(9)),
        }
    }

    /// One of the newest rooms, or one that never was.
    fn room(&self, choice: usize) -> RoomId {
        let nowhere: RoomId = "nowhere______________".parse().unwrap();
        let newest = self.rooms.len().min(4);
        self.rooms.iter().rev().nth(choice % (newest + 1)).copied().unwrap_or(nowhere)
    }

    /// One of the newest tokens and its owner, or one that was never given.
    fn token(&self, choice: usize, stranger: u8) -> (PlayerId, TokenId) {
        let newest = self.tokens.len().min(6);
        let given = self.tokens.iter().rev().nth(choice % (newest + 1)).copied();
        given.unwrap_or_else(|| {
            let old = format!("{:-<21}", format!("old{}", choice % 3)).parse().unwrap();
            (player_id(stranger), old)
        })
    }

    fn room_after(&self, choice: usize, late: bool) -> (RoomId, u32) {
        let room = self.room(choice);
        let last = self.machine.room(room).map_or(0, |view| view.last_number());
        (room, last + u32::from(late))
    }
}

fn lifetimes() -> Lifetimes {
    Lifetimes { access_ms: 1_000_000, refresh_ms: 2_000_000 }
}

fn pack() -> PackRef {
    PackRef { engine: "builtin/1".into(), digest: Digest([2; 32]) }
}

fn player_id(player: u8) -> PlayerId {
    format!("{:_<21}", format!("player{player}")).parse().unwrap()
}

fn session(who: Who) -> SessionKey {
    let session = format!("s{}", who.session).parse().unwrap();
    SessionKey { player: player_id(who.player), session }
}

fn socket_id(socket: u8) -> SocketId {
    format!("k{socket}").parse().unwrap()
}
