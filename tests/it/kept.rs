//! The two places in which a server can keep its players; what a client may rely on is the same.

use crate::harness::Server;
use crate::harness::postgres::Database;
use crate::harness::process::Options;

/// Where the players of a test's servers are.
pub(crate) enum Kept {
    /// In the cluster's own records.
    InTheCluster,
    /// In a database.
    InPostgres(Database),
}

impl Kept {
    /// These options, with players kept there.
    pub(crate) fn by(&self, options: Options) -> Options {
        match self {
            Self::InTheCluster => options,
            Self::InPostgres(database) => database.used_by(options),
        }
    }

    /// A server with no other setting.
    pub(crate) async fn start(&self) -> Server {
        self.by(Options::default()).start().await
    }
}

/// Makes two tests of each of these, which take a [`Kept`].
macro_rules! wherever_players_are_kept {
    ($($name:ident)*) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::kept::Kept::InTheCluster).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    let database = $crate::harness::postgres::Database::fresh().await;
                    super::$name($crate::kept::Kept::InPostgres(database)).await;
                }
            )*
        }
    };
}
pub(crate) use wherever_players_are_kept;
