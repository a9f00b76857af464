//! The machine itself: takes proposals in log order, gives answers and effects.
//!
//! One proposal goes through these steps, the same on every node:
//!
//! 1. The clock moves to the proposal's `at`, never back.
//! 2. A request that was answered before gets that answer; one that may no longer act is refused
//!    ([`crate::dedup`]). Neither has effects.
//! 3. Whatever is due by now happens: graces end, old rooms are aborted, ended ones removed. So a
//!    command never sees a state that should be over, whether or not a [`Tick`](crate::Tick) came
//!    before it.
//! 4. The command is applied by its area's file.
//! 5. Tickets are paired until no pair is left.
//!
//! Nothing here can fail: a refusal is an answer, and bad values are refused or clamped. The areas
//! look each other's things up instead of relying on them, so even a snapshot that contradicts
//! itself can't make apply panic.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::applied::{Applied, Done, Rejection, Reply};
use crate::clock::{LogTime, WallTime};
use crate::codes::Codes;
use crate::command::{Command, Entry, Proposal, ScopedKey};
use crate::dedup::{ClientKeys, Windows};
use crate::due::DueSet;
use crate::effect::Effect;
use crate::ids::RequestId;
use crate::input::Digest;
use crate::levels::FIRST_LEVEL;
use crate::matchmaking::Queue;
use crate::nodes::Nodes;
use crate::outside::RecordsHome;
use crate::planted::{self, Bug};
use crate::records::Records;
use crate::reports::Reports;
use crate::rooms::Rooms;
use crate::sessions::Sessions;
use crate::snapshot;
use crate::tokens::Tokens;

/// Everything the cluster agrees on, records aside. Cloning is cheap where it is large: rooms are
/// shared until one side changes them. To store one, use [`Snapshot`](crate::Snapshot): what is
/// serialized lacks the indexes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The newest log time seen.
    pub(crate) now: LogTime,
    /// Behaviour level: see `levels.rs`.
    pub(crate) level: u32,
    pub(crate) nodes: Nodes,
    pub(crate) windows: Windows,
    pub(crate) keys: ClientKeys,
    pub(crate) sessions: Sessions,
    pub(crate) queue: Queue,
    pub(crate) rooms: Rooms,
    pub(crate) tokens: Tokens,
    pub(crate) codes: Codes,
    /// Where accounts are kept, once that is decided: see `outside.rs`.
    pub(crate) records_home: Option<RecordsHome>,
    pub(crate) reports: Reports,
    /// What happens by itself and when; derived from the rest.
    #[serde(skip)]
    pub(crate) due: DueSet,
}

/// Where in the log a proposal stands. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Place of the proposal in the entry, from 0.
    pub offset: u32,
}

/// What a proposal may use beside the machine, and where it puts its effects.
pub(crate) struct Turn<'a> {
    pub(crate) records: &'a mut dyn Records,
    pub(crate) request: RequestId,
    pub(crate) client_key: Option<&'a ScopedKey>,
    pub(crate) now: LogTime,
    pub(crate) wall: WallTime,
    pub(crate) seed: [u8; 16],
    pub(crate) position: Position,
    /// Rooms opened by this proposal so far: tells their ids apart.
    pub(crate) pairs: u32,
    pub(crate) effects: Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Random-looking bytes that nothing else gets: the tag tells the uses of one proposal apart.
    pub(crate) fn draw(&self, tag: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(tag)
            .chain_update(self.seed)
            .chain_update(self.position.index.to_be_bytes())
            .chain_update(self.position.offset.to_be_bytes())
            .chain_update(self.pairs.to_be_bytes())
            .finalize()
            .into()
    }
}

impl Machine {
    /// An empty cluster at log time 0.
    pub fn new() -> Self {
        Self {
            now: LogTime::default(),
            level: FIRST_LEVEL,
            nodes: Nodes::default(),
            windows: Windows::default(),
            keys: ClientKeys::default(),
            sessions: Sessions::default(),
            queue: Queue::default(),
            rooms: Rooms::default(),
            tokens: Tokens::default(),
            codes: Codes::default(),
            records_home: None,
            reports: Reports::default(),
            due: DueSet::default(),
        }
    }

    /// Applies a whole entry: its floors first, then its proposals in order, one answer for each.
    pub fn apply_entry(
        &mut self,
        records: &mut dyn Records,
        index: u64,
        entry: &Entry,
    ) -> Vec<Applied> {
        for floor in &entry.floors {
            self.windows.forget_below(*floor);
        }
        (0..)
            .zip(&entry.proposals)
            .map(|(offset, proposal)| self.apply(records, Position { index, offset }, proposal))
            .collect()
    }

    /// Applies one proposal: see the module for the steps.
    pub fn apply(
        &mut self,
        records: &mut dyn Records,
        position: Position,
        proposal: &Proposal,
    ) -> Applied {
        self.now = self.now.max(proposal.at);
        let request = proposal.request;
        let quiet = |outcome| Applied { request, outcome, effects: Vec::new() };

        let starts = matches!(proposal.command, Command::NodeUp(_));
        let dedups = !planted::has(Bug::DedupOff);
        if let Some(outcome) = self.windows.answer(request).filter(|_| dedups) {
            return quiet(outcome);
        }
        if let Err(refusal) = self.nodes.admit(request, starts) {
            return quiet(Err(refusal));
        }
        if let Some(key) = &proposal.client_key
            && let Some(outcome) = self.keys.answer(key, proposal.command.kind(), self.now)
            && dedups
        {
            self.windows.remember(request, &outcome);
            return quiet(outcome);
        }

        let mut turn = Turn {
            records,
            request,
            client_key: proposal.client_key.as_ref(),
            now: self.now,
            wall: proposal.wall,
            seed: proposal.seed,
            position,
            pairs: 0,
            effects: Vec::new(),
        };
        self.happen_due(&mut turn);
        let outcome = self.command(&mut turn, &proposal.command);
        self.pair(&mut turn);

        self.windows.remember(request, &outcome);
        if let (Some(key), Ok(reply)) = (&proposal.client_key, &outcome) {
            self.keys.remember(key, proposal.command.kind(), self.now, reply);
        }
        Applied { request, outcome, effects: turn.effects }
    }

    /// When something will be due: the leader proposes a [`Tick`](crate::Tick) then.
    pub fn next_deadline(&self) -> Option<LogTime> {
        self.due.first()
    }

    /// The newest log time seen; a new leader's log time continues from here.
    pub fn last_at(&self) -> LogTime {
        self.now
    }

    /// Over everything that is replicated, records included. Equal logs give equal digests.
    pub fn digest(&self, records: &dyn Records) -> Digest {
        snapshot::digest(self, records)
    }

    fn command(&mut self, turn: &mut Turn<'_>, command: &Command) -> Result<Reply, Rejection> {
        self.check_level(command)?;
        self.check_home(command)?;
        match command {
            Command::NodeUp(c) => self.node_up(turn, c).map(Reply::from),
            Command::NodeGone(c) => Ok(self.node_gone(turn, *c).into()),
            Command::ActivatePack(c) => self.activate_pack(c).map(Reply::from),
            Command::RaiseLevel(c) => self.raise_level(*c).map(Reply::from),
            Command::CreatePlayer(c) => Self::create_player(turn, c).map(Reply::from),
            Command::RenamePlayer(c) => Self::rename_player(turn, c).map(Reply::from),
            Command::OpenSession(c) => self.open_session(turn, c).map(Reply::from),
            Command::CloseSession(c) => Ok(self.close_session(turn, c).into()),
            Command::JoinQueue(c) => self.join_queue(turn, c).map(Reply::from),
            Command::LeaveQueue(c) => Ok(self.leave_queue(turn, &c.session).into()),
            Command::AbandonBattle(c) => self.abandon_battle(turn, c).map(Reply::from),
            Command::AppendInput(c) => self.append_input(turn, c).map(Reply::from),
            Command::TickBattle(c) => self.tick_battle(turn, *c).map(Reply::from),
            Command::EndBattle(c) => self.end_battle(turn, *c).map(Reply::from),
            Command::AbortBattle(c) => self.abort_battle(turn, *c).map(Reply::from),
            Command::Tick(_) => Ok(Done.into()),
            Command::RefreshTokens(c) => self.refresh_tokens(turn, c).map(Reply::from),
            Command::RevokeToken(c) => self.revoke_token(turn, *c).map(Reply::from),
            Command::EndSessions(c) => Ok(self.end_sessions(turn, c).into()),
            Command::CreateGuestWithTokens(c) => {
                let guest = Self::create_player(turn, &c.guest)?;
                Ok(self.issue(turn, guest, c.lifetimes).into())
            }
            Command::CreateCode(c) => self.create_code(turn, c).map(Reply::from),
            Command::CheckCode(c) => self.check_code(turn, c).map(Reply::from),
            Command::BindEmail(c) => self.bind_email(turn, c).map(Reply::from),
            Command::RecoverPlayer(c) => self.recover_player(turn, c).map(Reply::from),
            Command::UnbindEmail(c) => Self::unbind_email(turn, *c).map(Reply::from),
            Command::SetRecords(c) => self.set_records(turn, *c).map(Reply::from),
            Command::OpenSessionOutside(c) => self.open_session_outside(turn, c).map(Reply::from),
            Command::IssueTokens(c) => self.issue_tokens(turn, c).map(Reply::from),
            Command::RefreshTokensOutside(c) => {
                self.refresh_tokens_outside(turn, c).map(Reply::from)
            }
            Command::SetReports(c) => Ok(self.set_reports(*c).into()),
            Command::StoreReport(c) => self.store_report(turn, c).map(Reply::from),
            Command::ExpireReports(c) => Ok(Self::expire_reports(turn, *c).into()),
            Command::CloseStaleReports(c) => Ok(self.close_stale_reports(turn, *c).into()),
            Command::DrainNode(c) => Ok(self.drain_node(turn, *c).into()),
            Command::StateDigest(c) => self.state_digest(turn, *c).map(Reply::from),
            Command::ForgetNode(c) => Ok(self.forget_node(*c).into()),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// The text itself if it is at most `max` bytes long, else as much of it as fits.
pub(crate) fn clipped(text: &Arc<str>, max: usize) -> Arc<str> {
    if text.len() <= max { Arc::clone(text) } else { text[..text.floor_char_boundary(max)].into() }
}
