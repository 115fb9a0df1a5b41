//! The only source of chance in the generator: PCG streams for each patient, and the few ways of
//! reducing its raw 64-bit words. Nothing here goes through `rand`'s distributions, whose algorithms
//! may change between versions and with them every byte of the output.
//!
//! What an option adds is drawn from streams of its own (`StreamPurpose`), so that it changes nothing else.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::json::JsonText;
use super::options::ResourceShare;

/// What a stream is drawn for.
#[derive(Clone, Copy)]
pub(super) enum StreamPurpose {
    /// The facts and the record of a patient, as they are whatever the options.
    Record,
    /// The Observations besides those of the record.
    Observations,
    /// Which resources are undated, and which were updated recently.
    Updates,
    /// The lengths and texts of narratives.
    Narrative,
    /// What is wrong with the lines.
    Mess,
    /// The odd resources of a mess.
    Odd,
    /// Who is a member of the cohort with this number.
    Cohort(u16),
}

/// Whose stream it is.
#[derive(Clone, Copy)]
pub(super) enum StreamOwner {
    /// The practices, all together.
    Practices,
    /// The patient with this number.
    Patient(u32),
    /// The Group with this number, in the order in which they are written.
    Group(u32),
}

/// One deterministic stream of draws.
#[derive(Clone)]
pub(super) struct RandomStream(Pcg64Mcg);

impl RandomStream {
    /// The stream of `owner` for `purpose` in the set made with `seed`.
    pub(super) fn stream(seed: u64, purpose: StreamPurpose, owner: StreamOwner) -> Self {
        let owner = match (purpose, owner) {
            (StreamPurpose::Record, StreamOwner::Practices) => return Self::numbered(seed, u64::MAX),
            (_, StreamOwner::Patient(number)) => u64::from(number),
            (_, StreamOwner::Practices) => 1 << 32,
            (_, StreamOwner::Group(number)) => 2 << 32 | u64::from(number),
        };
        let purpose = match purpose {
            StreamPurpose::Record => 0,
            StreamPurpose::Observations => 1,
            StreamPurpose::Updates => 2,
            StreamPurpose::Narrative => 3,
            StreamPurpose::Mess => 4,
            StreamPurpose::Odd => 5,
            StreamPurpose::Cohort(number) => 16 + u64::from(number),
        };
        Self::numbered(seed, purpose << 40 | owner)
    }

    /// The stream numbered `stream` of the set made with `seed`.
    ///
    /// The two are mixed first, because an MCG started from neighbouring states gives related
    /// streams. Within one seed no two streams share a state: `mix` is a bijection.
    fn numbered(seed: u64, stream: u64) -> Self {
        let high = mix(mix(seed).wrapping_add(stream));
        let low = mix(high ^ seed);
        Self(Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low)))
    }

    /// A stream that goes on apart from this one, from a state that is drawn.
    pub(super) fn fork(&mut self) -> Self {
        Self(Pcg64Mcg::new(u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())))
    }

    /// How often in a row a coin shows heads, up to 64 times.
    pub(super) fn heads(&mut self) -> u64 {
        self.0.next_u64().leading_zeros().into()
    }

    /// A number in `0..bound`, by widening multiplication. The bias, below `bound / 2^64`, is too
    /// small to see in any set this program can write.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let word = u128::from(self.0.next_u64());
        ((word * u128::from(bound)) >> 64) as u64
    }

    /// True `percent` times in a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True for `share` of all draws.
    pub(super) fn share(&mut self, share: ResourceShare) -> bool {
        self.below(ResourceShare::WHOLE) < share.millionths()
    }

    /// An index into a table of `len` entries.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One entry of a table, each as likely as another.
    pub(super) fn pick<'t, T>(&mut self, table: &'t [T]) -> &'t T {
        &table[self.index(table.len())]
    }

    /// A fresh resource id.
    pub(super) fn id(&mut self) -> RecordId {
        let words = (u128::from(self.0.next_u64()) << 64) | u128::from(self.0.next_u64());
        // The version (4) and variant bits make it a UUID that every parser accepts.
        let words = words & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let mut text = [b'-'; 36];
        let mut shift = 128;
        for (at, byte) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                shift -= 4;
                *byte = b"0123456789abcdef"[(words >> shift) as usize & 0xf];
            }
        }
        RecordId(text)
    }
}

/// A resource id in the shape of a lowercase UUID.
#[derive(Clone, Copy)]
pub(super) struct RecordId([u8; 36]);

impl JsonText for RecordId {
    fn show(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// The finalizer of SplitMix64: a bijection that spreads each input bit over the whole word.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
