//! What a lenient kick-off ignored (K-5): the first notices one by one, the rest by their number, so that
//! a small request does not become a large document (P13).

use crate::http::ApiError;
use crate::job::bounds::{MAX_NOTICE_BYTES, MAX_NOTICES};

/// The notices of one kick-off, and the number of those beyond the bound.
#[derive(Debug, Default)]
pub struct IgnoredNotices {
    texts: Vec<String>,
    /// The number of those that are only counted.
    more: u64,
}

impl IgnoredNotices {
    /// Adds why something was ignored. The same text is kept once.
    pub fn add(&mut self, error: &ApiError) {
        let text = clipped(format!("Ignored: {error}"));
        if self.texts.contains(&text) {
            return;
        }
        if self.texts.len() < MAX_NOTICES {
            self.texts.push(text);
        } else {
            self.more += 1;
        }
    }

    /// Returns a sentence for each, and one for those that were only counted.
    pub fn into_texts(mut self) -> Vec<String> {
        if self.more > 0 {
            let more = self.more;
            self.texts
                .push(format!("Ignored: {more} more parameters, or values of them, beside those named."));
        }
        self.texts
    }
}

/// Returns a text of at most [`MAX_NOTICE_BYTES`].
fn clipped(mut text: String) -> String {
    const DOTS: &str = "...";
    if text.len() > MAX_NOTICE_BYTES {
        let end = text.floor_char_boundary(MAX_NOTICE_BYTES - DOTS.len());
        text.replace_range(end.., DOTS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_the_first_are_told_and_the_rest_is_counted() {
        let error = |n: usize| ApiError::invalid(format!("value {n}"));
        let mut notices = IgnoredNotices::default();
        for n in 0..MAX_NOTICES {
            notices.add(&error(n));
            notices.add(&error(0));
        }
        assert_eq!((notices.texts.len(), notices.more), (MAX_NOTICES, 0), "repeats are told once");
        for n in 0..7 {
            notices.add(&error(MAX_NOTICES + n));
        }
        let texts = notices.into_texts();
        assert_eq!(texts.len(), MAX_NOTICES + 1);
        assert_eq!(texts[MAX_NOTICES - 1], format!("Ignored: value {}", MAX_NOTICES - 1));
        assert!(texts[MAX_NOTICES].contains("7 more"), "{}", texts[MAX_NOTICES]);
    }

    #[test]
    fn p13_a_long_one_is_cut_between_two_characters() {
        let mut notices = IgnoredNotices::default();
        notices.add(&ApiError::invalid("é".repeat(MAX_NOTICE_BYTES)));
        let [text] = &notices.into_texts()[..] else { panic!() };
        assert!(text.len() <= MAX_NOTICE_BYTES && text.ends_with("é..."), "{text}");
    }
}
