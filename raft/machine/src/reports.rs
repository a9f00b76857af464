//! Battle reports (contract 6): every battle has one, from its pairing until it is deleted for its age.
//!
//! The report is opened by the entry that makes the room and closed by the entry that records the end,
//! which also counts for the players' statistics: so each of these happens once, whichever node dies
//! meanwhile. What the battle's observer would have seen is not known here. Set-up and inputs stay
//! among the records (*pending*) until some node has played the battle once more and stored what it
//! saw ([`StoreReport`]); the first answer counts. Where too much waits already, a report stays without
//! messages, and everybody is told.
//!
//! Reports are numbered densely in the order of the log, of all players and of each, and only the
//! oldest are ever deleted. So any page of any list is a handful of reads by key. Numbers that are asked
//! for are counted along. A player's statistics stay when his reports go.
//!
//! Reports live in the records alone; the machine itself only remembers whether they are wanted.
//!
//! Where a database keeps the players it keeps their reports and statistics, too. Then a report is here
//! only from its opening until some node has written it there ([`Rendered::Elsewhere`]): it is in no list,
//! counts for nothing, and its key is a number that is never asked for. Whatever its battle came to, it
//! waits among the pending ones, with nothing to render where there is nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::applied::{Done, Rejection};
use crate::effect::Effect;
use crate::ids::{RoomId, Seat};
use crate::input::{BattleSetup, Digest, Outcome};
use crate::limits::{REPORT_BYTES_MAX, REPORTS_MAX, REPORTS_SWEPT_MAX, REPORTS_WAITING_MAX};
use crate::machine::{Machine, Turn};
use crate::records::{Counter, Kind, Order, read_number};

mod commands;
mod rows;
mod store;
mod view;

pub use commands::{
    Blob, CloseStaleReports, ExpireReports, Rendered, SetReports, StoreReport, Swept,
};
pub use rows::{
    PendingReport, PlayerStats, ReportEnd, ReportId, ReportMessages, ReportResult, ReportRow,
    WhyMissing,
};
pub use view::{ReportStatistics, ReportsView};

use store::{Oldest, Store as _, Writer};

/// Whether battles get reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reports {
    pub(crate) enabled: bool,
}

impl Machine {
    pub(crate) fn set_reports(&mut self, c: SetReports) -> Done {
        self.reports.enabled = c.enabled;
        Done
    }

    /// A room was made: both players have logged in to it, and it gets a report.
    pub(crate) fn open_report(&self, turn: &mut Turn<'_>, room: RoomId, setup: &BattleSetup) {
        if !self.reports.enabled {
            return;
        }
        for seat in &setup.players {
            if let Some(mut player) = turn.records.player(seat.player) {
                player.last_login = player.last_login.max(turn.wall);
                turn.records.put_player(&player);
            }
        }
        let row = ReportRow {
            room,
            players: setup.players.each_ref().map(|seat| seat.player),
            names: setup.players.each_ref().map(|seat| Arc::clone(&seat.name)),
            started: turn.wall,
            opened: turn.now,
            numbers: [0; 2],
            end: None,
            messages: ReportMessages::None,
        };
        let view = ReportsView::of(turn.records);
        let (count, waiting) = (view.count(), view.pending_count().0);
        let mut writer = Writer(turn.records);
        if self.keeps_records_outside() {
            if waiting < REPORTS_WAITING_MAX {
                writer.insert_for_elsewhere(&row);
            }
        } else if count < REPORTS_MAX || writer.delete_oldest(|_| true) == Oldest::Deleted {
            writer.insert(row);
        }
    }

    /// A room has ended. `timeout`: it was aborted since it had become too old.
    pub(crate) fn close_report(
        &self,
        turn: &mut Turn<'_>,
        id: RoomId,
        result: Option<(Outcome, Digest)>,
        timeout: bool,
    ) {
        let Some(report) = turn.records.report_number(ReportId::of(id)) else { return };
        let Some(mut row) = turn.records.report(report).filter(|row| row.end.is_none()) else {
            return;
        };
        let abandoned = ReportResult::Abandoned { timeout };
        let result_row = result.map_or(abandoned, |(outcome, _)| ReportResult::Played(outcome));
        row.end = Some(end(turn, &row, result_row));
        let mut home = turn.request.node;
        let outside = self.keeps_records_outside();
        if let Some((outcome, digest)) = result {
            let counted = (!outside).then_some(row.players).into_iter().flatten();
            for (seat, player) in Seat::BOTH.into_iter().zip(counted) {
                let mut of = turn.records.of_player(player);
                of.stats.get_or_insert_default().count(outcome, seat, turn.wall);
                Writer(turn.records).put_of_player(player, &of);
            }
            // The room is still there: it lingers.
            if let Some(room) = self.rooms.get(id) {
                home = room.home;
                let pending = PendingReport::new(id, home, turn.now, digest);
                let battle = (&*room.setup, &room.inputs[..]);
                let kept = Writer(turn.records).put_pending(report, pending, battle);
                row.messages = match kept {
                    Ok(()) => ReportMessages::Pending,
                    Err(why) => ReportMessages::Missing(why),
                };
            }
        }
        if outside {
            Writer(turn.records).close_for_elsewhere(report, &row, home, turn.now);
        } else {
            Writer(turn.records).close(report, &row);
        }
        turn.emit(Effect::ReportClosed { room: id, home, messages: row.messages });
    }

    pub(crate) fn store_report(
        &self,
        turn: &mut Turn<'_>,
        c: &StoreReport,
    ) -> Result<Done, Rejection> {
        let report = turn.records.report_number(ReportId::of(c.room));
        let report = report.ok_or(Rejection::ReportUnknown)?;
        let row = turn.records.report(report).ok_or(Rejection::ReportUnknown)?;
        let elsewhere = c.rendered == Rendered::Elsewhere;
        if elsewhere != self.keeps_records_outside() {
            return Err(Rejection::RecordsElsewhere);
        }
        if elsewhere {
            if row.end.is_some() {
                Writer(turn.records).forget(report, &row);
            }
            return Ok(Done);
        }
        if row.messages != ReportMessages::Pending {
            // Somebody else was first.
            return Ok(Done);
        }
        let mut writer = Writer(turn.records);
        writer.remove_pending(report);
        let messages = match &c.rendered {
            Rendered::Messages(blob) if blob.0.len() <= REPORT_BYTES_MAX => {
                ReportMessages::Stored(writer.put_pieces(Kind::REPORT_PIECE, report, &blob.0))
            }
            Rendered::Messages(_) => ReportMessages::Missing(WhyMissing::TooLarge),
            Rendered::Nothing(why) => ReportMessages::Missing(*why),
            // Seen to above.
            Rendered::Elsewhere => return Ok(Done),
        };
        writer.put(report, &ReportRow { messages, ..row });
        Ok(Done)
    }

    pub(crate) fn expire_reports(turn: &mut Turn<'_>, c: ExpireReports) -> Swept {
        let (now, mut reports) = (turn.now, 0);
        let is_old =
            |row: &ReportRow| row.started < c.before || now.ms_since(row.opened) >= c.older_than_ms;
        let at_most = c.at_most.min(REPORTS_SWEPT_MAX);
        while reports < at_most && Writer(turn.records).delete_oldest(is_old) == Oldest::Deleted {
            reports += 1;
        }
        let more = reports > 0 && reports == at_most;
        Swept { reports, next: more.then(|| turn.records.counter(Counter::FirstReport)) }
    }

    pub(crate) fn close_stale_reports(&self, turn: &mut Turn<'_>, c: CloseStaleReports) -> Swept {
        let (from, _) = Kind::OPEN_REPORT.span(&[&c.from.to_be_bytes()]);
        let (_, to) = Kind::OPEN_REPORT.span(&[]);
        let open: Vec<u64> = {
            let found = turn.records.range(&from, &to, Order::Up);
            let numbers = found.map(|(_, value)| read_number(&value));
            numbers.take(REPORTS_SWEPT_MAX as usize).collect()
        };
        let mut reports = 0;
        for report in &open {
            let Some(mut row) = turn.records.report(*report) else { continue };
            if turn.now.ms_since(row.opened) < c.older_than_ms {
                // All that follow are younger.
                return Swept { reports, next: None };
            }
            if self.rooms.get(row.room).is_some_and(|room| room.is_live()) {
                continue;
            }
            row.end = Some(end(turn, &row, ReportResult::Abandoned { timeout: true }));
            if self.keeps_records_outside() {
                let home = turn.request.node;
                Writer(turn.records).close_for_elsewhere(*report, &row, home, turn.now);
            } else {
                Writer(turn.records).close(*report, &row);
            }
            reports += 1;
        }
        let full = open.len() == REPORTS_SWEPT_MAX as usize;
        let next = open.last().filter(|_| full).map(|last| last.saturating_add(1));
        Swept { reports, next }
    }
}

fn end(turn: &Turn<'_>, row: &ReportRow, result: ReportResult) -> ReportEnd {
    let seconds = (turn.now.ms_since(row.opened).saturating_add(500) / 1_000).max(1);
    // What the existing database has room for.
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).min(i32::MAX as u32);
    ReportEnd { at: turn.wall.max(row.started), seconds, result }
}

#[cfg(test)]
mod tests;
