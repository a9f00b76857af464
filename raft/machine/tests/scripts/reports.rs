//! Commands about battle reports as scripts write them, and how they are shown.

use std::fmt::Write as _;

use goldenscript::ArgumentConsumer;
use serverv2_machine::{
    Blob, CloseStaleReports, Command, ExpireReports, PlayerId, Rendered, ReportResult, ReportsView,
    SetReports, StoreReport, WallTime, WhyMissing,
};

use crate::world::{Failure, World, number, positional};

impl World {
    /// `reports on`, `store r1 bytes=9`, `store r1 failed|elsewhere`, `expire before=MS age=MS`, `sweep age=MS`.
    pub(crate) fn report_command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        Ok(match name {
            "reports" => SetReports { enabled: positional(args)? == "on" }.into(),
            "store" => {
                let room = self.room(positional(args)?)?;
                let rendered = match args.take_key("bytes") {
                    Some(bytes) => Rendered::Messages(Blob(vec![b'm'; number(bytes)?].into())),
                    None => match positional(args)? {
                        "failed" => Rendered::Nothing(WhyMissing::ReplayFailed),
                        "elsewhere" => Rendered::Elsewhere,
                        _ => return Err("bytes=, failed or elsewhere".into()),
                    },
                };
                StoreReport { room, rendered }.into()
            }
            "expire" => {
                let before: u64 = args.take_key("before").map_or(Ok(0), number)?;
                let older_than_ms = args.take_key("age").map_or(Ok(u64::MAX), number)?;
                let at_most = args.take_key("at-most").map_or(Ok(u32::MAX), number)?;
                // As the stamps of scripts are made.
                let before = WallTime(1_700_000_000_000 + before);
                ExpireReports { before, older_than_ms, at_most }.into()
            }
            _ => {
                let older_than_ms = args.take_key("age").map_or(Ok(0), number)?;
                let from = args.take_key("from").map_or(Ok(0), number)?;
                CloseStaleReports { older_than_ms, from }.into()
            }
        })
    }

    pub(crate) fn show_reports(&self, out: &mut String) -> Result<(), Failure> {
        let view = ReportsView::of(&self.records);
        for row in view.newest(0, usize::MAX) {
            let [a, b] = row.players;
            write!(out, "{} A={a} B={b} ", row.room)?;
            match row.end {
                None => write!(out, "open")?,
                Some(end) => {
                    let result = match end.result {
                        ReportResult::Played(outcome) => outcome.to_string(),
                        ReportResult::Abandoned { timeout: true } => "abandoned: timeout".into(),
                        ReportResult::Abandoned { timeout: false } => "abandoned".into(),
                    };
                    write!(out, "{result} after {}s", end.seconds)?;
                }
            }
            writeln!(out, " messages {}", row.messages)?;
        }
        // The day of all stamps in scripts.
        let it = view.statistics(19_675);
        let (battles, players, today, seconds) = (it.battles, it.players, it.since_day, it.seconds);
        let (pending, bytes) = view.pending_count();
        let kept = if bytes == 0 { "nothing" } else { "their battles" };
        writeln!(out, "ended={battles} players={players} today={today} seconds={seconds}")?;
        writeln!(out, "pending={pending}, {kept} kept")?;
        let unwritten = view.unwritten();
        if self.machine.keeps_records_outside() && !unwritten.is_empty() {
            writeln!(out, "to be written elsewhere: {}", unwritten.len())?;
        }
        Ok(())
    }

    pub(crate) fn show_stats(&self, out: &mut String, player: PlayerId) -> Result<(), Failure> {
        let view = ReportsView::of(&self.records);
        let reports = view.count_of(player);
        match view.stats(player) {
            Some(stats) => {
                let (wins, losses, draws) = (stats.wins, stats.losses, stats.draws);
                writeln!(out, "wins={wins} losses={losses} draws={draws} reports={reports}")?;
            }
            None => writeln!(out, "none, reports={reports}")?,
        }
        Ok(())
    }
}
