//! The tables: made where they are missing, adopted where they are there. All nodes may start at once:
//! one of them does it, under an advisory lock, and each step is one transaction.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, SqlSafeStr};
use tokio::time::timeout;

use super::trouble::{may_pass, told};

/// Which steps were made, in a schema that is ours alone: an adopted database has one of its own.
const SCHEMA: &str = "serverv2";
const VERSIONS: &str = "serverv2.migrations";
/// Time for a connection to be there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Time for another node to make the tables, and for this one to.
const MIGRATE_PATIENCE: Duration = Duration::from_secs(120);

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nobody can connect by this.
    #[error("DATABASE_URL can't be read")]
    Url,
    /// It is not reached, or it refuses the connection.
    #[error("can't connect to the database: {what}{}", advice(*.passing))]
    Connect {
        /// In its words.
        what: String,
        /// Whether that may change by itself.
        passing: bool,
    },
    /// It is not the one in which this cluster keeps its players.
    #[error("{}", crate::records::OTHER_DATABASE)]
    Other,
    /// Its tables can't be made or adopted.
    #[error("can't make the tables in the database: {what}{}", advice(*.passing))]
    Tables {
        /// In its words.
        what: String,
        /// Whether that may change by itself.
        passing: bool,
    },
}

fn advice(passing: bool) -> &'static str {
    if passing { "" } else { " (check DATABASE_URL, and what its user may do)" }
}

impl DatabaseError {
    /// Whether waiting may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Url | Self::Other => false,
            Self::Connect { passing, .. } | Self::Tables { passing, .. } => *passing,
        }
    }

    fn connect(error: &sqlx::Error) -> Self {
        Self::Connect { what: told(error), passing: may_pass(error) }
    }

    fn tables(error: &sqlx::Error) -> Self {
        Self::Tables { what: told(error), passing: may_pass(error) }
    }
}

fn migrator() -> Migrator {
    let step = |version, description: &'static str, sql: &'static str| {
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    let mut migrator = Migrator::with_migrations(vec![
        step(1, "tables", include_str!("migrations/0001_tables.sql")),
        step(2, "functions", include_str!("migrations/0002_functions.sql")),
    ]);
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(VERSIONS);
    migrator
}

/// Sees to the tables; gives the database's id. With an `expected` id nothing is touched in a database of
/// another one, or of none.
pub(super) async fn prepare(
    options: &PgConnectOptions,
    expected: Option<[u8; 16]>,
) -> Result<[u8; 16], DatabaseError> {
    // A connection of its own, so that the lock goes with it whatever happens.
    let connected = timeout(CONNECT_PATIENCE, PgConnection::connect_with(options)).await;
    let mut connection = match connected {
        Ok(connected) => connected.map_err(|error| DatabaseError::connect(&error))?,
        Err(_) => {
            let what = "no answer in time".into();
            return Err(DatabaseError::Connect { what, passing: true });
        }
    };
    let work = async {
        if expected.is_some() && named(&mut connection).await? != expected {
            return Err(DatabaseError::Other);
        }
        migrator().run_direct(None, &mut connection, false).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                DatabaseError::tables(&error)
            }
            MigrateError::VersionMissing(_) => DatabaseError::Tables {
                what: "a newer version of this program has been at them".into(),
                passing: false,
            },
            other => DatabaseError::Tables { what: other.to_string(), passing: false },
        })?;
        named(&mut connection).await
    };
    let id = timeout(MIGRATE_PATIENCE, work).await.unwrap_or_else(|_| {
        Err(DatabaseError::Tables { what: "it took too long".into(), passing: true })
    })?;
    let _ = connection.close().await;
    id.ok_or_else(|| DatabaseError::Tables {
        what: "serverv2.identity holds no id".into(),
        passing: false,
    })
}

/// The database's id, if its tables were made or adopted before.
async fn named(connection: &mut PgConnection) -> Result<Option<[u8; 16]>, DatabaseError> {
    let sql = "select to_regclass('serverv2.identity') is not null";
    let there = sqlx::query_scalar(sql).fetch_one(&mut *connection).await;
    if !there.map_err(|error| DatabaseError::tables(&error))? {
        return Ok(None);
    }
    let sql = "select id::text from serverv2.identity";
    let id: Result<Option<String>, _> = sqlx::query_scalar(sql).fetch_optional(connection).await;
    let id = id.map_err(|error| DatabaseError::tables(&error))?;
    let number = |id: String| u128::from_str_radix(&id.replace('-', ""), 16).ok();
    Ok(id.and_then(number).map(u128::to_be_bytes))
}
