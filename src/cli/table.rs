//! What people read: tables that fit the terminal, and sizes, ages and instants in words. Colours
//! are only there where standard output is a terminal; `NO_COLOR` switches them off and
//! `CLICOLOR_FORCE` on.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, presets};
use dialoguer::console::{Term, style, truncate_str};
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use jiff::Timestamp;

/// What stands in for a value that there is not.
pub(super) const NOTHING: &str = "-";

/// How a column of a [`TextTable`] is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// To the left, and never cut, because people copy it.
    Key,
    /// To the right, and never cut.
    Number,
    /// To the left. On a narrow terminal it is cut, with an ellipsis.
    Text,
}

/// A list for people: a header, and a line a row. It is as wide as the terminal allows; in a pipe
/// nothing is cut and nothing left out.
#[derive(Debug)]
pub(super) struct TextTable {
    table: Table,
    /// The columns that a narrow terminal can do without, the first to go first.
    spare: Vec<usize>,
}

/// The width below which a column of texts says nothing.
const LEAST_TEXT: u16 = 10;

impl TextTable {
    /// Begins a table with these columns.
    pub(super) fn new(columns: &[(&str, ColumnKind)]) -> Self {
        let mut table = plain();
        table.set_header(columns.iter().map(|(name, _)| toned(TextTone::Faint, name)));
        for (column, (_, kind)) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if *kind == ColumnKind::Number {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if *kind != ColumnKind::Text {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Self { table, spare: Vec::new() }
    }

    /// Names columns, from 0, that are left out where the terminal is too narrow, the first one first.
    pub(super) fn spare(mut self, columns: &[usize]) -> Self {
        self.spare = columns.to_vec();
        self
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row = Row::from(cells.into_iter().map(Cell::new).collect::<Vec<_>>());
        row.max_height(1);
        self.table.add_row(row);
    }

    /// Returns the columns that there is no room for.
    fn left_out(&self) -> &[usize] {
        let Some(width) = self.table.width() else { return &[] };
        let contents = self.table.column_max_content_widths();
        let least = |(column, content): (usize, &u16)| match self.table.column(column) {
            Some(column) if column.constraint().is_none() => (*content).min(LEAST_TEXT) + 2,
            _ => content + 2,
        };
        let fits = |out: &[usize]| {
            let left = contents.iter().enumerate().filter(|(column, _)| !out.contains(column));
            left.map(least).sum::<u16>() <= width + 2
        };
        let enough = (0..self.spare.len()).find(|count| fits(&self.spare[..*count]));
        &self.spare[..enough.unwrap_or(self.spare.len())]
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = self.table.clone();
        for column in self.left_out() {
            if let Some(column) = table.column_mut(*column) {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        // The last column needs no space behind it.
        if let Some(last) = table.column_iter_mut().filter(|column| !column.is_hidden()).last() {
            last.set_padding((0, 0));
        }
        f.write_str(&table.trim_fmt())
    }
}

/// Named values, one a line. Long values go on below.
#[derive(Debug)]
pub(super) struct FieldList(Table);

impl FieldList {
    /// Begins a list.
    pub(super) fn new() -> Self {
        Self(plain())
    }

    /// Adds a value.
    pub(super) fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.0.add_row([toned(TextTone::Faint, name), value.to_string()]);
    }
}

impl fmt::Display for FieldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = self.0.clone();
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        f.write_str(&table.trim_fmt())
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTone {
    /// It is well.
    Good,
    /// It is going on.
    Busy,
    /// Somebody should know.
    Warning,
    /// Somebody should act.
    Bad,
    /// A title.
    Strong,
    /// What matters less.
    Faint,
}

/// Returns the text with the colour of its tone, where colours are shown on standard output.
pub(super) fn toned(tone: TextTone, text: impl fmt::Display) -> String {
    let text = style(text);
    match tone {
        TextTone::Good => text.green(),
        TextTone::Busy => text.cyan(),
        TextTone::Warning => text.yellow(),
        TextTone::Bad => text.red().bold(),
        TextTone::Strong => text.bold(),
        TextTone::Faint => text.dim(),
    }
    .to_string()
}

/// Returns a line that fits the terminal; in a pipe it is as it was.
pub(super) fn fitted(line: &str) -> Cow<'_, str> {
    let terminal = Term::stdout();
    match terminal.size_checked() {
        Some((_, columns)) if terminal.is_term() => truncate_str(line, columns.into(), "…"),
        _ => line.into(),
    }
}

/// Returns a number of bytes, such as `1.21 GiB`.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Returns a number with commas, such as `12,345`.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Returns how many there are of something, such as `1 job` or `12,345 jobs`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Returns a duration in its largest unit, such as `42s`, `5m`, `19h` or `3d`.
pub(super) fn rough(duration: Duration) -> String {
    format!("{:#}", HumanDuration(duration))
}

/// Returns how long ago an instant was, such as `5m`; zero for one that is yet to come.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    rough(now.duration_since(at).try_into().unwrap_or_default())
}

/// Returns an instant to the second, and how far away it is: `2026-11-30T19:31:07Z (5m ago)`.
pub(super) fn instant(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        return format!("{at:.0} (in {})", age(now, at));
    }
    format!("{at:.0} ({} ago)", age(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests may run on a terminal.
    fn without_colours() {
        dialoguer::console::set_colors_enabled(false);
    }

    #[test]
    fn a_table_has_a_header_and_aligned_columns_without_trailing_space() {
        without_colours();
        let columns = [("JOB", ColumnKind::Key), ("SIZE", ColumnKind::Number), ("WHO", ColumnKind::Text)];
        let mut table = TextTable::new(&columns);
        table.row(["a".into(), "1.00 KiB".into(), "me".into()]);
        table.row(["bcd".into(), "9 B".into(), NOTHING.into()]);
        assert_eq!(table.to_string(), "JOB      SIZE  WHO\na    1.00 KiB  me\nbcd       9 B  -");
        assert_eq!(TextTable::new(&columns).to_string(), "JOB  SIZE  WHO");
    }

    #[test]
    fn on_a_narrow_terminal_texts_are_cut_and_keys_and_numbers_are_not() {
        without_colours();
        let columns = [("JOB", ColumnKind::Key), ("WHO", ColumnKind::Text), ("N", ColumnKind::Number)];
        let mut table = TextTable::new(&columns);
        table.row(["0b7c8f0e-5b0a".into(), "a-client-with-a-long-name".into(), "12,345".into()]);
        table.table.set_width(36);
        let text = table.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 36), "{text}");
        assert!(text.contains("0b7c8f0e-5b0a") && text.contains("12,345") && text.contains('…'), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_narrow_terminal_does_without_the_columns_that_can_be_spared() {
        without_colours();
        let columns = [("JOB", ColumnKind::Key), ("FILES", ColumnKind::Number), ("NOTE", ColumnKind::Text)];
        let shown = |width: Option<u16>| {
            let mut table = TextTable::new(&columns).spare(&[1, 2]);
            table.row(["0b7c8f0e".into(), "7".into(), "expires in 2h".into()]);
            width.map(|width| table.table.set_width(width));
            let text = table.to_string();
            text.lines().next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        for (width, expected) in [
            (None, &["JOB", "FILES", "NOTE"][..]),
            (Some(30), &["JOB", "FILES", "NOTE"]),
            (Some(22), &["JOB", "NOTE"]),
            (Some(12), &["JOB"]),
            (Some(2), &["JOB"]),
        ] {
            assert_eq!(shown(width), expected, "{width:?}");
        }
    }

    #[test]
    fn the_values_of_a_list_are_aligned_and_long_ones_go_on_below() {
        without_colours();
        let mut list = FieldList::new();
        list.field("state", "running");
        list.field("kicked off", "a b c d e f");
        assert_eq!(list.to_string(), "state       running\nkicked off  a b c d e f");
        list.0.set_width(20);
        let text = list.to_string();
        assert!(text.lines().all(|line| line.len() <= 20) && text.lines().count() > 2, "{text}");
    }

    #[test]
    fn sizes_counts_and_ages_are_told_in_words() {
        let second = |second| Timestamp::from_second(second).unwrap();
        assert_eq!((size(0), size(1536)), ("0 B".into(), "1.50 KiB".into()));
        assert_eq!((count(999), count(12_345)), ("999".into(), "12,345".into()));
        assert_eq!((counted(1, "job"), counted(0, "job")), ("1 job".into(), "0 jobs".into()));
        assert_eq!(counted(12_345, "file"), "12,345 files");
        let ages = [0, 59, 300, 7200, 86400 * 3, 86400 * 800].map(|ago| age(second(0), second(ago)));
        assert_eq!(ages, ["0s", "59s", "5m", "2h", "3d", "2y"]);
        assert_eq!(age(second(9), second(0)), "0s", "a clock that went back");
        assert_eq!(instant(second(0), second(300)), "1970-01-01T00:00:00Z (5m ago)");
        assert_eq!(instant(second(300), second(0)), "1970-01-01T00:05:00Z (in 5m)");
    }
}
