//! The files of the memory of assertions: `auth/replay-<number>`, records of 32 bytes, each with a
//! checksum, so that what a crash tore off is told from what was written. The first record says
//! what was forgotten before. Nothing in them says whose assertions they are.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use super::folder::AuthFolder;
use crate::chain::AppendFile;
use crate::plain_file::{self, LinkPolicy};

const PREFIX: &str = "replay-";

/// Bytes of a record; a sector holds whole ones only.
const RECORD: usize = 32;

/// Bytes that a file may have: 32 million assertions.
const MAX_BYTES: u64 = 1 << 30;

/// What is kept of an assertion: half of a SHA-256.
pub type AssertionId = [u8; 16];

/// The id of the record that says what was forgotten.
const FORGOTTEN: AssertionId = [0; 16];

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
pub struct ReplayGeneration {
    /// The number in its name; a later one has a higher.
    pub number: u64,
    file: AppendFile,
}

impl ReplayGeneration {
    /// Makes a new, durable one.
    pub fn create(folder: &AuthFolder, number: u64, forgotten: i64) -> io::Result<Self> {
        let mut generation = Self { number, file: AppendFile::create(&folder.path(&name(number)))? };
        generation.append([&ReplayRecord { id: FORGOTTEN, exp: forgotten }])?;
        generation.file.handle().sync_all()?;
        folder.sync()?;
        Ok(generation)
    }

    /// Its name in the folder.
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// Whether the file stands in the folder under its name, as it was left.
    pub fn stands_in(&self, folder: &AuthFolder) -> bool {
        self.file.stands_at(&folder.path(&self.name()))
    }

    /// Adds records with one write; what a failure leaves of them is cut off.
    pub fn append<'a>(&mut self, records: impl IntoIterator<Item = &'a ReplayRecord>) -> io::Result<()> {
        let bytes: Vec<u8> = records.into_iter().flat_map(|record| record.to_bytes()).collect();
        self.file.append(&bytes)
    }

    /// Makes what was added durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
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
        let mut generation = ReplayGeneration::create(&folder, 7, 5).unwrap();
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

    /// A file as the first version of the format wrote it.
    const OF_BEFORE: [&str; 4] = [
        "000000000000000000000000000000000000000000000080e3c1712aa20064d2",
        "99c96def4da4cc0d6e13dfa6a46505a009800d6b000000007a7dbd92d148f160",
        "73dac7d837f2050294a3e91c87b62edb09800d6b00000000f3f0e2549170de3d",
        "ccf3ff387a715285b22b122413b84c0a09800d6b000000003caa180f9209e728",
    ];

    #[test]
    fn a_file_of_before_is_read_and_written_again_byte_for_byte() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = AuthFolder::open(data_dir.path()).unwrap();
        let bytes = hex::decode(OF_BEFORE.concat()).unwrap();
        std::fs::write(folder.path("replay-0"), &bytes).unwrap();
        let read = read_all(&folder).unwrap();
        assert_eq!((read.records.len(), read.forgotten, read.next), (3, i64::MIN, 1));
        assert!(read.records.iter().all(|record| record.exp == 1796046857));
        let mut again = ReplayGeneration::create(&folder, read.next, read.forgotten).unwrap();
        again.append(&read.records).unwrap();
        assert_eq!(std::fs::read(folder.path("replay-1")).unwrap(), bytes);
    }
}
