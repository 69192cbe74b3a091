//! A secret key and the hash made with it: what a peer must not be able to aim at.
//!
//! Tables indexed by what a peer chooses (addresses, ports, identifications) are flooded into one
//! bucket, and sequences derived from them are predicted, unless the hash has a secret. SipHash-1-3
//! is a pseudo-random function with a 128-bit key, is what the standard library trusts for its own
//! tables, and costs about 10 ns for a connection's addresses and ports; faster keyed mixers exist,
//! but none with a security claim that was attacked for as long.
//!
//! * **Define.** A [`HashKey`] is drawn from a generator and never shown.
//! * **Enforce.** Its fields are private and its `Debug` prints nothing of them.
//! * **Consume.** Tables take it as their `BuildHasher`, sequences as their offset function
//!   (RFC 6056 section 3.3.3, RFC 7739 section 5.3).

use core::fmt;
use core::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

use crate::base::Rng;

/// A secret for [`HashKey::hash`]; also a `BuildHasher` for maps.
#[derive(Clone, Copy)]
pub struct HashKey {
    k0: u64,
    k1: u64,
}

impl HashKey {
    /// A new secret.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            k0: rng.u64(),
            k1: rng.u64(),
        }
    }

    /// The keyed hash of `value`.
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
