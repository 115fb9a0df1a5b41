//! FHIR `dateTime`: an instant, or a day, month or year in UTC.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::instant;

/// Returns the first instant of a `dateTime`, or `None` if the text is not one.
pub fn first(text: &str) -> Option<Timestamp> {
    range(text).map(|(first, _)| first)
}

/// Returns the last instant of a `dateTime`, or `None` if the text is not one.
pub fn last(text: &str) -> Option<Timestamp> {
    range(text).map(|(_, last)| last)
}

fn range(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (from, length) = match text.len() {
        4 => (format!("{text}-01-01"), Span::new().years(1)),
        7 => (format!("{text}-01"), Span::new().months(1)),
        10 => (text.to_owned(), Span::new().days(1)),
        _ => return instant::parse(text).ok().map(|instant| (instant, instant)),
    };
    if !from
        .bytes()
        .enumerate()
        .all(|(n, byte)| if n == 4 || n == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    {
        return None;
    }
    let start: Date = from.parse().ok()?;
    // The last day of the year 9999 is beyond all timestamps.
    let instant =
        |date: Date| TimeZone::UTC.to_timestamp(date.to_datetime(Time::midnight())).unwrap_or(Timestamp::MAX);
    let last = start.checked_add(length).map_or(Timestamp::MAX, instant);
    let a_nanosecond = Span::new().nanoseconds(1);
    Some((instant(start), last.checked_sub(a_nanosecond).unwrap_or(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_lasts_to_its_end() {
        let check = |text: &str, first_instant: &str, last_instant: &str| {
            assert_eq!(first(text), Some(first_instant.parse().unwrap()), "{text}");
            assert_eq!(last(text), Some(last_instant.parse().unwrap()), "{text}");
        };
        check("2024", "2024-01-01T00:00:00Z", "2024-12-31T23:59:59.999999999Z");
        check("2024-02", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999999999Z");
        check("2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999999999Z");
        check("2024-02-29T10:00:00+01:00", "2024-02-29T09:00:00Z", "2024-02-29T09:00:00Z");
        for text in ["", "24", "2024-13", "2023-02-29", "2024-2-1", "2024-02-29T10:00:00", "+024", "2024/02"]
        {
            assert_eq!(first(text), None, "{text:?}");
        }
        for text in ["9999", "9999-12-31", "9999-12-31T23:59:59Z"] {
            assert!(last(text).is_some_and(|last| last > "9998-12-31T00:00:00Z".parse().unwrap()), "{text}");
        }
    }
}
