//! What is written comes back, and what is not what was written never does.

use std::io;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::frames::{FRAME_BYTES, HEADER_BYTES, MAGIC, STORED_FRAME_BYTES, TAG_BYTES};
use super::reader::{DecryptingReader, decrypt};
use super::sink::{EncryptingSink, encrypt, encrypt_with};
use super::stored_length;
use crate::files::{FilesError, OutputSink, ReadAt};
use crate::job::JobId;
use crate::keys::JobKey;

const NAME: &str = "A_Patient.ndjson";

/// A sink into memory, which notes the length of each write.
#[derive(Clone, Default)]
struct MemorySink(Arc<Mutex<(Vec<u8>, Vec<usize>)>>);

impl OutputSink for MemorySink {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let mut written = self.0.lock();
        written.0.extend_from_slice(bytes);
        written.1.push(bytes.len());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FilesError> {
        Ok(())
    }
}

fn job() -> JobId {
    "6f1d3c52-8f5e-4f0e-9a43-1c8f1ad0c001".parse().unwrap()
}

fn key() -> JobKey {
    JobKey::new([7; 32])
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// What a sink makes of these writes.
fn written<'a>(writes: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<usize>) {
    let memory = MemorySink::default();
    let mut sink = EncryptingSink::new(Box::new(memory.clone()), &key(), job(), NAME).unwrap();
    writes.into_iter().for_each(|bytes| sink.write_all(bytes).unwrap());
    sink.finish().unwrap();
    memory.0.lock().clone()
}

/// The lengths around the borders of frames.
fn lengths() -> Vec<usize> {
    let around = |n: usize| [n.saturating_sub(1), n, n + 1];
    [0, 17, FRAME_BYTES, 2 * FRAME_BYTES, 3 * FRAME_BYTES].into_iter().flat_map(around).collect()
}

#[test]
fn what_is_written_comes_back_whatever_its_length_and_however_it_was_cut() {
    for length in lengths() {
        let text = text(length);
        for piece in [1000, FRAME_BYTES - 1, FRAME_BYTES, 5 * FRAME_BYTES] {
            let (stored, _) = written(text.chunks(piece));
            assert_eq!(stored.len() as u64, stored_length(length as u64));
            assert!(decrypt(&key(), job(), NAME, stored).unwrap() == text, "{length} in {piece}");
        }
        let document = encrypt(&key(), job(), NAME, &text).unwrap();
        assert_eq!(document.len() as u64, stored_length(length as u64));
        assert!(decrypt(&key(), job(), NAME, document).unwrap() == text, "{length} as a document");
    }
}

#[test]
fn p13_a_sink_holds_back_no_more_than_a_frame_and_writes_no_more_than_a_megabyte_at_once() {
    let text = text(40 * FRAME_BYTES);
    let memory = MemorySink::default();
    let mut sink = EncryptingSink::new(Box::new(memory.clone()), &key(), job(), NAME).unwrap();
    let mut given = 0;
    for piece in text.chunks(100_000) {
        sink.write_all(piece).unwrap();
        given += piece.len();
        assert!(given - memory.0.lock().0.len() <= FRAME_BYTES);
    }
    let (_, writes) = written([&text[..]]);
    assert!(writes.iter().all(|length| *length <= 17 * STORED_FRAME_BYTES), "{writes:?}");
}

#[test]
fn the_same_text_is_never_stored_the_same_twice_and_nothing_of_it_can_be_seen() {
    let text = b"{\"resourceType\":\"Patient\",\"id\":\"a-name-to-find\"}\n".repeat(50);
    let [one, other] = [(); 2].map(|()| encrypt(&key(), job(), NAME, &text).unwrap());
    assert_ne!(one[HEADER_BYTES..], other[HEADER_BYTES..]);
    for window in text.windows(8).take(60) {
        assert!(!one.windows(8).any(|stored| stored == window));
    }
}

/// The files that `docs/encryption.md` has to try the format with.
#[test]
fn the_files_of_the_page_are_what_would_be_written() {
    use sha2::{Digest, Sha256};
    let page = include_str!("../../../docs/encryption.md");
    let json = page.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let page: serde_json::Value = serde_json::from_str(json).unwrap();
    let bytes = |name: &str| hex::decode(page[name].as_str().unwrap()).unwrap();
    let key = JobKey::new(bytes("job_key").try_into().unwrap());
    let job: JobId = page["job"].as_str().unwrap().parse().unwrap();
    let header = [&MAGIC[..], &bytes("salt")].concat().try_into().unwrap();
    let files = page["files"].as_array().unwrap();
    assert_eq!(files.len(), 6);
    for file in files {
        let name = file["name"].as_str().unwrap();
        let stored = |text: &[u8]| encrypt_with(&header, &key, job, name, text).unwrap();
        if let Some(repeated) = file["repeated"].as_str() {
            let length = file["text_length"].as_u64().unwrap() as usize;
            let text: Vec<u8> = repeated.bytes().cycle().take(length).collect();
            let stored = stored(&text);
            assert_eq!(stored.len() as u64, file["stored_length"].as_u64().unwrap());
            assert_eq!(hex::encode(Sha256::digest(&stored)), file["stored_sha256"], "{length}");
        } else {
            assert_eq!(
                hex::encode(stored(file["text"].as_str().unwrap().as_bytes())),
                file["stored"],
                "{name}"
            );
        }
    }
}

fn refused(stored: Vec<u8>, why: &str) {
    let error = decrypt(&key(), job(), NAME, stored).expect_err(why);
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{why}: {error}");
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_small_file_is_an_error() {
    let stored = encrypt(&key(), job(), NAME, b"{\"resourceType\":\"Patient\",\"id\":\"1\"}\n").unwrap();
    for n in 0..stored.len() {
        for bit in 0..8 {
            let mut flipped = stored.clone();
            flipped[n] ^= 1 << bit;
            refused(flipped, &format!("bit {bit} of byte {n}"));
        }
        refused(stored[..n].to_vec(), &format!("cut to {n} bytes"));
    }
    refused([&stored[..], b"x"].concat(), "a byte more");
    // An empty file says that it is empty.
    let empty = encrypt(&key(), job(), NAME, b"").unwrap();
    for n in 0..empty.len() {
        let mut flipped = empty.clone();
        flipped[n] ^= 1;
        refused(flipped, &format!("byte {n} of an empty file"));
    }
}

#[test]
fn frames_that_are_cut_off_swapped_repeated_or_of_another_file_are_an_error() {
    let long = text(3 * FRAME_BYTES + 10);
    let stored = encrypt(&key(), job(), NAME, &long).unwrap();
    let other = encrypt(&key(), job(), NAME, &long).unwrap();
    let frame = |stored: &[u8], n: usize| {
        let start = HEADER_BYTES + n * STORED_FRAME_BYTES;
        stored[start..stored.len().min(start + STORED_FRAME_BYTES)].to_vec()
    };
    let of = |header: &[u8], frames: &[Vec<u8>]| [header.to_vec(), frames.concat()].concat();
    let header = &stored[..HEADER_BYTES];
    let [a, b, c, d] = std::array::from_fn(|n| frame(&stored, n));
    assert!(decrypt(&key(), job(), NAME, of(header, &[a.clone(), b.clone(), c.clone(), d.clone()])).is_ok());
    refused(of(header, &[a.clone(), b.clone(), c.clone()]), "without its last frame");
    refused(of(header, &[a.clone(), b.clone(), d.clone()]), "without a frame in the middle");
    refused(of(header, &[b.clone(), c.clone(), d.clone()]), "without its first frame");
    refused(of(header, &[b.clone(), a.clone(), c.clone(), d.clone()]), "two frames swapped");
    refused(of(header, &[a.clone(), a.clone(), c.clone(), d.clone()]), "a frame twice");
    refused(of(header, &[a.clone(), b.clone(), c.clone(), d.clone(), frame(&stored, 3)]), "a frame more");
    refused(of(header, &[a.clone(), frame(&other, 1), c, d]), "a frame of another file");
    refused(of(&other[..HEADER_BYTES], &[a, b]), "the header of another file");
    // A full last frame, cut to look like the end of a longer text.
    let exact = encrypt(&key(), job(), NAME, &long[..2 * FRAME_BYTES]).unwrap();
    refused(exact[..exact.len() - STORED_FRAME_BYTES].to_vec(), "without its last full frame");
    refused(exact[..exact.len() - TAG_BYTES - 1].to_vec(), "a byte less");
}

#[test]
fn a_file_of_another_name_job_or_key_is_an_error() {
    let stored = encrypt(&key(), job(), NAME, b"{}\n").unwrap();
    let open = |key: JobKey, job, name| decrypt(&key, job, name, stored.clone());
    assert!(open(key(), job(), NAME).is_ok());
    let refused = [
        open(key(), job(), "B_Patient.ndjson"),
        open(key(), JobId::random(), NAME),
        open(JobKey::new([8; 32]), job(), NAME),
        decrypt(
            &key(),
            job(),
            NAME,
            b"{\"resourceType\":\"Patient\",\"id\":\"a plain file of that name\"}\n".to_vec(),
        ),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_file_that_shrinks_under_a_reader_is_an_error() {
    struct Shrunk(Vec<u8>, u64);
    impl ReadAt for Shrunk {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0.read_at(buffer, offset)
        }
        fn length(&self) -> io::Result<u64> {
            Ok(self.1)
        }
    }
    let mut stored = encrypt(&key(), job(), NAME, &text(2 * FRAME_BYTES)).unwrap();
    let length = stored.len() as u64;
    stored.truncate(stored.len() - 1);
    let reader = DecryptingReader::open(Arc::new(Shrunk(stored, length)), &key(), job(), NAME).unwrap();
    let mut buffer = vec![0; 2 * FRAME_BYTES];
    assert_eq!(reader.read_full_at(&mut buffer, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(reader.read_full_at(&mut buffer[..100], 0).unwrap(), 100, "the first frame is whole");
}

/// A text of more than three frames, and its file.
static FILE: LazyLock<(Vec<u8>, DecryptingReader)> = LazyLock::new(|| {
    let text = text(3 * FRAME_BYTES + 12_345);
    let stored = encrypt(&key(), job(), NAME, &text).unwrap();
    (text, DecryptingReader::open(Arc::new(stored), &key(), job(), NAME).unwrap())
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_range_of_the_text_can_be_read(start in 0..4 * FRAME_BYTES, length in 0..3 * FRAME_BYTES) {
        let (text, file) = &*FILE;
        let mut read = vec![0; length];
        let count = file.read_at(&mut read, start as u64).unwrap();
        let end = text.len().min(start + length);
        prop_assert!(read[..count] == text[start.min(end)..end]);
    }
}
