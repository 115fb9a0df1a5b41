//! Stored pieces that are not what was written: a failed transfer and a line in the log, never
//! other bytes.

use std::os::unix::fs::FileExt;

use super::*;

/// Changes one byte of the only output file of a job.
fn damage(setup: &Setup, polling: &str, at: impl Fn(u64) -> u64) {
    let (name, length) = on_disk(setup, polling).remove(0);
    let path = setup.data_dir().join("ready").join(job_id(polling)).join(name);
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let (mut byte, at) = ([0], at(length));
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_damaged_piece_fails_its_transfer_in_every_form_and_no_other_one() {
    let text = std::fs::read(small_source().join("Media.ndjson")).unwrap();
    for (form, _) in &STORED[1..] {
        let setup = plain_on_disk(form).source(small_source());
        let server = setup.start();
        let (polling, manifest) = server.export("$export");
        let url = first_file(&manifest);
        damage(&setup, &polling, |length| length / 2);
        for wish in ["identity", "gzip", "zstd"] {
            let answer = try_send("GET", &url, &[("Accept-Encoding", wish)]);
            assert!(answer.is_err(), "{form} {wish}: {:?}", answer.map(|answer| answer.body.len()));
        }
        let log = setup.settled_log(&server);
        let lines = log.lines().filter(|line| line.contains("its download fails"));
        assert_eq!(lines.count(), 3, "{form}: {log}");
        assert!(!log.contains(setup.data_dir().join("ready").to_str().unwrap()), "P12");
        // What is whole is served.
        for range in ["bytes=0-1000000", "bytes=-1000000"] {
            let answer = send("GET", &url, &[("Range", range)]);
            assert_eq!(answer.status, 206, "{form} {range}");
            let end = text.len() - 1_000_000;
            assert!(answer.body == text[..1_000_001] || answer.body == text[end..], "{form} {range}");
        }
        assert!(try_send("GET", &url, &[("Range", &format!("bytes={}-", text.len() / 3))]).is_err());
    }
}

#[test]
fn a_damaged_index_is_an_error_before_the_first_byte() {
    for (form, _) in &STORED[1..] {
        let setup = plain_on_disk(form).source(small_source());
        let server = setup.start();
        let (polling, manifest) = server.export("$export");
        damage(&setup, &polling, |length| length - 12);
        for wish in ["identity", "gzip", "zstd"] {
            let answer = send("GET", &first_file(&manifest), &[("Accept-Encoding", wish)]);
            assert_eq!(answer.outcome(), outcome(500, "exception"), "{form} {wish}");
        }
        setup.wait_logged("the index is damaged");
        assert_eq!(delete(&polling).status, 202);
        setup.receipt(job_id(&polling));
    }
}
