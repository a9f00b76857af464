//! What is broken on purpose. Each kind says what it needs; each strike says whether it really happened.
//!
//! A fault that was only asked for proves nothing: a strike counts as installed once its effect was seen (the
//! kernel says that the process is stopped, bytes were held on the cut way, the process has ended).

mod clock;
mod corruption;
mod disk;
mod membership;
mod network;
mod process;
mod redis;

use std::fmt;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::broken::Broken;
use crate::cluster::Cluster;
use crate::history::Line;
use crate::plan::Step;

/// Longest wait for somebody who leads.
const LED_PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It happened, and what it did was seen.
    Installed,
    /// It was not tried.
    Skipped { reason: String },
    /// It was tried, and nobody can say that it happened as meant.
    Indeterminate { reason: String },
}

impl Outcome {
    fn unless(happened: bool, reason: &str) -> Self {
        if happened { Self::Installed } else { Self::indeterminate(reason) }
    }

    fn indeterminate(reason: impl fmt::Display) -> Self {
        Self::Indeterminate { reason: reason.to_string() }
    }

    fn skipped(reason: impl fmt::Display) -> Self {
        Self::Skipped { reason: reason.to_string() }
    }
}

/// Faults that exclude each other share a lane; those of two lanes may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Processes and their disks.
    Nodes,
    /// The network between nodes.
    Network,
    Redis,
}

impl Lane {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Network => "network",
            Self::Redis => "redis",
        }
    }
}

/// What a fault needs beside the nodes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Three nodes or more.
    Peers,
    Redis,
    /// Disks that can fail and forget.
    Disks,
    /// Both of the former two.
    DisksOfPeers,
    /// Clocks that can be set.
    Clocks,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $lane:ident $needs:ident $does:literal;)*) => {
        /// The kinds of faults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Kind { $(#[doc = $does] $kind,)* }

        impl Kind {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name in plans, options and reports.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What it does, for people.
            pub(crate) fn does(self) -> &'static str {
                match self { $(Self::$kind => $does,)* }
            }

            pub(crate) fn lane(self) -> Lane {
                match self { $(Self::$kind => Lane::$lane,)* }
            }

            fn needs(self) -> Needs {
                match self { $(Self::$kind => Needs::$needs,)* }
            }
        }
    };
}

kinds! {
    KillLeader "kill-leader" Nodes Peers "kill -9 of the leader, restarted after a while";
    KillAny "kill-any" Nodes Nothing "kill -9 of any node, restarted after a while";
    KillAll "kill-all" Nodes Nothing "kill -9 of all nodes at once, restarted together";
    Rolling "rolling-restart" Nodes Nothing "SIGTERM and restart of each node, one after the other";
    PauseHalf "pause-leader-half" Nodes Peers "the leader is stopped for half an election time-out";
    PauseDouble "pause-leader-double" Nodes Peers "the leader is stopped for two election time-outs";
    PauseTen "pause-leader-ten" Nodes Peers "the leader is stopped for ten election time-outs";
    PauseAny "pause-any" Nodes Nothing "any node is stopped for a while";
    LeaderInMinority "leader-in-minority" Network Peers "the leader is cut off from its peers";
    LeaderInMajority "leader-in-majority" Network Peers "a follower is cut off from its peers";
    Isolate "isolate" Network Peers "a node is cut off from its peers and from Redis";
    OneWayIn "one-way-in" Network Peers "the leader hears nothing from its peers and is heard";
    OneWayOut "one-way-out" Network Peers "the leader hears its peers and is not heard";
    Bridge "bridge" Network Peers "the leader and a follower see only the third node";
    Flapping "flapping" Network Peers "the leader's ways are cut and healed every 200 ms";
    SlowLink "slow-link" Network Peers "the leader's ways take 50 ms and up to 50 ms more";
    NarrowLink "narrow-link" Network Peers "a follower's ways carry 64 kbit a second";
    Exchange "membership" Nodes Peers "a follower is removed and wiped, and comes back as a new learner that gets a vote";
    Transfer "leader-transfer" Nodes Peers "the lead is handed to a follower";
    Disconnect "disconnect" Network Peers "a container is taken off its network";
    Loss "loss" Network Peers "a fifth of all packets on the leader's ways is lost";
    SlowSync "slow-fsync" Nodes Disks "each sync of the leader's disk takes 200 ms more";
    SyncError "fsync-error" Nodes Disks "no sync of the leader's disk succeeds; then its power is cut";
    DiskFull "disk-full" Nodes Disks "a node's disk is full; then its power is cut";
    PowerOne "power-cut-one" Nodes Disks "a node dies and what it had not synced is gone";
    PowerTwo "power-cut-two" Nodes DisksOfPeers "the same of two nodes, the leader among them";
    PowerAll "power-cut-all" Nodes Disks "the same of all nodes at once";
    PowerSlow "power-cut-slow" Nodes Disks "all disks are slow, and then the power of all nodes goes at once";
    Torn "torn-record" Nodes Disks "a node's power is cut in the middle of a write, whose beginning is on the disk";
    BitFlip "bit-flip" Nodes Peers "one bit in a file of a dead node is another one when it is started again";
    ClockBack "clock-back" Nodes Clocks "a node's clock is set back by 120 s, and right again";
    ClockAhead "clock-ahead" Nodes Clocks "a node's clock is set ahead by 120 s, and right again";
    ClockFast "clock-fast" Nodes Clocks "all of a node's clocks run half as fast again";
    RedisKill "redis-kill" Redis Redis "Redis is killed and comes back empty";
    RedisFlush "redis-flush" Redis Redis "FLUSHALL";
    RedisPause "redis-pause" Redis Redis "Redis accepts connections and does not answer";
    RedisCut "redis-cut" Redis Redis "one node is cut off from Redis";
    RedisFull "redis-maxmemory" Redis Redis "Redis has no memory left and refuses all writes";
}

impl Kind {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether it can be done to such a cluster; a run does not plan what can't.
    pub(crate) fn fits(self, nodes: usize, redis: bool, disks: bool) -> bool {
        match self.needs() {
            Needs::Nothing => true,
            Needs::Peers => nodes >= 3,
            Needs::Redis => redis,
            // The same compiler makes both.
            Needs::Disks | Needs::Clocks => disks,
            Needs::DisksOfPeers => disks && nodes >= 3,
        }
    }

    /// Whether nodes must run on disks that can fail and forget.
    pub(crate) fn wants_disks(self) -> bool {
        matches!(self.needs(), Needs::Disks | Needs::DisksOfPeers)
    }

    /// Whether nodes must have clocks that can be set.
    pub(crate) fn wants_clocks(self) -> bool {
        self.needs() == Needs::Clocks
    }
}

/// One strike of a fault: what it may use.
pub(crate) struct Strike<'a> {
    pub(crate) cluster: &'a Cluster,
    kind: Kind,
    number: u32,
    holds: Duration,
    rng: ChaCha8Rng,
}

impl Strike<'_> {
    /// Writes down that it begins, and whom it concerns.
    fn begins(&self, whom: &[usize]) {
        let nodes = whom.iter().map(|at| (at + 1).to_string()).collect();
        self.begins_at(nodes);
    }

    fn begins_at(&self, nodes: Vec<String>) {
        let (kind, lane) = (self.kind.name().to_owned(), self.kind.lane().name().to_owned());
        let fault = self.number;
        self.cluster.history.write(|t| Line::FaultBegins { t, fault, kind, lane, nodes });
    }

    /// Lets it last.
    async fn hold(&self) {
        tokio::time::sleep(self.holds).await;
    }

    /// The leader, or nothing if nobody leads for long: what was broken before may just have ended.
    async fn leader(&self) -> Option<usize> {
        let led = async {
            loop {
                if let Some((leader, _)) = self.cluster.leader().await {
                    return leader;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(LED_PATIENCE, led).await.ok()
    }

    /// Starts these nodes again. One that does not come back is no failure of this program.
    async fn restart(&self, places: &[usize]) -> bool {
        let started = self.cluster.start_nodes(places).await;
        if let Err(error) = &started {
            self.found("not-ready", error);
        }
        started.is_ok()
    }

    /// Writes down what was found out on the way, for the checks.
    fn found(&self, about: &str, answer: &dyn fmt::Display) {
        let (about, answer) = (about.to_owned(), answer.to_string());
        let item = format!("{} {}", self.kind.name(), self.number);
        self.cluster.history.write(|t| Line::Found { t, about, node: 0, item, answer });
    }
}

/// Does what a step of the plan says, undoes it, and says what became of it.
pub(crate) async fn strike(cluster: &Cluster, number: u32, step: &Step) -> Outcome {
    let rng = ChaCha8Rng::seed_from_u64(step.salt);
    let mut strike = Strike { cluster, kind: step.kind, number, holds: step.holds, rng };
    let outcome = match by_kind(&mut strike).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::indeterminate(error),
    };
    let written = outcome.clone();
    cluster.history.write(|t| Line::FaultEnds { t, fault: number, outcome: written });
    outcome
}

async fn by_kind(strike: &mut Strike<'_>) -> Result<Outcome, Broken> {
    match strike.kind {
        Kind::KillLeader | Kind::KillAny => process::kill_one(strike).await,
        Kind::KillAll => process::kill_all(strike).await,
        Kind::Rolling => process::rolling(strike).await,
        Kind::PauseHalf => process::pause_leader(strike, 0.5).await,
        Kind::PauseDouble => process::pause_leader(strike, 2.0).await,
        Kind::PauseTen => process::pause_leader(strike, 10.0).await,
        Kind::PauseAny => process::pause_any(strike).await,
        Kind::LeaderInMinority
        | Kind::LeaderInMajority
        | Kind::Isolate
        | Kind::OneWayIn
        | Kind::OneWayOut
        | Kind::Bridge
        | Kind::SlowLink
        | Kind::NarrowLink
        | Kind::Loss => network::weather(strike).await,
        Kind::Flapping => network::flapping(strike).await,
        Kind::Exchange => membership::exchange(strike).await,
        Kind::Transfer => membership::transfer(strike).await,
        Kind::Disconnect => network::disconnect(strike).await,
        Kind::SlowSync => disk::slow(strike).await,
        Kind::SyncError | Kind::DiskFull => disk::fails(strike).await,
        Kind::PowerOne | Kind::PowerTwo | Kind::PowerAll | Kind::PowerSlow => {
            disk::power_cut(strike).await
        }
        Kind::BitFlip => corruption::bit_flip(strike).await,
        Kind::Torn => corruption::torn(strike).await,
        Kind::ClockBack | Kind::ClockAhead => clock::jump(strike).await,
        Kind::ClockFast => clock::fast(strike).await,
        Kind::RedisKill => redis::kill(strike).await,
        Kind::RedisFlush => redis::flush(strike).await,
        Kind::RedisPause => redis::pause(strike).await,
        Kind::RedisCut => redis::cut(strike).await,
        Kind::RedisFull => redis::full(strike).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind), "{}", kind.name());
        }
    }

    #[test]
    fn a_lone_node_without_redis_is_spared_what_it_can_not_suffer() {
        let fits: Vec<_> = Kind::ALL.iter().filter(|kind| kind.fits(1, false, false)).collect();
        assert_eq!(fits, [&Kind::KillAny, &Kind::KillAll, &Kind::Rolling, &Kind::PauseAny]);
    }
}
