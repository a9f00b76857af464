//! Linearizability, key by key, with `porcupine-rs`: is there an order of all operations on a key that agrees
//! with real time and in which each of them could have said what it said?
//!
//! An operation of which nobody knows whether it happened returns never, and its model takes it either way.
//! Keys are kept small by the workload: the search is exponential in what goes on at once.

use std::time::Duration;

use porcupine_rs::{CheckResult, Model, Operation};

use super::Examined;
use crate::evidence::Op;

/// Longest search of one key.
const PATIENCE: Duration = Duration::from_secs(10);
/// What never returned does so behind everything else.
const NEVER: i64 = i64::MAX / 2;

/// An operation for the checker; `is_sure` says whether its end is one.
pub(super) fn operation<M: Model>(op: &Op, what: M::Op, is_sure: bool) -> Operation<M> {
    let returned = if is_sure { i64::try_from(op.returned).unwrap_or(NEVER) } else { NEVER };
    between(op.actor, op.invoked, returned, what)
}

/// An operation between two moments.
pub(super) fn between<M: Model>(actor: u32, from: u64, to: i64, what: M::Op) -> Operation<M> {
    Operation {
        client_id: Some(actor),
        call_time: i64::try_from(from).unwrap_or(NEVER),
        return_time: to.min(NEVER),
        op: what,
        metadata: None,
    }
}

/// Examines one key. `key` names it.
pub(super) fn check<M: Model + 'static>(
    key: &str,
    history: &[Operation<M>],
    examined: &mut Examined,
) {
    if history.is_empty() {
        return;
    }
    examined.item();
    match porcupine_rs::check_operations_timeout::<M>(history, PATIENCE) {
        CheckResult::Ok => {}
        CheckResult::Unknown => examined
            .undecided
            .push(format!("{key}: no order was found or excluded in {PATIENCE:?}")),
        CheckResult::Illegal => {
            let first =
                history.iter().map(|op| op.call_time).min().and_then(|at| u64::try_from(at).ok());
            let mut told: Vec<_> = history.iter().collect();
            told.sort_by_key(|op| op.call_time);
            let told: Vec<String> = told
                .iter()
                .map(|op| {
                    let end = if op.return_time >= NEVER {
                        "…".to_owned()
                    } else {
                        format!("{:.3}", op.return_time as f64 / 1e9)
                    };
                    format!("[{:.3}-{end} {:?}]", op.call_time as f64 / 1e9, op.op)
                })
                .collect();
            let what = format!("{key}: in no order can all of this be true: {}", told.join(" "));
            examined.violation(first, what);
        }
    }
}
