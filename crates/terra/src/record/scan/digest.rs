//! A digest of a value's content: the same for another order of names, other blanks, `145` and `145.0`.
//!
//! 64 bits tell one version of a record from another; nobody gains by making two agree. XXH3 is stable across versions
//! and machines, which a digest that is stored has to be.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Whole numbers up to this one have a float of their own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[derive(Clone, Copy)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) const NULL: u64 = 0;

    pub(super) fn text(bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, 1)
    }

    /// Of a number, `true` or `false`.
    pub(super) fn number(word: &str) -> u64 {
        if word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return xxh3_64_with_seed(word.as_bytes(), 2);
        }
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() && number.fract() == 0.0 && number.abs() <= EXACT_MAX => {
                xxh3_64_with_seed((number as i64).to_string().as_bytes(), 2)
            }
            Ok(number) if number.is_finite() => xxh3_64_with_seed(&number.to_bits().to_le_bytes(), 3),
            _ => xxh3_64_with_seed(word.as_bytes(), 4),
        }
    }

    pub(super) fn object() -> Digest {
        Digest(5)
    }

    /// Members add up, so their order does not matter; one that is null is as good as absent.
    pub(super) fn member(&mut self, name: &[u8], value: u64) {
        if value != Digest::NULL {
            self.0 = self.0.wrapping_add(xxh3_64_with_seed(name, value));
        }
    }

    pub(super) fn list() -> Digest {
        Digest(6)
    }

    pub(super) fn element(&mut self, value: u64) {
        self.0 = mixed(self.0 ^ value);
    }

    pub(super) fn finish(self) -> u64 {
        mixed(self.0)
    }
}

/// The finalizer of SplitMix64: every bit of the input changes half of the output.
fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
