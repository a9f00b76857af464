//! Valid, invalid, or unknown. A run in which a planned fault did not happen, or in which a promise had nothing
//! to be about, is unknown: silence is no proof.

use std::fmt;

use serde::Serialize;

use crate::check::Said;
use crate::evidence::Evidence;
use crate::faults::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Valid,
    Invalid,
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "INVALID",
            Self::Unknown => "unknown",
        })
    }
}

/// A verdict and why.
#[derive(Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Why it is not valid, most important first.
    pub(crate) reasons: Vec<String>,
}

/// Broken promises that are told.
const REASONS_MAX: usize = 20;
/// Undecided things that are told for each promise.
const UNDECIDED_MAX: usize = 3;

pub(crate) fn judge(evidence: &Evidence, said: &[Said]) -> Judgement {
    let broken = said.iter().flat_map(|said| {
        said.violations.iter().map(move |violation| format!("{} broken: {violation}", said.id))
    });
    let broken: Vec<String> = broken.collect();
    let mut unknown = Vec::new();
    if evidence.phase("end").is_none() {
        unknown.push("the run did not come to its end".to_owned());
    }
    for (number, kind) in (1..).zip(&evidence.head.plan) {
        let outcome = evidence.faults.iter().find(|fault| fault.number == number);
        match outcome.map(|fault| &fault.outcome) {
            Some(Outcome::Installed) => {}
            Some(Outcome::Skipped { reason }) => {
                unknown.push(format!("fault {number} ({kind}) was skipped: {reason}"));
            }
            Some(Outcome::Indeterminate { reason }) => {
                unknown.push(format!("fault {number} ({kind}) may not have happened: {reason}"));
            }
            None => unknown.push(format!("fault {number} ({kind}) was never tried")),
        }
    }
    for said in said.iter().filter(|said| said.wanted) {
        if said.items == 0 {
            unknown.push(format!("{} had nothing to look at", said.id));
        }
        let undecided = said.undecided.iter().take(UNDECIDED_MAX);
        unknown.extend(undecided.map(|why| format!("{} undecided: {why}", said.id)));
    }
    let verdict = match (broken.is_empty(), unknown.is_empty()) {
        (false, _) => Verdict::Invalid,
        (true, false) => Verdict::Unknown,
        (true, true) => Verdict::Valid,
    };
    let more = broken.len().saturating_sub(REASONS_MAX);
    let mut reasons: Vec<String> = broken.into_iter().take(REASONS_MAX).collect();
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    reasons.extend(unknown);
    Judgement { verdict, reasons }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::check::Violation;

    fn said(items: usize, violations: usize) -> Said {
        let violation = Violation { at: None, what: "x".to_owned() };
        let violations = vec![violation; violations];
        Said {
            id: "I0",
            promise: "",
            file: "",
            provoked: Vec::new(),
            items,
            violations,
            undecided: Vec::new(),
            wanted: true,
        }
    }

    fn evidence(outcome: &Value) -> Evidence {
        let lines = [
            json!({"ev": "run", "seed": 1, "nodes": 3, "seconds": 1.0, "version": "", "plan": ["kill-any"], "redis": false}),
            json!({"ev": "fault-begins", "t": 1, "fault": 1, "kind": "kill-any", "lane": "nodes", "nodes": ["1"]}),
            outcome.clone(),
            json!({"ev": "phase", "t": 9, "phase": "end"}),
        ];
        Evidence::of_lines(
            lines.into_iter().map(|it| serde_json::from_value(it).expect("a line")).collect(),
        )
    }

    #[test]
    fn only_a_run_that_was_broken_as_planned_and_looked_at_everything_is_valid() {
        let installed = json!({"ev": "fault-ends", "t": 2, "fault": 1, "outcome": "installed"});
        let skipped =
            json!({"ev": "fault-ends", "t": 2, "fault": 1, "outcome": "skipped", "reason": "r"});
        let verdict = |outcome: &Value, said: Said| judge(&evidence(outcome), &[said]).verdict;
        assert_eq!(verdict(&installed, said(1, 0)), Verdict::Valid);
        assert_eq!(verdict(&installed, said(0, 0)), Verdict::Unknown, "nothing was looked at");
        assert_eq!(verdict(&skipped, said(1, 0)), Verdict::Unknown, "nothing was broken");
        assert_eq!(
            verdict(&skipped, said(1, 1)),
            Verdict::Invalid,
            "a broken promise is one in any case"
        );
        assert_eq!(
            judge(&Evidence::default(), &[said(1, 0)]).verdict,
            Verdict::Unknown,
            "it has no end"
        );
    }
}
