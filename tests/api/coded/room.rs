//! What compressed exports take: room on the disk, and of the limit on bytes a second.

use super::*;
use crate::operator::order;

#[test]
fn the_book_of_room_says_what_the_disk_says() {
    for (form, _) in STORED {
        let setup = plain_on_disk(form).set("reaper.interval=20ms");
        let server = setup.start();
        let (polling, manifest) = server.export("$export");
        let stored: u64 = on_disk(&setup, &polling).iter().map(|(_, length)| length).sum();
        let text: usize = download_all(&manifest).iter().map(|(_, text)| text.len()).sum();
        if form == "plain" {
            assert_eq!(stored, text as u64);
        } else {
            assert!(stored * 3 < text as u64, "{form}: {stored} of {text}");
        }
        // What is deleted and not swept counts as what it takes; so it does after a restart.
        order(&setup, &["reaper", "pause", "--reason", "to look"]);
        assert_eq!(delete(&polling).status, 202);
        let counted = |server: &Server| server.operator("readyz").json()["reaper"]["bytes"].clone();
        assert_eq!(counted(&server), stored, "{form}");
        server.kill();
        let server = setup.start();
        assert_eq!(counted(&server), stored, "{form}: after a restart");
        order(&setup, &["reaper", "resume"]);
        setup.receipt(job_id(&polling));
        eventually("the room to be given back", || (counted(&server) == 0).then_some(()));
    }
}

#[test]
fn a_quota_counts_what_a_complete_export_takes_and_what_a_new_one_may_take() {
    let text: u64 = std::fs::read_dir(source()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    let limit = text * 3 / 2;
    for (form, status) in [("plain", 503), ("gzip", 202), ("zstd", 202)] {
        let setup = stored_as(form).set(&format!("storage.max_bytes={limit}"));
        let server = setup.start();
        server.export("$export");
        let again = server.try_kickoff("$export");
        assert_eq!(again.status, status, "{form}");
    }
}

#[test]
fn a_limit_on_bytes_a_second_is_one_on_bytes_of_the_disk() {
    const RATE: f64 = 4e6;
    for (form, _) in STORED {
        let setup =
            plain_on_disk(form).source(small_source()).set(&format!("export.max_bytes_per_second={RATE}"));
        let server = setup.start();
        let (polling, manifest) = server.export("$export");
        let stored: u64 = on_disk(&setup, &polling).iter().map(|(_, length)| length).sum();
        let line = eventually("the log line", || {
            let log = setup.log();
            let line = log.lines().find(|line| line.contains("job completed"))?;
            Some(serde_json::from_str::<Value>(line).unwrap())
        });
        let text = &manifest["output"][0]["extension"]["fileSize"];
        assert_eq!(
            (&line["bytes"], &line["stored"], &line["written"]),
            (text, &stored.into(), &stored.into())
        );
        let seconds = line["milliseconds"].as_f64().unwrap() / 1000.0;
        // The first turn is not waited for.
        let least = (stored as f64 - RATE / 8.0) / RATE;
        assert!(seconds >= least, "{form}: {stored} bytes in {seconds} s, should take {least} s");
    }
}
