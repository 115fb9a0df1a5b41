//! Separators in search values, and the backslash that escapes them.

/// Splits the text at unescaped separators. The parts keep their backslashes.
pub fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut is_escaped = false;
    text.split(move |c| {
        let is_border = c == at && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_border
    })
}

/// Removes the escapes.
///
/// # Errors
/// Fails if a backslash precedes anything but `,`, `|`, `$` and itself.
pub fn unescape(text: &str) -> Result<String, &'static str> {
    let mut meant = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        meant.push(match c {
            '\\' => chars
                .next()
                .filter(|next| matches!(next, ',' | '|' | '$' | '\\'))
                .ok_or(r"a backslash may stand only before , | $ or \, and one that is meant is \\")?,
            other => other,
        });
    }
    Ok(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_after_a_backslash_are_none() {
        let parts = |text| split(text, ',').collect::<Vec<_>>();
        assert_eq!(parts("a,b"), ["a", "b"]);
        assert_eq!(parts(r"a\,b,c"), [r"a\,b", "c"]);
        assert_eq!(parts(r"a\\,b"), [r"a\\", "b"]);
        assert_eq!(parts(r"\\\,"), [r"\\\,"]);
        assert_eq!(parts(","), ["", ""]);
    }

    #[test]
    fn escapes_are_read_and_all_others_refused() {
        assert_eq!(unescape(r"a\,\|\$\\b").as_deref(), Ok(r"a,|$\b"));
        for bad in [r"\", r"a\n", r"\\\"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }
}
