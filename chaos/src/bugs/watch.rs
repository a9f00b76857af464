//! Looks, while a run with a planted bug goes on, whether it has been noticed already: what comes afterwards proves
//! nothing more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Planted;
use crate::check;
use crate::evidence::Evidence;
use crate::history::History;

/// Shortest pause between two looks. It is longer where looking itself takes long: the cluster needs the processor.
const LOOK_EVERY: Duration = Duration::from_millis(750);
/// Pause before the second look at what was seen.
const SHORTLY: Duration = Duration::from_millis(100);

/// Returns once a promise that this bug breaks is seen to be broken, and seen so again: the record of a run that goes
/// on has loose ends, and any of them may look like a breach for a moment.
pub(crate) async fn until_noticed(history: &History, bug: &'static Planted) {
    let mut before = BTreeSet::new();
    loop {
        let began = Instant::now();
        let folder = history.folder().to_owned();
        let _ = history.flush();
        let looking = tokio::task::spawn_blocking(move || seen(&folder, bug));
        let seen = looking.await.unwrap_or_default();
        if seen.intersection(&before).next().is_some() {
            return;
        }
        before = seen;
        let pause = if before.is_empty() { LOOK_EVERY.max(began.elapsed()) } else { SHORTLY };
        tokio::time::sleep(pause).await;
    }
}

/// What breaks its promises, as far as anything is written.
fn seen(folder: &Path, bug: &Planted) -> BTreeSet<String> {
    let Ok(evidence) = Evidence::read(folder) else { return BTreeSet::new() };
    let of_bug = check::ALL.iter().filter(|check| bug.breaks.contains(&check.id));
    let violations = of_bug.flat_map(|check| (check.examine)(&evidence).violations);
    violations.map(|violation| violation.what).collect()
}
