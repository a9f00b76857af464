//! Random steps about verification codes, and what a naive reader of the log expects of each: it keeps
//! every code that was ever made and looks through all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serverv2_machine::limits::{
    CODE_LIFE_MS, CODE_RESEND_MS, CODE_TRIES_MAX, CODE_WINDOW_MS, EMAIL_LEN_MAX,
};
use serverv2_machine::{
    BindEmail, CheckCode, CodeHash, CodeLimits, Command, CreateCode, Email, Issued, Lifetimes,
    LogTime, MemoryRecords, PlayerId, Purpose, Records, RecoverPlayer, Rejection, Reply,
    UnbindEmail,
};

/// One step; numbers choose among the few things there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeStep {
    pub(crate) what: u8,
    pub(crate) player: u8,
    email: u8,
    purpose: bool,
    code: u8,
    source: u8,
}

pub(crate) fn step() -> impl Strategy<Value = CodeStep> {
    (0..12u8, 0..5u8, 0..4u8, any::<bool>(), 0..2u8, 0..2u8).prop_map(
        |(what, player, email, purpose, code, source)| {
            let purpose = purpose || what.is_multiple_of(4);
            CodeStep { what, player, email, purpose, code, source }
        },
    )
}

/// The step as a command about this player.
pub(crate) fn command(step: CodeStep, player: PlayerId) -> Command {
    let purpose = if step.purpose { Purpose::Bind } else { Purpose::Recover };
    let email = email(step.email);
    let hash = CodeHash([step.code; 32]);
    let lifetimes = Lifetimes { access_ms: 5_000, refresh_ms: 9_000 };
    match step.what {
        0..4 => {
            let source = format!("192.0.2.{}", step.source).as_str().into();
            let limits = CodeLimits { per_address: 3, per_source: 4 };
            let player = (step.what > 0).then_some(player);
            CreateCode { email, purpose, player, source, hash, limits }.into()
        }
        4..7 => CheckCode { email, purpose, hash }.into(),
        7..10 => {
            let authenticated = step.source > 0;
            BindEmail { player, authenticated, email, hash, lifetimes }.into()
        }
        10 => RecoverPlayer { email, hash, lifetimes }.into(),
        _ => UnbindEmail { player }.into(),
    }
}

/// Two of them are the same to most who take mail, and one is as long as may be.
fn email(number: u8) -> Email {
    let long = format!("{}@x.co", "l".repeat(EMAIL_LEN_MAX - 5));
    ["a@x.co", "A@x.co", "b@x.co", &long][usize::from(number)].parse().unwrap()
}

struct Made {
    at: LogTime,
    of: CreateCode,
    wrong: u8,
    used: bool,
}

/// Every code that was ever made, and who has which address.
#[derive(Default)]
pub(crate) struct Reader {
    made: Vec<Made>,
    bound: BTreeMap<PlayerId, Email>,
}

impl Reader {
    /// What the machine said to a command that it saw for the first time.
    pub(crate) fn follow(
        &mut self,
        now: LogTime,
        command: &Command,
        outcome: &Result<Reply, Rejection>,
        records: &MemoryRecords,
    ) -> Result<(), TestCaseError> {
        let expected = match command {
            Command::CreateCode(c) => self.create(now, c, records),
            Command::CheckCode(c) => self.check(now, &c.email, c.purpose, &c.hash).map(|_| ()),
            Command::BindEmail(c) => self.bind(now, c, records),
            Command::RecoverPlayer(c) => self.recover(now, c, outcome),
            Command::UnbindEmail(c) => match self.bound.remove(&c.player) {
                Some(_) => Ok(()),
                None if records.player(c.player).is_none() => Err(Rejection::PlayerUnknown),
                None => Err(Rejection::EmailUnbound),
            },
            _ => return Ok(()),
        };
        prop_assert_eq!(
            &outcome.as_ref().map(drop).map_err(Clone::clone),
            &expected,
            "{}",
            command
        );
        for player in records.players() {
            let email = self.bound.get(&player.id);
            prop_assert_eq!(player.email.as_deref(), email.map(Email::as_str));
            prop_assert_eq!(player.email_bound.is_some(), email.is_some());
        }
        let kept = records.all().filter(|(key, _)| key[0] == b'e').count();
        prop_assert_eq!(kept, self.bound.len(), "an address that is free leaves nothing behind");
        for number in 0..4 {
            let email = email(number);
            let owner = records.player_by_email(&email).map(|player| player.id);
            prop_assert_eq!(owner, self.owner(&email));
        }
        Ok(())
    }

    fn owner(&self, email: &Email) -> Option<PlayerId> {
        self.bound.iter().find(|(_, bound)| *bound == email).map(|(player, _)| *player)
    }

    fn create(
        &mut self,
        now: LogTime,
        c: &CreateCode,
        records: &MemoryRecords,
    ) -> Result<(), Rejection> {
        let owner = self.owner(&c.email);
        if c.purpose == Purpose::Recover && owner.is_none() {
            return Err(Rejection::EmailUnbound);
        }
        if c.purpose == Purpose::Bind {
            let known = c.player.filter(|player| records.player(*player).is_some());
            let player = known.ok_or(Rejection::PlayerUnknown)?;
            if owner.is_some_and(|owner| owner != player) {
                return Err(Rejection::EmailTaken);
            }
        }
        let last = self.newest(&c.email, c.purpose);
        if last.is_some_and(|made| now.ms_since(made.at) < CODE_RESEND_MS) {
            return Err(Rejection::CodeTooSoon);
        }
        let mailbox = |of: &CreateCode| of.email.as_str().eq_ignore_ascii_case(c.email.as_str());
        let to_it = self.in_window(now, mailbox);
        let by_it = self.in_window(now, |of| of.source == c.source);
        if to_it >= c.limits.per_address || by_it >= c.limits.per_source {
            return Err(Rejection::CodesLimited);
        }
        self.made.push(Made { at: now, of: c.clone(), wrong: 0, used: false });
        Ok(())
    }

    /// How many of these were made since the window opened in which we are.
    fn in_window(&self, now: LogTime, counts: impl Fn(&CreateCode) -> bool) -> u32 {
        let mut window = (LogTime(0), 0);
        for made in self.made.iter().filter(|made| counts(&made.of)) {
            if window.1 == 0 || made.at.ms_since(window.0) >= CODE_WINDOW_MS {
                window = (made.at, 0);
            }
            window.1 += 1;
        }
        if now.ms_since(window.0) >= CODE_WINDOW_MS { 0 } else { window.1 }
    }

    fn newest(&mut self, email: &Email, purpose: Purpose) -> Option<&mut Made> {
        let same = |made: &&mut Made| made.of.email == *email && made.of.purpose == purpose;
        self.made.iter_mut().rev().find(same)
    }

    fn check(
        &mut self,
        now: LogTime,
        email: &Email,
        purpose: Purpose,
        hash: &CodeHash,
    ) -> Result<&mut Made, Rejection> {
        let made = self.newest(email, purpose).ok_or(Rejection::CodeInvalid)?;
        let good =
            !made.used && made.wrong < CODE_TRIES_MAX && now.ms_since(made.at) < CODE_LIFE_MS;
        if good && made.of.hash == *hash {
            return Ok(made);
        }
        made.wrong = made.wrong.saturating_add(u8::from(good));
        Err(Rejection::CodeInvalid)
    }

    fn bind(
        &mut self,
        now: LogTime,
        c: &BindEmail,
        records: &MemoryRecords,
    ) -> Result<(), Rejection> {
        self.check(now, &c.email, Purpose::Bind, &c.hash)?;
        if records.player(c.player).is_none() {
            return Err(Rejection::PlayerUnknown);
        }
        if !c.authenticated && self.bound.contains_key(&c.player) {
            return Err(Rejection::TokenRequired);
        }
        if self.owner(&c.email).is_some_and(|owner| owner != c.player) {
            return Err(Rejection::EmailTaken);
        }
        self.check(now, &c.email, Purpose::Bind, &c.hash)?.used = true;
        self.bound.insert(c.player, c.email.clone());
        Ok(())
    }

    fn recover(
        &mut self,
        now: LogTime,
        c: &RecoverPlayer,
        outcome: &Result<Reply, Rejection>,
    ) -> Result<(), Rejection> {
        self.check(now, &c.email, Purpose::Recover, &c.hash)?;
        let owner = self.owner(&c.email).ok_or(Rejection::EmailUnbound)?;
        self.check(now, &c.email, Purpose::Recover, &c.hash)?.used = true;
        match outcome {
            Ok(Reply::Issued(Issued { player, .. })) if player.id != owner => {
                Err(Rejection::EmailTaken)
            }
            _ => Ok(()),
        }
    }
}
