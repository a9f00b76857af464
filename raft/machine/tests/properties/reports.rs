//! Battle reports: what is counted along is what a recount gives, and statistics count each end once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serverv2_machine::limits::{PENDING_BYTES_MAX, PENDING_REPORTS_MAX};
use serverv2_machine::{
    Applied, Blob, CloseStaleReports, Command, Effect, ExpireReports, MemoryRecords, PlayerId,
    Records, Rendered, ReportId, ReportMessages, ReportRow, ReportStatistics, ReportsView, RoomId,
    Seat, SetReports, StoreReport, WallTime, WhyMissing,
};

/// Something about reports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReportStep {
    Set { enabled: bool },
    Store { room: usize, bytes: Option<usize> },
    Expire { before: u64, older_than_ms: u64, at_most: u32 },
    Sweep { older_than_ms: u64, from: u64 },
}

pub(crate) fn step() -> impl Strategy<Value = ReportStep> {
    let age = || prop_oneof![0..20_000u64, any::<u64>()];
    prop_oneof![
        2 => prop::bool::weighted(0.9).prop_map(|enabled| ReportStep::Set { enabled }),
        4 => (any::<usize>(), prop::option::of(prop_oneof![0..40usize, Just(20_000)]))
            .prop_map(|(room, bytes)| ReportStep::Store { room, bytes }),
        1 => (0..100_000u64, age(), 0..4u32).prop_map(|(before, older_than_ms, at_most)| {
            ReportStep::Expire { before, older_than_ms, at_most }
        }),
        1 => (age(), prop_oneof![0..9u64, any::<u64>()])
            .prop_map(|(older_than_ms, from)| ReportStep::Sweep { older_than_ms, from }),
    ]
}

pub(crate) fn command(step: ReportStep, room: impl FnOnce(usize) -> RoomId) -> Command {
    match step {
        ReportStep::Set { enabled } => SetReports { enabled }.into(),
        ReportStep::Store { room: choice, bytes } => {
            let rendered = match bytes {
                Some(bytes) => Rendered::Messages(Blob(vec![7; bytes].into())),
                None => Rendered::Nothing(WhyMissing::ReplayFailed),
            };
            StoreReport { room: room(choice), rendered }.into()
        }
        ReportStep::Expire { before, older_than_ms, at_most } => {
            ExpireReports { before: WallTime(before), older_than_ms, at_most }.into()
        }
        ReportStep::Sweep { older_than_ms, from } => {
            CloseStaleReports { older_than_ms, from }.into()
        }
    }
}

/// What somebody knows of all battles who only listens to the effects.
#[derive(Default)]
pub(crate) struct Listener {
    players: BTreeMap<RoomId, [PlayerId; 2]>,
    results: BTreeMap<RoomId, Option<Option<Seat>>>,
    stats: BTreeMap<PlayerId, [u64; 3]>,
}

impl Listener {
    pub(crate) fn follow(&mut self, applied: &Applied) -> Result<(), TestCaseError> {
        for effect in &applied.effects {
            match effect {
                Effect::RoomOpened { room, setup, .. } => {
                    let players = setup.players.each_ref().map(|seat| seat.player);
                    self.players.insert(*room, players);
                }
                Effect::BattleEnded { room, outcome, .. } => {
                    self.results.insert(*room, outcome.map(|outcome| outcome.winner));
                }
                Effect::ReportClosed { room, .. } => {
                    let result = self.results.get(room).copied();
                    prop_assert!(result.is_some(), "a report was closed before its battle");
                    let Some(Some(winner)) = result else { continue };
                    for (seat, player) in Seat::BOTH.into_iter().zip(self.players[room]) {
                        let which = winner.map_or(2, |winner| usize::from(winner != seat));
                        self.stats.entry(player).or_default()[which] += 1;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn compare(&self, records: &MemoryRecords) -> Result<(), TestCaseError> {
        let view = ReportsView::of(records);
        for player in self.players.values().flatten() {
            let stats = view.stats(*player).map(|it| [it.wins, it.losses, it.draws]);
            prop_assert_eq!(stats, self.stats.get(player).copied());
        }
        recount(records)
    }
}

fn recount(records: &MemoryRecords) -> Result<(), TestCaseError> {
    let view = ReportsView::of(records);
    let rows = view.newest(0, usize::MAX);
    prop_assert_eq!(view.count(), rows.len() as u64);
    let ended: Vec<&ReportRow> = rows.iter().filter(|row| row.end.is_some()).collect();
    let side = |at: usize| ended.iter().map(|row| row.players[at]).collect::<BTreeSet<_>>().len();
    let statistics = ReportStatistics {
        battles: ended.len() as u64,
        players: (side(0) + side(1)) as u64,
        // All stamps are of the first day of 1970, a Thursday.
        since_day: ended.len() as u64,
        since_week: ended.len() as u64,
        seconds: ended.iter().filter_map(|row| row.end).map(|end| u64::from(end.seconds)).sum(),
    };
    prop_assert_eq!(view.statistics(0), statistics);
    prop_assert_eq!(view.statistics(1).since_day, 0);
    prop_assert_eq!(view.statistics(3).since_week, statistics.battles);
    prop_assert_eq!(view.statistics(4).since_week, 0);
    prop_assert_eq!(view.open_count(usize::MAX), rows.len() - ended.len());
    let pending = view.pending(usize::MAX);
    let (waiting, bytes) = view.pending_count();
    prop_assert_eq!(waiting, pending.len() as u64);
    prop_assert!(waiting <= PENDING_REPORTS_MAX && bytes <= PENDING_BYTES_MAX);
    let awaited = rows.iter().rev().filter(|row| row.messages == ReportMessages::Pending);
    prop_assert!(awaited.map(|row| row.room).eq(pending.iter().map(|it| it.room)));
    for head in &pending {
        prop_assert!(view.pending_battle(head).is_some(), "nothing to render from");
    }
    let mut of_player: BTreeMap<PlayerId, Vec<ReportRow>> = BTreeMap::new();
    for row in &rows {
        prop_assert_eq!(view.find(ReportId::of(row.room)), Some(row.clone()));
        let messages = view.messages(row.id()).map(|it| it.len());
        match row.messages {
            ReportMessages::Stored(bytes) => prop_assert_eq!(messages, Some(bytes as usize)),
            _ => prop_assert_eq!(messages, None),
        }
        row.players.iter().for_each(|it| of_player.entry(*it).or_default().push(row.clone()));
    }
    for (player, own) in of_player {
        prop_assert_eq!(view.count_of(player), own.len() as u64);
        prop_assert_eq!(
            view.newest_of(player, 1, 2),
            own.get(1..).unwrap_or_default()[..].iter().take(2).cloned().collect::<Vec<_>>()
        );
    }
    // One row, one id, two places in the players' lists for each, and no piece of another one.
    let count = |tag: u8| records.all().filter(|(key, _)| key[0] == tag).count();
    prop_assert_eq!(
        [count(b'r'), count(b'i'), count(b'b')],
        [rows.len(), rows.len(), 2 * rows.len()]
    );
    let stored = rows.iter().filter_map(|row| match row.messages {
        ReportMessages::Stored(bytes) => Some((bytes as usize).div_ceil(16 * 1024)),
        _ => None,
    });
    prop_assert_eq!(count(b'a'), stored.sum::<usize>());
    prop_assert!(count(b'w') >= pending.len() && (waiting > 0 || count(b'w') == 0));
    Ok(())
}
