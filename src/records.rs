//! Accounts, their addresses and the codes that prove them: one trait, and two places to keep them.
//!
//! | | decided by | read from |
//! |---|---|---|
//! | [`Embedded`] (default) | the machine, in the log | this node's replica |
//! | [`Postgres`] (`DATABASE_URL`) | constraints and transactions of the database | the database |
//!
//! Either way sessions and tokens are decided in the log: what the machine must know of a player who is
//! kept in a database comes with the command. Where a cluster keeps its accounts is decided once, in the
//! log ([`open`]); a node whose settings say otherwise is refused.
//!
//! A refusal is a value. While nobody can say, because no majority or no database is reached, the answer is
//! [`RecordsError::NoCluster`] or [`RecordsError::NoDatabase`]: a write may have happened, and may be retried
//! with the same key.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::value::RawValue;
use serverv2_machine::{
    CodeLimits, Command, CreatePlayer, Email, Issued, Lifetimes, OpenSession, Player, PlayerId,
    Purpose, RecordsHome, RefreshTokens, Rejection, RenamePlayer, ScopedKey, SetRecords,
};
use serverv2_raft::{Cluster, ProposeError};

use crate::auth::CodeKey;
use crate::config::DatabaseSettings;

mod embedded;
mod postgres;

pub use embedded::Embedded;
pub use postgres::{DatabaseError, Postgres, is_database_url};
pub(crate) use postgres::{PostgresReports, Written};

/// Pause between two tries to have it decided where accounts are kept.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Why there is no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// Decided: nothing happened.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No majority said so in time. It may have happened.
    #[error("the cluster has not answered in time")]
    NoCluster,
    /// The database can't be reached, or is too slow. It may have happened.
    #[error("the database has not answered in time")]
    NoDatabase,
    /// It can never be decided.
    #[error("the request is too large")]
    TooLarge,
    /// The database refuses what should be possible, and the log says why. Nothing happened.
    #[error("the database refuses")]
    Failed,
}

impl From<&ProposeError> for RecordsError {
    fn from(error: &ProposeError) -> Self {
        match error {
            ProposeError::Rejected(rejection) => Self::Rejected(rejection.clone()),
            ProposeError::Busy | ProposeError::Unknown | ProposeError::Stopped => Self::NoCluster,
            ProposeError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<ProposeError> for RecordsError {
    fn from(error: ProposeError) -> Self {
        Self::from(&error)
    }
}

/// What somebody will have said.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RecordsError>>;

/// A verification code that is to count from now on.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// Where it is sent.
    pub email: Email,
    /// What it is good for.
    pub purpose: Purpose,
    /// Who wants to bind the address; needed for that purpose.
    pub player: Option<PlayerId>,
    /// Whoever asks, as far as the network tells.
    pub source: Arc<str>,
    /// The code itself.
    pub code: String,
    /// How many there may be.
    pub limits: CodeLimits,
}

/// A code as somebody gave it.
#[derive(Clone, Debug)]
pub struct GivenCode {
    /// Where it was sent.
    pub email: Email,
    /// What it should be good for.
    pub purpose: Purpose,
    /// The code itself.
    pub code: String,
}

/// Who wants an address, and the code that proves it.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Whose it becomes.
    pub player: PlayerId,
    /// Whether the player has shown a token: needed of one who is registered.
    pub authenticated: bool,
    /// The address and its code.
    pub code: GivenCode,
    /// How long the first tokens are valid.
    pub lifetimes: Lifetimes,
}

/// Where accounts are kept. Refusals are those of the machine, whoever decides.
pub trait Records: Send + Sync {
    /// The account as it is now, wherever it was made a moment ago.
    fn player(&self, id: PlayerId) -> Answer<'_, Option<Player>>;

    /// The account for whoever lets somebody in: a guest may have become registered through another
    /// node an instant ago.
    fn player_at_door(&self, id: PlayerId) -> Answer<'_, Option<Player>>;

    /// The account that this address is bound to now.
    fn player_by_email(&self, email: Email) -> Answer<'_, Option<Player>>;

    /// A new guest, once for a key.
    fn create_guest(&self, guest: CreatePlayer, key: Option<ScopedKey>) -> Answer<'_, Player>;

    /// A new guest and his first tokens, once for a key.
    fn create_guest_with_tokens(
        &self,
        guest: CreatePlayer,
        lifetimes: Lifetimes,
        key: Option<ScopedKey>,
    ) -> Answer<'_, Issued>;

    /// A new name, once for a key.
    fn rename(&self, rename: RenamePlayer, key: Option<ScopedKey>) -> Answer<'_, Player>;

    /// The next pair of tokens, once for a key.
    fn refresh_tokens(&self, refresh: RefreshTokens, key: Option<ScopedKey>) -> Answer<'_, Issued>;

    /// From here on this is the code of an address and purpose. Gives who is to be greeted by name.
    fn create_code(&self, code: NewCode) -> Answer<'_, Option<Player>>;

    /// Whether this is the code; a wrong one counts.
    fn check_code(&self, code: GivenCode) -> Answer<'_, ()>;

    /// The address becomes this player's, who is registered from then on. Uses the code up.
    fn bind_email(&self, binding: Binding) -> Answer<'_, Issued>;

    /// Tells whose an address is, and lets him in. Uses the code up.
    fn recover(&self, code: GivenCode, lifetimes: Lifetimes) -> Answer<'_, Issued>;

    /// Makes a registered player a guest again.
    fn unbind_email(&self, player: PlayerId) -> Answer<'_, ()>;

    /// What else there is in the account's row: a JSON value of whoever keeps it.
    fn metadata(&self, player: PlayerId) -> Answer<'_, Option<Box<RawValue>>>;

    /// The command that opens a session of this player.
    fn session(&self, open: OpenSession, player: &Player) -> Command;

    /// What was kept in mind of this player is old.
    fn forget(&self, player: PlayerId);

    /// What was kept in mind of anybody is old.
    fn forget_all(&self);
}

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings say otherwise than the cluster.
    #[error("{0}")]
    Elsewhere(&'static str),
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The node stops before it is decided.
    #[error("the node stops before it is decided where accounts are kept")]
    Stopped,
}

const NEEDS_DATABASE: &str = "this cluster keeps its players in a PostgreSQL database, and this node's settings \
    name none: set DATABASE_URL as on the other nodes. (Players can't be moved out of it into the cluster.)";
const HAS_RECORDS: &str = "DATABASE_URL is set, but this cluster keeps its players in its own records: unset it. \
    To play with the players of the database, start a new cluster, on empty data folders";
/// Also said by whoever finds out later.
const OTHER_DATABASE: &str = "DATABASE_URL names another database than the one in which this cluster keeps its \
    players: set it as on the other nodes";

/// See [`open`].
pub struct Opened {
    /// The accounts.
    pub accounts: Arc<dyn Records>,
    /// Battle reports and statistics, if they are kept in the same database.
    pub(crate) reports: Option<Arc<PostgresReports>>,
}

/// Opens the records that the settings name, and has it decided in the log that they are the cluster's.
pub async fn open(
    cluster: &Cluster,
    settings: &DatabaseSettings,
    codes: Arc<CodeKey>,
) -> Result<Opened, OpenError> {
    let (decided, players) =
        cluster.read(|machine, records| (machine.records_home(), records.player_count())).value;
    let Some(url) = &settings.url else {
        decide(cluster, RecordsHome::Cluster).await?;
        let accounts = Arc::new(Embedded::new(cluster.clone(), codes));
        return Ok(Opened { accounts, reports: None });
    };
    // Before anything is made in the database.
    if decided == Some(RecordsHome::Cluster) || (decided.is_none() && players > 0) {
        return Err(OpenError::Elsewhere(HAS_RECORDS));
    }
    let expected = match decided {
        Some(RecordsHome::Database(id)) => Some(id),
        Some(RecordsHome::Cluster) | None => None,
    };
    let database =
        Postgres::open(cluster.clone(), url, settings.connections_max, codes, expected).await?;
    if let Some(id) = database.id() {
        decide(cluster, RecordsHome::Database(id)).await?;
    }
    let reports = Some(Arc::new(database.reports()));
    Ok(Opened { accounts: Arc::new(database), reports })
}

async fn decide(cluster: &Cluster, home: RecordsHome) -> Result<(), OpenError> {
    loop {
        let decided = cluster.read(|machine, _| machine.records_home()).value;
        match (decided, home) {
            (Some(decided), home) if decided == home => return Ok(()),
            (Some(RecordsHome::Database(_)), RecordsHome::Cluster) => {
                return Err(OpenError::Elsewhere(NEEDS_DATABASE));
            }
            (Some(RecordsHome::Database(_)), RecordsHome::Database(_)) => {
                return Err(OpenError::Elsewhere(OTHER_DATABASE));
            }
            (Some(RecordsHome::Cluster), _) => return Err(OpenError::Elsewhere(HAS_RECORDS)),
            (None, _) => {}
        }
        match cluster.propose(SetRecords { home }, None).await {
            Ok(_) => {}
            // Somebody was first with another answer, or there are players already.
            Err(ProposeError::Rejected(Rejection::RecordsElsewhere)) => {
                let decided = cluster.read(|machine, _| machine.records_home()).value;
                if decided.is_none() {
                    return Err(OpenError::Elsewhere(HAS_RECORDS));
                }
            }
            Err(ProposeError::Stopped) => return Err(OpenError::Stopped),
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}
