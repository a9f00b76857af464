//! Where reports stand among the records, and how they are written and deleted. What is counted
//! changes here, together with what it counts.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::{OfPlayer, PendingReport, ROW_FORMAT, ReportId, ReportMessages, ReportRow};
use crate::clock::{LogTime, WallTime};
use crate::codec;
use crate::ids::{NodeId, PlayerId, Seat};
use crate::input::{BattleSetup, Digest, NumberedInput};
use crate::limits::{
    PENDING_BYTES_MAX, PENDING_REPORT_BYTES_MAX, PENDING_REPORTS_MAX, RECORD_BYTES_MAX,
};
use crate::records::{Counter, Kind, Records, counter_key, number, read_number};

/// Names the format of what reports are rendered from.
pub(super) const PENDING_FORMAT: u8 = 1;

const MS_PER_DAY: u64 = 86_400_000;

/// The day of a moment, counted from 1970-01-01.
pub(super) fn day_of(time: WallTime) -> u32 {
    u32::try_from(time.0 / MS_PER_DAY).unwrap_or(u32::MAX)
}

pub(super) fn player_report_key(player: PlayerId, own: u64) -> Vec<u8> {
    Kind::PLAYER_REPORT.key(&[player.as_str().as_bytes(), &own.to_be_bytes()])
}

fn key(kind: Kind, report: u64) -> Vec<u8> {
    kind.key(&[&report.to_be_bytes()])
}

fn piece_key(kind: Kind, report: u64, piece: usize) -> Vec<u8> {
    let piece = u16::try_from(piece).unwrap_or(u16::MAX);
    kind.key(&[&report.to_be_bytes(), &piece.to_be_bytes()])
}

fn of_player_key(player: PlayerId) -> Vec<u8> {
    Kind::OF_PLAYER.key(&[player.as_str().as_bytes()])
}

fn id_key(id: ReportId) -> Vec<u8> {
    Kind::REPORT_ID.key(&[&id.0])
}

/// What became of the oldest report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oldest {
    Deleted,
    Kept,
}

/// Reports among records.
pub(super) trait Store {
    fn counter(&self, counter: Counter) -> u64;
    fn decoded<T: DeserializeOwned>(&self, value: &[u8]) -> T;
    fn report_number(&self, id: ReportId) -> Option<u64>;
    fn report(&self, report: u64) -> Option<ReportRow>;
    fn of_player(&self, player: PlayerId) -> OfPlayer;
    /// A blob that was stored with so many bytes.
    fn pieces(&self, kind: Kind, report: u64, bytes: u32) -> Vec<u8>;
}

impl Store for dyn Records + '_ {
    fn counter(&self, counter: Counter) -> u64 {
        self.get(&counter_key(counter)).map_or(0, |value| read_number(&value))
    }

    fn decoded<T: DeserializeOwned>(&self, value: &[u8]) -> T {
        codec::decode_record(ROW_FORMAT, value).unwrap_or_else(|error| self.unreadable(&error))
    }

    fn report_number(&self, id: ReportId) -> Option<u64> {
        self.get(&id_key(id)).map(|value| read_number(&value))
    }

    fn report(&self, report: u64) -> Option<ReportRow> {
        self.get(&key(Kind::REPORT, report)).map(|value| self.decoded(&value))
    }

    fn of_player(&self, player: PlayerId) -> OfPlayer {
        let value = self.get(&of_player_key(player));
        value.map_or_else(OfPlayer::default, |value| self.decoded(&value))
    }

    fn pieces(&self, kind: Kind, report: u64, bytes: u32) -> Vec<u8> {
        let pieces = (bytes as usize).div_ceil(RECORD_BYTES_MAX);
        let piece = |piece| self.get(&piece_key(kind, report, piece));
        (0..pieces).filter_map(piece).flat_map(|piece| piece.to_vec()).collect()
    }
}

/// Writes reports.
pub(super) struct Writer<'a>(pub(super) &'a mut dyn Records);

impl Writer<'_> {
    pub(super) fn records(&self) -> &dyn Records {
        self.0
    }

    /// Adds the newest report; the caller knows that its room has none.
    pub(super) fn insert(&mut self, mut row: ReportRow) {
        let report = self.records().counter(Counter::NextReport);
        for (player, own) in row.players.into_iter().zip(&mut row.numbers) {
            let mut of = self.records().of_player(player);
            *own = of.next;
            of.next += 1;
            self.put_of_player(player, &of);
            self.0.set(player_report_key(player, *own), Some(number(report)));
        }
        self.0.set(id_key(row.id()), Some(number(report)));
        self.0.set(key(Kind::OPEN_REPORT, report), Some(number(report)));
        self.put(report, &row);
        self.count(Counter::NextReport, 1);
    }

    pub(super) fn put(&mut self, report: u64, row: &ReportRow) {
        self.encode(key(Kind::REPORT, report), row);
    }

    /// A report has got its end: counts what is counted of ended ones.
    pub(super) fn close(&mut self, report: u64, row: &ReportRow) {
        self.0.set(key(Kind::OPEN_REPORT, report), None);
        self.put(report, row);
        self.count_ended(row, 1);
    }

    /// Adds a report that is to be written elsewhere. No list has it: the oldest that is kept is the next one.
    pub(super) fn insert_for_elsewhere(&mut self, row: &ReportRow) {
        let report = self.records().counter(Counter::NextReport);
        self.0.set(id_key(row.id()), Some(number(report)));
        self.0.set(key(Kind::OPEN_REPORT, report), Some(number(report)));
        self.put(report, row);
        self.count(Counter::NextReport, 1);
        if self.records().counter(Counter::FirstReport) == report {
            self.count(Counter::FirstReport, 1);
        }
    }

    /// A report that is to be written elsewhere has got its end: it waits for that, if it doesn't already.
    pub(super) fn close_for_elsewhere(
        &mut self,
        report: u64,
        row: &ReportRow,
        home: NodeId,
        now: LogTime,
    ) {
        self.0.set(key(Kind::OPEN_REPORT, report), None);
        self.put(report, row);
        if row.messages != ReportMessages::Pending {
            let nothing = PendingReport::new(row.room, home, now, Digest([0; 32]));
            self.encode(key(Kind::PENDING_REPORT, report), &nothing);
            self.count(Counter::PendingReports, 1);
        }
    }

    /// Nothing of a report is needed any more that was written elsewhere.
    pub(super) fn forget(&mut self, report: u64, row: &ReportRow) {
        self.remove_pending(report);
        self.0.set(id_key(row.id()), None);
        self.0.set(key(Kind::OPEN_REPORT, report), None);
        self.0.set(key(Kind::REPORT, report), None);
    }

    /// Deletes the oldest report if this allows it; one whose battle runs stays.
    pub(super) fn delete_oldest(&mut self, may_go: impl FnOnce(&ReportRow) -> bool) -> Oldest {
        let report = self.records().counter(Counter::FirstReport);
        let Some(row) = self.records().report(report) else { return Oldest::Kept };
        if row.end.is_none() || !may_go(&row) {
            return Oldest::Kept;
        }
        self.count_ended(&row, -1);
        for (player, own) in row.players.into_iter().zip(row.numbers) {
            let mut of = self.records().of_player(player);
            of.first = own + 1;
            self.put_of_player(player, &of);
            self.0.set(player_report_key(player, own), None);
        }
        match row.messages {
            ReportMessages::Pending => self.remove_pending(report),
            ReportMessages::Stored(bytes) => self.remove_pieces(Kind::REPORT_PIECE, report, bytes),
            ReportMessages::None | ReportMessages::Missing(_) => {}
        }
        self.0.set(id_key(row.id()), None);
        self.0.set(key(Kind::REPORT, report), None);
        self.count(Counter::FirstReport, 1);
        Oldest::Deleted
    }

    /// Keeps what a report is rendered from, or says why it can not.
    pub(super) fn put_pending(
        &mut self,
        report: u64,
        mut pending: PendingReport,
        battle: (&BattleSetup, &[NumberedInput]),
    ) -> Result<(), super::WhyMissing> {
        if self.records().counter(Counter::PendingReports) >= PENDING_REPORTS_MAX {
            return Err(super::WhyMissing::TooManyPending);
        }
        let bytes = codec::encode(PENDING_FORMAT, &battle);
        if bytes.len() > PENDING_REPORT_BYTES_MAX {
            return Err(super::WhyMissing::TooLarge);
        }
        let waiting = self.records().counter(Counter::PendingBytes);
        if waiting + bytes.len() as u64 > PENDING_BYTES_MAX {
            return Err(super::WhyMissing::TooManyPending);
        }
        pending.bytes = self.put_pieces(Kind::PENDING_PIECE, report, &bytes);
        self.encode(key(Kind::PENDING_REPORT, report), &pending);
        self.count(Counter::PendingReports, 1);
        self.count(Counter::PendingBytes, i64::from(pending.bytes));
        Ok(())
    }

    pub(super) fn remove_pending(&mut self, report: u64) {
        let head = key(Kind::PENDING_REPORT, report);
        let Some(value) = self.0.get(&head) else { return };
        let pending: PendingReport = self.records().decoded(&value);
        self.remove_pieces(Kind::PENDING_PIECE, report, pending.bytes);
        self.0.set(head, None);
        self.count(Counter::PendingReports, -1);
        self.count(Counter::PendingBytes, -i64::from(pending.bytes));
    }

    /// Stores a blob; says how many bytes it has.
    pub(super) fn put_pieces(&mut self, kind: Kind, report: u64, blob: &[u8]) -> u32 {
        for (at, piece) in blob.chunks(RECORD_BYTES_MAX).enumerate() {
            self.0.set(piece_key(kind, report, at), Some(piece.into()));
        }
        u32::try_from(blob.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn put_of_player(&mut self, player: PlayerId, of: &OfPlayer) {
        if of.first == of.next && of.stats.is_none() {
            self.0.set(of_player_key(player), None);
        } else {
            self.encode(of_player_key(player), of);
        }
    }

    fn remove_pieces(&mut self, kind: Kind, report: u64, bytes: u32) {
        for at in 0..(bytes as usize).div_ceil(RECORD_BYTES_MAX) {
            self.0.set(piece_key(kind, report, at), None);
        }
    }

    fn count_ended(&mut self, row: &ReportRow, by: i64) {
        let Some(end) = row.end else { return };
        self.count(Counter::ReportsEnded, by);
        self.count(Counter::ReportSeconds, by * i64::from(end.seconds));
        let day = Kind::REPORT_DAY.key(&[&day_of(row.started).to_be_bytes()]);
        self.change(day, by);
        let sides = [Counter::ReportPlayersA, Counter::ReportPlayersB];
        for (seat, (player, side)) in Seat::BOTH.into_iter().zip(row.players.into_iter().zip(sides))
        {
            let mut of = self.records().of_player(player);
            let before = of.ended[seat.index()];
            let after = before.saturating_add_signed(by);
            of.ended[seat.index()] = after;
            self.put_of_player(player, &of);
            self.count(side, i64::from(after > 0) - i64::from(before > 0));
        }
    }

    fn count(&mut self, counter: Counter, by: i64) {
        self.change(counter_key(counter), by);
    }

    /// A number that comes to 0 is removed.
    fn change(&mut self, key: Vec<u8>, by: i64) {
        let before = self.0.get(&key).map_or(0, |value| read_number(&value));
        let after = before.saturating_add_signed(by);
        if before != after {
            self.0.set(key, (after > 0).then(|| number(after)));
        }
    }

    fn encode(&mut self, key: Vec<u8>, value: &impl Serialize) {
        self.0.set(key, Some(codec::encode(ROW_FORMAT, value).into()));
    }
}
