//! The last log lines, in memory, for the pages of operators. A new line pushes the oldest ones out. Nothing
//! here waits for a reader: a search holds the lock for as long as it takes to look at 4 MiB.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};

use memchr::memmem;
use parking_lot::Mutex;

/// The most bytes of the lines that are kept, with [`LINE_COST`] for each.
const ROOM: usize = 4 << 20;

/// The longest line in bytes. Only the beginning of a longer one is kept.
const LONGEST: usize = 4 << 10;

/// What a line takes beside its text.
const LINE_COST: usize = 64;

/// The most lines that a search returns.
pub const MOST_FOUND: usize = 500;

/// The most requests that a search follows.
const MOST_REQUESTS: usize = 50;

/// What stands before the id of a request, with or without a quotation mark after it.
const REQUEST: &str = "request_id=";

/// Length of an id.
const ID_BYTES: usize = 36;

/// The last lines of this process.
pub static RECENT_LINES: LogRing = LogRing::new(ROOM);

/// A bounded number of log lines.
#[allow(unnameable_types, reason = "only lent to what is public")]
pub struct LogRing {
    room: usize,
    state: Mutex<RingState>,
}

struct RingState {
    lines: VecDeque<Box<str>>,
    bytes: usize,
}

impl LogRing {
    const fn new(room: usize) -> Self {
        Self { room, state: Mutex::new(RingState { lines: VecDeque::new(), bytes: 0 }) }
    }

    /// Takes a line, with or without its line break.
    pub fn push(&self, line: &[u8]) {
        let line = &line[..line.len().min(LONGEST)];
        let line: Box<str> = String::from_utf8_lossy(line).trim_end().into();
        let mut state = self.state.lock();
        state.bytes += line.len() + LINE_COST;
        state.lines.push_back(line);
        while state.bytes > self.room {
            let Some(oldest) = state.lines.pop_front() else { return };
            state.bytes -= oldest.len() + LINE_COST;
        }
    }

    /// Returns the last lines that name `id`, and those of the requests that these lines name, in their
    /// order.
    pub fn about(&self, id: &str) -> Vec<String> {
        let state = self.state.lock();
        let finder = memmem::Finder::new(id);
        let names = |line: &str| finder.find(line.as_bytes()).is_some();
        let named = || state.lines.iter().filter(|line| names(line));
        let requests: BTreeSet<_> =
            named().rev().filter_map(|line| request_of(line)).take(MOST_REQUESTS).collect();
        let is_meant = |line: &str| names(line) || request_of(line).is_some_and(|id| requests.contains(id));
        let found = state.lines.iter().rev().filter(|line| is_meant(line)).take(MOST_FOUND);
        let mut found: Vec<_> = found.map(|line| line.to_string()).collect();
        found.reverse();
        found
    }
}

/// Returns the id of the request that a line names.
fn request_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(REQUEST)?;
    let id = rest.strip_prefix('"').unwrap_or(rest).get(..ID_BYTES)?;
    id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-').then_some(id)
}

/// Returns the layer that keeps the last lines, as text whatever the format of the log.
#[cfg(feature = "cli")]
pub fn recent_lines<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .fmt_fields(PlainFields::default())
        .with_writer(|| &RECENT_LINES)
}

/// The fields of spans without colours. Layers share what they format if its type is the same, and the log on
/// a terminal has colours.
#[cfg(feature = "cli")]
#[derive(Default)]
struct PlainFields(tracing_subscriber::fmt::format::DefaultFields);

#[cfg(feature = "cli")]
impl<'w> tracing_subscriber::fmt::FormatFields<'w> for PlainFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        writer: tracing_subscriber::fmt::format::Writer<'w>,
        fields: R,
    ) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

/// Each event comes in one piece.
impl Write for &LogRing {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "b3b7c1a2-0000-4000-8000-000000000001";
    const KICKOFF: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const DELETION: &str = "aaaaaaaa-0000-4000-8000-000000000002";

    #[test]
    fn the_lines_of_a_job_are_those_that_name_it_and_those_of_its_requests() {
        let ring = LogRing::new(ROOM);
        let lines = [
            format!("request{{request_id={KICKOFF} method=GET}}: kicked off job={JOB}\n"),
            "request{request_id=aaaaaaaa-0000-4000-8000-000000000009}: answered\n".into(),
            format!("request{{request_id={KICKOFF} method=GET}}: answered status=202\n"),
            format!("job job={JOB} from=complete to=marked request_id=\"{DELETION}\"\n"),
            format!("request{{request_id={DELETION}}}: answered status=202\n"),
            "job job=b3b7c1a2-0000-4000-8000-000000000002\n".into(),
        ];
        lines.iter().for_each(|line| ring.push(line.as_bytes()));
        let expected: Vec<_> = [0, 2, 3, 4].map(|n: usize| lines[n].trim_end().to_string()).into();
        assert_eq!(ring.about(JOB), expected);
        assert_eq!(ring.about("no such job"), [""; 0]);
        assert_eq!(request_of("request_id=\"not an id, however long the text may be\""), None);
        assert_eq!(request_of("request_id=\u{e9}"), None);
    }

    #[test]
    fn p13_the_oldest_lines_go_when_there_is_no_room_and_none_is_long() {
        let ring = LogRing::new(10 * (4 + LINE_COST));
        for n in 0..100 {
            ring.push(format!("{n:04}\n").as_bytes());
        }
        let state = ring.state.lock();
        assert_eq!((state.lines.len(), &*state.lines[0], &*state.lines[9]), (10, "0090", "0099"));
        assert_eq!(state.bytes, 10 * (4 + LINE_COST));
        drop(state);
        let ring = LogRing::new(ROOM);
        (0..ROOM / LONGEST + 1).for_each(|_| ring.push(&[0xff; 3 * LONGEST]));
        let state = ring.state.lock();
        // Each byte that is no text becomes three.
        assert!(state.bytes <= ROOM && state.lines.iter().all(|line| line.len() <= 3 * LONGEST));
        let held: usize = state.lines.iter().map(|line| line.len() + LINE_COST).sum();
        assert_eq!(held, state.bytes);
    }

    #[test]
    fn p13_a_search_returns_the_last_lines_only() {
        let ring = LogRing::new(ROOM);
        (0..MOST_FOUND + 7).for_each(|n| ring.push(format!("{n} {JOB}").as_bytes()));
        let found = ring.about(JOB);
        assert_eq!((found.len(), &*found[0]), (MOST_FOUND, &*format!("7 {JOB}")));
    }
}
