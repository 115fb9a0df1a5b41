//! Files in the form that is wanted (F-5): however they are stored, they are served as plain text,
//! gzip or zstd, whole or (plain text) in ranges; and all that is promised of files holds for those
//! that are stored compressed.

mod damage;
mod host;
mod life;
mod room;
mod served;

use std::io::{Read, Write};
use std::sync::OnceLock;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

/// The forms on disk, with what the names of files end with.
const STORED: [(&str, &str); 3] = [("plain", ""), ("gzip", ".gz"), ("zstd", ".zst")];

/// The setting of one of them.
fn stored_as(form: &str) -> Setup {
    Setup::new().set(&format!("export.stored={form}"))
}

/// As [`stored_as`], without encryption: what stands on disk is that form.
fn plain_on_disk(form: &str) -> Setup {
    stored_as(form).set("storage.encryption=none")
}

/// A source with one file of `LINES` lines that compress to about three quarters: more than all
/// socket buffers hold, in whatever coding.
const LINES: usize = 512;
const LINE: usize = 64 << 10;

fn noisy_source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = temporary_folder();
        std::fs::write(folder.path().join("Media.ndjson"), noise(LINES)).unwrap();
        folder
    });
    folder.path()
}

/// Lines of random letters and digits.
fn noise(lines: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let mut random = Pcg64Mcg::seed_from_u64(3);
    let mut text = Vec::new();
    for n in 0..lines {
        write!(text, "{{\"resourceType\":\"Media\",\"id\":\"{n}\",\"data\":\"").unwrap();
        text.extend((0..LINE).map(|_| LETTERS[random.random_range(0..LETTERS.len())]));
        text.extend_from_slice(b"\"}\n");
    }
    text
}

/// A source of a few pieces.
fn small_source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = temporary_folder();
        std::fs::write(folder.path().join("Media.ndjson"), noise(70)).unwrap();
        folder
    });
    folder.path()
}

/// Decodes the body of an answer by its `Content-Encoding`: the error is that it is not whole.
fn decode(coding: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match coding {
        "" => text.extend_from_slice(body),
        // One member: what comes after it is an error, not more of the text.
        "gzip" => {
            let mut decoder = flate2::bufread::GzDecoder::new(body);
            decoder.read_to_end(&mut text)?;
            assert!(decoder.into_inner().is_empty(), "something stands after the member");
        }
        "zstd" => text = zstd::decode_all(body)?,
        other => panic!("nobody asked for {other}"),
    }
    Ok(text)
}

/// The output files of a job on disk: names and lengths.
fn on_disk(setup: &Setup, polling: &str) -> Vec<(String, u64)> {
    let folder = setup.data_dir().join("ready").join(job_id(polling));
    let files = std::fs::read_dir(folder).unwrap().map(|file| {
        let file = file.unwrap();
        (file.file_name().into_string().unwrap(), file.metadata().unwrap().len())
    });
    files.filter(|(name, _)| name.contains(".ndjson")).collect()
}
