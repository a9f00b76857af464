//! The witness, in linear time: each acknowledged operation has a place in the log, and the places are in the
//! order of real time. If one operation returned before another was sent, its index is the lower one.
//!
//! The wire carries no indexes. But each node says which proposal an event of a socket became, and all nodes
//! say in which entry each proposal is: that is the place.

use std::collections::BTreeMap;

use super::Examined;
use crate::evidence::{Evidence, Op};
use crate::history::{Call, OpId};

/// Which proposal each operation became.
pub(super) struct Places<'a> {
    requests: BTreeMap<OpId, &'a str>,
}

impl<'a> Places<'a> {
    pub(super) fn of(evidence: &'a Evidence) -> Self {
        let mut requests = BTreeMap::new();
        // Proposals of one socket and event, oldest first, each taken by one operation.
        let mut taken: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for op in &evidence.ops {
            let (Some(socket), Some(event)) = (&op.socket, event(&op.call)) else { continue };
            let Some(proposals) = evidence.ledger.proposals.get(socket) else { continue };
            let of_event: Vec<_> = proposals.iter().filter(|it| it.event == event).collect();
            let next = taken.entry((socket, event)).or_default();
            // One that came before this operation was asked is another one's, which was never answered.
            while of_event.get(*next).is_some_and(|it| it.at < op.invoked) {
                *next += 1;
            }
            if let Some(proposal) = of_event.get(*next).filter(|it| it.at <= op.returned) {
                requests.insert(op.id, proposal.request.as_str());
                *next += 1;
            }
        }
        Self { requests }
    }

    /// The proposal that an operation became, if it became one.
    pub(super) fn request(&self, op: &Op) -> Option<&'a str> {
        self.requests.get(&op.id).copied()
    }

    /// Where an operation is in the log, if anything followed from it.
    pub(super) fn index(&self, evidence: &Evidence, op: &Op) -> Option<u64> {
        evidence.ledger.index_of.get(self.request(op)?).copied()
    }

    /// Whether it may be in the log though nobody tells of it: a node that died may have taken the news along,
    /// and where all were dead at once nobody else has it.
    pub(super) fn may_be_missing(&self, evidence: &Evidence, tries: &[&Op]) -> bool {
        let untold = tries.iter().any(|op| self.request(op).is_none());
        untold || !evidence.ledger.holes.is_empty()
    }
}

fn event(call: &Call) -> Option<&'static str> {
    match call {
        Call::Join { .. } => Some("joinMatchmaking"),
        Call::Cancel { .. } => Some("cancelMatchmaking"),
        Call::Ready { .. } => Some("ready"),
        Call::Submit { .. } => Some("submitPlayerSelection"),
        _ => None,
    }
}

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    let places = Places::of(evidence);
    let placed: Vec<(&Op, u64)> = evidence
        .ops
        .iter()
        .filter(|op| op.is_ok())
        .filter_map(|op| Some((op, places.index(evidence, op)?)))
        .collect();
    examined.items = placed.len();
    in_order(&placed, &mut examined);
    joins(evidence, &places, &mut examined);
    examined
}

/// Goes through time once: the highest place among those that have returned must be below each that is sent.
fn in_order(placed: &[(&Op, u64)], examined: &mut Examined) {
    let mut by_return: Vec<_> = placed.iter().collect();
    by_return.sort_by_key(|(op, _)| op.returned);
    let mut returned = by_return.into_iter().peekable();
    let mut highest: Option<(&Op, u64)> = None;
    // Operations come in the order in which they were sent.
    for (op, index) in placed {
        while let Some((before, place)) =
            returned.next_if(|(before, _)| before.returned < op.invoked)
        {
            if highest.is_none_or(|(_, known)| known < *place) {
                highest = Some((before, *place));
            }
        }
        if let Some((before, place)) = highest.filter(|(_, place)| place >= index) {
            let what = format!(
                "{} is at {place}, and {}, which was sent after its return, at {index}",
                before.told(),
                op.told()
            );
            examined.violation(op.invoked, what);
        }
    }
}

/// An acknowledged join has put a ticket into the queue, by one of its tries.
fn joins(evidence: &Evidence, places: &Places<'_>, examined: &mut Examined) {
    let mut joins: BTreeMap<(&str, &str), Vec<&Op>> = BTreeMap::new();
    for op in &evidence.ops {
        if let Call::Join { player, request, .. } = &op.call {
            joins.entry((player, request)).or_default().push(op);
        }
    }
    for tries in joins.values() {
        let Some(ok) = tries.iter().find(|op| op.is_ok()) else { continue };
        let Call::Join { player, session, .. } = &ok.call else { continue };
        let wanted = format!("ticket-added {player}:{session}");
        let has = tries.iter().filter_map(|op| places.index(evidence, op)).any(|index| {
            evidence
                .ledger
                .agreed
                .get(&index)
                .is_some_and(|told| told.iter().any(|it| it.text == wanted))
        });
        if !has && !places.may_be_missing(evidence, tries) {
            examined.violation(ok.returned, format!("{} put no ticket into the queue", ok.told()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::log::Written;
    use crate::evidence::ledger::tests::line;
    use crate::history::Line;

    /// Two joins, one after the other, at these places of the log.
    fn says(first: u64, second: u64) -> usize {
        let mut lines = Vec::new();
        let mut log = Vec::new();
        for (number, place) in [(1, first), (2, second)] {
            let at = number * 100;
            let socket = format!("x{number}");
            let who = json!({"player": "p", "session": format!("s{number}")});
            let op = |id: u64, f: &str, from: u64, to: u64, out: serde_json::Value| {
                let mut invoke = json!({"ev": "invoke", "t": from, "op": id, "actor": number, "node": 0,
                                        "f": f, "request": format!("c{id}")});
                for key in ["player", "session"] {
                    invoke[key] = who[key].clone();
                }
                [invoke, json!({"ev": "return", "t": to, "op": id, "class": "ok", "out": out})]
            };
            lines.extend(op(number * 2, "connect", at, at + 1, json!({"socket": socket})));
            lines.extend(op(number * 2 + 1, "join", at + 10, at + 20, json!(null)));
            let became = json!({"message": "an event becomes a proposal", "request.id": format!("r{place}"),
                                "socket.id": socket, "event": "joinMatchmaking", "target": "serverv2::gateway"});
            log.push(Written { at: at + 15, life: 1, text: became.to_string() });
            log.push(line(1, place, &format!("ticket-added p:s{number}")));
        }
        let lines = lines.into_iter().map(|it| serde_json::from_value::<Line>(it).expect("a line"));
        let mut evidence = Evidence::of_lines(lines.collect());
        evidence.logs = vec![log];
        evidence.understand();
        let examined = examine(&evidence);
        assert_eq!(examined.items, 2);
        examined.violations.len()
    }

    #[test]
    fn places_in_the_log_follow_real_time() {
        assert_eq!(says(5, 6), 0);
        assert_eq!(says(6, 5), 1);
    }
}
