//! What goes wrong with a database, and what the caller is told: a refusal, "not now", or a failure.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use serverv2_machine::Rejection;
use sqlx::error::DatabaseError;
use tracing::{error, info, warn};

use crate::records::RecordsError;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Decided: no.
    Refused(Rejection),
    /// The database's own error.
    Sql(sqlx::Error),
    /// It took too long.
    Late,
}

impl From<Rejection> for Trouble {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Whether the error is of the database's being away or busy, and not of what was asked.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        // Bytes that are no TLS, or a certificate that nobody vouches for, stay what they are.
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => code_may_pass(&**error),
        _ => false,
    }
}

/// By classes of SQLSTATE: no connection, a transaction that lost against another, no resources, somebody
/// intervened (shutdown, start-up, time-out), a lock that was not had in time, a standby that takes no
/// writes until it is promoted.
fn code_may_pass(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
        || code == "55P03"
        || code == "25006"
}

/// Whether a row is there already that this one would be like.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

/// Whether the database answered lately: what changes is logged, not each request that suffers.
#[derive(Default)]
pub(super) struct Reach {
    lost: AtomicBool,
}

impl Reach {
    /// What the caller is told.
    pub(super) fn judge<T>(&self, outcome: Result<T, Trouble>) -> Result<T, RecordsError> {
        match outcome {
            Ok(value) => {
                self.is_there();
                Ok(value)
            }
            Err(Trouble::Refused(rejection)) => {
                self.is_there();
                Err(RecordsError::Rejected(rejection))
            }
            Err(Trouble::Late) => {
                self.is_lost("no answer in time");
                Err(RecordsError::NoDatabase)
            }
            Err(Trouble::Sql(error)) if may_pass(&error) => {
                self.is_lost(&told(&error));
                Err(RecordsError::NoDatabase)
            }
            Err(Trouble::Sql(error)) => {
                error!(error = told(&error), "the database refuses what should be possible");
                Err(RecordsError::Failed)
            }
        }
    }

    /// Whether the last question got no answer.
    pub(super) fn is_away(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn is_there(&self) {
        if self.lost.swap(false, Ordering::Relaxed) {
            info!("the database answers again");
        }
    }

    fn is_lost(&self, why: &str) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            warn!(why, "the database does not answer");
        }
    }
}

/// An error without the values in it: details of the database name them.
pub(super) fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let constraint = error.constraint().map(|name| format!(", constraint {name}"));
            format!("{} (SQLSTATE {code}{})", error.message(), constraint.unwrap_or_default())
        }
        other => other.to_string(),
    }
}
