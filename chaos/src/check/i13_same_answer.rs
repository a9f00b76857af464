//! I13: a request that is repeated, through whichever node, gets the answer of the first time, and happens once:
//! one entry of the log at most puts its effects into the world.

use std::collections::BTreeMap;

use super::Examined;
use super::witness::Places;
use crate::evidence::{Evidence, Op};
use crate::history::{Call, Class};

pub(super) fn examine(evidence: &Evidence) -> Examined {
    let mut examined = Examined::default();
    let places = Places::of(evidence);
    let mut requests: BTreeMap<(&str, String, &str), Vec<&Op>> = BTreeMap::new();
    for op in &evidence.ops {
        if let Some(request) = op.call.request() {
            requests.entry((op.call.name(), scope(&op.call), request)).or_default().push(op);
        }
    }
    for tries in requests.into_values().filter(|tries| tries.len() > 1) {
        let answered: Vec<_> = tries.iter().filter(|op| op.is_ok()).collect();
        if answered.len() > 1 {
            examined.item();
        }
        if let [first, rest @ ..] = answered.as_slice() {
            for other in rest.iter().filter(|other| other.out != first.out) {
                let what = format!(
                    "{} was answered {}, and {} {}",
                    first.told(),
                    first.out,
                    other.told(),
                    other.out
                );
                examined.violation(other.returned, what);
            }
        }
        once(evidence, &places, &tries, &mut examined);
    }
    examined
}

/// A join may be done anew after a lost connection has undone it, so only choices are counted.
fn once(evidence: &Evidence, places: &Places<'_>, tries: &[&Op], examined: &mut Examined) {
    if !tries.iter().any(|op| matches!(op.call, Call::Submit { .. }) && op.class != Class::Fail) {
        return;
    }
    let mut entries: Vec<u64> = tries.iter().filter_map(|op| places.index(evidence, op)).collect();
    entries.sort_unstable();
    entries.dedup();
    if entries.len() > 1 {
        let what = format!("{} is in the log at {entries:?}", tries[0].told());
        examined.violation(tries[0].invoked, what);
    }
}

/// Within which a request's id is known.
fn scope(call: &Call) -> String {
    match call {
        Call::Rename { player, .. }
        | Call::Join { player, .. }
        | Call::Cancel { player, .. }
        | Call::Ready { player, .. }
        | Call::Submit { player, .. } => player.clone(),
        Call::Logout { family, .. } | Call::Refresh { family, .. } => family.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::examined;
    use super::*;

    fn guest(id: u64, request: &str, player: &str) -> [Value; 2] {
        [
            json!({"ev": "invoke", "t": id, "op": id, "actor": 1, "node": 0, "f": "guest", "request": request}),
            json!({"ev": "return", "t": id, "op": id, "class": "ok", "out": {"player": player}}),
        ]
    }

    #[test]
    fn two_answers_to_one_request_are_noticed() {
        let says = |parts: &[[Value; 2]]| examined(examine, &parts.concat()).len();
        assert_eq!(says(&[guest(1, "r", "p"), guest(2, "r", "p")]), 0);
        assert_eq!(says(&[guest(1, "r", "p"), guest(2, "s", "q")]), 0);
        assert_eq!(says(&[guest(1, "r", "p"), guest(2, "r", "q")]), 1);
    }
}
