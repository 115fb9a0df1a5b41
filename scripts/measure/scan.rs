//! A typed-head scan: as many threads as there are cores read 8 MiB stretches of the files,
//! split them into lines, and parse of each line its type, id, age and subject. Nothing is kept.

use std::borrow::Cow;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memchr::{memchr, memchr_iter, memrchr};
use serde::Deserialize;

/// Bytes of a file that one thread takes at once.
const STRETCH: u64 = 8 << 20;

/// Bytes read at once when a line goes on behind the stretch.
const MORE: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    resource_type: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    meta: Option<Meta<'a>>,
    #[serde(borrow)]
    subject: Option<Subject<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    last_updated: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(borrow)]
    reference: Option<Text<'a>>,
}

/// Borrowed unless it has escapes; an `Option<Cow>` by itself would always be a copy.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Scans the files of a folder; how long it took and how many lines there were.
pub fn scan(folder: &Path) -> (Duration, u64) {
    let began = Instant::now();
    let files: Vec<_> = std::fs::read_dir(folder)
        .expect("the source")
        .map(|file| File::open(file.expect("a name").path()).expect("a file"))
        .collect();
    let mut stretches = Vec::new();
    for file in &files {
        let size = file.metadata().expect("a size").len();
        stretches.extend((0..size).step_by(STRETCH as usize).map(|from| (file, from, size)));
    }
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().expect("a number of cores").get();
    let work = || {
        let (mut buffer, mut lines) = (Vec::new(), 0);
        while let Some((file, from, size)) = stretches.get(next.fetch_add(1, Ordering::Relaxed)) {
            lines += scan_stretch(file, *from, *size, &mut buffer);
        }
        lines
    };
    let lines = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    (began.elapsed(), lines)
}

/// The lines that begin in a stretch; the last one is read to its end.
fn scan_stretch(file: &File, from: u64, size: u64, buffer: &mut Vec<u8>) -> u64 {
    let base = from.saturating_sub(1);
    let mut end = size.min(from + STRETCH);
    buffer.resize((end - base) as usize, 0);
    file.read_exact_at(buffer, base).expect("the stretch");
    while end < size && buffer.last() != Some(&b'\n') {
        let (before, more) = (buffer.len(), MORE.min(size - end));
        buffer.resize(before + more as usize, 0);
        file.read_exact_at(&mut buffer[before..], end).expect("the rest of a line");
        end += more;
        if memrchr(b'\n', &buffer[before..]).is_some() {
            let length = memchr(b'\n', &buffer[before..]).expect("one of them");
            buffer.truncate(before + length + 1);
            break;
        }
    }
    let mut at = if from == 0 { 0 } else { memchr(b'\n', buffer).map_or(buffer.len(), |at| at + 1) };
    let (first, mut lines) = (at, 0);
    for line_feed in memchr_iter(b'\n', &buffer[first..]).map(|at| first + at) {
        let head: Head<'_> = serde_json::from_slice(&buffer[at..line_feed]).expect("a resource");
        let text = |text: &Option<Text<'_>>| text.as_ref().map_or(0, |text| text.0.len());
        let age = head.meta.map_or(0, |meta| text(&meta.last_updated));
        let subject = head.subject.map_or(0, |subject| text(&subject.reference));
        black_box(text(&head.resource_type) + text(&head.id) + age + subject);
        lines += 1;
        at = line_feed + 1;
    }
    lines
}
