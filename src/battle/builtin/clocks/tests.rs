//! What clocks promise beyond what the scripts show.

use super::*;

const LIMITS: Limits = Limits { turn_s: 30, total_s: 100, animation_max_ms: 20_000 };

fn id(number: u8) -> NanoId {
    NanoId::from_entropy(&[number; 32])
}

fn at(ms: u64) -> LogTime {
    LogTime(ms)
}

fn running() -> Clocks {
    let mut clocks = Clocks::new(LIMITS, at(0));
    clocks.new_turn();
    clocks.reset([true; 2]);
    clocks
}

fn phases(clocks: &Clocks) -> [TimerPhase; 2] {
    clocks.seats.map(|seat| seat.phase)
}

#[test]
fn before_the_first_turn_clocks_are_stopped_and_full() {
    let clocks = Clocks::new(LIMITS, at(7));
    assert_eq!(clocks.wake_at(), None);
    let reading = Reading { phase: TimerPhase::Stopped, turn_s: 0.0, total_s: 100.0 };
    assert_eq!(clocks.read(at(99_999)), [reading; 2]);
}

#[test]
fn it_does_not_matter_how_often_clocks_are_looked_at() {
    // Two animations that overlap, one that is ended, a deferred reset; then long silence.
    let play = |looks: &[u64]| {
        let mut clocks = running();
        let mut looks = looks.iter().copied().peekable();
        let mut settle = |clocks: &mut Clocks, ms: u64| {
            while let Some(look) = looks.next_if(|look| *look < ms) {
                clocks.settle(at(look));
            }
            clocks.settle(at(ms));
        };
        settle(&mut clocks, 1_000);
        assert!(clocks.begin_animation(id(1), Seat::A, 3_000));
        settle(&mut clocks, 2_000);
        assert!(clocks.begin_animation(id(2), Seat::B, 9_000));
        clocks.chosen(Seat::A, false);
        clocks.chosen(Seat::B, false);
        clocks.new_turn();
        clocks.reset([true, false]);
        settle(&mut clocks, 60_000);
        clocks
    };
    let expected = format!("{:?}", play(&[]));
    for looks in [vec![500, 5_000, 12_000], (0..60).map(|s| s * 1_000 + 1).collect()] {
        assert_eq!(format!("{:?}", play(&looks)), expected);
    }
    // The second animation was over at 2000 + 9000 + 1000; A ran from then on.
    let reading = play(&[]).read(at(60_000));
    assert_eq!((reading[0].turn_s, reading[0].total_s), (0.0, 100.0 - 1.0 - 48.0));
    assert_eq!((reading[1].phase, reading[1].total_s), (TimerPhase::Paused, 99.0));
}

#[test]
fn the_wake_is_the_very_moment_something_happens() {
    let mut clocks = running();
    assert_eq!(clocks.wake_at(), Some(at(30_000)));
    clocks.settle(at(29_999));
    assert!(!clocks.is_turn_over(Seat::A));
    clocks.settle(at(30_000));
    assert!(clocks.is_turn_over(Seat::A) && clocks.is_turn_over(Seat::B));

    let mut clocks = running();
    clocks.settle(at(10_000));
    assert!(clocks.begin_animation(id(1), Seat::A, 500));
    assert!(clocks.begin_animation(id(2), Seat::A, 2_500));
    assert_eq!(clocks.wake_at(), Some(at(13_500)));
    clocks.end_animation(id(2));
    assert_eq!(clocks.wake_at(), Some(at(11_500)));
    clocks.end_animation(id(1));
    assert_eq!(clocks.wake_at(), Some(at(30_000)));
}

#[test]
fn one_who_has_chosen_is_paused_and_one_for_whom_it_was_done_is_timed_out() {
    let mut clocks = running();
    clocks.chosen(Seat::A, false);
    assert_eq!(phases(&clocks), [TimerPhase::Paused, TimerPhase::Running]);
    clocks.chosen(Seat::B, true);
    assert_eq!(phases(&clocks), [TimerPhase::Paused, TimerPhase::Timeout]);
    assert_eq!(clocks.wake_at(), None);
    clocks.reset([false, true]);
    assert_eq!(phases(&clocks), [TimerPhase::Paused, TimerPhase::Running]);
}

#[test]
fn a_player_may_begin_only_so_many_animations_in_a_turn() {
    let mut clocks = running();
    for number in 0..ANIMATIONS_PER_TURN_MAX {
        assert!(clocks.begin_animation(id(0), Seat::A, 1), "{number}");
        clocks.end_animation(id(0));
    }
    assert!(!clocks.begin_animation(id(0), Seat::A, 1));
    assert!(clocks.begin_animation(id(0), Seat::B, 1));
    clocks.new_turn();
    assert!(clocks.begin_animation(id(1), Seat::A, 1));
}

#[test]
fn a_limit_of_zero_never_runs_out() {
    let limits = Limits { turn_s: 0, total_s: 0, ..LIMITS };
    let mut clocks = Clocks::new(limits, at(0));
    clocks.reset([true; 2]);
    clocks.settle(at(u64::from(u32::MAX)));
    assert!(clocks.loser().is_none() && !clocks.is_turn_over(Seat::A));
}

#[test]
fn times_at_the_end_of_time_do_not_overflow() {
    let mut clocks = running();
    assert!(clocks.begin_animation(id(1), Seat::A, u32::MAX));
    clocks.settle(at(u64::MAX));
    assert_eq!(clocks.read(at(u64::MAX))[0].turn_s, 0.0);
    assert_eq!(clocks.loser(), Some(Seat::A));
}
