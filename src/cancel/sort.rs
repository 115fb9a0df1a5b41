//! Sorting in place with checks of the token. The standard library sorts pieces that take a few
//! milliseconds; larger slices are partitioned around a pivot first.

use std::cmp::Ordering;

use super::{CancelToken, TokenFired};

/// Items that are sorted without a check.
const PIECE: usize = 1 << 17;

/// Items whose median is the pivot.
const SAMPLE: usize = 127;

/// Items between two checks where each takes little work.
const PASSED: usize = 1 << 16;

impl CancelToken {
    /// Sorts the items.
    ///
    /// # Errors
    /// Fails if the token has fired, and leaves the items in an unspecified order.
    pub(crate) fn sort<T: Ord + Copy>(&self, items: &mut [T]) -> Result<(), TokenFired> {
        let mut unsorted = vec![items];
        while let Some(items) = unsorted.pop() {
            self.check()?;
            if items.len() <= PIECE {
                items.sort_unstable();
                continue;
            }
            let (low, high) = self.part(items)?;
            let (rest, greater) = items.split_at_mut(high);
            unsorted.push(greater);
            unsorted.push(&mut rest[..low]);
        }
        Ok(())
    }

    /// Partitions the items. Returns where the items less than the pivot end and the greater ones
    /// begin.
    fn part<T: Ord + Copy>(&self, items: &mut [T]) -> Result<(usize, usize), TokenFired> {
        let mut sample: Vec<T> = items.iter().step_by(items.len() / SAMPLE).copied().collect();
        let middle = sample.len() / 2;
        let pivot = *sample.select_nth_unstable(middle).1;
        let (mut low, mut at, mut high) = (0, 0, items.len());
        while at < high {
            self.check()?;
            match items[at].cmp(&pivot) {
                Ordering::Less => {
                    items.swap(low, at);
                    low += 1;
                    at += 1;
                }
                Ordering::Equal => at += 1,
                Ordering::Greater => {
                    high -= 1;
                    items.swap(at, high);
                }
            }
        }
        Ok((low, high))
    }

    /// Sorts the items and removes duplicates.
    ///
    /// # Errors
    /// Fails if the token has fired.
    pub(crate) fn sort_once<T: Ord + Copy>(&self, items: &mut Vec<T>) -> Result<(), TokenFired> {
        self.sort(items)?;
        let mut kept = 0;
        for n in 0..items.len() {
            if n % PASSED == 0 {
                self.check()?;
            }
            if kept == 0 || items[kept - 1] != items[n] {
                items[kept] = items[n];
                kept += 1;
            }
        }
        items.truncate(kept);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random.
    fn numbers(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20)
    }

    #[test]
    fn items_are_sorted_whatever_order_they_come_in() {
        let count = 3 * PIECE as u64 + 5;
        let token = CancelToken::new();
        for items in [
            numbers(count).collect::<Vec<_>>(),
            (0..count).collect(),
            (0..count).rev().collect(),
            vec![7; 3 * PIECE],
            numbers(count).map(|n| n % 3).collect(),
            vec![],
            vec![2, 1, 2],
        ] {
            let mut expected = items.clone();
            expected.sort_unstable();
            let mut sorted = items.clone();
            token.sort(&mut sorted).unwrap();
            assert!(sorted == expected);
            expected.dedup();
            let mut once = items;
            token.sort_once(&mut once).unwrap();
            assert!(once == expected);
        }
    }

    #[test]
    fn p13_a_sort_ends_with_its_job() {
        let mut items: Vec<_> = numbers(4 * PIECE as u64).collect();
        assert_eq!(CancelToken::at_look(10).sort(&mut items), Err(TokenFired));
        let token = CancelToken::new();
        token.sort(&mut items).unwrap();
        assert!(token.looks() > 4 * PIECE as u64, "each item is passed with a look, {}", token.looks());
    }
}
