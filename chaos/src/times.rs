//! Times as servers write them, and when a line was written that was read some time later.

use crate::history::Nanos;

/// Nanoseconds.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// Nanoseconds from 1970 to a time like `2026-11-29T08:00:00.000Z`, with as many digits behind the point as there are.
pub(crate) fn since_epoch(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Years that begin in March end with the day that some of them lack.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let digits = text.get(19..)?.strip_prefix('.').unwrap_or_default();
    let digits = digits.bytes().map_while(|it| it.is_ascii_digit().then_some(i64::from(it - b'0')));
    let (part, _) = digits.fold((0, SECOND / 10), |(sum, unit), it| (sum + it * unit, unit / 10));
    seconds.checked_mul(SECOND)?.checked_add(part)
}

/// When lines of one process were written, which has put its own time (of [`since_epoch`]) into some: each was read at
/// some moment (of this program's clock), and how much later that was than its writing is not known. The line that came
/// fastest says by how much the clocks differ; a line never was written later than it was read. Nobody may have set the
/// process's clock meanwhile.
pub(crate) fn written(lines: &[(Nanos, Option<i64>)]) -> Vec<Nanos> {
    let mut written: Vec<Nanos> = lines.iter().map(|(read, _)| *read).collect();
    let told: Vec<(usize, i64)> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, (read, own))| Some((at, i64::try_from(*read).ok()? - (*own)?)))
        .collect();
    let fastest = told.iter().map(|(_, differ)| *differ).min().unwrap_or_default();
    for (at, differ) in told {
        let late = u64::try_from(differ - fastest).unwrap_or_default();
        written[at] = written[at].saturating_sub(late);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_servers_write_them() {
        assert_eq!(since_epoch("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(since_epoch("2000-02-29T12:34:56.789Z"), Some(951_827_696_789_000_000));
        assert_eq!(since_epoch("2026-11-29T23:11:43.000001Z"), Some(1_795_993_903_000_001_000));
        assert_eq!(since_epoch("soon"), None);
    }

    #[test]
    fn a_line_that_was_read_late_was_written_when_its_process_says() {
        let line = |read: i64, own: i64| (u64::try_from(read).expect("after the start"), Some(own));
        let lines = [line(105, 1_000), line(170, 1_010), (180, None), line(190, 1_080)];
        assert_eq!(written(&lines), [105, 115, 180, 185]);
    }
}
