//! Columns of numbers, in memory as they are on disk.

use bytemuck::Pod;

/// A sequence of columns. Word 0 is the number of columns, then come their lengths in bytes, then
/// the columns, each beginning at a whole word.
#[derive(Debug)]
pub struct ColumnTable(Box<[u64]>);

impl ColumnTable {
    /// Packs columns.
    pub fn pack(columns: &[&[u8]]) -> Self {
        let mut words = vec![columns.len() as u64];
        words.extend(columns.iter().map(|column| column.len() as u64));
        for column in columns {
            let start = words.len();
            words.resize(start + column.len().div_ceil(8), 0);
            bytemuck::cast_slice_mut(&mut words[start..])[..column.len()].copy_from_slice(column);
        }
        Self(words.into())
    }

    /// Wraps what [`ColumnTable::words`] returned.
    pub fn of(words: Box<[u64]>) -> Self {
        Self(words)
    }

    /// Returns all words.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// Returns a column, which is empty if there is none with that number.
    pub fn column<T: Pod>(&self, number: usize) -> &[T] {
        let size = |word: &u64| usize::try_from(*word).unwrap_or(usize::MAX);
        let count = self.0.first().map_or(0, size);
        let Some(lengths) = self.0.get(1..=count).filter(|lengths| number < lengths.len()) else {
            return &[];
        };
        let before: usize = lengths[..number].iter().map(|length| size(length).div_ceil(8)).sum();
        let bytes: &[u8] = self.0.get(1 + count + before..).map(bytemuck::cast_slice).unwrap_or_default();
        bytes.get(..size(&lengths[number])).map(bytemuck::cast_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_any_length_come_out_as_they_went_in() {
        let (a, b, c) = ([1u32, 2, 3], [4u64, 5], [6u8, 7, 8, 9, 10]);
        let table = ColumnTable::pack(&[bytemuck::cast_slice(&a), bytemuck::cast_slice(&b), &c, &[]]);
        let table = ColumnTable::of(table.words().into());
        assert_eq!((table.column::<u32>(0), table.column::<u64>(1)), (&a[..], &b[..]));
        assert_eq!((table.column::<u8>(2), table.column::<u8>(3)), (&c[..], &[][..]));
        assert_eq!(table.column::<u8>(4), &[] as &[u8]);
        assert_eq!(ColumnTable::of(Box::new([])).column::<u8>(0), &[] as &[u8]);
    }
}
