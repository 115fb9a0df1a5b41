//! Dates. Each date, of a search or of a resource, is a period from one instant to another.

use serde_json::Value;

use super::SearchContext;
use super::place::ValueShape;
use super::prefix::{self, SearchPrefix};
use crate::fhir::{date_time, instant};

/// A date to search for.
#[derive(Debug, Clone)]
pub struct SearchDate {
    prefix: SearchPrefix,
    time: DatePeriod,
}

/// A period, from an instant to before another one, in nanoseconds since 1970. The least and the
/// greatest number are open ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DatePeriod {
    from: i128,
    to: i128,
}

const SECOND: i128 = 1_000_000_000;

impl SearchDate {
    /// Parses a date with its prefix, as in `ge2024-01`. The `+` of an offset may have become a
    /// space. A date without an offset is in UTC.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (prefix, date) = prefix::split(text);
        let time = time(&date.replace(' ', "+")).ok_or(
            "give a date such as 2024, 2024-01-31 or 2024-01-31T08:30:00Z, with or without one of the \
             prefixes eq, ne, gt, lt, ge, le, sa, eb or ap",
        )?;
        Ok(Self { prefix, time })
    }

    /// Returns whether a value of a resource compares as the prefix says. Near means within the
    /// length of the wanted date: a day before or after a day.
    pub fn matches(&self, shape: ValueShape, value: &Value, search: SearchContext<'_>) -> bool {
        let Some(DatePeriod { from, to }) = time_of(shape, value, search) else { return false };
        let sought = self.time;
        let is_within = sought.from <= from && to <= sought.to;
        match self.prefix {
            SearchPrefix::Equal => is_within,
            SearchPrefix::NotEqual => !is_within,
            SearchPrefix::Greater => to > sought.to,
            SearchPrefix::Less => from < sought.from,
            SearchPrefix::GreaterOrEqual => to > sought.from,
            SearchPrefix::LessOrEqual => from < sought.to,
            SearchPrefix::StartsAfter => from >= sought.to,
            SearchPrefix::EndsBefore => to <= sought.from,
            SearchPrefix::Approximately => {
                let length = sought.to - sought.from;
                from < sought.to + length && to > sought.from - length
            }
        }
    }
}

/// Returns the period of an element, or `None` if it has none.
fn time_of(shape: ValueShape, value: &Value, search: SearchContext<'_>) -> Option<DatePeriod> {
    match shape {
        ValueShape::Date => time(value.as_str()?),
        ValueShape::Instant => {
            let from = instant::parse(value.as_str()?).ok()?.as_nanosecond();
            Some(DatePeriod { from, to: from + 1 })
        }
        ValueShape::Period => {
            let end = |name: &str| value.get(name).map(|end| end.as_str().and_then(time));
            let (start, end) = (end("start"), end("end"));
            if start.is_none() && end.is_none() {
                return None;
            }
            let from = start.map_or(Some(i128::MIN), |start| Some(start?.from))?;
            let to = end.map_or(Some(i128::MAX), |end| Some(end?.to))?;
            Some(DatePeriod { from, to })
        }
        // Only its outer limits count, as the standard says.
        ValueShape::Timing => {
            let events = value["event"].as_array().into_iter().flatten();
            let events = events.take_while(|_| !search.cancel.is_cancelled());
            let events = events.filter_map(|event| time_of(ValueShape::Date, event, search));
            let bounds = time_of(ValueShape::Period, &value["repeat"]["boundsPeriod"], search);
            events.chain(bounds).reduce(|a, b| DatePeriod { from: a.from.min(b.from), to: a.to.max(b.to) })
        }
        _ => None,
    }
}

/// Returns the period that a `date`, a `dateTime` or an `instant` spans by its precision. It also
/// accepts times without seconds or an offset, which a search may have.
fn time(text: &str) -> Option<DatePeriod> {
    let Some((day, clock)) = text.split_once('T') else {
        let (first, last) = (date_time::first(text)?, date_time::last(text)?);
        return Some(DatePeriod { from: first.as_nanosecond(), to: last.as_nanosecond() + 1 });
    };
    let zone = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone);
    let zone = if zone.is_empty() { "Z" } else { zone };
    let (length, seconds) = match clock.len() {
        5 => (60 * SECOND, ":00"),
        8 => (SECOND, ""),
        longer => (SECOND / 10i128.pow(u32::try_from(longer.checked_sub(9)?).ok()?.min(9)), ""),
    };
    let from = instant::parse(&format!("{day}T{clock}{seconds}{zone}")).ok()?.as_nanosecond();
    Some(DatePeriod { from, to: from + length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_long_as_its_precision() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_nanosecond();
        for (text, from, to) in [
            ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29T10:00", "2024-02-29T10:00:00Z", "2024-02-29T10:01:00Z"),
            ("2024-02-29T10:00+01:00", "2024-02-29T09:00:00Z", "2024-02-29T09:01:00Z"),
            ("2024-02-29T10:00:01", "2024-02-29T10:00:01Z", "2024-02-29T10:00:02Z"),
            ("2024-02-29T10:00:01-01:00", "2024-02-29T11:00:01Z", "2024-02-29T11:00:02Z"),
            ("2024-02-29T10:00:01.5Z", "2024-02-29T10:00:01.5Z", "2024-02-29T10:00:01.6Z"),
            (
                "2024-02-29T10:00:01.123456789Z",
                "2024-02-29T10:00:01.123456789Z",
                "2024-02-29T10:00:01.12345679Z",
            ),
            (
                "2024-02-29T10:00:01.1234567891Z",
                "2024-02-29T10:00:01.123456789Z",
                "2024-02-29T10:00:01.12345679Z",
            ),
        ] {
            assert_eq!(time(text), Some(DatePeriod { from: at(from), to: at(to) }), "{text}");
        }
        for text in [
            "",
            "T",
            "24",
            "2024-13",
            "2024-1-1",
            "2023-02-29",
            "2024-01-01T",
            "2024-01-01T10",
            "2024-01-01T10:00:",
            "2024-01-01T10:00:00.",
            "2024-01-01T25:00",
            "2024T10:00",
            "2024-01-01T10:00+1",
            "2024-01-01T10:0é",
            "2024-01-01 10:00",
            "2024-01-01T10:00:00Zulu",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert!(time("9999").is_some() && time("9999-12-31T23:59:59Z").is_some() && time("0001").is_some());
    }
}
