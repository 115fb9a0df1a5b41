//! A bounded buffer of log lines, which one thread writes. Logging never waits and never fails,
//! even if the reader has gone, has stopped reading, or the disk is full (P13). Lines that do not
//! fit or cannot be written are counted, and a log line reports their number once a line can be
//! written again.
//!
//! tracing-appender bounds lines instead of bytes, does not report what its writer refuses, and
//! prints to standard error at its end when nobody reads it.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use serde_json::json;

use super::{LogFormat, log_lines_lost};

/// Bytes of waiting lines. As many again may be on their way to the output.
pub const ROOM: usize = 4 << 20;

/// The longest line in bytes. Only the beginning of a longer line is logged.
pub const LONGEST: usize = 16 << 10;

/// Bytes logged of a line that is too long. Escaping makes them up to six times as many.
const BEGINNING: usize = 2 << 10;

/// How often a line about lost lines is tried when nothing else is logged.
const RETRY: Duration = Duration::from_secs(1);

/// How long to leave an output alone that reports that it would block.
const PAUSE: Duration = Duration::from_millis(10);

/// A bounded queue between threads that log and the thread that writes.
#[allow(unnameable_types, reason = "only converted into what is public")]
pub struct LogBuffer {
    format: LogFormat,
    room: usize,
    state: Mutex<BufferState>,
    /// Notified when a line came.
    came: Condvar,
    /// Notified when lines were written or given up.
    settled: Condvar,
}

#[derive(Default)]
struct BufferState {
    /// Whole lines.
    text: Vec<u8>,
    /// Lost lines that have not been reported.
    lost: u64,
    /// Bytes ever taken.
    taken: u64,
    /// Bytes of them that were written or given up.
    settled: u64,
}

impl LogBuffer {
    /// Creates an empty buffer of `room` bytes.
    pub fn new(format: LogFormat, room: usize) -> Self {
        Self { format, room, state: Mutex::default(), came: Condvar::new(), settled: Condvar::new() }
    }

    /// Takes a line with its line break, if there is room.
    pub fn push(&self, line: &[u8]) {
        let line = self.bounded(line);
        let mut state = self.state.lock();
        if state.text.len() + line.len() > self.room {
            state.lost += 1;
            drop(state);
            log_lines_lost("full", 1);
            return;
        }
        state.text.extend_from_slice(&line);
        state.taken += line.len() as u64;
        self.came.notify_one();
    }

    /// Blocks until the lines taken before are written or given up, or for `patience` at most.
    pub fn flush(&self, patience: Duration) {
        let mut state = self.state.lock();
        let until = state.taken;
        self.settled.wait_while_for(&mut state, |state| state.settled < until, patience);
    }

    /// Writes lines as they come. Never returns.
    pub fn run(&self, out: impl Write) {
        let mut out = LogOutput { out, is_torn: false };
        let mut batch = Vec::new();
        loop {
            self.write_next(&mut out, &mut batch);
        }
    }

    /// Waits for lines and writes them. `batch` is reused.
    fn write_next(&self, out: &mut LogOutput<impl Write>, batch: &mut Vec<u8>) {
        batch.clear();
        let mut state = self.state.lock();
        let is_idle = |state: &mut BufferState| state.text.is_empty();
        if state.lost == 0 {
            self.came.wait_while(&mut state, is_idle);
        } else {
            self.came.wait_while_for(&mut state, is_idle, RETRY);
        }
        std::mem::swap(batch, &mut state.text);
        let lost = state.lost;
        drop(state);

        let unwritten = out.write(batch);
        let is_told = lost > 0 && unwritten == 0 && out.write(&self.loss(lost)) == 0;
        if unwritten > 0 {
            log_lines_lost("write", unwritten);
        }
        let mut state = self.state.lock();
        state.lost += unwritten;
        state.lost -= if is_told { lost } else { 0 };
        state.settled += batch.len() as u64;
        self.settled.notify_all();
    }

    fn bounded<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        if line.len() <= LONGEST {
            return Cow::Borrowed(line);
        }
        let beginning = String::from_utf8_lossy(&line[..BEGINNING]);
        let now = Timestamp::now();
        Cow::Owned(match self.format {
            LogFormat::Text => format!(
                "{now:.6}  WARN {}: a log line was too long bytes={} beginning={beginning:?}\n",
                module_path!(),
                line.len()
            )
            .into_bytes(),
            LogFormat::Json => json_line(json!({
                "timestamp": format!("{now:.6}"),
                "level": "WARN",
                "message": "a log line was too long",
                "bytes": line.len(),
                "beginning": beginning,
                "target": module_path!(),
            })),
        })
    }

    /// Returns the line that reports lost lines. It bypasses the filter, because it is about all
    /// lines.
    fn loss(&self, lines: u64) -> Vec<u8> {
        let now = Timestamp::now();
        match self.format {
            LogFormat::Text => {
                format!("{now:.6}  WARN {}: log lines were lost lines={lines}\n", module_path!()).into_bytes()
            }
            LogFormat::Json => json_line(json!({
                "timestamp": format!("{now:.6}"),
                "level": "WARN",
                "message": "log lines were lost",
                "lines": lines,
                "target": module_path!(),
            })),
        }
    }
}

fn json_line(json: serde_json::Value) -> Vec<u8> {
    format!("{json}\n").into_bytes()
}

/// Each event comes in one piece. An event that does not fit is not an error.
impl Write for &LogBuffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The output of log lines.
struct LogOutput<W> {
    out: W,
    /// Whether the last line was written only in part.
    is_torn: bool,
}

impl<W: Write> LogOutput<W> {
    /// Writes whole lines. Returns how many of them were not written.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.is_torn {
            self.is_torn = self.write_all(b"\n").is_err();
        }
        let written = if self.is_torn { Err(0) } else { self.write_all(lines) };
        let Err(written) = written else { return 0 };
        self.is_torn |= lines[..written].last().is_some_and(|byte| *byte != b'\n');
        memchr::memchr_iter(b'\n', &lines[written..]).count() as u64
    }

    /// On error, returns how many bytes were written.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return Err(written),
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that takes so many more bytes and then fails.
    struct Disk {
        bytes: Vec<u8>,
        free: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.free);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.free -= taken;
            self.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn disk(free: usize) -> LogOutput<Disk> {
        LogOutput { out: Disk { bytes: Vec::new(), free }, is_torn: false }
    }

    fn text(out: &LogOutput<Disk>) -> String {
        String::from_utf8(out.out.bytes.clone()).unwrap()
    }

    #[test]
    fn p13_what_there_is_no_room_for_is_lost_and_told() {
        let buffer = LogBuffer::new(LogFormat::Text, 10);
        for line in ["12345\n", "12345\n", "123\n", "\n"] {
            buffer.push(line.as_bytes());
        }
        let mut out = disk(1000);
        buffer.write_next(&mut out, &mut Vec::new());
        let text = text(&out);
        let (lines, loss) = text.split_at(10);
        assert_eq!(lines, "12345\n123\n");
        assert!(
            loss.ends_with("  WARN evanesce::telemetry::log_buffer: log lines were lost lines=2\n"),
            "{loss}"
        );
        assert_eq!(buffer.state.lock().lost, 0);
    }

    #[test]
    fn p13_what_cannot_be_written_is_lost_and_told_when_something_can() {
        let buffer = LogBuffer::new(LogFormat::Json, 1000);
        let mut out = disk(9);
        let mut batch = Vec::new();
        buffer.push(b"first\nsecond\nthird\n");
        buffer.write_next(&mut out, &mut batch);
        buffer.push(b"fourth\n");
        buffer.write_next(&mut out, &mut batch);
        assert_eq!(text(&out), "first\nsec");
        assert_eq!(buffer.state.lock().lost, 3);
        out.out.free = 1000;
        // Without another line as well.
        buffer.write_next(&mut out, &mut batch);
        let text = text(&out);
        let loss: serde_json::Value =
            serde_json::from_str(text.strip_prefix("first\nsec\n").unwrap()).unwrap();
        assert_eq!((&loss["message"], &loss["lines"]), (&"log lines were lost".into(), &3.into()));
        assert_eq!(buffer.state.lock().lost, 0);
    }

    #[test]
    fn p13_of_a_line_that_is_too_long_the_beginning_is_logged() {
        let line = |length: usize| format!("{}\n", "\u{1b}".repeat(length - 1));
        for format in [LogFormat::Text, LogFormat::Json] {
            let buffer = LogBuffer::new(format, ROOM);
            buffer.push(line(LONGEST).as_bytes());
            assert_eq!(buffer.state.lock().text.len(), LONGEST);
            buffer.push(line(LONGEST + 1).as_bytes());
            let cut = buffer.state.lock().text.split_off(LONGEST);
            assert!(cut.len() <= LONGEST && cut.ends_with(b"\n"), "{}", cut.len());
            let cut = String::from_utf8(cut).unwrap();
            assert_eq!(cut.lines().count(), 1, "{cut}");
            assert!(cut.contains("too long") && cut.contains("16385"), "{cut}");
            assert!(!cut.contains('\u{1b}'), "{cut}");
        }
    }

    #[test]
    fn a_flush_waits_for_what_came_before_it_and_not_for_ever() {
        let buffer = LogBuffer::new(LogFormat::Text, 1000);
        buffer.push(b"line\n");
        // Nobody writes.
        buffer.flush(Duration::from_millis(1));
        std::thread::scope(|scope| {
            scope.spawn(|| buffer.write_next(&mut disk(1000), &mut Vec::new()));
            buffer.flush(Duration::from_secs(60));
            assert_eq!(buffer.state.lock().settled, 5);
        });
    }
}
