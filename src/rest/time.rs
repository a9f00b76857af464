//! Moments as text. The only calendar this server needs is the one on its answers.

use std::time::{SystemTime, UNIX_EPOCH};

use serverv2_machine::WallTime;

const MS_PER_DAY: u64 = 86_400_000;

/// As in `timestamp` fields: `2025-06-20T08:00:00.000Z`.
pub(crate) fn zulu(time: WallTime) -> String {
    format!("{}Z", date_and_time(time))
}

/// As the existing database prints it in `createdAt`: `2025-06-20T08:00:00.000+00:00`.
pub(super) fn with_offset(time: WallTime) -> String {
    format!("{}+00:00", date_and_time(time))
}

/// As the existing database prints it in rows: a fraction has no zeros at its end, and may be missing.
pub(super) fn as_stored(time: WallTime) -> String {
    let text = date_and_time(time);
    format!("{}+00:00", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A moment of this machine's clock; one before 1970 counts as 1970.
pub(super) fn wall(time: SystemTime) -> WallTime {
    let ms = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    WallTime(u64::try_from(ms).unwrap_or(u64::MAX))
}

fn date_and_time(WallTime(ms): WallTime) -> String {
    let (year, month, day) = date(ms / MS_PER_DAY);
    let (hour, minute) = (ms / 3_600_000 % 24, ms / 60_000 % 60);
    let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}")
}

/// Gregorian date of a day counted from 1970-01-01. Years are taken to begin in March, so that the
/// leap day comes last and months have a fixed pattern of lengths.
fn date(day_of_epoch: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    const DAYS_BEFORE_EPOCH: u64 = 719_468;
    let days = day_of_epoch + DAYS_BEFORE_EPOCH;
    let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_the_calendar_says() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000"),
            (951_782_399_999, "2000-02-28T23:59:59.999"),
            (951_782_400_000, "2000-02-29T00:00:00.000"),
            (951_868_800_000, "2000-03-01T00:00:00.000"),
            (1_750_406_400_000, "2025-06-20T08:00:00.000"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999"),
        ] {
            assert_eq!(zulu(WallTime(ms)), format!("{text}Z"));
            assert_eq!(with_offset(WallTime(ms)), format!("{text}+00:00"));
        }
        for (ms, text) in [
            (1_750_406_400_000, "2025-06-20T08:00:00+00:00"),
            (1_750_406_400_100, "2025-06-20T08:00:00.1+00:00"),
            (1_750_406_400_123, "2025-06-20T08:00:00.123+00:00"),
        ] {
            assert_eq!(as_stored(WallTime(ms)), text);
        }
        // No moment breaks it.
        assert!(zulu(WallTime(u64::MAX)).ends_with('Z'));
    }
}
