//! The frames of an encrypted file, version 1 (`docs/encryption.md`). A header of 32 bytes, then
//! frames of 64 KiB of text, each followed by its tag. The position of a frame and whether it is the
//! last one are in its nonce, the job and the name of the file in its associated data: what is cut,
//! moved, swapped or changed is never taken for text.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use crate::job::JobId;
use crate::keys::JobKey;

/// What every encrypted file begins with. No NDJSON and no JSON does.
pub const MAGIC: [u8; 8] = *b"\x89EVF\r\n\x1a\x01";

/// Bytes of random salt behind the magic.
const SALT_BYTES: usize = 24;

/// Bytes before the first frame.
pub const HEADER_BYTES: usize = MAGIC.len() + SALT_BYTES;

/// Bytes of text in each frame but the last, which may have fewer.
pub const FRAME_BYTES: usize = 1 << 16;

/// Bytes of the tag behind the text of a frame.
pub const TAG_BYTES: usize = 16;

/// Bytes of a whole frame as it is stored.
pub const STORED_FRAME_BYTES: usize = FRAME_BYTES + TAG_BYTES;

/// What the key of a file is derived for, before the job and the name.
const PURPOSE: &[u8] = b"evanesce file 1";

/// The head of a file.
pub type FrameHeader = [u8; HEADER_BYTES];

/// Returns a new header, with a random salt.
///
/// # Errors
/// Fails if there is no randomness.
pub fn new_header() -> io::Result<FrameHeader> {
    let mut header = [0; HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    aws_lc_rs::rand::fill(&mut header[MAGIC.len()..]).map_err(|_| io::Error::other("no randomness"))?;
    Ok(header)
}

/// Returns the number of frames of a text. A text without a byte has one, which is empty.
pub fn frame_count(text: u64) -> u64 {
    text.div_ceil(FRAME_BYTES as u64).max(1)
}

/// Returns the bytes that a text of `text` bytes takes as it is stored.
pub fn stored_length(text: u64) -> u64 {
    let around = frame_count(text).saturating_mul(TAG_BYTES as u64).saturating_add(HEADER_BYTES as u64);
    text.saturating_add(around)
}

/// Returns the bytes of the text that is stored in `stored` bytes, or `None` if no text is.
pub fn text_length(stored: u64) -> Option<u64> {
    let frames = stored.checked_sub(HEADER_BYTES as u64)?;
    let tags = frames.div_ceil(STORED_FRAME_BYTES as u64).checked_mul(TAG_BYTES as u64)?;
    let text = frames.checked_sub(tags)?;
    (stored_length(text) == stored).then_some(text)
}

/// Returns where frame `n` stands.
pub fn frame_start(n: u64) -> u64 {
    HEADER_BYTES as u64 + n * STORED_FRAME_BYTES as u64
}

/// The position of a frame in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePosition {
    /// Its number, from 0.
    pub n: u64,
    /// Whether it is the last one.
    pub is_last: bool,
}

impl FramePosition {
    fn nonce(self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.n.to_be_bytes());
        nonce[11] = self.is_last.into();
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The key of one file.
pub struct FileKey {
    key: LessSafeKey,
    /// Header, job and name.
    associated: Vec<u8>,
}

impl FileKey {
    /// Derives the key of the job's file with this name and header.
    ///
    /// # Errors
    /// Fails with `InvalidData` if the header is not that of an encrypted file of this version.
    pub fn derive(key: &JobKey, job: JobId, name: &str, header: &FrameHeader) -> io::Result<Self> {
        let (magic, salt) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("it does not begin as an encrypted file does"));
        }
        let info = [PURPOSE, job.as_bytes(), name.as_bytes()];
        let derived = Salt::new(HKDF_SHA256, salt).extract(key.as_bytes());
        let derived = derived.expand(&info, &AES_256_GCM).map_err(|_| io::Error::other("no key"))?;
        let associated = [header.as_slice(), job.as_bytes(), name.as_bytes()].concat();
        Ok(Self { key: LessSafeKey::new(UnboundKey::from(derived)), associated })
    }

    /// Encrypts the text of a frame in place and returns its tag. No two texts may be given the same
    /// position.
    ///
    /// # Errors
    /// Never fails for a text of a frame.
    pub fn seal(&self, position: FramePosition, text: &mut [u8]) -> io::Result<[u8; TAG_BYTES]> {
        let sealed = self.key.seal_in_place_separate_tag(position.nonce(), Aad::from(&self.associated), text);
        let tag = sealed.map_err(|_| io::Error::other("a frame could not be encrypted"))?;
        tag.as_ref().try_into().map_err(io::Error::other)
    }

    /// Decrypts a stored frame into `text`, which has just its length.
    ///
    /// # Errors
    /// Fails with `InvalidData` if it is not what was written at that position of that file. What is in
    /// `text` then is no text.
    pub fn open(&self, position: FramePosition, stored: &[u8], text: &mut [u8]) -> io::Result<()> {
        let opened = stored.split_at_checked(text.len()).and_then(|(sealed, tag)| {
            let (nonce, associated) = (position.nonce(), Aad::from(&self.associated));
            self.key.open_separate_gather(nonce, associated, sealed, tag, text).ok()
        });
        opened.ok_or_else(|| damaged(format!("frame {} is damaged", position.n)))
    }
}

/// Returns the error of a file that is not what was written.
pub fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Returns whether these are the first bytes of an encrypted file, of whatever version.
pub fn is_encrypted(begin: &[u8]) -> bool {
    begin.starts_with(&MAGIC[..MAGIC.len() - 1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_arithmetic() {
        for (text, stored) in [
            (0, 48),
            (1, 49),
            (65_535, 65_583),
            (65_536, 65_584),
            (65_537, 65_601),
            (131_072, 131_136),
            (131_073, 131_153),
        ] {
            assert_eq!((stored_length(text), text_length(stored)), (stored, Some(text)), "{text}");
        }
        // No text ends inside a header or a tag, or has an empty frame behind a full one.
        for stored in [0, 31, 32, 47, 65_585, 65_600] {
            assert_eq!(text_length(stored), None, "{stored}");
        }
        assert_eq!((frame_start(0), frame_start(2)), (32, 131_136));
    }

    proptest! {
        #[test]
        fn each_length_of_a_text_has_one_stored_length(text in 0u64..1 << 40) {
            prop_assert_eq!(text_length(stored_length(text)), Some(text));
            prop_assert_eq!(stored_length(text) - text, 32 + 16 * frame_count(text));
        }
    }
}
