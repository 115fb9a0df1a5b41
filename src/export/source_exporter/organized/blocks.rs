//! The blocks of a stage in a plan: as text, a few bytes for each stretch of lines.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use integer_encoding::VarInt;

use crate::index::ResourceKey;

/// A patient's block, by the numbers of the lines that its stage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBlock {
    /// The line that the patient's id is read from.
    pub name: usize,
    /// The patient, if that line is not its own resource but one that refers to it.
    pub of: Option<ResourceKey>,
    /// Bytes of the block, at the most.
    pub at_most: u64,
    /// The lines that are in the block, in order.
    pub lines: Vec<Range<usize>>,
}

/// Blocks as text.
pub fn write(blocks: &[EncodedBlock]) -> String {
    let mut encoded = Vec::new();
    for EncodedBlock { name, of, at_most, lines } in blocks {
        encoded.extend((*name << 1 | usize::from(of.is_some())).encode_var_vec());
        of.iter().flatten().for_each(|word| encoded.extend(word.to_le_bytes()));
        encoded.extend(at_most.encode_var_vec());
        encoded.extend(lines.len().encode_var_vec());
        let mut end = 0;
        for range in lines {
            encoded.extend((range.start - end).encode_var_vec());
            encoded.extend(range.len().encode_var_vec());
            end = range.end;
        }
    }
    BASE64.encode(&encoded)
}

/// Reads what [`write`] wrote; `None` if it did not.
pub fn read(text: &str) -> Option<Vec<EncodedBlock>> {
    let encoded = BASE64.decode(text).ok()?;
    let (mut rest, mut blocks) = (encoded.as_slice(), Vec::new());
    while !rest.is_empty() {
        let name: usize = number(&mut rest)?;
        let of = if name & 1 == 1 { Some([word(&mut rest)?, word(&mut rest)?]) } else { None };
        let (at_most, count) = (number(&mut rest)?, number::<usize>(&mut rest)?);
        let (mut end, mut lines) = (0usize, Vec::new());
        for _ in 0..count {
            let start = end.checked_add(number(&mut rest)?)?;
            end = start.checked_add(number(&mut rest)?)?;
            lines.push(start..end);
        }
        blocks.push(EncodedBlock { name: name >> 1, of, at_most, lines });
    }
    Some(blocks)
}

fn number<N: VarInt>(rest: &mut &[u8]) -> Option<N> {
    let (number, used) = N::decode_var(rest)?;
    *rest = &rest[used..];
    Some(number)
}

fn word(rest: &mut &[u8]) -> Option<u64> {
    let (word, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a block may have one stretch of lines")]
    fn blocks_come_out_as_they_went_in() {
        let blocks = [
            EncodedBlock { name: 0, of: None, at_most: 1 << 40, lines: vec![0..1, 5..700, 1000..1001] },
            EncodedBlock { name: 700, of: Some([1, u64::MAX]), at_most: 0, lines: vec![3..4] },
            EncodedBlock { name: 9, of: None, at_most: 5, lines: vec![] },
        ];
        let text = write(&blocks);
        assert_eq!(read(&text).unwrap(), blocks);
        assert_eq!(read(""), Some(vec![]));
        assert_eq!((read(&text[..4]), read("%")), (None, None));
    }
}
