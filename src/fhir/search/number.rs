//! Numbers, with the precision that their digits imply.

use rust_decimal::Decimal;
use serde_json::Value;

use super::place::ValueShape;
use super::prefix::{self, SearchPrefix};

/// A number to search for.
#[derive(Debug, Clone)]
pub struct SearchNumber {
    prefix: SearchPrefix,
    value: Decimal,
    /// Half a unit of its last digit.
    half: Decimal,
}

/// The range of a value, inclusive; `None` is an open end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberRange {
    pub low: Option<Decimal>,
    pub high: Option<Decimal>,
}

impl SearchNumber {
    /// Parses a number with its prefix, as in `ge5.4` or `1e2`.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (prefix, number) = prefix::split(text);
        let (value, unit) = decimal_and_unit(number).ok_or(
            "give a number of at most 18 digits such as 5.4, -3 or 1e2, with or without one of the \
             prefixes eq, ne, gt, lt, ge, le, sa, eb or ap",
        )?;
        Ok(Self { prefix, value, half: unit * Decimal::new(5, 1) })
    }

    /// Returns whether a value with this range matches. The precision counts only for `eq`, `ne`
    /// and `ap`. Near means within a tenth of the number.
    pub fn matches(&self, NumberRange { low, high }: NumberRange) -> bool {
        let value = self.value;
        let is_equal = || {
            low.is_some_and(|low| low >= value - self.half)
                && high.is_some_and(|high| high < value + self.half)
        };
        match self.prefix {
            SearchPrefix::Equal => is_equal(),
            SearchPrefix::NotEqual => !is_equal(),
            SearchPrefix::Greater => high.is_none_or(|high| high > value),
            SearchPrefix::Less => low.is_none_or(|low| low < value),
            SearchPrefix::GreaterOrEqual => high.is_none_or(|high| high >= value),
            SearchPrefix::LessOrEqual => low.is_none_or(|low| low <= value),
            SearchPrefix::StartsAfter => low.is_some_and(|low| low > value),
            SearchPrefix::EndsBefore => high.is_some_and(|high| high < value),
            SearchPrefix::Approximately => {
                let near = self.half.max(value.abs() * Decimal::new(1, 1));
                low.is_none_or(|low| low <= value + near) && high.is_none_or(|high| high >= value - near)
            }
        }
    }
}

/// Returns the range of an element that is a number or a Range, or `None` if it has none.
pub fn extent(shape: ValueShape, value: &Value) -> Option<NumberRange> {
    match shape {
        ValueShape::Number => decimal(value).map(|it| NumberRange { low: Some(it), high: Some(it) }),
        ValueShape::Range => {
            let (low, high) = (decimal(&value["low"]["value"]), decimal(&value["high"]["value"]));
            (low.is_some() || high.is_some()).then_some(NumberRange { low, high })
        }
        _ => None,
    }
}

/// Parses a JSON number. A number beyond all decimals becomes the greatest or the least.
pub fn decimal(value: &Value) -> Option<Decimal> {
    let Value::Number(number) = value else { return None };
    let text = number.to_string();
    let read = text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok());
    read.or_else(|| match number.as_f64()? {
        tiny if tiny.abs() < 1.0 => Some(Decimal::ZERO),
        huge if huge > 0.0 => Some(Decimal::MAX),
        _ => Some(Decimal::MIN),
    })
}

/// Parses a number and the unit of its last digit. Returns `None` for other texts, and for more
/// than the 18 significant digits of a FHIR decimal.
fn decimal_and_unit(text: &str) -> Option<(Decimal, Decimal)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let are_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !are_digits(whole) || !are_digits(fraction) || !are_digits(exponent_digits) {
        return None;
    }
    let fraction = if unsigned.contains('.') { fraction } else { "" };
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent.parse().ok()?)?;
    let unit = match scale {
        0..=18 => Decimal::new(1, scale.unsigned_abs()),
        -18..0 => Decimal::from(10i64.pow(scale.unsigned_abs())),
        _ => return None,
    };
    let value = Decimal::from(digits).checked_mul(unit)?;
    let is_in_bounds = digits < 10i64.pow(18) && value < Decimal::from(10i64.pow(18));
    is_in_bounds.then_some((if mantissa.starts_with('-') { -value } else { value }, unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_as_precise_as_its_digits() {
        for (text, value, unit) in [
            ("100", "100", "1"),
            ("100.00", "100", "0.01"),
            ("1e2", "100", "100"),
            ("1.00e2", "100", "1"),
            ("5.40e-3", "0.0054", "0.00001"),
            ("-5.4", "-5.4", "0.1"),
            ("+0", "0", "1"),
            ("007", "7", "1"),
            ("1E+2", "100", "100"),
            ("999999999999999999", "999999999999999999", "1"),
        ] {
            assert_eq!(
                decimal_and_unit(text),
                Some((value.parse().unwrap(), unit.parse().unwrap())),
                "{text}"
            );
        }
        for text in [
            "",
            "x",
            "5.",
            ".5",
            "1e",
            "1e1.5",
            "--1",
            "+-1",
            "1 ",
            "0x1",
            "1000000000000000000",
            "1e19",
            "1e-19",
            "1e999999999999",
            "٣",
        ] {
            assert_eq!(decimal_and_unit(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_of_resources_are_read_as_they_stand() {
        for (value, text) in
            [(json!(5), "5"), (json!(-5.4), "-5.4"), (json!(1e-7), "0.0000001"), (json!(0.35), "0.35")]
        {
            assert_eq!(decimal(&value), Some(text.parse().unwrap()), "{value}");
        }
        assert_eq!(decimal(&json!(1e300)), Some(Decimal::MAX));
        assert_eq!(decimal(&json!(-1e300)), Some(Decimal::MIN));
        assert_eq!(decimal(&json!(1e-300)), Some(Decimal::ZERO));
        assert_eq!(decimal(&json!("5")), None);
    }

    proptest! {
        #[test]
        fn no_number_panics(text in "(ap|eq)?[+-]?[0-9]{1,20}([.][0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", value: f64) {
            if let (Ok(number), Some(value)) = (SearchNumber::parse(&text), decimal(&json!(value))) {
                number.matches(NumberRange { low: Some(value), high: Some(value) });
            }
        }
    }
}
