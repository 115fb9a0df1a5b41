//! Lines that are very long. Memory is bounded by the longest line that is a resource, and by
//! nothing else.

use std::io::BufWriter;

use super::*;

const MIB: u64 = 1 << 20;

/// The most memory that a process has had at once, in bytes.
fn peak_memory(server: &Server) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    value.unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_line_above_256_mib_is_broken_one_below_is_a_resource_and_memory_is_bounded() {
    let folder = scratch();
    let good = |n: u32| resource("Basic", n, "x");
    let head = "{\"resourceType\":\"Basic\",\"x\":\"";

    // 257 MiB that take no room on disk, and a line behind.
    let path = folder.path().join("longest");
    std::fs::write(&path, good(1) + head).unwrap();
    writable(&path).set_len(257 * MIB).unwrap();
    append(&path, format!("\"}}\n{}", good(2)).as_bytes());
    let long = "x".repeat(100_000_000);
    std::fs::write(folder.path().join("long"), format!("{head}{long}\"}}\n{}", good(3))).unwrap();
    // 300 MiB of blank lines.
    let mut file = BufWriter::new(File::create(folder.path().join("blank")).unwrap());
    file.write_all(good(4).as_bytes()).unwrap();
    let mut blank = vec![b' '; MIB as usize];
    blank[MIB as usize - 1] = b'\n';
    (0..300).for_each(|_| file.write_all(&blank).unwrap());
    file.write_all(good(5).as_bytes()).unwrap();
    drop(file);

    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_eq!(broken(&manifest), [about(2, "longest", "is longer than 256 MiB")]);
    let expected = (1..=5).map(good).collect::<String>() + head + &long + "\"}";
    assert_same(&exported(&manifest), &lines_of(expected.as_bytes()));
    let peak = peak_memory(&server) / MIB;
    assert!(peak < 600, "{peak} MiB of memory");
}

#[test]
fn a_long_line_that_is_not_ended_yet_is_no_fault_of_the_lines_before_it() {
    let content = resource("Basic", 1, "x") + &resource("Basic", 2, "x");
    let folder = folder_of(&content);
    let path = folder.path().join("a.ndjson");
    // More than two stretches without a line feed.
    let half = format!("{{\"resourceType\":\"Basic\",\"id\":\"3\",\"x\":\"{}", "x".repeat(17 << 20));
    append(&path, half.as_bytes());
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_same(&exported(&manifest), &lines_of(content.as_bytes()));
    assert_eq!(broken(&manifest), [about(3, "a.ndjson", "is not valid JSON")]);
    append(&path, b"\"}\n");
    let (_, manifest) = server.export("$export");
    assert_same(&exported(&manifest), &lines_of(format!("{content}{half}\"}}").as_bytes()));
    assert!(broken(&manifest).is_empty());
}
