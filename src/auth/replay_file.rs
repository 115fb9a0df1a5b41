//! The files of the memory of assertions: `auth/replay-<number>`, records of 32 bytes, each with a
//! checksum, so that what a crash tore off is told from what was written. The first record says
//! what was forgotten before. Nothing in them says whose assertions they are.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use xxhash_rust::xxh3::xxh3_64;

use super::folder::AuthFolder;
use crate::plain_file::{self, LinkPolicy};

const PREFIX: &str = "replay-";

/// Bytes of a record; a sector holds whole ones only.
const RECORD: usize = 32;

/// Bytes that a file may have: 32 million assertions.
const MAX_BYTES: u64 = 1 << 30;

/// What is kept of an assertion: half of a SHA-256.
pub type Id = [u8; 16];

/// The id of the record that says what was forgotten.
const FORGOTTEN: Id = [0; 16];

/// An assertion that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRecord {
    /// Which.
    pub id: AssertionId,
    /// Until when it is good, in seconds of Unix time.
    pub exp: i64,
}

impl ReplayRecord {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.exp.to_le_bytes());
        let checksum = xxh3_64(&bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` for what was not written whole.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let id = bytes.get(..16)?.try_into().ok()?;
        let (exp, checksum) = (number(16)?, number(24)?);
        (xxh3_64(&bytes[..24]) == checksum).then_some(Self { id, exp: exp.cast_signed() })
    }
}

/// A file that records are added to.
pub struct Generation {
    /// The number in its name; a later one has a higher.
    pub number: u64,
    file: File,
    /// The bytes that are whole records.
    bytes: u64,
}

impl Generation {
    /// Makes a new, durable one.
    pub fn create(folder: &AuthFolder, number: u64, forgotten: i64) -> io::Result<Self> {
        let file = folder.create(&name(number))?;
        let mut generation = Self { number, file, bytes: 0 };
        generation.append([&ReplayRecord { id: FORGOTTEN, exp: forgotten }])?;
        generation.file.sync_all()?;
        folder.sync()?;
        Ok(generation)
    }

    /// Its name in the folder.
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// Whether the file is the one that has its name in the folder.
    pub fn stands_in(&self, folder: &AuthFolder) -> bool {
        let there = std::fs::symlink_metadata(folder.path(&self.name()));
        let same = |open: Metadata, there: Metadata| (open.dev(), open.ino()) == (there.dev(), there.ino());
        self.file.metadata().and_then(|open| Ok(same(open, there?))).unwrap_or(false)
    }

    /// Adds records with one write; after an error it has to be [cut](Self::cut).
    pub fn append<'a>(&mut self, records: impl IntoIterator<Item = &'a ReplayRecord>) -> io::Result<()> {
        let bytes: Vec<u8> = records.into_iter().flat_map(|record| record.to_bytes()).collect();
        self.file.write_all(&bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes what was added durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Cuts off what a failed append has left.
    pub fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// What earlier processes left.
#[derive(Debug, Default)]
pub struct ReplayContent {
    /// All assertions.
    pub records: Vec<ReplayRecord>,
    /// The latest expiry among those forgotten.
    pub forgotten: i64,
    /// The files that this stands in.
    pub generations: Vec<String>,
    /// The number of the next file.
    pub next: u64,
}

/// Reads all files of a folder.
pub fn read_all(folder: &AuthFolder) -> io::Result<ReplayContent> {
    let mut read = ReplayContent { forgotten: i64::MIN, ..ReplayContent::default() };
    for entry in std::fs::read_dir(folder.path(""))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let Some(number) = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u64>().ok()) else {
            continue;
        };
        let bytes = plain_file::read(&folder.path(&name), LinkPolicy::Refuse, MAX_BYTES);
        let bytes = bytes.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let records = bytes.chunks(RECORD);
        let torn = records.clone().filter(|record| ReplayRecord::from_bytes(record).is_none()).count();
        if torn > 0 {
            tracing::warn!(torn, "records of assertions were torn; no tokens were given for them");
        }
        for record in records.filter_map(ReplayRecord::from_bytes) {
            match record {
                ReplayRecord { id: FORGOTTEN, exp } => read.forgotten = read.forgotten.max(exp),
                record => read.records.push(record),
            }
        }
        read.generations.push(name);
        read.next = read.next.max(number + 1);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_torn_is_left_out_and_what_stands_around_it_is_read() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = AuthFolder::open(data_dir.path()).unwrap();
        let record = |n: u8| ReplayRecord { id: [n; 16], exp: i64::from(n) };
        let mut generation = Generation::create(&folder, 7, 5).unwrap();
        generation.append([&record(1), &record(2), &record(3)]).unwrap();
        let path = folder.path("replay-7");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..RECORD {
            std::fs::write(&path, &whole[..whole.len() - RECORD + cut]).unwrap();
            let read = read_all(&folder).unwrap();
            assert_eq!(read.records, [record(1), record(2)], "{cut}");
            assert_eq!((read.forgotten, read.next), (5, 8));
        }
        for at in RECORD..2 * RECORD {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(read_all(&folder).unwrap().records, [record(2), record(3)], "{at}");
        }
    }

    #[test]
    fn a_failed_append_is_cut_off() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = AuthFolder::open(data_dir.path()).unwrap();
        let mut generation = Generation::create(&folder, 0, 0).unwrap();
        generation.file.write_all(&[1; 7]).unwrap();
        generation.cut().unwrap();
        let record = ReplayRecord { id: [9; 16], exp: 9 };
        generation.append([&record]).unwrap();
        assert_eq!(read_all(&folder).unwrap().records, [record]);
    }
}
