//! Accounts in a PostgreSQL database of the operator's own: its constraints decide, in the tables of the
//! existing server (contract 6.2).
//!
//! * The first node that comes makes the tables that are missing and adopts those that are there
//!   (`migrations.rs`), and names the database; the cluster is bound to that name.
//! * Whatever is asked is answered within [`QUERY_PATIENCE`], or it is [`RecordsError::NoDatabase`]. While the
//!   database is away nothing waits for long: connections, statements and locks have time-outs, and no more
//!   than [`QUERIES_WAITING_MAX`] requests wait at once.
//! * A node that knows its database from before starts without it, and uses it once it is there.
//! * Only the handshake's look at a player is kept in mind for a while (`door.rs`).
//!
//! Passwords and addresses are in no log line: errors of the database are told by code and constraint.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde_json::value::RawValue;
use serverv2_machine::{
    Command, CreatePlayer, Email, IssueTokens, Issued, Lifetimes, OpenSession, OpenSessionOutside,
    Player, PlayerId, RefreshTokens, RefreshTokensOutside, Rejection, RenamePlayer, ScopedKey,
};
use serverv2_raft::Cluster;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::{Answer, Binding, GivenCode, NewCode, Records, RecordsError};
use crate::auth::CodeKey;
use crate::config::Secret;

mod codes;
mod door;
mod migrations;
mod players;
mod reports;
mod trouble;
mod url;

pub use migrations::DatabaseError;
pub(crate) use reports::{PostgresReports, Written};
pub use url::is_database_url;

use door::Door;
use migrations::prepare;
use trouble::{Reach, Trouble};
use url::options;

/// Longest time from a question to its answer: less than a request may take in all.
const QUERY_PATIENCE: Duration = Duration::from_secs(4);
/// Longest wait for a connection.
const CONNECTION_PATIENCE: Duration = Duration::from_millis(2_500);
/// Requests that may be at the database or wait for it; one more is told that it can't be reached.
const QUERIES_WAITING_MAX: usize = 512;
/// How long a cluster that has no database yet waits for one at its start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two tries to reach it.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// What the server side holds to, in its own words: longer than any of our statements takes, shorter than
/// somebody waits.
const SESSION: &str = "set statement_timeout = '3s'; set lock_timeout = '2s'; \
    set idle_in_transaction_session_timeout = '5s'";

/// See the module's text.
pub struct Postgres {
    cluster: Cluster,
    database: Arc<Database>,
    codes: Arc<CodeKey>,
    door: Door,
}

/// The connections, and whether they lead to the right place.
struct Database {
    pool: PgPool,
    options: PgConnectOptions,
    /// Its name, once its tables are known to be right.
    id: OnceLock<[u8; 16]>,
    places: Semaphore,
    /// Those of them who only look at reports.
    readers: Semaphore,
    reach: Reach,
}

impl Database {
    /// Asks, for as long as somebody may wait.
    async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, RecordsError> {
        // On the heap: what asks is itself part of others.
        self.ask_for(QUERY_PATIENCE, Box::pin(work)).await
    }

    async fn ask_for<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, RecordsError> {
        if self.id.get().is_none() {
            return Err(RecordsError::NoDatabase);
        }
        let _place = self.places.try_acquire().map_err(|_| RecordsError::NoDatabase)?;
        let outcome = timeout(patience, work).await.unwrap_or(Err(Trouble::Late));
        self.reach.judge(outcome)
    }

    /// Whether it has not answered the last question, or was never found.
    fn is_away(&self) -> bool {
        self.id.get().is_none() || self.reach.is_away()
    }
}

impl Postgres {
    /// Connects and makes the tables. With an `expected` database the node need not wait for it.
    pub async fn open(
        cluster: Cluster,
        url: &Secret,
        connections_max: u32,
        codes: Arc<CodeKey>,
        expected: Option<[u8; 16]>,
    ) -> Result<Self, DatabaseError> {
        let options = options(url.reveal()).ok_or(DatabaseError::Url)?;
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(CONNECTION_PATIENCE)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(SESSION).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        let database = Arc::new(Database {
            pool,
            options,
            id: OnceLock::new(),
            places: Semaphore::new(QUERIES_WAITING_MAX),
            readers: Semaphore::new((connections_max as usize / 2).max(1)),
            reach: Reach::default(),
        });
        let began = Instant::now();
        loop {
            match prepare(&database.options, expected).await {
                Ok(id) => {
                    let _ = database.id.set(id);
                    break;
                }
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) => {
                    if let Some(expected) = expected {
                        warn!(%error, "the database can't be reached: starting without it");
                        tokio::spawn(find(Arc::downgrade(&database), expected));
                        break;
                    }
                    if began.elapsed() > START_PATIENCE {
                        return Err(error);
                    }
                    warn!(%error, "waiting for the database");
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
        Ok(Self { cluster, database, codes, door: Door::default() })
    }

    /// Which database it is, once that is known.
    pub fn id(&self) -> Option<[u8; 16]> {
        self.database.id.get().copied()
    }

    /// The reports and statistics in the same database.
    pub(crate) fn reports(&self) -> PostgresReports {
        PostgresReports::new(self.cluster.clone(), self.database.clone())
    }

    fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> impl Future<Output = Result<T, RecordsError>> {
        self.database.ask(work)
    }

    /// Gives the first tokens to whoever has proved to be this player.
    async fn issue(
        &self,
        player: Player,
        lifetimes: Lifetimes,
        key: Option<ScopedKey>,
    ) -> Result<Issued, RecordsError> {
        Ok(self.cluster.propose(IssueTokens { player, lifetimes }, key).await?.reply)
    }
}

/// Waits for the database that a node has started without. Ends with the node.
async fn find(database: Weak<Database>, expected: [u8; 16]) {
    let mut told = None;
    loop {
        sleep(RETRY_PAUSE).await;
        let Some(database) = database.upgrade() else { return };
        let problem = match prepare(&database.options, Some(expected)).await {
            Ok(id) => {
                let _ = database.id.set(id);
                info!("the database is there");
                return;
            }
            Err(error) => error.to_string(),
        };
        if told.as_ref() != Some(&problem) {
            error!(problem, "the database can't be used yet");
            told = Some(problem);
        }
    }
}

impl Records for Postgres {
    fn player(&self, id: PlayerId) -> Answer<'_, Option<Player>> {
        Box::pin(self.ask(players::find(&self.database.pool, id)))
    }

    fn player_at_door(&self, id: PlayerId) -> Answer<'_, Option<Player>> {
        Box::pin(async move {
            if let Some(player) = self.door.seen(id, Instant::now().into_std()) {
                return Ok(Some(player));
            }
            let look = self.door.look();
            let found = self.player(id).await?;
            if let Some(player) = &found {
                self.door.remember(look, player, Instant::now().into_std());
            }
            Ok(found)
        })
    }

    fn player_by_email(&self, email: Email) -> Answer<'_, Option<Player>> {
        Box::pin(async move { self.ask(players::by_email(&self.database.pool, &email)).await })
    }

    fn create_guest(&self, guest: CreatePlayer, key: Option<ScopedKey>) -> Answer<'_, Player> {
        Box::pin(async move {
            self.ask(players::create(&self.database.pool, &guest, key.as_ref())).await
        })
    }

    fn create_guest_with_tokens(
        &self,
        guest: CreatePlayer,
        lifetimes: Lifetimes,
        key: Option<ScopedKey>,
    ) -> Answer<'_, Issued> {
        Box::pin(async move {
            let player = self.create_guest(guest, key.clone()).await?;
            self.issue(player, lifetimes, key).await
        })
    }

    fn rename(&self, rename: RenamePlayer, key: Option<ScopedKey>) -> Answer<'_, Player> {
        Box::pin(async move {
            let player =
                self.ask(players::rename(&self.database.pool, &rename, key.as_ref())).await?;
            self.door.forget(player.id);
            Ok(player)
        })
    }

    fn refresh_tokens(&self, refresh: RefreshTokens, key: Option<ScopedKey>) -> Answer<'_, Issued> {
        Box::pin(async move {
            let player = self.player(refresh.player).await?;
            let player = player.ok_or(RecordsError::Rejected(Rejection::PlayerUnknown))?;
            let refresh = RefreshTokensOutside { refresh, player };
            Ok(self.cluster.propose(refresh, key).await?.reply)
        })
    }

    fn create_code(&self, code: NewCode) -> Answer<'_, Option<Player>> {
        Box::pin(
            async move { self.ask(codes::create(&self.database.pool, &self.codes, &code)).await },
        )
    }

    fn check_code(&self, code: GivenCode) -> Answer<'_, ()> {
        Box::pin(
            async move { self.ask(codes::check(&self.database.pool, &self.codes, &code)).await },
        )
    }

    fn bind_email(&self, binding: Binding) -> Answer<'_, Issued> {
        Box::pin(async move {
            let player = self.ask(codes::bind(&self.database.pool, &self.codes, &binding)).await?;
            self.door.forget(player.id);
            self.issue(player, binding.lifetimes, None).await
        })
    }

    fn recover(&self, code: GivenCode, lifetimes: Lifetimes) -> Answer<'_, Issued> {
        Box::pin(async move {
            let player = self.ask(codes::recover(&self.database.pool, &self.codes, &code)).await?;
            self.issue(player, lifetimes, None).await
        })
    }

    fn unbind_email(&self, player: PlayerId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.ask(players::unbind(&self.database.pool, player)).await?;
            self.door.forget(player);
            Ok(())
        })
    }

    fn metadata(&self, player: PlayerId) -> Answer<'_, Option<Box<RawValue>>> {
        Box::pin(self.ask(players::metadata(&self.database.pool, player)))
    }

    fn session(&self, open: OpenSession, player: &Player) -> Command {
        OpenSessionOutside { open, name: player.name.clone() }.into()
    }

    fn forget(&self, player: PlayerId) {
        self.door.forget(player);
    }

    fn forget_all(&self) {
        self.door.forget_all();
    }
}
