//! Instants as the oracle reads them: nanoseconds since 1970 (UTC), by counting digits and days.

const DAY: i128 = 24 * 3600 * 1_000_000_000;

/// Days from 1970-01-01 to a day of the calendar; `None` if there is no such day.
fn days(year: i128, month: i128, day: i128) -> Option<i128> {
    let leap = |year: i128| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *months.get(usize::try_from(month - 1).ok()?)?;
    if year < 1 || day < 1 || day > length {
        return None;
    }
    let past = year - 1;
    let years = past * 365 + past / 4 - past / 100 + past / 400;
    let before: i128 = months[..(month - 1) as usize].iter().sum();
    Some(years + before + day - 1 - 719_162)
}

/// A number of exactly that many digits.
fn number(text: &str, digits: usize) -> Option<i128> {
    let fits = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn date(text: &str) -> Option<i128> {
    let parts: Vec<_> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    days(number(year, 4)?, number(month, 2)?, number(day, 2)?)
}

/// A FHIR instant of any year: date, time with seconds, offset. Digits beyond the nanosecond
/// are cut off.
fn full(text: &str) -> Option<i128> {
    let (day, time) = text.split_once('T')?;
    let (time, offset) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let (time, offset) = time.split_at_checked(time.len().checked_sub(6)?)?;
            let sign = if offset.starts_with('+') { 1 } else { -1 };
            let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if minutes > 59 || hours * 60 + minutes > 14 * 60 {
                return None;
            }
            (time, sign * (hours * 60 + minutes))
        }
    };
    let (clock, fraction) = match time.split_once('.') {
        Some((clock, fraction)) if !fraction.is_empty() => (clock, fraction),
        Some(_) => return None,
        None => (time, "0"),
    };
    let parts: Vec<_> = clock.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    let (hours, minutes, seconds) = (number(hours, 2)?, number(minutes, 2)?, number(seconds, 2)?);
    if hours > 23 || minutes > 59 || seconds > 59 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i128 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let seconds = (hours * 60 + minutes - offset) * 60 + seconds;
    Some(date(day)? * DAY + seconds * 1_000_000_000 + nanoseconds)
}

/// The age of a resource: a strict FHIR instant of the years 1678 to 2261.
pub fn instant(text: &str) -> Option<i128> {
    let year = number(text.get(..4)?, 4)?;
    full(text).filter(|_| (1678..=2261).contains(&year))
}

/// A bound of a period: the first and the last nanosecond of a year, a month, a day or an instant.
pub fn bound(text: &str) -> Option<(i128, i128)> {
    if let Some(instant) = full(text) {
        return Some((instant, instant));
    }
    let parts: Vec<_> = text.split('-').collect();
    let (first, after) = match parts[..] {
        [year] => {
            let year = number(year, 4)?;
            (days(year, 1, 1)?, days(year + 1, 1, 1)?)
        }
        [year, month] => {
            let (year, month) = (number(year, 4)?, number(month, 2)?);
            let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
            (days(year, month, 1)?, next?)
        }
        _ => {
            let day = date(text)?;
            (day, day + 1)
        }
    };
    Some((first * DAY, after * DAY - 1))
}

#[test]
fn the_oracle_reads_instants_strictly_and_counts_their_nanoseconds_right() {
    // Jiff has no part in the oracle: here it is the second opinion.
    for text in [
        "1970-01-01T00:00:00Z",
        "2024-02-29T23:59:59.123456789+14:00",
        "2000-12-31T00:00:00-12:30",
        "1969-12-31T23:59:59.5Z",
        "1678-01-01T00:00:00Z",
        "2261-12-31T23:59:59.999999999Z",
    ] {
        let expected: jiff::Timestamp = text.parse().unwrap();
        assert_eq!(instant(text), Some(expected.as_nanosecond()), "{text}");
    }
    let digits = "9".repeat(60);
    assert_eq!(instant(&format!("1970-01-01T00:00:00.000000001{digits}Z")), Some(1), "digits are cut off");
    for text in [
        "",
        "2024",
        "2024-05-05",
        "2024-05-05T12:00Z",
        "2024-05-05T12:00:00",
        "2024-05-05t12:00:00z",
        "2024-05-05 12:00:00Z",
        "2023-02-29T12:00:00Z",
        "2024-05-05T24:00:00Z",
        "2024-05-05T12:00:00.Z",
        "2024-05-05T12:00:00+14:01",
        "2024-05-05T12:00:00+0200",
        "2024-5-05T12:00:00Z",
        "+2024-05-05T12:00:00Z",
        "1677-12-31T12:00:00Z",
        "2262-01-01T12:00:00Z",
        "é",
    ] {
        assert_eq!(instant(text), None, "{text}");
    }
    let day = |n: i128| (n * DAY, (n + 1) * DAY - 1);
    assert_eq!(bound("1970-01-02"), Some(day(1)));
    assert_eq!(bound("1970-02"), Some((31 * DAY, 59 * DAY - 1)));
    assert_eq!(bound("1971"), Some((365 * DAY, 730 * DAY - 1)));
    assert!(bound("9999-12").is_some() && bound("soon").is_none() && bound("1970-13").is_none());
}
