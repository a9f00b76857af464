//! Ways that are wires: each end has a network namespace of its own, joined by a pair of virtual interfaces to a
//! bridge in this program's namespace. What is to be hindered is dropped, queued or held by the kernel.
//!
//! This program must have a network namespace of its own already (`mode.rs`), so nothing of the machine's is
//! touched. No namespace has a name: each is held by a descriptor of this program and by what runs in it, and so
//! all of them, with interfaces, rules and queues, are gone with this program, however it ends.

mod late;
mod laying;
mod narrow;
mod rules;

use std::collections::BTreeMap;

use parking_lot::Mutex;

pub(crate) use self::late::{HoldArgs, hold_packets, is_possible as can_delay};

use self::late::Late;
use self::laying::Space;
use self::narrow::Narrow;
use super::{Condition, End, Fabric, Way};
use crate::broken::{Broken, Doing as _};
use crate::cluster::host::{Host, run, tool};

/// All ways of a cluster.
pub(crate) struct Wires {
    spaces: BTreeMap<End, Space>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    conditions: BTreeMap<Way, Condition>,
    late: Late,
    narrow: Narrow,
    /// The first change that could not be made.
    failed: Option<Broken>,
}

impl Wires {
    /// Makes the namespaces and joins them. `targets` says at which port each end listens.
    pub(crate) fn between(targets: &[(End, u16)]) -> Result<Self, Broken> {
        let spaces = laying::lay(targets)?;
        run(tool("nft").args(["-f", "-"]), &rules::table(&spaces))?;
        Ok(Self { spaces, state: Mutex::default() })
    }

    /// Makes the network what the conditions say.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<Way, Condition>)) {
        // Programs are started and waited for: other tasks go on elsewhere.
        tokio::task::block_in_place(|| {
            let mut state = self.state.lock();
            let state = &mut *state;
            change(&mut state.conditions);
            let changed = self.apply(state);
            state.failed = state.failed.take().or_else(|| changed.err());
        });
    }

    fn apply(&self, state: &mut State) -> Result<(), Broken> {
        let State { conditions, late, narrow, .. } = state;
        late.change(conditions, &self.spaces)?;
        run(tool("nft").args(["-f", "-"]), &rules::of(conditions, &self.spaces))?;
        narrow.change(conditions, &self.spaces)
    }

    fn counted(&self, ways: &[Way]) -> Result<u64, Broken> {
        let counters = run(tool("nft").args(["-j", "list", "counters"]), "")?;
        let dropped = rules::counted(&counters).doing("read the counters of nft")?;
        let mut state = self.state.lock();
        let State { narrow, .. } = &mut *state;
        let of = |way: &Way| {
            let dropped = dropped.get(&rules::counter(*way)).copied().unwrap_or_default();
            Ok(dropped + narrow.slowed(*way, &self.spaces)?)
        };
        ways.iter().map(of).sum()
    }
}

impl Fabric for Wires {
    fn host(&self, end: End) -> Host {
        self.spaces.get(&end).map_or_else(Host::this_machine, Space::host)
    }

    fn address(&self, _: End, to: End) -> Result<String, Broken> {
        let space = self.spaces.get(&to);
        let space = space.ok_or_else(|| Broken::new("find a way", format!("to {to}")))?;
        Ok(format!("{}:{}", space.address, space.port))
    }

    fn set(&self, ways: &[Way], condition: Condition) {
        self.change(|conditions| conditions.extend(ways.iter().map(|way| (*way, condition))));
    }

    fn heal(&self, ways: &[Way]) {
        self.change(|conditions| conditions.retain(|way, _| !ways.contains(way)));
    }

    fn heal_all(&self) -> Result<(), Broken> {
        self.change(BTreeMap::clear);
        self.state.lock().failed.take().map_or(Ok(()), Err)
    }

    /// A dead process's host refuses by itself: its namespace stays.
    fn shut(&self, _: End, _: bool) {}

    fn hindered(&self, ways: &[Way]) -> u64 {
        let counted = tokio::task::block_in_place(|| self.counted(ways));
        counted.unwrap_or_else(|error| {
            let failed = &mut self.state.lock().failed;
            *failed = failed.take().or(Some(error));
            0
        })
    }
}

impl Drop for Wires {
    /// In the namespace of this program another run may follow.
    fn drop(&mut self) {
        laying::lift(&self.spaces);
        let _ = run(tool("nft").args(["-f", "-"]), &rules::no_table());
    }
}

#[cfg(test)]
mod tests;
