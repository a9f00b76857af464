//! Behaviour levels: how builds of different age stand in one cluster.
//!
//! Nodes apply the same log, so whatever an older build can't read, or would apply with another outcome, may
//! not be in it while such a node may follow. It belongs to a *level*: the highest one that a build knows it
//! states in [`NodeUp`](crate::NodeUp), and the one in force is part of the replicated state. It is
//! raised by [`RaiseLevel`](crate::RaiseLevel), which is refused until every live node knows it, and never goes
//! down; a node that does not know it is not let in from then on, and neither is a snapshot of it.
//!
//! | Level | Since | What needs it |
//! |---|---|---|
//! | 1 | 0.1.0 | every command up to `CloseStaleReports`, and the outcomes they had then |
//! | 2 | 0.1.0 | [`DrainNode`](crate::DrainNode): a node that is about to go gives its homes away |
//! | 2 | 0.1.0 | [`StateDigest`](crate::StateDigest): replicas of a battle are compared while it runs |
//! | 2 | 0.1.0 | [`ForgetNode`](crate::ForgetNode): a node that left for ever makes room for another |
//!
//! A new command states its level in [`Command::since_level`] (the compiler asks for it); whoever would propose
//! it below that level is refused, and does without. A change of outcome is written as "if `level` ≥ n" and gets
//! a row here. Nobody proposes a command before its own node has applied the level, so it stands behind the
//! level in every log.

use crate::applied::Rejection;
use crate::command::Command;
use crate::machine::Machine;

/// The behaviour level of an empty cluster.
pub const FIRST_LEVEL: u32 = 1;

/// The highest behaviour level of this build: what a node states in [`NodeUp`](crate::NodeUp).
pub const LATEST_LEVEL: u32 = 2;

impl Command {
    /// The lowest behaviour level at which it may be proposed.
    pub fn since_level(&self) -> u32 {
        match self {
            Self::NodeUp(_)
            | Self::NodeGone(_)
            | Self::ActivatePack(_)
            | Self::RaiseLevel(_)
            | Self::CreatePlayer(_)
            | Self::RenamePlayer(_)
            | Self::OpenSession(_)
            | Self::CloseSession(_)
            | Self::JoinQueue(_)
            | Self::LeaveQueue(_)
            | Self::AbandonBattle(_)
            | Self::AppendInput(_)
            | Self::TickBattle(_)
            | Self::EndBattle(_)
            | Self::AbortBattle(_)
            | Self::Tick(_)
            | Self::RefreshTokens(_)
            | Self::RevokeToken(_)
            | Self::CreateGuestWithTokens(_)
            | Self::EndSessions(_)
            | Self::CreateCode(_)
            | Self::CheckCode(_)
            | Self::BindEmail(_)
            | Self::RecoverPlayer(_)
            | Self::UnbindEmail(_)
            | Self::SetRecords(_)
            | Self::OpenSessionOutside(_)
            | Self::IssueTokens(_)
            | Self::RefreshTokensOutside(_)
            | Self::SetReports(_)
            | Self::StoreReport(_)
            | Self::ExpireReports(_)
            | Self::CloseStaleReports(_) => 1,
            Self::DrainNode(_) | Self::StateDigest(_) | Self::ForgetNode(_) => 2,
        }
    }
}

impl Machine {
    /// No proposer gets this far below a command's level; if one did, the answer would be the same everywhere.
    pub(crate) fn check_level(&self, command: &Command) -> Result<(), Rejection> {
        if command.since_level() > self.level { Err(Rejection::NotEverywhere) } else { Ok(()) }
    }
}
