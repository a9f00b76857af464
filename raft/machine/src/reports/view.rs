//! Looking at reports: everything here reads some records by their keys, however many there are.

use super::rows::{OfPlayer, PendingReport, PlayerStats, ReportId, ReportMessages, ReportRow};
use super::store::{self, Store};
use crate::codec;
use crate::ids::{PlayerId, RoomId};
use crate::input::{BattleSetup, NumberedInput};
use crate::records::{Counter, KeyValue, Kind, Order, Player, Records, read_number};

/// The reports among the records.
#[derive(Clone, Copy)]
pub struct ReportsView<'a>(&'a dyn Records);

/// Numbers of all ended battles whose reports are kept (contract 6.3, `get_battle_statistics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportStatistics {
    /// How many.
    pub battles: u64,
    /// Different A players and different B players: who was both counts twice.
    pub players: u64,
    /// Those that began on a given day or later.
    pub since_day: u64,
    /// Those that began on the first day of the given one's week or later.
    pub since_week: u64,
    /// How long they took, in all.
    pub seconds: u64,
}

impl<'a> ReportsView<'a> {
    /// Of these records.
    pub fn of(records: &'a dyn Records) -> Self {
        Self(records)
    }

    /// How many there are.
    pub fn count(self) -> u64 {
        let (first, next) = self.bounds();
        next.saturating_sub(first)
    }

    /// Some of them, the newest first.
    pub fn newest(self, offset: u64, limit: usize) -> Vec<ReportRow> {
        let (first, next) = self.bounds();
        numbers_down(first, next, offset, limit).filter_map(|number| self.row(number)).collect()
    }

    /// The one whose battle began first.
    pub fn oldest(self) -> Option<ReportRow> {
        self.row(self.bounds().0)
    }

    /// The one with this id.
    pub fn find(self, id: ReportId) -> Option<ReportRow> {
        self.row(self.0.report_number(id)?)
    }

    /// How many a player has.
    pub fn count_of(self, player: PlayerId) -> u64 {
        let of = self.of_player(player);
        of.next.saturating_sub(of.first)
    }

    /// Some of a player's, the newest first.
    pub fn newest_of(self, player: PlayerId, offset: u64, limit: usize) -> Vec<ReportRow> {
        let OfPlayer { first, next, .. } = self.of_player(player);
        let row = |own: u64| {
            let value = self.0.get(&store::player_report_key(player, own))?;
            self.row(read_number(&value))
        };
        numbers_down(first, next, offset, limit).filter_map(row).collect()
    }

    /// What a player's battles came to; `None` before the first one was played to its end.
    pub fn stats(self, player: PlayerId) -> Option<PlayerStats> {
        self.of_player(player).stats
    }

    /// Numbers of all of them. `today` counts days from 1970-01-01, a Thursday.
    pub fn statistics(self, today: u32) -> ReportStatistics {
        let count = |counter| self.0.counter(counter);
        let monday = today.saturating_sub((today + 3) % 7);
        let since = |day: u32| {
            let (from, _) = Kind::REPORT_DAY.span(&[&day.to_be_bytes()]);
            let (_, to) = Kind::REPORT_DAY.span(&[]);
            let days = self.0.range(&from, &to, Order::Up);
            days.map(|(_, value)| read_number(&value)).fold(0, u64::saturating_add)
        };
        ReportStatistics {
            battles: count(Counter::ReportsEnded),
            players: count(Counter::ReportPlayersA).saturating_add(count(Counter::ReportPlayersB)),
            since_day: since(today),
            since_week: since(monday),
            seconds: count(Counter::ReportSeconds),
        }
    }

    /// What was rendered of a battle.
    pub fn messages(self, id: ReportId) -> Option<Vec<u8>> {
        let number = self.0.report_number(id)?;
        let ReportMessages::Stored(bytes) = self.row(number)?.messages else { return None };
        Some(self.0.pieces(Kind::REPORT_PIECE, number, bytes))
    }

    /// How many battles wait to be rendered, and the bytes of what is kept for that.
    pub fn pending_count(self) -> (u64, u64) {
        (self.0.counter(Counter::PendingReports), self.0.counter(Counter::PendingBytes))
    }

    /// The oldest of those that wait.
    pub fn pending(self, limit: usize) -> Vec<PendingReport> {
        let (from, to) = Kind::PENDING_REPORT.span(&[]);
        let decode = |value: &[u8]| self.0.decoded(value);
        self.0.range(&from, &to, Order::Up).take(limit).map(|(_, value)| decode(&value)).collect()
    }

    /// Some of those that wait, with their numbers, from this number on.
    pub fn pending_from(self, number: u64, limit: usize) -> Vec<(u64, PendingReport)> {
        let (from, _) = Kind::PENDING_REPORT.span(&[&number.to_be_bytes()]);
        let (_, to) = Kind::PENDING_REPORT.span(&[]);
        let found = self.0.range(&from, &to, Order::Up).take(limit);
        found.map(|(key, value)| (read_number(&key[1..]), self.0.decoded(&value))).collect()
    }

    /// Reports of battles that run or wait: all that the cluster may have yet to write elsewhere.
    pub fn unwritten(self) -> Vec<ReportId> {
        let id = |number: u64| self.row(number).map(|row| row.id());
        let of = |kind: Kind| {
            let (from, to) = kind.span(&[]);
            let found = self.0.range(&from, &to, Order::Up);
            found.filter_map(|(key, _)| id(read_number(&key[1..]))).collect::<Vec<_>>()
        };
        [of(Kind::OPEN_REPORT), of(Kind::PENDING_REPORT)].concat()
    }

    /// What waits of this room, if it does.
    pub fn pending_of(self, room: RoomId) -> Option<PendingReport> {
        let number = self.0.report_number(ReportId::of(room))?;
        let (from, to) = Kind::PENDING_REPORT.span(&[&number.to_be_bytes()]);
        let (_, value) = self.0.range(&from, &to, Order::Up).next()?;
        Some(self.0.decoded(&value))
    }

    /// Set-up and inputs of a battle that waits.
    pub fn pending_battle(
        self,
        pending: &PendingReport,
    ) -> Option<(BattleSetup, Vec<NumberedInput>)> {
        if pending.bytes == 0 {
            // It waits to be written, not to be rendered.
            return None;
        }
        let number = self.0.report_number(ReportId::of(pending.room))?;
        let bytes = self.0.pieces(Kind::PENDING_PIECE, number, pending.bytes);
        match codec::decode_pending(store::PENDING_FORMAT, &bytes) {
            Ok(battle) => Some(battle),
            Err(error) => self.0.unreadable(&error),
        }
    }

    /// Accounts in the order of their ids, from behind this one on: for who reads all of them in parts.
    pub fn accounts_after(self, after: Option<PlayerId>, at_most: usize) -> Vec<Player> {
        let decode = |value: &[u8]| match Player::decode(value) {
            Ok(player) => player,
            Err(error) => self.0.unreadable(&error),
        };
        let found = self.behind(Kind::PLAYER, after);
        found.take(at_most).map(|(_, value)| decode(&value)).collect()
    }

    /// What players' battles came to, in the same way. Who fought none may be among them.
    pub fn stats_after(
        self,
        after: Option<PlayerId>,
        at_most: usize,
    ) -> Vec<(PlayerId, Option<PlayerStats>)> {
        let found = self.behind(Kind::OF_PLAYER, after).take(at_most);
        let of = |(key, value): KeyValue| {
            let id = std::str::from_utf8(&key[1..]).ok()?.parse().ok()?;
            Some((id, self.0.decoded::<OfPlayer>(&value).stats))
        };
        found.filter_map(of).collect()
    }

    fn behind(self, kind: Kind, after: Option<PlayerId>) -> impl Iterator<Item = KeyValue> + 'a {
        let (mut from, to) = kind.span(&[]);
        if let Some(after) = after {
            from = kind.key(&[after.as_str().as_bytes()]);
        }
        let skipped = after.map(|_| from.clone());
        self.0.range(&from, &to, Order::Up).filter(move |(key, _)| Some(key) != skipped.as_ref())
    }

    /// How many reports are open, up to `at_most`.
    pub fn open_count(self, at_most: usize) -> usize {
        let (from, to) = Kind::OPEN_REPORT.span(&[]);
        self.0.range(&from, &to, Order::Up).take(at_most).count()
    }

    fn row(self, number: u64) -> Option<ReportRow> {
        self.0.report(number)
    }

    fn of_player(self, player: PlayerId) -> OfPlayer {
        self.0.of_player(player)
    }

    fn bounds(self) -> (u64, u64) {
        (self.0.counter(Counter::FirstReport), self.0.counter(Counter::NextReport))
    }
}

/// The numbers of a page, from the newest down.
fn numbers_down(first: u64, next: u64, offset: u64, limit: usize) -> impl Iterator<Item = u64> {
    let end = next.saturating_sub(offset).max(first);
    (first..end).rev().take(limit)
}
