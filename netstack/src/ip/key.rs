//! A keyed hash for tables and sequences that a peer could attack.
//!
//! Without a secret key, a peer could flood one bucket of a table whose keys it chooses (addresses, ports,
//! identifications), and predict sequences derived from them. SipHash-1-3 is a pseudo-random function with
//! a 128-bit key, the default of the standard library's tables, and costs about 10 ns for a connection's
//! addresses and ports. Faster keyed hashes exist, but none has withstood cryptanalysis for as long.
//!
//! * **Define.** A [`HashKey`] comes from a random generator and stays secret.
//! * **Enforce.** Its fields are private and its `Debug` prints nothing of them.
//! * **Consume.** Tables use it as their `BuildHasher`, sequences as their offset function
//!   (RFC 6056 section 3.3.3, RFC 7739 section 5.3).

use core::fmt;
use core::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

use crate::base::Rng;

/// A secret key for [`HashKey::hash`]; also a `BuildHasher` for maps.
#[derive(Clone, Copy)]
pub struct HashKey {
    k0: u64,
    k1: u64,
}

impl HashKey {
    /// Creates a random key.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            k0: rng.u64(),
            k1: rng.u64(),
        }
    }

    /// Returns the keyed hash of `value`.
    pub fn hash(&self, value: &impl Hash) -> u64 {
        self.hash_one(value)
    }
}

impl BuildHasher for HashKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_stay_secret() {
        let mut rng = Rng::from_u64(1);
        let (a, b) = (HashKey::random(&mut rng), HashKey::random(&mut rng));
        assert_eq!(a.hash(&7u32), a.hash(&7u32));
        assert_ne!(a.hash(&7u32), b.hash(&7u32));
        assert_ne!(a.hash(&7u32), a.hash(&8u32));
        assert_eq!(format!("{a:?}"), "HashKey(secret)");
    }
}
