//! Sums of resources by age. The buckets of a histogram have about the same number of resources, so a
//! sum between two instants is exact but for one bucket at each end, however the ages are spread. A
//! histogram does not grow with the resources.

use std::sync::Arc;

use crate::index::line::UNKNOWN_AGE;

/// The most buckets of a histogram.
pub const BUCKETS: usize = 1024;

/// The sums over some resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceSum {
    /// Their number.
    pub resources: u64,
    /// Their length in the source.
    pub bytes: u64,
    /// The number of URLs in their attachments that name Binaries.
    pub urls: u64,
}

impl std::ops::AddAssign for ResourceSum {
    fn add_assign(&mut self, other: Self) {
        self.resources += other.resources;
        self.bytes += other.bytes;
        self.urls += other.urls;
    }
}

impl std::ops::Add for ResourceSum {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl std::ops::Sub for ResourceSum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            resources: self.resources - other.resources,
            bytes: self.bytes - other.bytes,
            urls: self.urls - other.urls,
        }
    }
}

/// Bounds of the sums over some resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SumRange {
    /// The lower bound.
    pub least: ResourceSum,
    /// The upper bound.
    pub most: ResourceSum,
}

/// Resources of adjacent ages.
#[derive(Debug, Clone, Copy)]
struct AgeBucket {
    first: i64,
    last: i64,
    /// The sums of this bucket while it is being filled; then those of all buckets up to it.
    sum: ResourceSum,
}

const EMPTY: AgeBucket =
    AgeBucket { first: i64::MAX, last: i64::MIN, sum: ResourceSum { resources: 0, bytes: 0, urls: 0 } };

/// The sums of resources by age.
#[derive(Debug, Default)]
pub struct AgeHistogram {
    undated: ResourceSum,
    buckets: Vec<AgeBucket>,
}

impl AgeHistogram {
    /// Returns the sums over all, whatever their age.
    pub fn all(&self) -> ResourceSum {
        self.undated + self.up_to(self.buckets.len())
    }

    /// Returns bounds for those later than `after` and earlier than `before`, and of unknown age.
    pub fn between(&self, after: i64, before: i64) -> SumRange {
        let place = |is_left: &dyn Fn(&AgeBucket) -> bool| self.buckets.partition_point(is_left);
        let sum = |start: usize, end: usize| {
            let between =
                if start < end { self.up_to(end) - self.up_to(start) } else { ResourceSum::default() };
            self.undated + between
        };
        SumRange {
            least: sum(place(&|bucket| bucket.first <= after), place(&|bucket| bucket.last < before)),
            most: sum(place(&|bucket| bucket.last <= after), place(&|bucket| bucket.first < before)),
        }
    }

    /// Returns the sums over the first `buckets` buckets.
    fn up_to(&self, buckets: usize) -> ResourceSum {
        buckets.checked_sub(1).map_or(ResourceSum::default(), |last| self.buckets[last].sum)
    }

    /// Returns the bytes in memory.
    pub fn resident_bytes(&self) -> u64 {
        (size_of::<Self>() + self.buckets.len() * size_of::<AgeBucket>()) as u64
    }
}

/// Returns the ends of a histogram's buckets but for the last one, sorted and unique.
pub fn bucket_ends(mut sample: Vec<i64>) -> Arc<[i64]> {
    sample.sort_unstable();
    let step = sample.len().div_ceil(BUCKETS).max(1);
    let mut ends: Vec<i64> = sample.into_iter().skip(step - 1).step_by(step).collect();
    ends.dedup();
    ends.truncate(BUCKETS - 1);
    ends.into()
}

/// A histogram being filled.
#[derive(Debug)]
pub struct HistogramDraft {
    ends: Arc<[i64]>,
    undated: ResourceSum,
    buckets: Vec<AgeBucket>,
}

impl HistogramDraft {
    /// Creates an empty histogram whose buckets end there.
    pub fn new(ends: Arc<[i64]>) -> Self {
        let buckets = vec![EMPTY; ends.len() + 1];
        Self { ends, undated: ResourceSum::default(), buckets }
    }

    /// Adds resources of that age.
    pub fn add(&mut self, updated: i64, sum: ResourceSum) {
        if updated == UNKNOWN_AGE {
            self.undated += sum;
            return;
        }
        let bucket = &mut self.buckets[self.ends.partition_point(|end| *end < updated)];
        bucket.first = bucket.first.min(updated);
        bucket.last = bucket.last.max(updated);
        bucket.sum += sum;
    }

    /// Adds another histogram, whose buckets end at the same instants.
    pub fn merge(&mut self, other: &Self) {
        self.undated += other.undated;
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            bucket.first = bucket.first.min(more.first);
            bucket.last = bucket.last.max(more.last);
            bucket.sum += more.sum;
        }
    }

    /// Returns the histogram.
    pub fn finish(self) -> AgeHistogram {
        let mut buckets = self.buckets;
        buckets.retain(|bucket| bucket.sum.resources > 0);
        buckets.shrink_to_fit();
        let mut before = ResourceSum::default();
        for bucket in &mut buckets {
            before += bucket.sum;
            bucket.sum = before;
        }
        AgeHistogram { undated: self.undated, buckets }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn one(bytes: u64) -> ResourceSum {
        ResourceSum { resources: 1, bytes, urls: bytes % 3 }
    }

    /// A histogram of these, filled in two halves.
    fn histogram(ages: &[(i64, u64)], sample: Vec<i64>) -> AgeHistogram {
        let ends = bucket_ends(sample);
        let mut halves = [HistogramDraft::new(ends.clone()), HistogramDraft::new(ends)];
        for (n, (updated, bytes)) in ages.iter().enumerate() {
            halves[n % 2].add(*updated, one(*bytes));
        }
        let [mut all, other] = halves;
        all.merge(&other);
        all.finish()
    }

    #[test]
    fn p13_a_histogram_of_many_ages_has_no_more_buckets_than_it_may_and_misses_by_one_at_each_end() {
        let count = 100 * BUCKETS as i64;
        let ages: Vec<_> = (0..count).map(|age| (age, 10)).collect();
        let histogram = histogram(&ages, (0..count).step_by(25).collect());
        assert!(histogram.buckets.len() <= BUCKETS, "{}", histogram.buckets.len());
        let SumRange { least, most } = histogram.between(count / 3, count / 3 * 2);
        let expected = (count / 3 - 1) as u64;
        assert!(least.resources <= expected && expected <= most.resources, "{least:?} {most:?}");
        assert!(most.resources - least.resources <= 4 * 100, "{least:?} {most:?}");
    }

    #[test]
    fn a_day_on_which_everything_was_loaded_is_no_part_of_what_came_after_it() {
        let ages: Vec<_> = (0..5000).map(|n| (n % 7, 1000)).chain([(8, 1), (9, 1)]).collect();
        let histogram = histogram(&ages, ages.iter().map(|(age, _)| *age).collect());
        let of = |resources, bytes, urls| ResourceSum { resources, bytes, urls };
        assert_eq!(histogram.between(6, i64::MAX), SumRange { least: of(2, 2, 2), most: of(2, 2, 2) });
        assert_eq!(histogram.between(9, i64::MAX), SumRange::default());
        assert_eq!(histogram.between(7, 8), SumRange::default());
    }

    proptest! {
        #[test]
        fn what_lies_between_two_instants_lies_within_the_bounds(
            ages in vec((prop_oneof![Just(UNKNOWN_AGE), -20..20i64], 0..100u64), 0..300),
            sampled in 1..9usize,
            after in prop_oneof![Just(i64::MIN), -22..22i64],
            before in prop_oneof![Just(i64::MAX), -22..22i64],
        ) {
            let dated = ages.iter().map(|(age, _)| *age).filter(|age| *age != UNKNOWN_AGE);
            let histogram = histogram(&ages, dated.step_by(sampled).collect());
            let sum = |is_in: &dyn Fn(i64) -> bool| {
                let mut sum = ResourceSum::default();
                ages.iter().filter(|(age, _)| is_in(*age)).for_each(|(_, bytes)| sum += one(*bytes));
                sum
            };
            let expected = sum(&|age| age == UNKNOWN_AGE || (after < age && age < before));
            let SumRange { least, most } = histogram.between(after, before);
            prop_assert!(least.bytes <= expected.bytes && expected.bytes <= most.bytes);
            prop_assert!(least.resources <= expected.resources && expected.resources <= most.resources);
            prop_assert!(least.urls <= expected.urls && expected.urls <= most.urls);
            prop_assert_eq!(histogram.all(), sum(&|_| true));
            if sampled == 1 {
                // Forty instants have a bucket each.
                prop_assert_eq!((least, most), (expected, expected));
            }
        }
    }
}
