//! Building the index against a typed-head scan, loading it against reading the same bytes,
//! and its size.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evanesce::index::{Index, IndexCipher, IndexOptions, IndexState};
use evanesce::source::NdjsonFolder;
use xxhash_rust::xxh3::xxh3_128;

use crate::contest::Contest;
use crate::scan::scan;
use crate::source::Source;
use crate::{Args, median, summary};

/// Rounds of a warm start.
const STARTS: usize = 25;

/// All of it.
pub fn all(args: &Args, large: &Source) {
    let rounds = if args.quick { 3 } else { 7 };
    let folder = large.folder();
    let index = folder.path().join("index");
    let build = || {
        let _ = std::fs::remove_dir_all(&index);
        let (took, open) = open(&large.path, &index);
        assert_eq!(open.look().expect("an index").spans(), large.resources);
        took
    };
    let contest = Contest::hold(rounds, build, || {
        let (took, lines) = scan(&large.path);
        assert_eq!(lines, large.resources);
        took
    });
    println!(
        "\nIndex of {}, page-cached, written to its files, {rounds} rounds in turn with a typed-head scan on all cores",
        large.size()
    );
    contest.print(["index", "scan"], large.bytes, 1.2);
    sizes(large, &index);
    warm_start(large, &index);
}

/// Loading the index of 10 GB.
pub fn warm_start_of_10_gb(args: &Args) {
    let large = Source::of_10_gb(args);
    let folder = large.folder();
    let index = folder.path().join("index");
    let (took, _) = open(&large.path, &index);
    println!("\nIndex of {}, once: {:.1} s", large.size(), took.as_secs_f64());
    sizes(&large, &index);
    warm_start(&large, &index);
}

/// Opens the index and brings it up to date; how long that took.
fn open(source: &Path, folder: &Path) -> (Duration, Index) {
    let source = Arc::new(NdjsonFolder::open(source).expect("a source"));
    let began = Instant::now();
    let options = IndexOptions {
        folder: folder.to_owned(),
        bases: Default::default(),
        cipher: IndexCipher::none().into(),
    };
    let index = Index::open(source, options).expect("an index");
    drop(index.look().expect("an index"));
    (began.elapsed(), index)
}

fn sizes(large: &Source, index: &Path) {
    let (_, open) = open(&large.path, index);
    let look = open.look().expect("an index");
    let on_disk: u64 = std::fs::read_dir(index)
        .expect("the index")
        .map(|file| file.expect("a name").metadata().expect("a size").len())
        .sum();
    let each = |bytes: u64| bytes as f64 / look.spans() as f64;
    println!(
        "  bytes a resource: {:.1} in memory, {:.1} on disk, which are {:.1} % of the source",
        each(look.resident_bytes()),
        each(on_disk),
        on_disk as f64 / large.bytes as f64 * 100.0
    );
}

/// Loads an index whose files are there, in turn with one thread that reads the same bytes and
/// checks nothing, and one that reads all bytes of the index.
fn warm_start(large: &Source, index: &Path) {
    let (mut ours, mut same, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut read) = (Vec::new(), 0);
    for round in 0..=STARTS {
        let before = bytes_read();
        let (took, open) = open(&large.path, index);
        read = bytes_read() - before;
        let look = open.look().expect("an index");
        let (read_same, read_all) = (read_resident(&look, index), read_files(index));
        if round > 0 {
            ours.push(took);
            same.push(read_same);
            all.push(read_all);
            ratios.push(took.as_secs_f64() / read_same.as_secs_f64());
        }
    }
    println!(
        "\nWarm start over {}, page-cached, {STARTS} rounds: Index::open and the first look",
        large.size()
    );
    println!("  ours:                      {} (aim: 200 ms), {:.0} MB read", summary(&mut ours), mb(read));
    println!("  what it keeps, one thread: {}", summary(&mut same));
    println!("  all of the index's files:  {}", summary(&mut all));
    ratios.sort_by(f64::total_cmp);
    let whole = median(&mut ours).as_secs_f64() / median(&mut all).as_secs_f64();
    println!(
        "  time: least {:.2}x, median {:.2}x of reading what it keeps; {whole:.2}x of reading all",
        ratios[0],
        ratios[ratios.len() / 2]
    );
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Bytes that this process has read so far.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
    let text = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    text.and_then(|text| text.parse().ok()).expect("a number")
}

/// Reads what an index keeps in memory, each area into memory of its own.
fn read_resident(state: &IndexState, folder: &Path) -> Duration {
    let began = Instant::now();
    let mut kept = Vec::new();
    for segment in &state.segments {
        let name = format!("{:032x}.segment", xxh3_128(segment.file.name.as_bytes()));
        let file = File::open(folder.join(name)).expect("an index file");
        for chunk in &segment.chunks {
            let area = &chunk.entry.resident;
            let mut words = vec![0u64; area.words as usize].into_boxed_slice();
            file.read_exact_at(bytemuck::cast_slice_mut(&mut words), area.at).expect("an area");
            kept.push(words);
        }
    }
    began.elapsed()
}

fn read_files(folder: &Path) -> Duration {
    let began = Instant::now();
    for file in std::fs::read_dir(folder).expect("the index") {
        std::hint::black_box(std::fs::read(file.expect("a name").path()).expect("an index file"));
    }
    began.elapsed()
}
