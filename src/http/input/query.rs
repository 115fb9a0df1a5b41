//! Query strings, decoded strictly: a parameter that is misread would be ignored.

use percent_encoding::percent_decode_str;

use crate::http::ApiError;

/// Returns the parameters of a query string in their order, percent-decoded; a `+` is a space.
pub fn parse(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((percent_decoded(&name.replace('+', " "))?, percent_decoded(&value.replace('+', " "))?))
        })
        .collect()
}

/// Returns the parameters of a query string without those that every URL takes (R4 3.1.0.1.11 and
/// 3.1.0.1.12): `_format`, which is negotiated with `Accept`, and `_pretty`, which is ignored.
pub fn specific(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let mut parameters = parse(query)?;
    parameters.retain(|(name, _)| !is_general(name));
    Ok(parameters)
}

/// Returns whether every URL takes a parameter.
pub fn is_general(name: &str) -> bool {
    matches!(name, "_format" | "_pretty")
}

/// Decodes the percent escapes of a text of a URL.
///
/// # Errors
/// Fails with 400 `structure` for a `%` that begins no escape, or for bytes that are not UTF-8.
pub fn percent_decoded(text: &str) -> Result<String, ApiError> {
    let escapes = text.split('%').skip(1);
    let hex =
        |escape: &str| escape.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !escapes.into_iter().all(hex) {
        return Err(ApiError::malformed_url(
            "The URL has a % that is not followed by two hexadecimal digits.",
        ));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| ApiError::malformed_url("The URL has bytes that are not UTF-8."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_decoded_and_what_cannot_be_is_refused() {
        let pairs = |query| parse(query).unwrap();
        assert_eq!(
            pairs("_type=Patient%2CGroup&x=a+b&&y"),
            [
                ("_type".into(), "Patient,Group".into()),
                ("x".into(), "a b".into()),
                ("y".into(), String::new())
            ]
        );
        assert_eq!(pairs(""), []);
        for bad in ["a=%", "a=%f", "a=%zz", "%=1", "a=%ff"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,200}") {
            let _ = parse(&query);
        }
    }
}
