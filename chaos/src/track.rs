//! The track record: what many runs together have survived. Written again after each run, so that it is there
//! however the runs end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::broken::{Broken, Doing as _};
use crate::faults::Outcome;
use crate::measures::{Measures, share};
use crate::verdict::Verdict;

/// Its names in the folder of evidence.
const PAGE: &str = "track.md";
const JSON: &str = "track.json";

/// Runs and what they came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Track {
    pub(crate) runs: usize,
    pub(crate) valid: usize,
    /// Seeds of those that were not, and what they were.
    pub(crate) others: Vec<(u64, Verdict)>,
    /// Those in which this program itself failed: they say nothing.
    pub(crate) failed: usize,
    /// Processes killed, and of these the ones whose unsynced writes were lost as well.
    kills: usize,
    power_cuts: usize,
    restarts: usize,
    elections: u64,
    battles: usize,
    operations: Operations,
    faults: BTreeMap<String, OfKind>,
}

/// How often something was asked, by how it ended.
#[derive(Debug, Default, Serialize)]
struct Operations {
    ok: usize,
    fail: usize,
    info: usize,
}

/// One kind of fault in all runs.
#[derive(Debug, Default, Serialize)]
struct OfKind {
    installed: usize,
    others: usize,
    /// The longest times without an acknowledged write, of the installed ones, milliseconds, sorted.
    gaps_ms: Vec<f64>,
}

impl Track {
    /// Adds a run.
    pub(crate) fn add(&mut self, seed: u64, verdict: Verdict, measures: &Measures) {
        self.runs += 1;
        match verdict {
            Verdict::Valid => self.valid += 1,
            Verdict::Invalid | Verdict::Unknown => self.others.push((seed, verdict)),
        }
        self.kills += measures.kills;
        self.power_cuts += measures.power_cuts;
        self.restarts += measures.restarts;
        self.elections += measures.elections;
        self.battles += measures.battles;
        for kind in measures.kinds.values() {
            self.operations.ok += kind.ok;
            self.operations.fail += kind.fail;
            self.operations.info += kind.info;
        }
        for gap in &measures.gaps {
            let of_kind = self.faults.entry(gap.kind.clone()).or_default();
            if gap.outcome == Outcome::Installed {
                of_kind.installed += 1;
                let place = of_kind.gaps_ms.partition_point(|known| *known <= gap.gap_ms);
                of_kind.gaps_ms.insert(place, gap.gap_ms);
            } else {
                of_kind.others += 1;
            }
        }
    }

    /// Writes it for people and for programs.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Broken> {
        std::fs::create_dir_all(folder).doing("write the track record")?;
        let json = serde_json::to_vec_pretty(self).doing("write the track record")?;
        std::fs::write(folder.join(JSON), json).doing("write the track record")?;
        std::fs::write(folder.join(PAGE), self.page()).doing("write the track record")
    }

    fn page(&self) -> String {
        let Self { runs, valid, failed, kills, power_cuts, restarts, elections, battles, .. } =
            self;
        let Operations { ok, fail, info } = self.operations;
        let others: Vec<String> =
            self.others.iter().map(|(seed, verdict)| format!("{seed} {verdict}")).collect();
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        let mut page = format!(
            "| | |\n|---|---|\n\
             | runs | {runs}, of which {valid} valid; others: {others}; not done: {failed} |\n\
             | kills | {kills} (restarts {restarts}, terms {elections}) |\n\
             | power cuts of a node | {power_cuts} |\n\
             | operations | {} ({ok} done, {fail} refused, {info} without an answer) |\n\
             | battles fought to their end | {battles} |\n\n\
             | Fault | Installed | Not | Gap p50, ms | p99, ms | Longest, ms |\n|---|---|---|---|---|---|\n",
            ok + fail + info
        );
        for (kind, of_kind) in &self.faults {
            let at = |part| share(&of_kind.gaps_ms, part);
            let OfKind { installed, others, .. } = of_kind;
            // A page without a line is no reason to fail.
            let _ = writeln!(
                page,
                "| `{kind}` | {installed} | {others} | {:.0} | {:.0} | {:.0} |",
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::Gap;

    fn gap(outcome: Outcome, gap_ms: f64) -> Gap {
        let (kind, nodes) = ("kill-any".to_owned(), vec!["1".to_owned()]);
        Gap { fault: 1, kind, nodes, begins_s: 1.0, ends_s: 2.0, outcome, gap_ms }
    }

    #[test]
    fn runs_add_up_and_only_faults_that_happened_count() {
        let skipped = Outcome::Skipped { reason: "r".to_owned() };
        let gaps = vec![
            gap(Outcome::Installed, 300.0),
            gap(skipped, 900.0),
            gap(Outcome::Installed, 100.0),
        ];
        let measures = Measures { gaps, kills: 2, power_cuts: 1, ..Measures::default() };
        let mut track = Track::default();
        track.add(7, Verdict::Valid, &measures);
        track.add(8, Verdict::Unknown, &measures);
        assert_eq!((track.kills, track.power_cuts, track.valid), (4, 2, 1));
        let page = track.page();
        assert!(page.contains("| `kill-any` | 4 | 2 | 300 | 300 | 300 |"), "{page}");
        assert!(page.contains("others: 8 unknown"), "{page}");
    }
}
