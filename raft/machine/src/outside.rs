//! Accounts that are kept outside: in a database that the shells ask, and that decides what happens to
//! accounts, addresses and codes. The machine then never reads accounts; what it needs to know of one
//! comes inside the command.
//!
//! Where a cluster keeps its accounts is decided once, by its first [`SetRecords`], and for ever: two
//! halves of a cluster must not have different players. From then on commands of the other kind are
//! refused (`RecordsElsewhere`), and so is a node whose settings differ. Before that decision a cluster
//! keeps them here; one that has any can't move them out any more.
//!
//! Sessions, tokens and their revocation, queue and rooms are in the machine either way.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Issued, Opened, Rejection};
use crate::command::{Command, OpenSession};
use crate::effect::Effect;
use crate::limits::{EMAIL_LEN_MAX, NAME_CHARS_MAX};
use crate::machine::{Machine, Turn, clipped};
use crate::records::Player;
use crate::tokens::{Lifetimes, RefreshTokens};

/// Where accounts, addresses and codes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordsHome {
    /// In the replicated records.
    Cluster,
    /// In the database with this id, which it was given when its tables were made.
    Database([u8; 16]),
}

impl fmt::Display for RecordsHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Database(id) => write!(f, "database {:032x}", u128::from_be_bytes(*id)),
        }
    }
}

/// Keep accounts there for ever. Asking for what is decided already changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRecords {
    /// Where.
    pub home: RecordsHome,
}

/// [`OpenSession`] of a player who is kept outside, and was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSessionOutside {
    /// The session.
    pub open: OpenSession,
    /// The player's display name, for his opponents.
    pub name: Arc<str>,
}

/// The first pair of tokens for a player who is kept outside, and has proved to be it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueTokens {
    /// The account as it is there.
    pub player: Player,
    /// How long the pair is valid.
    pub lifetimes: Lifetimes,
}

/// [`RefreshTokens`] of a player who is kept outside, and was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshTokensOutside {
    /// What is asked.
    pub refresh: RefreshTokens,
    /// The account as it is there.
    pub player: Player,
}

impl Machine {
    /// Where accounts are kept, once that is decided.
    pub fn records_home(&self) -> Option<RecordsHome> {
        self.records_home
    }

    /// Whether a database keeps the accounts, and with them reports and statistics.
    pub fn keeps_records_outside(&self) -> bool {
        matches!(self.records_home, Some(RecordsHome::Database(_)))
    }

    pub(crate) fn set_records(
        &mut self,
        turn: &Turn<'_>,
        c: SetRecords,
    ) -> Result<Done, Rejection> {
        let here = c.home == RecordsHome::Cluster;
        match self.records_home {
            Some(decided) if decided == c.home => {}
            Some(_) => return Err(Rejection::RecordsElsewhere),
            None if !here && turn.records.player_count() > 0 => {
                return Err(Rejection::RecordsElsewhere);
            }
            None => self.records_home = Some(c.home),
        }
        Ok(Done)
    }

    /// Refuses what is decided where this cluster does not keep its accounts.
    pub(crate) fn check_home(&self, command: &Command) -> Result<(), Rejection> {
        let outside = self.keeps_records_outside();
        let refused = match command {
            Command::CreatePlayer(_)
            | Command::CreateGuestWithTokens(_)
            | Command::RenamePlayer(_)
            | Command::OpenSession(_)
            | Command::RefreshTokens(_)
            | Command::CreateCode(_)
            | Command::CheckCode(_)
            | Command::BindEmail(_)
            | Command::RecoverPlayer(_)
            | Command::UnbindEmail(_) => outside,
            Command::OpenSessionOutside(_)
            | Command::IssueTokens(_)
            | Command::RefreshTokensOutside(_) => !outside,
            _ => false,
        };
        if refused { Err(Rejection::RecordsElsewhere) } else { Ok(()) }
    }

    pub(crate) fn open_session_outside(
        &mut self,
        turn: &mut Turn<'_>,
        c: &OpenSessionOutside,
    ) -> Result<Opened, Rejection> {
        let name = clipped(&c.name, 4 * NAME_CHARS_MAX);
        self.open(turn, &c.open, Some(name))
    }

    pub(crate) fn issue_tokens(
        &mut self,
        turn: &mut Turn<'_>,
        c: &IssueTokens,
    ) -> Result<Issued, Rejection> {
        check_size(&c.player)?;
        turn.emit(Effect::PlayerProved { player: c.player.id });
        Ok(self.issue(turn, c.player.clone(), c.lifetimes))
    }

    pub(crate) fn refresh_tokens_outside(
        &mut self,
        turn: &mut Turn<'_>,
        c: &RefreshTokensOutside,
    ) -> Result<Issued, Rejection> {
        check_size(&c.player)?;
        if c.player.id != c.refresh.player {
            return Err(Rejection::PlayerUnknown);
        }
        self.refresh(turn, &c.refresh, c.player.clone())
    }
}

/// Answers with an account in them are remembered: none may be larger than one of the records.
fn check_size(player: &Player) -> Result<(), Rejection> {
    let email = player.email.as_ref().map_or(0, |email| email.len());
    let fits = player.name.len() <= 4 * NAME_CHARS_MAX && email <= EMAIL_LEN_MAX;
    if fits { Ok(()) } else { Err(Rejection::InputInvalid) }
}

impl fmt::Display for SetRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set-records {}", self.home)
    }
}

impl fmt::Display for OpenSessionOutside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of an outside player", self.open)
    }
}

impl fmt::Display for IssueTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "issue-tokens to {} {}", self.player.id, self.lifetimes)
    }
}

impl fmt::Display for RefreshTokensOutside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, an outside player", self.refresh)
    }
}
