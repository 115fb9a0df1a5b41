//! The parts that pages are made of: badges, bars, sizes, times, tables, facts. Colour never stands alone: a
//! badge has a word.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use jiff::Timestamp;
use maud::{Markup, html};

use crate::clock::between;
use crate::job::StateName;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Somebody should look at it.
    Warn,
    /// Not as it should be.
    Bad,
    /// Neither good nor bad.
    Plain,
}

impl Tone {
    /// Returns the class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// Returns a word with the colour of a tone.
pub fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (word) } }
}

/// Returns the badge of a job's state.
pub fn state(state: StateName) -> Markup {
    let tone = match state {
        StateName::Queued | StateName::Running | StateName::Finishing | StateName::Erased => Tone::Plain,
        StateName::Complete => Tone::Good,
        StateName::Failed => Tone::Bad,
        StateName::Marked => Tone::Warn,
    };
    badge(tone, state.as_str())
}

/// Returns a bar that is filled to so many percent.
pub fn bar(percent: f64, label: &str) -> Markup {
    let percent = format!("{percent:.1}");
    html! {
        span class="bar" {
            progress max="100" value=(percent) aria-label=(label) {}
            span { (percent) " %" }
        }
    }
}

/// Returns a size for people, with the bytes on hover.
pub fn bytes(bytes: u64) -> Markup {
    html! { data value=(bytes) title={ (HumanCount(bytes)) " bytes" } { (HumanBytes(bytes)) } }
}

/// Returns a number for people.
pub fn count(count: u64) -> Markup {
    html! { data value=(count) { (HumanCount(count)) } }
}

/// Returns a duration for people.
pub fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{} ms", duration.as_millis());
    }
    HumanDuration(duration).to_string()
}

/// Returns a number of seconds for people.
pub fn seconds(seconds: u64) -> String {
    if seconds == 0 { "less than a second".into() } else { duration(Duration::from_secs(seconds)) }
}

/// Returns an instant; the script shows it in the reader's zone, with the UTC instant on hover.
pub fn instant(at: Timestamp) -> Markup {
    html! { time datetime=(format!("{at:.3}")) data-as="instant" title=(utc(at)) { (utc(at)) } }
}

/// Returns how long ago an instant was, which the script keeps current.
pub fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let text = format!("{} ago", duration(between(at, now)));
    html! { time datetime=(format!("{at:.3}")) data-as="ago" title=(utc(at)) { (text) } }
}

/// Returns how long it is until an instant, which the script counts down.
pub fn until(at: Timestamp, now: Timestamp) -> Markup {
    let text = if at <= now { "now".into() } else { format!("in {}", duration(between(now, at))) };
    html! { time datetime=(format!("{at:.3}")) data-as="until" title=(utc(at)) { (text) } }
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns a table that scrolls inside itself when it is wider than the page. `rows` are `tr` elements, each
/// with an id if the table is part of something live. On a phone each row is a card, and each of its cells
/// stands behind its `data-label`.
pub fn table(caption: &str, columns: &[Markup], rows: Markup) -> Markup {
    html! {
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { @for column in columns { (column) } } }
                tbody { (rows) }
            }
        }
    }
}

/// Returns the head of a column.
pub fn column(name: &str) -> Markup {
    html! { th scope="col" { (name) } }
}

/// Returns the head of a column of numbers.
pub fn number_column(name: &str) -> Markup {
    html! { th scope="col" class="number" { (name) } }
}

/// Returns what stands where there is nothing to show, and what would make something.
pub fn empty(text: &str, hint: &str) -> Markup {
    html! { div class="empty" { p { (text) } p class="quiet" { (hint) } } }
}

/// Returns the field for the reason of an order, and the button.
pub fn reason_field(button: &str) -> Markup {
    html! {
        div class="stack" {
            label for="reason" { "Reason" }
            input id="reason" name="reason" required maxlength="1000" aria-describedby="reason-hint";
            p id="reason-hint" class="quiet" { "It goes into the receipts. It must not name a patient." }
            div { button type="submit" { (button) } }
        }
    }
}

/// Returns names with their values.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl class="facts" { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_shows_is_escaped() {
        let shown = badge(Tone::Bad, "<b>\"&").into_string();
        assert_eq!(shown, "<span class=\"badge bad\">&lt;b&gt;&quot;&amp;</span>");
    }

    #[test]
    fn times_are_utc_until_the_script_has_them() {
        let at: Timestamp = "2026-11-30T09:43:11.5Z".parse().unwrap();
        let later = at + Duration::from_secs(180);
        let shown = ago(at, later).into_string();
        assert!(shown.contains("datetime=\"2026-11-30T09:43:11.500Z\""), "{shown}");
        assert!(
            shown.contains("title=\"2026-11-30 09:43:11 UTC\"") && shown.contains("3 minutes ago"),
            "{shown}"
        );
        assert!(until(later, at).into_string().contains("in 3 minutes"));
        assert!(until(at, later).into_string().contains(">now<"));
    }
}
