//! The FHIR R4 `instant`: `YYYY-MM-DDThh:mm:ss(.f+)?(Z|[+-]hh:mm)`, as in `_since`, `_until` and
//! `meta.lastUpdated`. The index parses one per resource, so parsing goes byte by byte at fixed
//! positions, without an allocation.

use jiff::Timestamp;
use jiff::civil::Date;

/// Why a text is not an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// Something is missing, superfluous or misplaced.
    #[error("it is not of the form YYYY-MM-DDThh:mm:ss and then Z or an offset such as +01:00")]
    Form,
    /// The day is not in the calendar of the years 0001 to 9999.
    #[error("there is no such day")]
    Date,
    /// Hours go to 23, minutes to 59, seconds to 59 or, for a leap second, 60.
    #[error("there is no such time of day")]
    Time,
    /// Offsets go from -14:00 to +14:00, and their minutes to 59.
    #[error("there is no such offset from UTC")]
    Offset,
}

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Parses an instant, strictly by the standard's grammar.
///
/// The second 60, which the grammar has for leap seconds, is accepted in any minute and is the
/// first second of the next one, as POSIX counts. Digits of a fraction after the ninth are cut off.
/// The last 26 hours of the year 9999 are beyond [`Timestamp::MAX`] and become it, so an end of
/// time such as `9999-12-31T23:59:59Z` can be parsed.
///
/// # Errors
/// Fails with the first mistake from left to right.
pub fn parse(text: &str) -> Result<Timestamp, InstantError> {
    let (head, tail) = text.as_bytes().split_first_chunk().ok_or(InstantError::Form)?;
    let &[y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd, b'T', h, hh, b':', n, nn, b':', s, ss] = head else {
        return Err(InstantError::Form);
    };
    let (century, year) = (two_digits(y, yy)?, two_digits(yyy, yyyy)?);
    let (month, day) = (two_digits(m, mm)?, two_digits(d, dd)?);
    let (hour, minute, second) = (two_digits(h, hh)?, two_digits(n, nn)?, two_digits(s, ss)?);
    let (nanosecond, zone) = match tail.split_first() {
        Some((b'.', digits)) => fraction(digits)?,
        _ => (0, tail),
    };
    let offset = match *zone {
        [b'Z'] => 0,
        [b'+', h, hh, b':', n, nn] => offset_seconds([h, hh], [n, nn])?,
        [b'-', h, hh, b':', n, nn] => -offset_seconds([h, hh], [n, nn])?,
        _ => return Err(InstantError::Form),
    };
    let year = i16::from(century) * 100 + i16::from(year);
    let date = Date::new(year, month, day).ok().filter(|_| year > 0).ok_or(InstantError::Date)?;
    if hour > 23 || minute > 59 || second > 60 {
        return Err(InstantError::Time);
    }
    let time = 3600 * i64::from(hour) + 60 * i64::from(minute) + i64::from(second);
    let seconds = date.duration_since(EPOCH).as_secs() + time - offset;
    Ok(Timestamp::new(seconds, nanosecond).unwrap_or(Timestamp::MAX))
}

fn two_digits(tens: u8, ones: u8) -> Result<i8, InstantError> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() {
        return Ok((10 * (tens - b'0') + (ones - b'0')).cast_signed());
    }
    Err(InstantError::Form)
}

/// Returns the nanoseconds of the digits at the beginning, and the rest.
fn fraction(text: &[u8]) -> Result<(i32, &[u8]), InstantError> {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    if digits.is_empty() {
        return Err(InstantError::Form);
    }
    let digit = |place| digits.get(place).map_or(0, |digit| i32::from(digit - b'0'));
    Ok(((0..9).fold(0, |nanoseconds, place| 10 * nanoseconds + digit(place)), rest))
}

fn offset_seconds(hours: [u8; 2], minutes: [u8; 2]) -> Result<i64, InstantError> {
    let (hours, minutes) = (two_digits(hours[0], hours[1])?, two_digits(minutes[0], minutes[1])?);
    let seconds = 3600 * i64::from(hours) + 60 * i64::from(minutes);
    if minutes > 59 || seconds > 14 * 3600 {
        return Err(InstantError::Offset);
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::InstantError::{Date, Form, Offset, Time};
    use super::*;

    #[test]
    fn instants_are_read_with_their_fraction_and_offset() {
        for (text, same) in [
            ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
            ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"),
            ("2015-02-07T13:28:17.239+02:00", "2015-02-07T11:28:17.239Z"),
            ("2015-02-07T13:28:17-14:00", "2015-02-08T03:28:17Z"),
            ("2015-02-07T13:28:17+14:00", "2015-02-06T23:28:17Z"),
            ("2015-02-07T13:28:17-00:00", "2015-02-07T13:28:17Z"),
            ("1969-12-31T23:59:59.75Z", "1969-12-31T23:59:59.75Z"),
            ("0001-01-01T00:00:00+14:00", "0000-12-31T10:00:00Z"),
            ("2015-02-07T13:28:17.123456789Z", "2015-02-07T13:28:17.123456789Z"),
            ("2015-02-07T13:28:17.12345678999Z", "2015-02-07T13:28:17.123456789Z"),
            // The second 60 is the first one of the next minute.
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2015-02-07T13:28:60.5-01:00", "2015-02-07T14:29:00.5Z"),
            // The end of time.
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
            ("9999-12-31T23:59:60.1-14:00", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(parse(text), Ok(same.parse().unwrap()), "{text}");
        }
        let long = format!("2015-02-07T13:28:17.{}Z", "0".repeat(100_000));
        assert_eq!(parse(&long), parse("2015-02-07T13:28:17Z"));
    }

    #[test]
    fn what_is_no_instant_is_refused_with_its_reason() {
        for (text, error) in [
            ("", Form),
            ("2024", Form),
            ("2024-01", Form),
            ("2024-01-01", Form),
            ("2024-01-01T00:00Z", Form),
            ("2024-01-01T00:00:00", Form),
            ("2024-01-01T00:00:00.5", Form),
            ("2024-01-01T00:00:00.Z", Form),
            ("2024-01-01T00:00:00,5Z", Form),
            ("2024-01-01T00:00:00z", Form),
            ("2024-01-01t00:00:00Z", Form),
            ("2024-01-01 00:00:00Z", Form),
            ("2024-01-01T00:00:00Z ", Form),
            (" 2024-01-01T00:00:00Z", Form),
            ("2024-01-01T00:00:00ZZ", Form),
            ("2024-01-01T00:00:00+01", Form),
            ("2024-01-01T00:00:00+0100", Form),
            ("2024-01-01T00:00:00 01:00", Form),
            ("2024-01-01T00:00:00+01:00Z", Form),
            ("2024-01-01T00:00:00+1:00", Form),
            ("2024-01-01T00:00:00\u{2212}01:00", Form),
            ("2024-1-1T00:00:00Z", Form),
            ("20240101T000000Z", Form),
            ("+2024-01-01T00:00:00Z", Form),
            ("-001-01-01T00:00:00Z", Form),
            ("12024-01-01T00:00:00Z", Form),
            ("2024-01-0aT00:00:00Z", Form),
            ("2024-01-01T0:00:000Z", Form),
            ("2024-01-01T00:00:00Z[UTC]", Form),
            ("202\u{661}-01-01T00:00:00Z", Form),
            ("1704067200", Form),
            ("0000-01-01T00:00:00Z", Date),
            ("2024-00-01T00:00:00Z", Date),
            ("2024-13-01T00:00:00Z", Date),
            ("2024-01-00T00:00:00Z", Date),
            ("2024-04-31T00:00:00Z", Date),
            ("2023-02-29T00:00:00Z", Date),
            ("1900-02-29T00:00:00Z", Date),
            ("2024-01-01T24:00:00Z", Time),
            ("2024-01-01T00:60:00Z", Time),
            ("2024-01-01T00:00:61Z", Time),
            ("2024-01-01T00:00:00+14:01", Offset),
            ("2024-01-01T00:00:00-15:00", Offset),
            ("2024-01-01T00:00:00+00:60", Offset),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_well_formed_instant_is_read_as_jiff_reads_it(
            (year, month, day) in (1..=9999, 1..=12, 1..=31),
            (hour, minute, second) in (0..24, 0..60, 0..60),
            fraction in "(\\.[0-9]{1,9})?",
            zone in "Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            match text.parse::<Timestamp>() {
                Ok(instant) => prop_assert_eq!(parse(&text), Ok(instant), "{}", text),
                // Beyond jiff's end of time; or no day.
                Err(_) if (year, month) == (9999, 12) => prop_assert_eq!(parse(&text), Ok(Timestamp::MAX)),
                Err(_) => prop_assert_eq!(parse(&text), Err(Date), "{}", text),
            }
        }

        #[test]
        fn no_text_panics_and_none_is_read_that_jiff_refuses(
            text in "([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}.{0,8})|.{0,40}",
        ) {
            if let Ok(instant) = parse(&text) {
                // jiff takes the second 60 for 59, and knows no end of time.
                if !text.contains(":60") && instant != Timestamp::MAX {
                    prop_assert_eq!(text.parse::<Timestamp>().ok(), Some(instant), "{}", text);
                }
            }
        }
    }
}
