//! Settings of battle reports.

use std::time::Duration;

use crate::reports::Retention;

/// Everything about battle reports.
#[derive(Clone, Debug, Default)]
pub struct ReportSettings {
    /// Whether battles get some, and their routes exist.
    pub enabled: bool,
    /// How long they are kept.
    pub kept: Duration,
    /// Age at which an open one whose battle does not run is closed.
    pub open_at_most: Duration,
}

impl ReportSettings {
    /// What the keeper goes by.
    pub(crate) fn retention(&self) -> Retention {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Retention {
            enabled: self.enabled,
            reports_ms: ms(self.kept),
            open_ms: ms(self.open_at_most),
        }
    }
}
