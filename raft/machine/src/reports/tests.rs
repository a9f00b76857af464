//! Sweeps and deletions of reports that only a defect could leave, and what is left after them.

use super::*;
use crate::clock::{LogTime, WallTime};
use crate::ids::{Incarnation, NodeId, RequestId};
use crate::input::{Clocks, PackRef, SetupSeat};
use crate::machine::Position;
use crate::outside::{RecordsHome, SetRecords};
use crate::records::{MemoryRecords, Records, counter_key, number};

const DAY_MS: u64 = 86_400_000;

fn turn(records: &mut MemoryRecords, now: u64) -> Turn<'_> {
    Turn {
        records,
        request: RequestId { node: NodeId(1), incarnation: Incarnation(1), sequence: 1 },
        client_key: None,
        now: LogTime(now),
        wall: WallTime(now),
        seed: [0; 16],
        position: Position { index: 1, offset: 0 },
        pairs: 0,
        effects: Vec::new(),
    }
}

/// An open report that no room belongs to, as a defect could leave it.
fn leave_open(records: &mut MemoryRecords, number: usize, opened: u64) {
    let room = format!("{:-<21}", format!("room{number}")).parse().unwrap();
    let players = ["ann", "bob"].map(|name| format!("{name:_<21}").parse().unwrap());
    Writer(records).insert(ReportRow {
        room,
        players,
        names: ["Ann".into(), "Bob".into()],
        started: WallTime(opened),
        opened: LogTime(opened),
        numbers: [0; 2],
        end: None,
        messages: ReportMessages::None,
    });
}

#[test]
fn a_report_whose_battle_is_gone_is_closed_as_abandoned_once_it_is_old() {
    let (machine, mut records) = (Machine::new(), MemoryRecords::default());
    for (number, opened) in [0, 10, DAY_MS].into_iter().enumerate() {
        leave_open(&mut records, number, opened);
    }
    let sweep = CloseStaleReports { older_than_ms: DAY_MS, from: 0 };
    let swept = machine.close_stale_reports(&mut turn(&mut records, DAY_MS + 9), sweep);
    assert_eq!(swept, Swept { reports: 1, next: None });
    let view = ReportsView::of(&records);
    let oldest = view.newest(2, 1).remove(0);
    let end = oldest.end.unwrap();
    assert_eq!(end.result, ReportResult::Abandoned { timeout: true });
    assert_eq!((end.at, end.seconds), (WallTime(DAY_MS + 9), 86_400));
    assert_eq!(view.open_count(10), 2);
    assert_eq!(view.stats(oldest.players[0]), None, "nobody has won or lost it");
}

#[test]
fn a_sweep_goes_on_where_it_stopped() {
    let (machine, mut records) = (Machine::new(), MemoryRecords::default());
    let all = 2 * REPORTS_SWEPT_MAX + 1;
    (0..all as usize).for_each(|number| leave_open(&mut records, number, 0));
    let (mut from, mut closed) = (Some(0), 0);
    while let Some(start) = from {
        let sweep = CloseStaleReports { older_than_ms: 1, from: start };
        let swept = machine.close_stale_reports(&mut turn(&mut records, DAY_MS), sweep);
        assert!(swept.reports <= REPORTS_SWEPT_MAX);
        (from, closed) = (swept.next, closed + swept.reports);
    }
    assert_eq!(closed, all);
    assert_eq!(ReportsView::of(&records).open_count(10), 0);
}

#[test]
fn a_report_is_not_before_its_battle_whatever_the_clocks_say() {
    let (machine, mut records) = (Machine::new(), MemoryRecords::default());
    leave_open(&mut records, 0, 5_000);
    let mut turn = turn(&mut records, 5_100);
    turn.wall = WallTime(1);
    machine.close_stale_reports(&mut turn, CloseStaleReports { older_than_ms: 0, from: 0 });
    let row = ReportsView::of(&records).newest(0, 1).remove(0);
    assert_eq!(row.end.map(|end| (end.at, end.seconds)), Some((WallTime(5_000), 1)));
}

#[test]
fn nothing_is_left_of_deleted_reports_but_statistics_and_the_place_to_go_on() {
    let (machine, mut records) = (Machine::new(), MemoryRecords::default());
    (0..5).for_each(|number| leave_open(&mut records, number, 0));
    let sweep = CloseStaleReports { older_than_ms: 0, from: 0 };
    machine.close_stale_reports(&mut turn(&mut records, 1), sweep);
    let expire = ExpireReports { before: WallTime(1), older_than_ms: 9, at_most: 3 };
    let swept = Machine::expire_reports(&mut turn(&mut records, 1), expire);
    assert_eq!(swept, Swept { reports: 3, next: Some(3) });
    let swept = Machine::expire_reports(&mut turn(&mut records, 1), expire);
    assert_eq!(swept, Swept { reports: 2, next: None });
    let left: Vec<_> = records.all().map(|(key, _)| key[0]).collect();
    assert_eq!(left, [b'c', b'c'], "the first and the next number are equal");
}

fn setup() -> BattleSetup {
    let seat = |name: &str| SetupSeat {
        player: format!("{name:_<21}").parse().unwrap(),
        session: "tab".parse().unwrap(),
        name: name.into(),
        team: "{}".into(),
    };
    BattleSetup {
        pack: PackRef { engine: "builtin/1".into(), digest: Digest([1; 32]) },
        seed: [0; 16],
        players: [seat("ann"), seat("bob")],
        clocks: Clocks { turn_s: 0, total_s: 0, animation_max_ms: 0 },
        at: LogTime(0),
        wall: WallTime(0),
    }
}

/// A machine whose players are kept in a database, with so many reports waiting for it.
fn outside(records: &mut MemoryRecords, waiting: u64) -> Machine {
    let mut machine = Machine::new();
    let home = RecordsHome::Database([1; 16]);
    machine.set_records(&turn(records, 0), SetRecords { home }).unwrap();
    machine.set_reports(SetReports { enabled: true });
    records.set(counter_key(Counter::PendingReports), Some(number(waiting)));
    machine
}

#[test]
fn while_too_many_reports_wait_for_the_database_new_battles_get_none() {
    let room: RoomId = "room-________________".parse().unwrap();
    for (waiting, reports) in [(REPORTS_WAITING_MAX - 1, 1), (REPORTS_WAITING_MAX, 0)] {
        let mut records = MemoryRecords::default();
        let machine = outside(&mut records, waiting);
        machine.open_report(&mut turn(&mut records, 0), room, &setup());
        assert_eq!(ReportsView::of(&records).open_count(2), reports, "{waiting}");
    }
}

#[test]
fn a_report_left_open_waits_for_the_database_once_it_is_abandoned() {
    let mut records = MemoryRecords::default();
    let machine = outside(&mut records, 0);
    let room: RoomId = "room-________________".parse().unwrap();
    machine.open_report(&mut turn(&mut records, 0), room, &setup());
    let before = ReportsView::of(&records).unwritten();
    assert_eq!(before, [ReportId::of(room)]);
    let sweep = CloseStaleReports { older_than_ms: DAY_MS, from: 0 };
    let swept = machine.close_stale_reports(&mut turn(&mut records, DAY_MS), sweep);
    assert_eq!(swept, Swept { reports: 1, next: None });
    let view = ReportsView::of(&records);
    assert_eq!((view.open_count(1), view.pending_count()), (0, (1, 0)));
    let (number, pending) = view.pending_from(0, 9).remove(0);
    assert_eq!((pending.room, view.unwritten()), (room, before));
    assert!(view.pending_battle(&pending).is_none(), "there is nothing to render");
    assert!(view.pending_from(number + 1, 9).is_empty());

    let stored = StoreReport { room, rendered: Rendered::Elsewhere };
    machine.store_report(&mut turn(&mut records, DAY_MS), &stored).unwrap();
    let left: Vec<_> = records.all().map(|(key, _)| key[0]).collect();
    assert_eq!(left, [b'c', b'c'], "the first and the next number are equal");
}
