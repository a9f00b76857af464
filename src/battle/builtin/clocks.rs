//! Both players' clocks and the animations that stop them (contract 5.8), in log time.
//!
//! Nothing here waits: [`Clocks::settle`] brings the clocks forward to a moment, and
//! [`Clocks::wake_at`] says when the battle must be looked at again. Time is reckoned exactly however
//! late that look comes: an animation ends when it had to, not when somebody noticed.
//!
//! Animations are a client's claim, so what they can stop is bounded: few at a time, a number per
//! turn and player, and a sum of stopped time per turn. Beyond that, no further one is begun.

use serverv2_machine::{Clocks as Limits, LogTime, NanoId, Seat};

use super::super::engine::TimerPhase;

/// Animations at a time; another is not begun.
pub(super) const ANIMATIONS_MAX: usize = 8;
/// Animations that one player's client begins between two resets for a turn, whoever owns them by its
/// word; another is not begun.
pub(super) const ANIMATIONS_PER_TURN_MAX: u32 = 64;
/// How long clocks may stand still between two resets for a turn, milliseconds.
pub(super) const PAUSE_PER_TURN_MAX_MS: u64 = 60_000;
/// What an animation may take beyond what its client expects, milliseconds.
const ANIMATION_GRACE_MS: u64 = 1_000;
/// Stands for "no limit" (a limit of 0 in the settings); the largest number JavaScript keeps exactly.
const UNLIMITED_MS: i64 = 9_007_199_254_740_991;

#[derive(Clone, Debug)]
pub(super) struct Clocks {
    limits: Limits,
    /// The moment for which everything below is right.
    settled: LogTime,
    seats: [SeatClock; 2],
    animations: Vec<Animation>,
    /// Whose clocks are set anew and run when the last animation has ended.
    deferred: [bool; 2],
    /// Animations begun since the last reset for a turn.
    begun: [u32; 2],
    /// Time stood still since then.
    paused_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct SeatClock {
    phase: TimerPhase,
    /// Below 0 it says how long ago it ran out; shown as 0.
    turn_ms: i64,
    total_ms: i64,
}

#[derive(Clone, Debug)]
struct Animation {
    id: NanoId,
    ends: LogTime,
}

/// What a client reads of one clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) phase: TimerPhase,
    pub(super) turn_s: f64,
    pub(super) total_s: f64,
}

impl Clocks {
    pub(super) fn new(limits: Limits, now: LogTime) -> Self {
        let total_ms = limit_ms(limits.total_s);
        let seat = SeatClock { phase: TimerPhase::Stopped, turn_ms: 0, total_ms };
        Self {
            limits,
            settled: now,
            seats: [seat; 2],
            animations: Vec::new(),
            deferred: [false; 2],
            begun: [0; 2],
            paused_ms: 0,
        }
    }

    /// Brings everything forward to `now`; an earlier moment changes nothing.
    pub(super) fn settle(&mut self, now: LogTime) {
        let mut from = self.settled;
        if now <= from {
            return;
        }
        self.settled = now;
        if let Some(resumed) = self.resumes_at() {
            let until = resumed.min(now).max(from);
            self.paused_ms = self.paused_ms.saturating_add(until.ms_since(from));
            self.animations.retain(|animation| animation.ends > now);
            if !self.animations.is_empty() {
                return;
            }
            self.run_deferred();
            from = until;
        }
        let elapsed = i64::try_from(now.ms_since(from)).unwrap_or(i64::MAX);
        for seat in &mut self.seats {
            if seat.phase == TimerPhase::Running {
                seat.turn_ms = seat.turn_ms.saturating_sub(elapsed);
                seat.total_ms = seat.total_ms.saturating_sub(elapsed);
            }
        }
    }

    /// Sets the turn clocks of these players and lets them run, now or after the last animation.
    pub(super) fn reset(&mut self, who: [bool; 2]) {
        for seat in &mut self.seats {
            seat.phase = TimerPhase::Paused;
        }
        self.deferred = who;
        if self.animations.is_empty() {
            self.run_deferred();
        }
    }

    /// A turn begins: what animations may stop is counted anew.
    pub(super) fn new_turn(&mut self) {
        self.begun = [0; 2];
        self.paused_ms = 0;
    }

    fn run_deferred(&mut self) {
        let deferred = std::mem::take(&mut self.deferred);
        for (seat, runs) in self.seats.iter_mut().zip(deferred) {
            if runs {
                seat.turn_ms = limit_ms(self.limits.turn_s);
                seat.phase = TimerPhase::Running;
            }
        }
    }

    /// A player has chosen, or the server did so in his place.
    pub(super) fn chosen(&mut self, seat: Seat, by_timeout: bool) {
        self.deferred[seat.index()] = false;
        self.seats[seat.index()].phase = match by_timeout {
            true => TimerPhase::Timeout,
            false => TimerPhase::Paused,
        };
    }

    /// The battle is over.
    pub(super) fn stop(&mut self) {
        self.animations.clear();
        self.deferred = [false; 2];
        for seat in &mut self.seats {
            seat.phase = TimerPhase::Stopped;
        }
    }

    /// Begins an animation; `false` if no more are allowed. Settle first.
    pub(super) fn begin_animation(&mut self, id: NanoId, by: Seat, expected_ms: u32) -> bool {
        let left_ms = PAUSE_PER_TURN_MAX_MS.saturating_sub(self.paused_ms);
        let begun = &mut self.begun[by.index()];
        if self.animations.len() >= ANIMATIONS_MAX
            || *begun >= ANIMATIONS_PER_TURN_MAX
            || left_ms == 0
        {
            return false;
        }
        *begun += 1;
        let longest_ms =
            u64::from(expected_ms.min(self.limits.animation_max_ms)) + ANIMATION_GRACE_MS;
        let ends = self.settled.plus_ms(longest_ms.min(left_ms));
        self.animations.push(Animation { id, ends });
        true
    }

    /// Ends an animation; an unknown one is ignored. Settle first.
    pub(super) fn end_animation(&mut self, id: NanoId) {
        let before = self.animations.len();
        self.animations.retain(|animation| animation.id != id);
        if before > 0 && self.animations.is_empty() {
            self.run_deferred();
        }
    }

    pub(super) fn animations(&self) -> usize {
        self.animations.len()
    }

    fn resumes_at(&self) -> Option<LogTime> {
        self.animations.iter().map(|animation| animation.ends).max()
    }

    /// When something happens by itself: a clock runs out, or the clocks go on after an animation.
    pub(super) fn wake_at(&self) -> Option<LogTime> {
        if self.loser().is_some() {
            return Some(self.settled);
        }
        if let Some(resumed) = self.resumes_at() {
            return Some(resumed);
        }
        let running = self.seats.iter().filter(|seat| seat.phase == TimerPhase::Running);
        let left_ms = running.map(|seat| seat.turn_ms.min(seat.total_ms)).min()?;
        Some(self.settled.plus_ms(u64::try_from(left_ms).unwrap_or(0)))
    }

    /// Whose total clock ran out first; A if both at once.
    pub(super) fn loser(&self) -> Option<Seat> {
        let total_ms = |seat: Seat| self.seats[seat.index()].total_ms;
        let first = if total_ms(Seat::B) < total_ms(Seat::A) { Seat::B } else { Seat::A };
        let stopped = self.seats[first.index()].phase == TimerPhase::Stopped;
        (total_ms(first) <= 0 && !stopped).then_some(first)
    }

    /// Whether this player's time to choose is over.
    pub(super) fn is_turn_over(&self, seat: Seat) -> bool {
        let clock = self.seats[seat.index()];
        clock.phase == TimerPhase::Running && clock.turn_ms <= 0 && self.animations.is_empty()
    }

    /// What a client reads at `now`.
    pub(super) fn read(&self, now: LogTime) -> [Reading; 2] {
        let mut later = self.clone();
        later.settle(now);
        later.seats.map(|seat| Reading {
            phase: seat.phase,
            turn_s: seat.turn_ms.max(0) as f64 / 1000.0,
            total_s: seat.total_ms.max(0) as f64 / 1000.0,
        })
    }
}

fn limit_ms(seconds: u32) -> i64 {
    if seconds == 0 { UNLIMITED_MS } else { i64::from(seconds) * 1000 }
}

#[cfg(test)]
mod tests;
