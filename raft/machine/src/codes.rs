//! Verification codes (contract 9), and the addresses they prove: which code counts is decided here, so
//! that it is used once whichever nodes are asked, and so that limits hold over all of them.
//!
//! There is one code for an address and purpose; a newer one takes its place, not within
//! [`CODE_RESEND_MS`]. It is good for [`CODE_LIFE_MS`] of log time, until it is used, or until
//! [`CODE_TRIES_MAX`] wrong ones were given for it: six digits must not be guessed. A void code is kept
//! until its time is over, since the next one has to wait all the same. Codes are not tied to whoever
//! asked for them.
//!
//! How many codes an address is sent and a source asks for is counted in windows of
//! [`CODE_WINDOW_MS`], each opened by its first code. What is over is forgotten with the next new code.
//! When the codes or the windows are full, new codes are refused: to forget some would void somebody's
//! code, or lift a limit.
//!
//! Addresses are compared as they are, letter by letter, and belong to one player at a time. Only where
//! codes are counted, capitals make no difference: one mailbox must not be flooded by spelling it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Issued, Rejection};
use crate::clock::LogTime;
use crate::ids::{Email, PlayerId};
use crate::limits::{
    ADDRESS_LEN_MAX, CODE_LIFE_MS, CODE_RESEND_MS, CODE_TRIES_MAX, CODE_WINDOW_MS,
    CODE_WINDOWS_MAX, CODES_MAX,
};
use crate::machine::{Machine, Turn, clipped};
use crate::records::Player;

mod commands;

pub use commands::{
    BindEmail, CheckCode, CodeHash, CodeLimits, CreateCode, Purpose, RecoverPlayer, UnbindEmail,
};

/// All codes, and how many were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Codes {
    codes: BTreeMap<Slot, Code>,
    windows: BTreeMap<Counted, Window>,
    /// The oldest codes first.
    #[serde(skip)]
    by_age: BTreeSet<(LogTime, Slot)>,
    /// The windows that end next first.
    #[serde(skip)]
    by_opening: BTreeSet<(LogTime, Counted)>,
}

/// What there is one code for.
type Slot = (Email, Purpose);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Code {
    hash: CodeHash,
    at: LogTime,
    wrong_tries: u8,
    used: bool,
}

impl Code {
    fn is_over(&self, now: LogTime) -> bool {
        now.ms_since(self.at) >= CODE_LIFE_MS
    }

    fn is_void(&self, now: LogTime) -> bool {
        self.used || self.wrong_tries >= CODE_TRIES_MAX || self.is_over(now)
    }
}

/// What codes are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Counted {
    /// In lower case: to most who take mail, capitals are the same.
    Address(Arc<str>),
    Source(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    opened: LogTime,
    count: u32,
}

impl Window {
    fn is_over(&self, now: LogTime) -> bool {
        now.ms_since(self.opened) >= CODE_WINDOW_MS
    }
}

impl Codes {
    /// How many codes and windows are kept.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.codes.len(), self.windows.len())
    }

    pub(crate) fn reindex(&mut self) {
        self.by_age = self.codes.iter().map(|(slot, code)| (code.at, slot.clone())).collect();
        let windows = self.windows.iter();
        self.by_opening = windows.map(|(what, window)| (window.opened, what.clone())).collect();
    }

    fn forget_old(&mut self, now: LogTime) {
        while let Some((_, slot)) = self.by_age.first()
            && self.codes.get(slot).is_none_or(|code| code.is_over(now))
            && let Some((_, slot)) = self.by_age.pop_first()
        {
            self.codes.remove(&slot);
        }
        while let Some((_, what)) = self.by_opening.first()
            && self.windows.get(what).is_none_or(|window| window.is_over(now))
            && let Some((_, what)) = self.by_opening.pop_first()
        {
            self.windows.remove(&what);
        }
    }

    /// Puts a code in its place if there may be one more of all that it counts as.
    fn create(&mut self, c: &CreateCode, now: LogTime) -> Result<(), Rejection> {
        self.forget_old(now);
        let slot = (c.email.clone(), c.purpose);
        let before = self.codes.get(&slot).map(|code| code.at);
        if before.is_some_and(|at| now.ms_since(at) < CODE_RESEND_MS) {
            return Err(Rejection::CodeTooSoon);
        }
        let counted = [
            (Counted::Address(c.email.as_str().to_ascii_lowercase().into()), c.limits.per_address),
            (Counted::Source(clipped(&c.source, ADDRESS_LEN_MAX)), c.limits.per_source),
        ];
        let count = |what| self.windows.get(what).map_or(0, |window: &Window| window.count);
        if counted.iter().any(|(what, max)| *max > 0 && count(what) >= *max) {
            return Err(Rejection::CodesLimited);
        }
        let new = counted.iter().filter(|(what, _)| !self.windows.contains_key(what)).count();
        let full = before.is_none() && self.codes.len() >= CODES_MAX;
        if full || self.windows.len() + new > CODE_WINDOWS_MAX {
            return Err(Rejection::CodesFull);
        }
        for (what, _) in counted {
            let window = self.windows.entry(what.clone()).or_insert_with(|| {
                self.by_opening.insert((now, what));
                Window { opened: now, count: 0 }
            });
            window.count = window.count.saturating_add(1);
        }
        if let Some(at) = before {
            self.by_age.remove(&(at, slot.clone()));
        }
        self.by_age.insert((now, slot.clone()));
        self.codes.insert(slot, Code { hash: c.hash, at: now, wrong_tries: 0, used: false });
        Ok(())
    }

    /// The code itself, if this is it; counts a try that is wrong.
    fn check(
        &mut self,
        slot: &Slot,
        hash: &CodeHash,
        now: LogTime,
    ) -> Result<&mut Code, Rejection> {
        let code = self.codes.get_mut(slot).ok_or(Rejection::CodeInvalid)?;
        if code.is_void(now) {
            return Err(Rejection::CodeInvalid);
        }
        if !code.hash.is(hash) {
            code.wrong_tries += 1;
            return Err(Rejection::CodeInvalid);
        }
        Ok(code)
    }
}

impl Machine {
    pub(crate) fn create_code(
        &mut self,
        turn: &Turn<'_>,
        c: &CreateCode,
    ) -> Result<Done, Rejection> {
        let owner = turn.records.player_by_email(&c.email);
        match c.purpose {
            Purpose::Bind => {
                let player = c.player.and_then(|player| turn.records.player(player));
                let player = player.ok_or(Rejection::PlayerUnknown)?;
                check_free(owner.as_ref(), player.id)?;
            }
            Purpose::Recover => drop(owner.ok_or(Rejection::EmailUnbound)?),
        }
        self.codes.create(c, turn.now).map(|()| Done)
    }

    pub(crate) fn check_code(&mut self, turn: &Turn<'_>, c: &CheckCode) -> Result<Done, Rejection> {
        let slot = (c.email.clone(), c.purpose);
        self.codes.check(&slot, &c.hash, turn.now).map(|_| Done)
    }

    pub(crate) fn bind_email(
        &mut self,
        turn: &mut Turn<'_>,
        c: &BindEmail,
    ) -> Result<Issued, Rejection> {
        let slot = (c.email.clone(), Purpose::Bind);
        let code = self.codes.check(&slot, &c.hash, turn.now)?;
        let mut player = turn.records.player(c.player).ok_or(Rejection::PlayerUnknown)?;
        if player.is_registered() && !c.authenticated {
            return Err(Rejection::TokenRequired);
        }
        check_free(turn.records.player_by_email(&c.email).as_ref(), player.id)?;
        code.used = true;
        player.email = Some(c.email.as_str().into());
        player.email_bound = Some(turn.wall);
        turn.records.put_player(&player);
        Ok(self.issue(turn, player, c.lifetimes))
    }

    pub(crate) fn recover_player(
        &mut self,
        turn: &mut Turn<'_>,
        c: &RecoverPlayer,
    ) -> Result<Issued, Rejection> {
        let slot = (c.email.clone(), Purpose::Recover);
        let code = self.codes.check(&slot, &c.hash, turn.now)?;
        let player = turn.records.player_by_email(&c.email).ok_or(Rejection::EmailUnbound)?;
        code.used = true;
        Ok(self.issue(turn, player, c.lifetimes))
    }

    pub(crate) fn unbind_email(turn: &mut Turn<'_>, c: UnbindEmail) -> Result<Done, Rejection> {
        let mut player = turn.records.player(c.player).ok_or(Rejection::PlayerUnknown)?;
        if player.email.is_none() {
            return Err(Rejection::EmailUnbound);
        }
        (player.email, player.email_bound) = (None, None);
        turn.records.put_player(&player);
        Ok(Done)
    }
}

fn check_free(owner: Option<&Player>, player: PlayerId) -> Result<(), Rejection> {
    if owner.is_some_and(|owner| owner.id != player) { Err(Rejection::EmailTaken) } else { Ok(()) }
}
