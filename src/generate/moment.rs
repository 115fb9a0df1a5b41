//! Points in time as the generator needs them: milliseconds since 1970 in UTC, moved by whole
//! milliseconds and shown as a FHIR `instant` or `date`. The calendar is jiff's; the digits are
//! pushed by hand because two or three are written for every resource.

use jiff::civil::{Date, DateTime, date};
use jiff::tz::Offset;

use super::json::{JsonText, show_padded};

/// Milliseconds in a minute.
pub(super) const MINUTE: u64 = 60_000;
/// Milliseconds in an hour.
pub(super) const HOUR: u64 = 60 * MINUTE;
/// Milliseconds in a day (UTC has no others).
pub(super) const DAY: u64 = 24 * HOUR;

/// Milliseconds since 1970-01-01T00:00:00Z. Shown as an instant: `2019-03-04T10:15:00.123Z`.
#[derive(Clone, Copy)]
pub(super) struct UnixMillis(i64);

impl UnixMillis {
    /// The first instant of a day of the Gregorian calendar.
    pub(super) fn midnight(year: i16, month: i8, day: i8) -> Self {
        let start = date(year, month, day).at(0, 0, 0, 0);
        let timestamp =
            Offset::UTC.to_timestamp(start).expect("the generator's years are within jiff's range");
        Self(timestamp.as_millisecond())
    }

    /// The moment `milliseconds` later.
    pub(super) fn plus(self, milliseconds: u64) -> Self {
        Self(self.0 + milliseconds as i64)
    }

    /// The day it falls on.
    pub(super) fn day(self) -> CalendarDay {
        CalendarDay(self.civil().date())
    }

    /// The calendar year it falls in.
    pub(super) fn year(self) -> i16 {
        self.civil().year()
    }

    fn civil(self) -> DateTime {
        let timestamp =
            jiff::Timestamp::from_millisecond(self.0).expect("the generator's years are within jiff's range");
        Offset::UTC.to_datetime(timestamp)
    }
}

impl JsonText for UnixMillis {
    fn show(&self, out: &mut Vec<u8>) {
        let civil = self.civil();
        CalendarDay(civil.date()).show(out);
        for (mark, part) in [(b'T', civil.hour()), (b':', civil.minute()), (b':', civil.second())] {
            out.push(mark);
            show_padded(part as u64, 2, out);
        }
        out.push(b'.');
        show_padded(civil.millisecond() as u64, 3, out);
        out.push(b'Z');
    }
}

/// A calendar day. Shown as a date: `2019-03-04`.
#[derive(Clone, Copy)]
pub(super) struct CalendarDay(Date);

impl JsonText for CalendarDay {
    fn show(&self, out: &mut Vec<u8>) {
        show_padded(self.0.year() as u64, 4, out);
        out.push(b'-');
        show_padded(self.0.month() as u64, 2, out);
        out.push(b'-');
        show_padded(self.0.day() as u64, 2, out);
    }
}
