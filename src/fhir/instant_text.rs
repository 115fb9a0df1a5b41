//! The text of instants, as clients get them.

use jiff::Timestamp;

/// Formats an instant for clients: in UTC and in milliseconds, because many parse exactly three
/// digits. Finer digits are cut off, never rounded up: a client that asks for everything after a
/// `transactionTime` may get something twice, but misses nothing (MF-1).
pub fn milliseconds(instant: Timestamp) -> String {
    const MILLISECOND: i128 = 1_000_000;
    let cut = instant.as_nanosecond().div_euclid(MILLISECOND) * MILLISECOND;
    format!("{:.3}", Timestamp::from_nanosecond(cut).unwrap_or(Timestamp::MIN))
}

/// Formats an instant in whole seconds, as in `2022-05-10T03:14:12Z`.
pub fn seconds(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fhir::instant;

    #[test]
    fn mf_1_an_instant_is_told_in_milliseconds_and_never_rounded_up() {
        for (instant, told) in [
            ("2026-11-30T10:20:30Z", "2026-11-30T10:20:30.000Z"),
            ("2026-11-30T10:20:30.1Z", "2026-11-30T10:20:30.100Z"),
            ("2026-11-30T10:20:30.123999999Z", "2026-11-30T10:20:30.123Z"),
            ("2026-11-30T10:20:30.000000001Z", "2026-11-30T10:20:30.000Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999Z"),
            ("1969-12-31T23:59:59.000000001+01:00", "1969-12-31T22:59:59.000Z"),
        ] {
            assert_eq!(milliseconds(instant.parse().unwrap()), told, "{instant}");
        }
        assert_eq!(milliseconds(Timestamp::MIN), format!("{:.3}", Timestamp::MIN));
    }

    proptest! {
        #[test]
        fn mf_1_what_is_told_is_less_than_a_millisecond_before_the_instant(nanoseconds in -9_000_000_000_000_000_000i128..9_000_000_000_000_000_000) {
            let instant = Timestamp::from_nanosecond(nanoseconds).unwrap();
            let told = instant::parse(&milliseconds(instant)).unwrap();
            prop_assert!(told <= instant && instant.duration_since(told).as_nanos() < 1_000_000);
            prop_assert_eq!(milliseconds(told), milliseconds(instant));
        }
    }

    #[test]
    fn an_instant_is_cut_to_seconds_and_never_rounded_into_the_future() {
        let instant = "2022-05-10T03:14:12.999Z".parse().unwrap();
        assert_eq!(super::seconds(instant), "2022-05-10T03:14:12Z");
    }
}
