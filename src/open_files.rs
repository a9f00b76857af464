//! How many files this process may have open: each connection is one.
//!
//! Systems start programs with a low soft limit (1,024 on many) below a hard one that the program may
//! raise itself to. A server that doesn't would refuse its thousandth player.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Files that are no client's connection: the log, snapshots, peers, the standard streams.
const OWN_FILES: u64 = 256;

/// Raises the soft limit to the hard one, and warns if that is too little for so many connections.
pub(crate) fn raise_limit(connections_max: usize) {
    let Rlimit { current: before, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, ?before, ?maximum, "the limit of open files can't be raised");
    }
    // None means that there is no limit.
    let now = getrlimit(Resource::Nofile).current;
    info!(?before, ?now, "limit of open files");
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(OWN_FILES);
    if now.is_some_and(|now| now < wanted) {
        warn!(
            ?now,
            wanted,
            "CONNECTIONS_MAX needs more open files than the system allows: raise the hard limit \
             (LimitNOFILE, ulimit -Hn) or lower the setting"
        );
    }
}
