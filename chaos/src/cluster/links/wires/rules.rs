//! What the bridge drops and counts, as rules of nft. Counters have names, so they outlive the rules.

use std::collections::BTreeMap;

use serde_json::Value;

use super::laying::{Space, number};
use crate::cluster::links::{Condition, End, Way};

const TABLE: &str = "bridge ways";

/// The table with a counter for each way, and no rule yet. It sees what goes from one end to another, and nothing
/// of what this program's own clients send.
pub(super) fn table(spaces: &BTreeMap<End, Space>) -> String {
    let ends = || spaces.keys().copied();
    let pairs = ends().flat_map(|from| ends().map(move |to| Way { from, to }));
    let counters = pairs.filter(|way| way.from != way.to);
    let counters: Vec<String> =
        counters.map(|way| format!("counter {} {{ }}", counter(way))).collect();
    let chain = "chain forward { type filter hook forward priority 0; }";
    format!("table {TABLE} {{\n{}\n{chain}\n}}\n", counters.join("\n"))
}

/// No table any more.
pub(super) fn no_table() -> String {
    format!("delete table {TABLE}\n")
}

/// The name of a way's counter.
pub(super) fn counter(way: Way) -> String {
    format!("way-{}-{}", number(way.from), number(way.to))
}

/// All rules for these conditions, in the place of those that there were: in one step.
pub(super) fn of(conditions: &BTreeMap<Way, Condition>, spaces: &BTreeMap<End, Space>) -> String {
    let address = |end: End| spaces.get(&end).map(|space| space.address.to_string());
    rules(conditions, address)
}

fn rules(conditions: &BTreeMap<Way, Condition>, address: impl Fn(End) -> Option<String>) -> String {
    let mut rules = format!("flush chain {TABLE} forward\n");
    for (way, condition) in conditions {
        let (Some(from), Some(to)) = (address(way.from), address(way.to)) else { continue };
        let counted = format!("counter name {}", counter(*way));
        let done = if condition.cut {
            format!("{counted} drop")
        } else if condition.loss_percent > 0 {
            format!("numgen random mod 100 < {} {counted} drop", condition.loss_percent)
        } else if condition.is_late() {
            // Held behind the bridge.
            counted
        } else {
            continue;
        };
        rules += &format!("add rule {TABLE} forward ip saddr {from} ip daddr {to} {done}\n");
    }
    rules
}

/// Packets by the names of counters, out of what nft lists.
pub(super) fn counted(listed: &str) -> serde_json::Result<BTreeMap<String, u64>> {
    let listed: Value = serde_json::from_str(listed)?;
    let all = listed["nftables"].as_array().into_iter().flatten();
    let counter = |item: &Value| {
        let counter = &item["counter"];
        Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
    };
    Ok(all.filter_map(counter).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_direction_has_a_rule_of_its_own_and_all_others_go() {
        let way = |from, to| Way { from, to };
        let (one, two) = (End::Node(0), End::Node(1));
        let late = Condition { delay: Duration::from_millis(50), ..Condition::default() };
        let conditions = [
            (way(one, two), Condition { cut: true, ..Condition::default() }),
            (way(two, one), Condition { loss_percent: 20, ..Condition::default() }),
            (way(one, End::Redis), late),
            (way(two, End::Redis), Condition::default()),
        ];
        let rules = rules(&conditions.into(), |end| Some(format!("10.77.0.{}", number(end))));
        let wanted = "flush chain bridge ways forward\n\
            add rule bridge ways forward ip saddr 10.77.0.1 ip daddr 10.77.0.2 counter name way-1-2 drop\n\
            add rule bridge ways forward ip saddr 10.77.0.1 ip daddr 10.77.0.9 counter name way-1-9\n\
            add rule bridge ways forward ip saddr 10.77.0.2 ip daddr 10.77.0.1 numgen random mod 100 < 20 \
            counter name way-2-1 drop\n";
        assert_eq!(rules, wanted);
    }

    #[test]
    fn counters_are_read_by_their_names() {
        let listed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"counter": {"family": "bridge",
            "name": "way-1-2", "table": "ways", "handle": 2, "packets": 7, "bytes": 400}}]}"#;
        let counted = counted(listed).expect("it is JSON");
        assert_eq!(counted.into_iter().collect::<Vec<_>>(), [("way-1-2".to_owned(), 7)]);
    }
}
