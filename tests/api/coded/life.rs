//! Kills, cuts and sweeps of exports that are stored compressed (P1, P3, P4, P6, P11).

use std::collections::BTreeSet;

use super::super::cut::drain;
use super::*;
use crate::support::{Exported, assert_disk_equals_store, assert_erased, assert_receipts, wait_settled};

/// `fsck` finds nothing to say.
fn assert_fsck_is_clean(setup: &Setup) {
    let mut command = evanesce_command();
    command.args(["fsck", "--json", "--data-dir"]).arg(setup.data_dir());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_compressed_export_that_is_killed_goes_on_and_holds_every_line_once() {
    for (form, suffix) in &STORED[1..] {
        for step in ["output-written:5", "output-synced:7", "part-sealed:4", "write-begins:9"] {
            let setup = stored_as(form).set("export.part_bytes=65536").set("export.checksums=true");
            let mut server = setup.start_with(&["--breakpoint", &format!("{step}=kill")]);
            let (id, _) = server.kickoff_to_the_end("$export");
            let server = setup.start();
            let id = &id;
            let job = Exported::wait(&server, id);
            job.assert_is_the_source(source(), |_| true);
            let files = on_disk(&setup, id);
            assert!(files.iter().any(|(name, _)| name.ends_with(suffix)), "{files:?}");
            server.kill();
            assert_disk_equals_store(&setup);
            assert_fsck_is_clean(&setup);

            let server = setup.start();
            job.assert_intact(&server);
            assert_eq!(delete(&crate::support::polling_url(&server, id)).status, 202);
            let receipt = assert_erased(&setup, &server, id, &job.files, &["deleted"]);
            let stored: u64 = files.iter().map(|(_, length)| length).sum();
            assert!(receipt["bytes"].as_u64().unwrap() >= stored, "{receipt}");
            assert_eq!(receipt["files"], files.len() + 3, "the documents went too");
            wait_settled(&setup, &server, &BTreeSet::new());
            server.kill();
            assert_receipts(&setup, &BTreeSet::from([id.to_string()]));
            assert_disk_equals_store(&setup);
        }
    }
}

#[test]
fn a_download_of_any_form_that_is_cut_is_seen_to_have_failed() {
    for (form, _) in STORED {
        let setup = stored_as(form).source(noisy_source()).set("download.delete_grace=100ms");
        let server = setup.start();
        let (polling, manifest) = server.export("$export");
        let url = first_file(&manifest);
        let wishes = ["identity", "gzip", "zstd"];
        // Each has begun, whatever the machine does meanwhile.
        const BEGUN: usize = 1000;
        let open = wishes.map(|wish| {
            let fields = format!("Accept-Encoding: {wish}\r\n");
            let (mut stream, answer) = raw::begin(&server, &url, "1.1", &fields);
            stream.read_exact(&mut [0; BEGUN]).unwrap();
            (wish, (stream, answer))
        });
        assert_eq!(delete(&polling).status, 202);
        let receipt = setup.receipt(job_id(&polling));
        assert_eq!(receipt["cut_downloads"], open.len(), "{form}: {receipt}");
        assert!(!setup.disk().has(job_id(&polling)));
        for (wish, (mut stream, answer)) in open {
            assert_eq!(answer.status, 200);
            let is_stored = wish == form || wish == "identity";
            assert_eq!(
                answer.header("transfer-encoding"),
                if is_stored { "" } else { "chunked" },
                "{form} {wish}"
            );
            if is_stored {
                let length: u64 = answer.header("content-length").parse().unwrap();
                let got = BEGUN as u64 + drain(&mut stream);
                assert!(got < length, "{form} {wish}: it looks whole");
            } else {
                let mut bytes = Vec::new();
                // A reset is a failure as well.
                let _ = stream.read_to_end(&mut bytes);
                assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"), "{form} {wish}: the last chunk came");
            }
        }
    }
}

#[test]
fn a_download_that_is_compressed_on_its_way_is_whole_within_the_grace() {
    let setup = stored_as("plain").source(noisy_source()).set("download.delete_grace=50s");
    let server = setup.start();
    let (polling, manifest) = server.export("$export");
    let url = first_file(&manifest);
    let (mut stream, _) = raw::begin(&server, &url, "1.1", "Accept-Encoding: zstd\r\nConnection: close\r\n");
    assert_eq!(delete(&polling).status, 202);
    assert!(setup.disk().has(job_id(&polling)), "the download is still open");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(setup.receipt(job_id(&polling))["drained_downloads"], 1);
}

#[test]
fn a_deleted_compressed_export_that_still_runs_leaves_nothing() {
    for (form, _) in &STORED[1..] {
        let setup = stored_as(form).source(noisy_source()).braked(4_000_000);
        let server = setup.start();
        let polling = server.kickoff("$export");
        server.wait_braked(&polling);
        assert_eq!(delete(&polling).status, 202);
        setup.receipt(job_id(&polling));
        assert!(!setup.disk().has(job_id(&polling)), "{form}");
    }
}
