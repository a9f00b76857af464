//! Settings of a database of the operator's own.

use super::{Problem, Secret};

/// Where accounts are kept, if not in the cluster's own records.
#[derive(Clone, Debug, Default)]
pub struct DatabaseSettings {
    /// Connection string of a PostgreSQL database.
    pub url: Option<Secret>,
    /// The same under the name that Supabase's users know.
    pub(super) supabase_url: Option<Secret>,
    /// Whether the existing server's `SUPABASE_URL` is set, which names an HTTP API.
    pub(super) api_named: bool,
    /// Connections that this node may have open.
    pub connections_max: u32,
}

impl DatabaseSettings {
    /// One name for what was given by either.
    pub(super) fn unite(&mut self, problems: &mut Vec<Problem>) {
        match (&self.url, self.supabase_url.take()) {
            (Some(url), Some(other)) if *url != other => problems.push(Problem::text(
                "DATABASE_URL and SUPABASE_DB_URL are both set and differ: set one of them".into(),
            )),
            (None, Some(other)) => self.url = Some(other),
            (None, None) if self.api_named => problems.push(Problem::text(
                "SUPABASE_URL is set and DATABASE_URL is not: this server speaks to the database itself, \
                 not to Supabase's HTTP API. Set DATABASE_URL (or SUPABASE_DB_URL) to the connection \
                 string: in the Supabase dashboard open the project, press \"Connect\", choose \"Direct \
                 connection\" or \"Session pooler\" (port 5432, not the transaction pooler's 6543), copy the \
                 URI and put the database's password in place of [YOUR-PASSWORD]. To keep players in the \
                 cluster's own records, unset SUPABASE_URL"
                    .into(),
            )),
            _ => {}
        }
    }
}
