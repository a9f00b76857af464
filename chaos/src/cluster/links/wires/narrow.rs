//! Ways that carry only so much in a second: a class of the receiver's wire for each sender, with a short queue.

use std::collections::{BTreeMap, BTreeSet};

use super::laying::{Space, number};
use crate::broken::Broken;
use crate::cluster::host::{run, tool};
use crate::cluster::links::{Condition, End, Way};

/// How long what waits in the queue of such a way may wait; beyond it is dropped.
const QUEUE_SECONDS: u64 = 2;
/// One packet fits through at once, whatever its size.
const BURST_BYTES: u64 = 2_000;

/// What is narrow now, and what was.
#[derive(Default)]
pub(super) struct Narrow {
    rates: BTreeMap<Way, u64>,
    /// Packets that had to wait on ways that are not narrow any more.
    slowed: BTreeMap<Way, u64>,
}

impl Narrow {
    pub(super) fn change(
        &mut self,
        conditions: &BTreeMap<Way, Condition>,
        spaces: &BTreeMap<End, Space>,
    ) -> Result<(), Broken> {
        let rate = |(way, it): (&Way, &Condition)| Some((*way, it.bytes_per_second?));
        let wanted: BTreeMap<Way, u64> = conditions.iter().filter_map(rate).collect();
        if wanted == self.rates {
            return Ok(());
        }
        let to = |rates: &BTreeMap<Way, u64>| rates.keys().map(|way| way.to).collect();
        let (before, after): (BTreeSet<End>, BTreeSet<End>) = (to(&self.rates), to(&wanted));
        let former: Vec<Way> = self.rates.keys().copied().collect();
        for way in former {
            // Its count goes with the queues below.
            let slowed = self.slowed(way, spaces)?;
            self.slowed.insert(way, slowed);
        }
        self.rates.clear();
        let wire = |end: &End| spaces.get(end).map(|space| space.wire.clone());
        let gone = before.iter().filter_map(wire).map(|wire| format!("qdisc del dev {wire} root"));
        let made = after.iter().filter_map(wire).flat_map(|wire| {
            [
                format!("qdisc add dev {wire} root handle 1: htb default 1"),
                format!("class add dev {wire} parent 1: classid 1:1 htb rate 10gbit quantum 60000"),
            ]
        });
        let classes = wanted.iter().filter_map(|(way, rate)| {
            let (from, to) = (spaces.get(&way.from)?, spaces.get(&way.to)?);
            Some(class(&to.wire, way.from, &from.address.to_string(), *rate))
        });
        let orders: Vec<String> = gone.chain(made).chain(classes.flatten()).collect();
        run(tool("tc").args(["-batch", "-"]), &orders.join("\n"))?;
        self.rates = wanted;
        Ok(())
    }

    /// Packets that had to wait on this way since the beginning.
    pub(super) fn slowed(&self, way: Way, spaces: &BTreeMap<End, Space>) -> Result<u64, Broken> {
        let former = self.slowed.get(&way).copied().unwrap_or_default();
        let (true, Some(space)) = (self.rates.contains_key(&way), spaces.get(&way.to)) else {
            return Ok(former);
        };
        let shown = run(tool("tc").args(["-s", "class", "show", "dev", &space.wire]), "")?;
        Ok(former + over_limit(&shown, &class_id(way.from)))
    }
}

fn class_id(from: End) -> String {
    format!("1:1{}", number(from))
}

/// What is sent by this end to this wire.
fn class(wire: &str, from: End, address: &str, rate: u64) -> [String; 3] {
    let id = class_id(from);
    [
        format!(
            "class add dev {wire} parent 1: classid {id} htb rate {rate}bps burst {BURST_BYTES} cburst {BURST_BYTES} \
             quantum {BURST_BYTES}"
        ),
        format!("qdisc add dev {wire} parent {id} bfifo limit {}", rate * QUEUE_SECONDS),
        format!(
            "filter add dev {wire} parent 1: protocol ip u32 match ip src {address}/32 flowid {id}"
        ),
    ]
}

/// How often a class of these was over its limit.
fn over_limit(shown: &str, id: &str) -> u64 {
    let of_class = shown.split("class htb ").find(|class| class.starts_with(&format!("{id} ")));
    let count = of_class.and_then(|class| {
        let (_, after) = class.split_once("overlimits ")?;
        after.split_whitespace().next()?.parse().ok()
    });
    count.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_over_the_limit_is_read_for_one_class() {
        let shown = "class htb 1:11 root leaf 8001: prio 0 rate 64Kbit ceil 64Kbit burst 2Kb cburst 1600b \n \
            Sent 0 bytes 0 pkt (dropped 0, overlimits 7 requeues 0) \n backlog 0b 0p requeues 0\n\n\
            class htb 1:1 root prio 0 rate 10Gbit ceil 10Gbit burst 0b cburst 0b \n \
            Sent 0 bytes 0 pkt (dropped 0, overlimits 9 requeues 0) \n";
        assert_eq!(over_limit(shown, "1:11"), 7);
        assert_eq!(over_limit(shown, "1:1"), 9);
        assert_eq!(over_limit(shown, "1:12"), 0);
    }
}
