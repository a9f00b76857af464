//! How many files this process may have open, and so how many connections it serves: each is one.
//!
//! Systems start programs with a low soft limit (1,024 on many) below a hard one that the program may
//! raise itself to. A server that doesn't would refuse its thousandth player. Where the hard limit leaves
//! no room for the usual number of connections and nobody asked for one, there are fewer of them; who
//! asked for more than fit is warned and gets what was asked for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Files that are no client's connection: the log, snapshots, peers, the standard streams.
const OWN_FILES: usize = 256;
/// Connections served at once where the setting says nothing and the limit allows it.
pub(crate) const CONNECTIONS_USUAL: usize = 20_000;

/// Raises the soft limit to the hard one, and says how many connections are to be served at once.
/// `asked` is the setting, if it was given.
pub(crate) fn connections_max(asked: Option<usize>) -> usize {
    let Rlimit { current: before, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, ?before, ?maximum, "the limit of open files can't be raised");
    }
    // None means that there is no limit.
    let now = getrlimit(Resource::Nofile).current;
    let connections = served(asked, now);
    info!(?before, ?now, connections, "limit of open files");
    if now.is_some_and(|now| connections > fitting(now)) {
        warn!(
            ?now,
            wanted = connections.saturating_add(OWN_FILES),
            "CONNECTIONS_MAX needs more open files than the system allows: raise the hard limit \
             (LimitNOFILE, ulimit -Hn) or lower the setting"
        );
    }
    connections
}

/// How many connections to serve under this limit of open files.
fn served(asked: Option<usize>, limit: Option<u64>) -> usize {
    let fitting = limit.map_or(CONNECTIONS_USUAL, fitting);
    // A server that serves nobody is of no use: then it is warned.
    asked.unwrap_or_else(|| fitting.clamp(1, CONNECTIONS_USUAL))
}

/// Connections for which this limit leaves room.
fn fitting(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OWN_FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_nothing_gets_what_fits_and_never_more_than_usual() {
        for (limit, connections) in [
            (None, 20_000),
            (Some(1_048_576), 20_000),
            (Some(20_256), 20_000),
            (Some(20_000), 19_744),
            (Some(4_096), 3_840),
            (Some(100), 1),
        ] {
            assert_eq!(served(None, limit), connections, "{limit:?}");
        }
    }

    #[test]
    fn who_asks_gets_it_whatever_fits() {
        for limit in [None, Some(1_048_576), Some(100)] {
            assert_eq!(served(Some(30_000), limit), 30_000);
        }
    }
}
